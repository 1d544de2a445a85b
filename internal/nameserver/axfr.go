package nameserver

import (
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

const (
	// maxTransfers is how many zones are on their way at a time; one more gets
	// SERVFAIL, and its secondary comes again.
	maxTransfers = 8

	// transferSize is about how many octets a message of a transfer has: within
	// 16 KiB names can be compressed.
	transferSize = 16000
)

var (
	notTransferred   = &reason{dns.ExtendedErrorCodeProhibited, "allow-transfer does not have this client"}
	tooManyTransfers = &reason{dns.ExtendedErrorCodeOther, "too many zone transfers at a time"}
	wantsTCP         = &reason{dns.ExtendedErrorCodeNotSupported, "a zone is transferred over TCP"}
)

// zoneSets gives the sets of records that a name of the table can stand for: names
// without the domain, and types.
func zoneSets(n *catalog.Name) iter.Seq2[string, uint16] {
	return func(yield func(string, uint16) bool) {
		for _, t := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeCNAME} {
			if !yield(n.Name(), t) {
				return
			}
		}
		if n.Serves() {
			_ = yield(catalog.ServiceName(n.Name(), "_tcp"), dns.TypeSRV) &&
				yield(catalog.ServiceName(n.Name(), "_udp"), dns.TypeSRV)
		}
	}
}

// noRand draws nothing: a zone is the same each time. (Of two owners of one address one
// is drawn, and with it the TTL.)
type noRand struct{}

func (noRand) Uint64() uint64 { return 0 }

// whole gives the rules for zones: what Answer has for every name and type, whoever
// asks and however many there are.
func (r *Rules) whole() *Rules {
	uncut := *r
	uncut.MaxAnswers, uncut.Balancing = math.MaxInt32, nil
	// What is good for ten minutes more is not for who learns of changes only.
	uncut.last = nil
	return &uncut
}

// zone gives all records of the domain, and none of those that are passed on. First
// and last is the SOA (RFC 5936 §2.2).
func (r *Rules) zone(v *catalog.View) iter.Seq[dns.RR] {
	r = r.whole()
	return func(yield func(dns.RR) bool) {
		soa := r.soa(v)
		if !yield(soa) || !yield(r.ns()) {
			return
		}
		for n := range v.Names() {
			for rr := range r.records(v, n) {
				if !yield(rr) {
					return
				}
			}
		}
		yield(soa)
	}
}

// records gives those of one name of the table. The rules are whole.
func (r *Rules) records(v *catalog.View, n *catalog.Name) iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		for name, qtype := range zoneSets(n) {
			if !r.fits(name) { // nobody can ask for it in the zone
				continue
			}
			q := dns.Question{Name: r.qualify(name), Qtype: qtype, Qclass: dns.ClassINET}
			for _, rr := range Answer(v, r, noRand{}, q, NoUpstream).Answer {
				// The records of a CNAME's target are in the answer, too: they
				// come in their turn.
				if h := rr.Header(); h.Rrtype == qtype && h.Name == q.Name && !yield(rr) {
					return
				}
			}
		}
	}
}

// transfer is a zone on its way to a secondary: the query with its rules, and the
// table of one moment, so that what arrives is what one serial stands for.
type transfer struct {
	q      *query
	policy *policy
	view   *catalog.View
	// since is the table that the secondary has, which is to have the changes; nil:
	// it gets all.
	since *catalog.View
}

// records gives those that are sent, in their order. changes says whether they are
// changes.
func (x *transfer) records() (rrs iter.Seq[dns.RR], changes bool) {
	rules := &x.policy.rules
	if x.since != nil {
		if rrs := rules.changes(x.since, x.view); rrs != nil {
			return slices.Values(rrs), true
		}
	}
	return rules.zone(x.view), false
}

// messages gives the replies that records are sent in.
func (x *transfer) messages(records iter.Seq[dns.RR]) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var rrs []dns.RR
		size := 0
		flush := func() bool {
			reply := x.q.pack(nil, &dns.Msg{MsgHdr: dns.MsgHdr{Authoritative: true}, Answer: rrs})
			rrs, size = nil, 0
			return yield(reply)
		}
		for rr := range records {
			if n := dns.Len(rr); size+n > transferSize && len(rrs) > 0 && !flush() {
				return
			} else {
				size += n
			}
			rrs = append(rrs, rr)
		}
		flush() // at least the last SOA
	}
}

// answerTransfer answers a question for the zone, or for what has changed in it
// (RFC 5936, RFC 1995).
func (s *Server) answerTransfer(q *query, m *dns.Msg, buf []byte, now *policy, tcp bool) verdict {
	rules := &now.rules
	reply := func(rcode int, why *reason, answer ...dns.RR) verdict {
		q.why = why
		return verdict{reply: q.pack(buf, &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: rcode, Authoritative: len(answer) > 0}, Answer: answer})}
	}
	incremental := q.question.Qtype == dns.TypeIXFR
	name := strings.ToLower(strings.TrimSuffix(q.question.Name, "."))
	switch {
	case !rules.mayTransfer(q.from.Addr()):
		return reply(dns.RcodeRefused, notTransferred)
	case name == "" || name != rules.Domain:
		return reply(dns.RcodeNotAuth, notOurs) // RFC 5936 §2.2.1
	case !tcp && !incremental:
		return reply(dns.RcodeRefused, wantsTCP) // RFC 5936 §4.2
	}
	v := s.view()
	x := &transfer{q: q, policy: now, view: v}
	if incremental {
		if len(m.Ns) != 1 {
			return reply(dns.RcodeFormatError, nil) // RFC 1995 §3
		}
		has, ok := m.Ns[0].(*dns.SOA)
		if !ok || strings.ToLower(strings.TrimSuffix(has.Hdr.Name, ".")) != name {
			return reply(dns.RcodeFormatError, nil)
		}
		soa := rules.soa(v)
		newer := int32(soa.Serial - has.Serial) // RFC 1982 §3.2
		if newer < 0 && s.ahead.allow() {
			s.log.Warn("a secondary has a later zone than this node, and takes nothing from it until its serial is higher: "+
				"did it have another primary, or did this node lose its state? Have it transfer the zone anew, whatever the serials",
				"secondary", q.from.Addr(), "zone", name, "its serial", has.Serial, "serial", soa.Serial)
		}
		// Nothing newer, or more than a packet takes: the SOA alone says so (RFC
		// 1995 §2).
		if !tcp || newer <= 0 {
			return reply(dns.RcodeSuccess, nil, soa)
		}
		x.since = s.past.of(has.Serial, now)
	}
	return verdict{transfer: x}
}

// sendTransfer writes a zone; false: the connection has ended.
func (s *Server) sendTransfer(x *transfer, write func([]byte) bool) bool {
	select {
	case s.transfers <- struct{}{}:
		defer func() { <-s.transfers }()
	default:
		x.q.why = tooManyTransfers
		return write(x.q.pack(nil, &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}}))
	}
	zone, serial := x.policy.rules.Domain, uint32(x.view.Serial())
	records, changes := x.records()
	for reply := range x.messages(records) {
		if !write(reply) {
			s.log.Warn("zone transfer broken off: the secondary did not take it", "client", x.q.from, "zone", zone)
			return false
		}
	}
	s.past.keep(x.view, x.policy)
	s.log.Info("zone transferred", "client", x.q.from, "zone", zone, "serial", serial, "changes", changes)
	return true
}
