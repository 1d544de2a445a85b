package nameserver

import (
	"iter"
	"sync"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

// maxPast is how many tables that secondaries have are kept for them. They share what
// is the same in them.
const maxPast = 16

// past has the tables that secondaries may have now, so that they can be sent what has
// changed since, and not all (RFC 1995).
type past struct {
	mu     sync.Mutex // guards what follows
	policy *policy    // by which they were sent
	views  []*catalog.View
}

// keep remembers a table that was sent.
func (p *past) keep(v *catalog.View, by *policy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.policy != by {
		p.policy, p.views = by, nil
	}
	for _, k := range p.views {
		if k == v {
			return
		}
	}
	if len(p.views) == maxPast {
		copy(p.views, p.views[1:])
		p.views = p.views[:maxPast-1]
	}
	p.views = append(p.views, v)
}

// of gives the table of a serial, nil when it is not known or was sent by other rules,
// by which it would be another zone.
func (p *past) of(serial uint32, by *policy) *catalog.View {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.policy != by {
		return nil
	}
	for _, v := range p.views {
		if uint32(v.Serial()) == serial {
			return v
		}
	}
	return nil
}

// changes gives what leads from the zone of one table to that of a later one: the SOA
// it leads to, that it leads from, what goes, the first SOA again, what comes, and
// that SOA (RFC 1995 §4). It is nil when it cannot tell: then all of the zone is sent.
func (r *Rules) changes(old, now *catalog.View) []dns.RR {
	r = r.whole()
	if len(r.WhenEmpty) > 0 {
		// Then it matters how a host is gone, and the names of one that was gone
		// before are the same.
		for range now.DiffMembers(old) {
			return nil
		}
	}
	touched := map[string]bool{}
	for was, is := range now.DiffNames(old) {
		for _, n := range []*catalog.Name{was, is} {
			if n == nil {
				continue
			}
			touched[n.Name()] = true
			for _, e := range n.Entries() {
				if e.Priority != catalog.Origin {
					continue
				}
				// The services of a host name it (see publisher).
				for _, v := range []*catalog.View{old, now} {
					for _, at := range v.Addr(e.Addr) {
						touched[at.Name] = true
					}
				}
			}
		}
	}
	var gone, came []dns.RR
	for name := range touched {
		was, is := r.recordsOf(old, name), r.recordsOf(now, name)
		gone = append(gone, missing(was, is)...)
		came = append(came, missing(is, was)...)
	}
	rrs := []dns.RR{r.soa(now), r.soa(old)}
	rrs = append(rrs, gone...)
	rrs = append(rrs, r.soa(now))
	rrs = append(rrs, came...)
	return append(rrs, r.soa(now))
}

// recordsOf gives the records of one name, which may be in the table or not. The rules
// are whole.
func (r *Rules) recordsOf(v *catalog.View, name string) iter.Seq[dns.RR] {
	n := v.Name(name)
	if n == nil {
		return func(func(dns.RR) bool) {}
	}
	return r.records(v, n)
}

// missing gives those of some records that are not among others.
func missing(some, others iter.Seq[dns.RR]) (rrs []dns.RR) {
	there := map[string]bool{}
	for rr := range others {
		there[rr.String()] = true
	}
	for rr := range some {
		if !there[rr.String()] {
			rrs = append(rrs, rr)
		}
	}
	return rrs
}
