package node

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
	"murakumo/internal/config"
	"murakumo/internal/nameserver"
)

// TestBalancingOfTheFile: the rules of the file order the answers, and a reload
// that leaves them alone does not begin anew with what they told.
func TestBalancingOfTheFile(t *testing.T) {
	load := func(rules string) *config.Config {
		t.Helper()
		cfg, err := config.Parse("f", []byte("auth-key: 0123456789abcdef\nhost: 10.0.0.2, server-02\ndomain: example.com\nmax-ip-num: 3\n"+rules), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	self := netip.MustParseAddr("10.0.0.2")
	c := catalog.New(catalog.Options{Self: self})
	c.Update(func(own *catalog.Edit) {
		put := func(name, addr string) {
			if err := own.Put(catalog.Record{Name: name, Addr: netip.MustParseAddr(addr), Priority: catalog.Master, Weight: 100, Active: true, Static: addr != "10.0.0.2"}); err != nil {
				t.Error(err)
			}
		}
		put("app", "10.0.0.1")
		put("app", "10.0.0.2")
		for _, a := range []string{"10.0.1.41", "10.0.1.42", "10.0.1.43", "10.0.1.44"} {
			put("db-read", a)
		}
	})
	n := new(Node)
	answer := func(cfg *config.Config) string {
		r := n.rules(cfg)
		var addrs []string
		for _, rr := range nameserver.Answer(c.View(), &r, nil, dns.Question{Name: "DB-read.example.com.", Qtype: dns.TypeA}, nameserver.NoUpstream).Answer {
			addrs = append(addrs, strings.TrimPrefix(rr.(*dns.A).A.String(), "10.0.1."))
		}
		return strings.Join(addrs, " ")
	}
	const rules = "balancing:\n  ^Read: {}\n  -READ: {algorithm: fix_by_src, sources: app}\n  ^db: {algorithm: fix_by_src, sources: app, max-ip-num: 1}\n"
	if got, want := answer(load(rules)), "44 41 42"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	first := n.balancing
	if answer(load(rules + "resolver: 10.0.0.9\n")); n.balancing != first {
		t.Error("the same rules are others")
	}
	for _, other := range []string{
		strings.Replace(rules, "max-ip-num: 1", "max-ip-num: 2", 1), strings.Replace(rules, "  ^Read: {}\n", "", 1),
		strings.Replace(rules, "sources: app,", "sources: [app, web],", 1), strings.Replace(rules, "^db", "db", 1),
		strings.Replace(rules, "{algorithm: fix_by_src,", "{algorithm: fix_by_src2,", 1),
	} {
		answerless := n.rules(load(rules)).Balancing
		if n.rules(load(other)).Balancing == answerless {
			t.Errorf("no change:\n%s", other)
		}
	}
	if got, want := answer(load(strings.Replace(rules, "  -READ: {algorithm: fix_by_src, sources: app}\n", "", 1))), "44"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !n.rules(load("enable-cache: true\n")).Cache || n.rules(load("")).Cache {
		t.Error("enable-cache")
	}
}
