package nameserver

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// TestChange: other rules and resolvers hold from the next question on, and one
// that waits for a resolver still gets its answer from there.
func TestChange(t *testing.T) {
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	slow := upstream(t, func(w dns.ResponseWriter, m *dns.Msg) {
		asked <- struct{}{}
		<-answer
		w.WriteMsg(new(dns.Msg).SetRcode(m, dns.RcodeSuccess))
	})
	quick := upstream(t, func(w dns.ResponseWriter, m *dns.Msg) {
		w.WriteMsg(new(dns.Msg).SetRcode(m, dns.RcodeNameError))
	})
	s := newServer(t, Config{Bind: []netip.Addr{loopback}, Rules: Rules{Domain: domain}, Resolvers: via(slow)})
	start(t, s)
	at := s.Addrs()[0]

	waiting := dial(t, "udp", at)
	send(t, waiting, question("example.org.", dns.TypeA))
	<-asked
	s.Change(Rules{Domain: "other.example", MaxAnswers: 8, NegativeTTL: 5}, via(quick))
	if r := ask(t, "udp", at, question("example.org.", dns.TypeA)); r.Rcode != dns.RcodeNameError {
		t.Errorf("after the change: %v, want the new resolver's NXDOMAIN", r)
	}
	if r := ask(t, "udp", at, question("server-01.other.example.", dns.TypeA)); len(r.Answer) == 0 {
		t.Errorf("the new domain is not known: %v", r)
	}
	close(answer)
	r, err := waiting.ReadMsg()
	fatal(t, err)
	if r.Rcode != dns.RcodeSuccess {
		t.Errorf("the question that waited got %v", r)
	}

	s.Change(Rules{MaxAnswers: 8}, nil)
	if r := ask(t, "udp", at, question("example.org.", dns.TypeA)); r.Rcode != dns.RcodeRefused || r.RecursionAvailable {
		t.Errorf("without resolvers: %v", r)
	}
}

// TestChangeKeepsWhatIsKnown: a resolver that failed is still asked last when
// the list it stands in has changed.
func TestChangeKeepsWhatIsKnown(t *testing.T) {
	a, b, c := netip.MustParseAddrPort("10.0.0.1:53"), netip.MustParseAddrPort("10.0.0.2:53"), netip.MustParseAddrPort("10.0.0.3:53")
	s := newServer(t, Config{Resolvers: via(a, b)})
	s.policy.Load().routes.rest.resolvers[0].health.down = true
	s.Change(Rules{}, via(a, c))
	if r := s.policy.Load().routes.rest.resolvers; len(r) != 2 || !r[0].health.down || r[1].health.down || r[1].addr != c {
		t.Errorf("resolvers %+v %+v", r[0], r[1])
	}
}
