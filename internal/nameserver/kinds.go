package nameserver

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

// plain says whether questions for addresses of a name are answered by its Active
// records alone, as they stand: none of them stands for another name, and there
// is one. For all other names there is more to think of.
func plain(n *catalog.Name) bool {
	return !n.Points() && activeTiers(n.Answers()) != nil
}

// texts answers with what the records of the tiers say of themselves.
func texts(es []catalog.Entry, tiers []catalog.Priority, q dns.Question) Reply {
	var all []catalog.Text
	ttl := uint32(catalog.MaxTTL)
	for i := range es {
		e := &es[i]
		if !e.Active || e.Text() == "" || !slices.Contains(tiers, e.Priority) {
			continue
		}
		ttl = min(ttl, e.TTL)
		if !slices.Contains(all, e.Text()) { // RFC 2181 §5
			all = append(all, e.Text())
		}
	}
	slices.Sort(all)
	reply := Reply{Authoritative: true}
	for _, text := range all {
		parts := text.Strings()
		for i, s := range parts {
			parts[i] = escaped(s)
		}
		reply.Answer = append(reply.Answer, &dns.TXT{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: ttl},
			Txt: parts,
		})
	}
	return reply
}

// escaped writes a string as the library reads it: with \ before what it takes
// for the beginning of an escape.
func escaped(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }

// service answers for a service name of a name of the table (RFC 2782): a record
// for each host of the tiers whose alias has a port.
func (r *Rules) service(v *catalog.View, n *catalog.Name, rng balance.Rand, q dns.Question) Reply {
	es, tiers, why := r.entries(v, n)
	switch {
	case len(tiers) == 0 || q.Qtype != dns.TypeSRV && q.Qtype != dns.TypeANY:
		return r.lacking(v, n, tiers).because(why)
	case q.Qtype == dns.TypeANY && slices.ContainsFunc(es, func(e catalog.Entry) bool {
		return e.Active && e.Port != 0 && slices.Contains(tiers, e.Priority)
	}):
		return r.minimalANY(q)
	case q.Qtype == dns.TypeANY:
		return r.lacking(v, n, tiers)
	}
	var (
		reply  = Reply{Authoritative: true}
		hdr    = dns.RR_Header{Name: q.Name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: catalog.MaxTTL}
		by     = r.Balancing.of(n.Name())
		most   = r.MaxAnswers
		listed []*dns.SRV
	)
	if by != nil && by.MaxAnswers > 0 {
		most = by.MaxAnswers
	}
	for _, priority := range tiers {
		var tier []*catalog.Entry
		for i := range es {
			e := &es[i]
			// One of the addresses of a host is enough, its name has them all.
			if e.Active && e.Priority == priority && e.Port != 0 && !slices.ContainsFunc(tier, func(t *catalog.Entry) bool { return t.Owner == e.Owner }) {
				tier = append(tier, e)
			}
		}
		// Clients order the records by themselves; this is for the fairness of
		// the cut.
		balance.Random(tier, most, rng)
		for _, e := range tier[:min(most, len(tier))] {
			host := publisher(v, e)
			hdr.Ttl = min(hdr.Ttl, e.TTL)
			srv := &dns.SRV{Hdr: hdr, Priority: uint16(e.Priority), Weight: e.Weight, Port: e.Port, Target: r.qualify(host)}
			// Two owners without a name of their own, or a host in both
			// tiers: neither records nor addresses twice (RFC 2181 §5).
			seen := false
			if slices.ContainsFunc(listed, func(l *dns.SRV) bool {
				seen = seen || l.Target == srv.Target
				return l.Priority == srv.Priority && l.Weight == srv.Weight && l.Port == srv.Port && l.Target == srv.Target
			}) {
				continue
			}
			listed = append(listed, srv)
			if !seen {
				reply.Additional = append(reply.Additional, r.hostAddresses(v, host, e.Owner)...)
			}
		}
	}
	for _, rr := range listed {
		rr.Hdr.Ttl = hdr.Ttl // RFC 2181 §5.2
		reply.Answer = append(reply.Answer, rr)
	}
	if len(listed) == 0 {
		return r.lacking(v, n, tiers).because(why)
	}
	return reply.because(why)
}

// publisher gives the name of the host that published an entry, which is what a
// service record has to name: an alias could lead to another host. Of a host that
// is gone nothing but the alias is visible.
func publisher(v *catalog.View, e *catalog.Entry) string {
	for _, at := range v.Addr(e.Addr) {
		if at.Priority == catalog.Origin && at.Owner == e.Owner {
			return at.Name
		}
	}
	return e.Name
}

// hostAddresses gives the addresses of a host's own name, as far as they are what
// a question for that name would be answered with.
func (r *Rules) hostAddresses(v *catalog.View, host string, owner netip.Addr) (rrs []dns.RR) {
	n := v.Name(host)
	if len(activeTiers(n.Answers())) != 1 || activeTiers(n.Answers())[0] != catalog.Origin || r.Names != nil && !r.Names(host) {
		return nil
	}
	for _, e := range n.Of(owner) {
		hdr := dns.RR_Header{Name: r.qualify(host), Class: dns.ClassINET, Ttl: e.TTL}
		if e.Addr.Is4() {
			hdr.Rrtype = dns.TypeA
			rrs = append(rrs, &dns.A{Hdr: hdr, A: e.Addr.AsSlice()})
		} else {
			hdr.Rrtype = dns.TypeAAAA
			rrs = append(rrs, &dns.AAAA{Hdr: hdr, AAAA: e.Addr.AsSlice()})
		}
	}
	return rrs
}

// pointing gives the record by which a name stands for another one, nil when it
// does not. The best Active record decides. A name can have one target only (RFC
// 2181 §10.1) and nothing beside it (RFC 1034 §3.6.2), so where records of one
// priority differ those with an address count, and of several targets that of the
// greatest weight, or the least: all nodes shall say the same.
func pointing(es []catalog.Entry, tiers []catalog.Priority) *catalog.Entry {
	for _, priority := range tiers {
		var best *catalog.Entry
		for i := range es {
			e := &es[i]
			switch {
			case !e.Active || e.Priority != priority:
			case e.Target() == "":
				return nil
			case best == nil || e.Weight > best.Weight || e.Weight == best.Weight && e.Target() < best.Target(),
				e.Weight == best.Weight && e.Target() == best.Target() && e.TTL < best.TTL:
				best = e
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// elsewhere answers with the name that an entry stands for.
func (r *Rules) elsewhere(e *catalog.Entry, q dns.Question) Reply {
	target := e.Target()
	if !strings.HasSuffix(target, ".") {
		target = r.qualify(target)
	}
	reply := Reply{Authoritative: true, target: target, Answer: []dns.RR{&dns.CNAME{
		Hdr:    dns.RR_Header{Name: q.Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: e.TTL},
		Target: target,
	}}}
	if q.Qtype == dns.TypeCNAME || q.Qtype == dns.TypeANY { // RFC 8482 §4.2
		reply.target = ""
	}
	return reply
}
