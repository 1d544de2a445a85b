package nameserver

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// via gives resolvers for all names.
func via(addrs ...netip.AddrPort) []Resolver {
	var rs []Resolver
	for _, a := range addrs {
		rs = append(rs, Resolver{Addr: a})
	}
	return rs
}

// TestForwardBySuffix: a name goes to the resolvers of the longest suffix that
// fits it, and to nobody else.
func TestForwardBySuffix(t *testing.T) {
	named := func(addr string) netip.AddrPort {
		return upstream(t, func(w dns.ResponseWriter, r *dns.Msg) { answerA(w, r, addr) })
	}
	corp, east, rest := named("192.0.2.1"), named("192.0.2.2"), named("192.0.2.3")
	split := serve(t, Config{Rules: Rules{Domain: "local.example"}, Resolvers: []Resolver{
		{Suffix: "corp.example", Addr: corp}, {Suffix: "east.corp.example", Addr: east}, {Addr: rest},
	}})
	only := serve(t, Config{Rules: Rules{Domain: "local.example"}, Resolvers: []Resolver{{Suffix: "corp.example", Addr: corp}}})
	for _, tt := range []struct{ name, split, only string }{
		{"corp.example.", "192.0.2.1", "192.0.2.1"},
		{"a.b.CORP.Example.", "192.0.2.1", "192.0.2.1"},
		{"east.corp.example.", "192.0.2.2", "192.0.2.1"},
		{"a.east.corp.example.", "192.0.2.2", "192.0.2.1"},
		{"aeast.corp.example.", "192.0.2.1", "192.0.2.1"},
		{"xcorp.example.", "192.0.2.3", "REFUSED"},
		{`x\.corp.example.`, "192.0.2.3", "REFUSED"},
		{"example.", "192.0.2.3", "REFUSED"},
		{"unknown.local.example.", "192.0.2.3", "NXDOMAIN"}, // as without resolvers
		{".", "192.0.2.3", "REFUSED"},
	} {
		for i, at := range []netip.AddrPort{split, only} {
			r := ask(t, "udp", at, question(tt.name, dns.TypeA))
			got := dns.RcodeToString[r.Rcode]
			if len(r.Answer) == 1 {
				got = r.Answer[0].(*dns.A).A.String()
			}
			if want := []string{tt.split, tt.only}[i]; got != want {
				t.Errorf("%s with %d suffixes: %s, want %s", tt.name, 3-2*i, got, want)
			}
		}
	}
}
