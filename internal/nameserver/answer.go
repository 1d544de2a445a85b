package nameserver

import (
	"strings"

	"github.com/miekg/dns"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

// Reply is what to do about a question.
type Reply struct {
	// Forward: ask the resolvers. The other fields are then empty, unless CNAMEs
	// of ours lead to what is to be asked for: those are in Answer.
	Forward bool

	Rcode         int
	Authoritative bool
	Answer        []dns.RR
	Authority     []dns.RR
	Additional    []dns.RR

	// target is the name that Answer, which ends in a CNAME then, leads to: in full,
	// as it stands there; "" for none. With Forward it is what to ask for.
	target string

	// why explains an answer that has nothing, nil when that is its nature.
	why *reason
	// by is the rule of Balancing that goes by sources and has ordered the
	// answer, nil for none; stands is how this node stands among them.
	by     *balancer
	stands uint32
}

// Answer decides about one question of class IN. It looks at nothing but its
// arguments: the same view, rules, draws and question give the same reply. (Rules
// of a server remember what was good last.)
// Owner names are spelled as in the question.
func Answer(v *catalog.View, r *Rules, rng balance.Rand, q dns.Question, up Upstream) Reply {
	if isMeta(q.Qtype) {
		// No zone transfer, no TKEY and the like, neither from the table
		// nor through us from a resolver.
		return Reply{Rcode: dns.RcodeRefused}
	}
	reply := r.answer(v, rng, q, up)
	if reply.target != "" {
		return r.follow(v, rng, q, up, reply)
	}
	return reply
}

// answer is Answer as far as the name itself goes.
func (r *Rules) answer(v *catalog.View, rng balance.Rand, q dns.Question, up Upstream) Reply {
	name := strings.ToLower(strings.TrimSuffix(q.Name, "."))
	bare, under := r.strip(name)

	if bare != "" && (r.Names == nil || r.Names(bare)) {
		if n := v.Name(bare); n != nil {
			return r.address(v, n, rng, q)
		}
	}
	if alias, ok := catalog.ServiceOf(bare); ok && (r.Names == nil || r.Names(alias)) {
		if n := v.Name(alias); n.Serves() {
			return r.service(v, n, rng, q)
		}
	}
	if a, ok := parseReverse(name); ok && (r.Addrs == nil || r.Addrs(a)) {
		// Only of visible records. The reverse name of a dead node's address
		// tells nobody a name of ours, and a cloud's resolver knows it too.
		if es := v.Addr(a); len(es) > 0 {
			return r.pointer(v, es, q)
		}
	}

	switch {
	case under && bare == "" && (up != MayForward || r.DomainOwned):
		return r.apex(v, q, up)
	case under && (up == NoUpstream || r.DomainOwned):
		// A name that has others below it exists as well: NXDOMAIN would say
		// that these do not (RFC 8020).
		if v.Below(bare) {
			return r.nothing(v, dns.RcodeSuccess)
		}
		return r.nothing(v, dns.RcodeNameError)
	case up == MayForward:
		return Reply{Forward: true}
	}
	return Reply{Rcode: dns.RcodeRefused}
}

// apex answers for the domain itself, which has the records that make it a zone
// (RFC 1034 §4.2.1) and no other. Where others serve it, these are for those who
// want our word, and do not ask for recursion: secondaries.
func (r *Rules) apex(v *catalog.View, q dns.Question, up Upstream) Reply {
	switch q.Qtype {
	case dns.TypeSOA:
		soa := r.soa(v)
		soa.Hdr.Name = q.Name
		return Reply{Authoritative: true, Answer: []dns.RR{soa}}
	case dns.TypeNS:
		ns := r.ns()
		ns.Hdr.Name = q.Name
		// RFC 1035 §3.3.11: who wants the servers wants to ask them.
		return Reply{Authoritative: true, Answer: []dns.RR{ns}, Additional: r.hostAddresses(v, r.Host, v.Self())}
	}
	switch {
	case up != NoUpstream && !r.DomainOwned:
		return Reply{Rcode: dns.RcodeRefused} // others may know more
	case q.Qtype == dns.TypeANY:
		return r.minimalANY(q)
	}
	return r.nothing(v, dns.RcodeSuccess)
}

// isMeta reports the types that no record can have (RFC 6895 §3.1). ANY is one
// of them too, but is asked in earnest and has an answer of its own.
func isMeta(t uint16) bool {
	return t == dns.TypeOPT || 128 <= t && t < dns.TypeANY
}

// strip takes the domain from a name and says whether it was there. Of the
// domain itself nothing is left.
func (r *Rules) strip(name string) (bare string, under bool) {
	d := r.Domain
	if d == "" || !strings.HasSuffix(name, d) {
		return name, false
	}
	if len(name) == len(d) {
		return "", true
	}
	cut := len(name) - len(d) - 1
	if name[cut] != '.' {
		return name, false
	}
	// A dot that is written \. stands within a label and ends none.
	if strings.IndexByte(name, '\\') >= 0 && !dns.IsSubDomain(d+".", name+".") {
		return name, false
	}
	return name[:cut], true
}

// address answers a question about a name of the table, which has no entries when
// it is that of a dead node.
func (r *Rules) address(v *catalog.View, n *catalog.Name, rng balance.Rand, q dns.Question) Reply {
	es, tiers, why := r.entries(v, n)
	if n.Points() || why != nil {
		if e := pointing(es, tiers); e != nil {
			return r.elsewhere(e, q).because(why)
		}
	}
	switch {
	case len(tiers) > 0 && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA):
		if reply := r.addresses(v, n, es, tiers, rng, q); len(reply.Answer) > 0 {
			return reply.because(why)
		}
	case len(tiers) > 0 && q.Qtype == dns.TypeTXT:
		if reply := texts(es, tiers, q); len(reply.Answer) > 0 {
			return reply.because(why)
		}
	case len(tiers) > 0 && q.Qtype == dns.TypeANY:
		return r.minimalANY(q)
	}
	return r.lacking(v, n, tiers).because(why)
}

// because is the reply with a reason, nil for none besides its own.
func (reply Reply) because(why *reason) Reply {
	if why != nil {
		reply.why = why
	}
	return reply
}

// lacking is the answer for a name that has no record of the type, and why.
func (r *Rules) lacking(v *catalog.View, n *catalog.Name, tiers []catalog.Priority) Reply {
	reply := r.nothing(v, dns.RcodeSuccess)
	switch {
	case len(tiers) > 0: // none of this type
	case len(n.Entries()) > 0:
		reply.why = noHealthy
	default:
		reply.why = hostsGone
	}
	return reply
}

// The sets of tiers that are answered together, each in its order.
var (
	serving = []catalog.Priority{catalog.Master, catalog.Secondary}
	standby = []catalog.Priority{catalog.Backup}
	itself  = []catalog.Priority{catalog.Origin}
)

// activeTiers chooses the tiers over all Active records, whatever their family:
// a name whose masters have no IPv6 address has none, even if a backup has
// one. A name with a single Active record needs no rule of its own: its tier is
// then the best there is.
func activeTiers(es []catalog.Entry) []catalog.Priority {
	var have [catalog.Origin + 1]bool
	for i := range es {
		// A priority of a later protocol is none that we could rank.
		if e := &es[i]; e.Active && e.Priority <= catalog.Origin {
			have[e.Priority] = true
		}
	}
	switch {
	case have[catalog.Master] || have[catalog.Secondary]:
		return serving
	case have[catalog.Backup]:
		return standby
	case have[catalog.Origin]:
		return itself
	}
	return nil
}

// address4 and address6 keep a record and the bytes of its address together,
// so that an answer's records are one allocation, not two for each.
type (
	address4 struct {
		rr dns.A
		ip [4]byte
	}
	address6 struct {
		rr dns.AAAA
		ip [16]byte
	}
)

// addresses answers with the A or AAAA records of the tiers: each tier in
// balanced order and cut to the most addresses, all with the least TTL among
// them (RFC 2181 §5.2 wants one TTL per set).
func (r *Rules) addresses(v *catalog.View, n *catalog.Name, es []catalog.Entry, tiers []catalog.Priority, rng balance.Rand, q dns.Question) Reply {
	var (
		// Room on the stack for what is usual; append finds more.
		tierRoom   [32]*catalog.Entry
		chosenRoom [32]*catalog.Entry
		chosen     = chosenRoom[:0]

		reply     = Reply{Authoritative: true}
		by        = r.Balancing.of(n.Name())
		algorithm balance.Algorithm
		most      = r.MaxAnswers
		at        balance.Place
	)
	if by != nil {
		algorithm = by.Algorithm
		if by.MaxAnswers > 0 {
			most = by.MaxAnswers
		}
	}
	for _, priority := range tiers {
		tier := tierRoom[:0]
		for i := range es {
			if e := &es[i]; e.Active && e.Priority == priority && e.Addr.Is4() == (q.Qtype == dns.TypeA) && e.Target() == "" {
				tier = append(tier, e)
			}
		}
		if algorithm.BySource() && len(tier) > 1 {
			s := by.standing(v)
			at, reply.by, reply.stands = s.place, by, s.how
			tier = distinct(tier)
		}
		balance.Order(algorithm, tier, most, at, rng)
		chosen = appendDistinct(chosen, tier, most)
	}
	if len(chosen) == 0 {
		return reply
	}
	ttl := chosen[0].TTL
	for _, e := range chosen[1:] {
		ttl = min(ttl, e.TTL)
	}
	hdr := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: ttl}
	rrs := make([]dns.RR, len(chosen))
	reply.Answer = rrs
	if q.Qtype == dns.TypeA {
		slab := make([]address4, len(chosen))
		for i, e := range chosen {
			s := &slab[i]
			s.ip = e.Addr.As4()
			s.rr = dns.A{Hdr: hdr, A: s.ip[:]}
			rrs[i] = &s.rr
		}
		return reply
	}
	slab := make([]address6, len(chosen))
	for i, e := range chosen {
		s := &slab[i]
		s.ip = e.Addr.As16()
		s.rr = dns.AAAA{Hdr: hdr, AAAA: s.ip[:]}
		rrs[i] = &s.rr
	}
	return reply
}

// appendDistinct appends at most n of a tier whose addresses are not among
// those before: two owners may publish one address, but a set of records has
// no duplicates (RFC 2181 §5).
func appendDistinct(chosen, tier []*catalog.Entry, n int) []*catalog.Entry {
	end := len(chosen) + n
next:
	for _, e := range tier {
		if len(chosen) == end {
			break
		}
		for _, c := range chosen {
			if c.Addr == e.Addr {
				continue next
			}
		}
		chosen = append(chosen, e)
	}
	return chosen
}

// pointer answers for the reverse name of an address in the table: with the
// origin's name, else the name in the highest tier, as everywhere of Active
// records only. An origin is always Active, so whether a service is healthy
// does not change the name of its host.
func (r *Rules) pointer(v *catalog.View, es []catalog.Entry, q dns.Question) Reply {
	var best *catalog.Entry
	for i := range es {
		e := &es[i]
		if !e.Active || e.Priority > catalog.Origin || e.Target() != "" {
			continue
		}
		if (best == nil || nearer(e, best)) && v.Active(*e) {
			best = e
		}
	}
	switch {
	case best != nil && q.Qtype == dns.TypePTR:
		return Reply{Authoritative: true, Answer: []dns.RR{&dns.PTR{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: best.TTL},
			Ptr: r.qualify(best.Name),
		}}}
	case best != nil && q.Qtype == dns.TypeANY:
		return r.minimalANY(q)
	}
	return r.nothing(v, dns.RcodeSuccess)
}

// nearer says whether a is the better name for the address it shares with b.
// Among equals the lesser name: all nodes shall say the same.
func nearer(a, b *catalog.Entry) bool {
	if x, y := a.Priority == catalog.Origin, b.Priority == catalog.Origin; x != y {
		return x
	}
	if a.Priority != b.Priority {
		return a.Priority < b.Priority
	}
	return a.Name < b.Name
}

// maxText is the longest name in text without the dot at its end, of letters that stand
// for themselves (RFC 1035 §2.3.4).
const maxText = maxWireName - 2

// fits says whether a name of the table is not too long to be written with the domain.
func (r *Rules) fits(name string) bool { return len(name)+1+len(r.Domain) <= maxText }

// qualify makes a name of the table a full one: without the domain, by which it is
// known, too, when there is no room for that.
func (r *Rules) qualify(name string) string {
	if r.Domain == "" || !r.fits(name) {
		return name + "."
	}
	return name + "." + r.Domain + "."
}

// minimalANY is the answer to ANY (RFC 8482 §4.2): that there is something,
// and no more, for a long answer to a short question serves attackers. The TTL
// is that of a negative answer, which is what it comes to.
func (r *Rules) minimalANY(q dns.Question) Reply {
	return Reply{Authoritative: true, Answer: []dns.RR{&dns.HINFO{
		Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: r.NegativeTTL},
		Cpu: "RFC8482",
	}}}
}

// nothing is a negative answer: NXDOMAIN, or NOERROR for a name that is ours
// but has no such record. The SOA tells the client how long it may believe it
// (RFC 2308 §5); without a domain there is none, and nobody caches.
func (r *Rules) nothing(v *catalog.View, rcode int) Reply {
	reply := Reply{Rcode: rcode, Authoritative: true}
	if r.Domain != "" {
		reply.Authority = []dns.RR{r.soa(v)}
	}
	return reply
}

// server is the name of this node as a server of the domain.
func (r *Rules) server() string {
	if r.Host == "" {
		return r.Domain + "."
	}
	return r.qualify(r.Host)
}

// soa makes the SOA of the domain. Its serial is that of the view, so each node
// has its own: a secondary has to keep to one of them.
func (r *Rules) soa(v *catalog.View) *dns.SOA {
	return &dns.SOA{
		// A negative answer lives for the lesser of the SOA's own TTL and
		// its last field (RFC 2308 §5).
		Hdr:     dns.RR_Header{Name: r.Domain + ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: r.NegativeTTL},
		Ns:      r.server(),
		Mbox:    r.qualify(hostmaster), // RFC 2142 §7
		Serial:  uint32(v.Serial()),    // compared by RFC 1982, so it may wrap
		Refresh: 3600,                  // the middle of what RFC 1912 §2.2 advises
		Retry:   600,
		Expire:  1209600,
		Minttl:  r.NegativeTTL,
	}
}

// ns makes the NS record of the domain. It has this node alone: every node is a
// server of the domain, and a list of them all would fill a packet.
func (r *Rules) ns() *dns.NS {
	return &dns.NS{
		Hdr: dns.RR_Header{Name: r.Domain + ".", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 3600},
		Ns:  r.server(),
	}
}
