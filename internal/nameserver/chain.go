package nameserver

import (
	"slices"

	"github.com/miekg/dns"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

// maxChain is how many names of the table one may stand for, one behind the other.
// More than one is rarely of use; it bounds what a question can cost.
const maxChain = 8

// follow goes on behind a CNAME (RFC 1034 §3.6.2): with what the table says of the
// target, or, where that is not ours, by having the resolvers asked for it. Who may
// not have them asked gets what we know.
func (r *Rules) follow(v *catalog.View, rng balance.Rand, q dns.Question, up Upstream, next Reply) Reply {
	chain, doubts := next.Answer, next.why
	for {
		if len(chain) > maxChain {
			return Reply{Rcode: dns.RcodeServerFailure, why: endless}
		}
		q.Name = next.target
		next = r.answer(v, rng, q, up)
		if next.target == "" {
			break
		}
		chain = append(chain, next.Answer...)
		if doubts == nil {
			doubts = next.why
		}
	}
	next = next.because(doubts)
	switch {
	case next.Forward:
		next.target = q.Name
	case next.Rcode == dns.RcodeRefused:
		next.Rcode = dns.RcodeSuccess
	}
	// AA is about the name that was asked for (RFC 1035 §4.1.1), the code about the
	// last one (RFC 6604 §3).
	next.Authoritative = true
	next.Answer = append(chain, next.Answer...)
	return next
}

// joiner makes of the reply to the question that the client's led to the one to the
// client's own.
type joiner struct {
	to    replier
	q     *query
	chain []dns.RR
}

func (j *joiner) reply(a *client, raw []byte) { j.to.reply(a, j.q.joined(j.chain, raw)) }

// joined makes the reply to the client's question of that to the one that it led
// to.
func (in *inquiry) joined(reply []byte) []byte {
	if in.behind == nil {
		return reply
	}
	return in.behind.joined(in.chain, reply)
}

// joined makes the reply to a question of the reply for the name that the chain
// leads to. Where nobody could tell, neither do we: a resolver that gets half of a
// chain may take it for the whole.
func (q *query) joined(chain []dns.RR, reply []byte) []byte {
	var m dns.Msg
	if m.Unpack(reply) != nil {
		m = dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}}
	}
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				q.why = &reason{e.InfoCode, e.ExtraText}
			}
		}
		m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool { return rr == dns.RR(opt) })
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return q.pack(nil, &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}})
	}
	// AD would be about all of the answer, and nobody has signed our part.
	return q.pack(nil, &dns.Msg{
		MsgHdr: dns.MsgHdr{Rcode: m.Rcode, Authoritative: true},
		Answer: append(slices.Clip(chain), m.Answer...), Ns: m.Ns, Extra: m.Extra,
	})
}
