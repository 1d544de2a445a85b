package nameserver

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

// policies are those of the names that begin so; the first that matches counts.
func policies() []WhenEmpty {
	begins := func(prefix string) func(string) bool {
		return func(name string) bool { return strings.HasPrefix(name, prefix) }
	}
	return []WhenEmpty{{begins("open"), FailOpen}, {begins("last"), LastGood}, {begins("no"), NoData}, {begins("none"), FailOpen}}
}

func TestFailOpen(t *testing.T) {
	view := table(t, `
10.0.0.1  10.0.0.1  server-01  60  origin     0    active
10.0.0.1  10.0.0.1  open       60  backup     100  inactive  port=80 txt=b
10.0.0.2  10.0.0.2  open       60  master     100  inactive  port=80 txt=m
10.0.0.3  10.0.0.3  open       3   secondary  100  inactive
10.0.0.3  fd00::3   open       3   secondary  100  inactive
10.0.0.9  10.0.0.9  server-09  60  origin     0    active    down
10.0.0.9  10.0.0.9  open       60  master     100  inactive  down
10.0.0.9  10.0.0.9  open-dead  60  master     100  active    down port=81
10.0.0.9  10.0.0.9  open-cname 60  master     100  active    down cname=server-01
10.0.0.9  10.0.0.9  none       60  master     100  active    down
10.0.0.1  10.0.0.1  open-well  60  master     100  active
10.0.0.2  10.0.0.2  open-well  60  master     100  inactive
10.0.0.7  10.0.0.7  open-host  60  origin     0    active    down
10.0.0.2  10.0.0.2  other      60  master     100  inactive
10.0.0.2  10.0.0.2  last       60  master     100  inactive
`)
	rules := &Rules{MaxAnswers: 8, NegativeTTL: 5, Domain: domain, WhenEmpty: policies()}
	for _, tt := range []struct {
		name  string
		qtype uint16
		want  []string
		why   *reason
	}{
		{"open", dns.TypeA, []string{"open. 3 IN A 10.0.0.1", "open. 3 IN A 10.0.0.2", "open. 3 IN A 10.0.0.3", "open. 3 IN A 10.0.0.9"}, failOpen},
		{"open", dns.TypeAAAA, []string{"open. 3 IN AAAA fd00::3"}, failOpen},
		{"open", dns.TypeMX, nil, failOpen},
		{"open", dns.TypeTXT, []string{`open. 5 IN TXT "b"`, `open. 5 IN TXT "m"`}, failOpen},
		{"open-dead", dns.TypeA, []string{"open-dead. 5 IN A 10.0.0.9"}, failOpen},
		{"open-cname", dns.TypeA, []string{"open-cname. 5 IN CNAME server-01.corp.example.", "server-01.corp.example. 60 IN A 10.0.0.1"}, failOpen},
		{"open-host", dns.TypeA, []string{"open-host. 5 IN A 10.0.0.7"}, failOpen},
		{"_open-dead._tcp", dns.TypeSRV, []string{"_open-dead._tcp. 5 IN SRV 1 100 81 open-dead.corp.example."}, failOpen},
		{"_open._tcp", dns.TypeSRV, []string{"_open._tcp. 5 IN SRV 1 100 80 open.corp.example.", "_open._tcp. 5 IN SRV 3 100 80 server-01.corp.example."}, failOpen},
		{"open-well", dns.TypeA, []string{"open-well. 60 IN A 10.0.0.1"}, nil},
		{"none", dns.TypeA, nil, hostsGone}, // by the rule before it
		{"other", dns.TypeA, nil, noHealthy},
		{"last", dns.TypeA, nil, noHealthy}, // nobody remembers
	} {
		got := Answer(view, rules, seeded(), dns.Question{Name: tt.name + ".", Qtype: tt.qtype, Qclass: dns.ClassINET}, MayForward)
		if sorted(got.Answer) != text(tt.want...) || got.why != tt.why || !got.Authoritative || got.Rcode != 0 {
			t.Errorf("%s %s, why %v:\n%swant:\n%s", tt.name, dns.Type(tt.qtype), got.why, sorted(got.Answer), text(tt.want...))
		}
		if tt.name == "open" && tt.qtype == dns.TypeA && got.Answer[3].(*dns.A).A.String() != "10.0.0.1" {
			t.Errorf("the backup is not the last: %v", got.Answer)
		}
	}
}

// TestFailOpenWithout: a host that an operator took out is not answered.
func TestFailOpenWithout(t *testing.T) {
	c := catalog.New(catalog.Options{Self: netip.MustParseAddr("10.0.0.1")})
	other := catalog.New(catalog.Options{Self: netip.MustParseAddr("10.0.0.2")})
	other.Update(func(own *catalog.Edit) {
		fatal(t, own.Put(catalog.Record{Name: "open", Addr: netip.MustParseAddr("10.0.0.2"), TTL: 60, Priority: catalog.Master, Weight: 1, Active: true}))
	})
	c.Merge(other.View().Own())
	for status, want := range map[catalog.Status]int{catalog.Dead: 1, catalog.Left: 1, catalog.Removed: 0} {
		c.SetStatus(netip.MustParseAddr("10.0.0.2"), status, time.Unix(1, 0))
		got := Answer(c.View(), &Rules{MaxAnswers: 8, WhenEmpty: policies()}, seeded(), dns.Question{Name: "open.", Qtype: dns.TypeA, Qclass: dns.ClassINET}, NoUpstream)
		if len(got.Answer) != want {
			t.Errorf("%v: %v", status, got.Answer)
		}
	}
}

// TestLastGood: what was good last is answered for ten minutes after it was lost.
func TestLastGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoser(t)
		go l.s.remember(t.Context())
		l.put("last-1", "10.0.0.1", false)
		l.expect("never good", "last-1")
		for _, a := range []string{"10.0.0.1", "10.0.0.2"} {
			l.put("last-1", a, true)
			l.put("last-2", a, true)
			l.put("other", a, true)
		}
		for _, a := range []string{"10.0.0.1", "10.0.0.2"} {
			l.put("last-1", a, false)
			l.put("other", a, false)
		}
		l.expect("lost one after the other", "last-1", "10.0.0.2")
		l.expect("no such rule", "other")
		time.Sleep(lastGoodLife / 2)
		l.put("unrelated", "10.0.0.1", true)
		l.put("last-1", "10.0.0.3", false)
		l.expect("something else changed", "last-1", "10.0.0.2")
		time.Sleep(lastGoodLife/2 - time.Second)
		l.expect("almost ten minutes", "last-1", "10.0.0.2")
		time.Sleep(time.Second)
		l.expect("ten minutes", "last-1")
		l.put("last-1", "10.0.0.1", true)
		l.put("last-1", "10.0.0.1", false)
		l.expect("good again and lost again", "last-1", "10.0.0.1")
		if n := len(l.s.memory.now.Load().lost); n != 1 {
			t.Errorf("%d names are remembered", n)
		}
		l.s.Change(Rules{MaxAnswers: 8}, nil)
		l.put("last-2", "10.0.0.1", false)
		l.expect("the rule is gone", "last-1")
		l.s.Change(Rules{MaxAnswers: 8, WhenEmpty: policies()}, nil)
		l.put("last-2", "10.0.0.2", false)
		l.expect("lost under the new rule", "last-2", "10.0.0.2")
	})
}

// TestLastGoodAtOnce: who asks before the change was noticed gets no less.
func TestLastGoodAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoser(t)
		l.put("last", "10.0.0.1", true)
		l.put("last", "10.0.0.2", false)
		l.learn()
		l.put("last", "10.0.0.1", false)
		l.expect("just lost", "last", "10.0.0.1")
		l.learn()
		l.expect("just noticed", "last", "10.0.0.1")
	})
}

// loser is a table whose names get lost, and a server of it.
type loser struct {
	t testing.TB
	c *catalog.Catalog
	s *Server
}

func newLoser(t testing.TB) *loser {
	c := catalog.New(catalog.Options{Self: netip.MustParseAddr("10.0.0.1")})
	return &loser{t, c, New(Config{Log: quiet(), Rules: Rules{MaxAnswers: 8, WhenEmpty: policies()}}, c.View)}
}

// learn lets the server look at the table, as it does when it follows it.
func (l *loser) learn() { l.s.memory.learn(l.c.View(), &l.s.policy.Load().rules) }

// put changes a record, and lets those who follow the table notice.
func (l *loser) put(name, addr string, active bool) {
	l.c.Update(func(own *catalog.Edit) {
		fatal(l.t, own.Put(catalog.Record{Name: name, Addr: netip.MustParseAddr(addr), TTL: 60, Priority: catalog.Master, Weight: 1, Active: active}))
	})
	synctest.Wait()
}

func (l *loser) expect(when, name string, want ...string) {
	l.t.Helper()
	got := Answer(l.c.View(), &l.s.policy.Load().rules, seeded(), dns.Question{Name: name + ".", Qtype: dns.TypeA, Qclass: dns.ClassINET}, NoUpstream)
	why := noHealthy
	if len(want) > 0 {
		why = lastGood
	}
	var all []string
	for _, a := range want {
		all = append(all, fmt.Sprintf("%s. 5 IN A %s", name, a))
	}
	if sorted(got.Answer) != text(all...) || got.why != why {
		l.t.Errorf("%s: why %v\n%swant:\n%s", when, got.why, sorted(got.Answer), text(all...))
	}
}

// TestWhenEmptyWire: what a client sees of it.
func TestWhenEmptyWire(t *testing.T) {
	view := table(t, "10.0.0.1 10.0.0.1 open 60 master 1 inactive\n")
	s := New(Config{Bind: []netip.Addr{loopback}, Log: quiet(), Rules: Rules{MaxAnswers: 8, WhenEmpty: policies()}}, func() *catalog.View { return view })
	start(t, s)
	m := question("open.", dns.TypeA)
	m.SetEdns0(1232, false)
	r := ask(t, "udp", s.Addrs()[0], m)
	if lines(r.Answer) != "open. 5 IN A 10.0.0.1\n" || r.Rcode != dns.RcodeSuccess {
		t.Fatalf("%v", r)
	}
	if o := r.IsEdns0().Option; len(o) != 1 || o[0].(*dns.EDNS0_EDE).ExtraText != failOpen.text {
		t.Errorf("%v", r)
	}
}

// TestZoneWhenEmpty: secondaries get all where all is answered, but nothing that is
// only good for a while, for nobody would tell them when that is over.
func TestZoneWhenEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoser(t)
		l.s.Change(Rules{MaxAnswers: 8, Domain: domain, WhenEmpty: policies()}, nil)
		for _, active := range []bool{true, false} {
			l.put("open", "10.0.0.1", active)
			l.put("last", "10.0.0.1", active)
			l.learn()
		}
		l.expect("just lost", "last", "10.0.0.1")
		var got []dns.RR
		for rr := range l.s.policy.Load().rules.zone(l.c.View()) {
			if rr.Header().Rrtype == dns.TypeA {
				got = append(got, rr)
			}
		}
		if want := "open.corp.example. 5 IN A 10.0.0.1\n"; lines(got) != want {
			t.Errorf("in the zone:\n%swant:\n%s", lines(got), want)
		}
	})
}
