package nameserver

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

// bySource is a rule for all names.
func bySource(a balance.Algorithm, sources ...string) *Balancing {
	return NewBalancing([]Balance{{Match: func(string) bool { return true }, Label: "all", Algorithm: a, Sources: sources}})
}

// answered gives the addresses of an answer as last octets.
func answered(v *catalog.View, r *Rules, rng balance.Rand, name string) string {
	var octets []string
	for _, rr := range Answer(v, r, rng, dns.Question{Name: name, Qtype: dns.TypeA, Qclass: dns.ClassINET}, NoUpstream).Answer {
		octets = append(octets, strconv.Itoa(int(rr.(*dns.A).A.To4()[3])))
	}
	return strings.Join(octets, " ")
}

// TestFixBySource: what the three sources see, each asking its own node, for the
// examples of package balance.
func TestFixBySource(t *testing.T) {
	for _, tt := range []struct{ servers, lists string }{
		{"41 42 43", "41 42 43 | 42 43 41 | 43 41 42"},
		{"41 42", "41 42 | 42 41 | 42 41"},
		{"41:300 42:100", "41 42 | 41 42 | 42 41"},
		{"41:1 42:1000", "42 41 | 42 41 | 42 41"},
		{"41 42 43 44 45", "43 44 45 41 42 | 44 45 41 42 43 | 45 41 42 43 44"},
	} {
		for source, want := range strings.Split(tt.lists, " | ") {
			// This node is the source; the first line's owner is this node.
			var b strings.Builder
			for i := range 3 {
				n := (source+i)%3 + 1
				fmt.Fprintf(&b, "10.0.0.%d 10.0.0.%d app 60 master 100 active\n", n, n)
			}
			for _, s := range strings.Fields(tt.servers) {
				octet, weight, _ := strings.Cut(s+":100", ":")
				weight, _, _ = strings.Cut(weight, ":")
				fmt.Fprintf(&b, "10.0.1.%s 10.0.1.%s db 60 master %s active\n", octet, octet, weight)
			}
			v := table(t, b.String())
			r := &Rules{MaxAnswers: 8, Balancing: bySource(balance.FixBySource, "app")}
			for range 3 { // from the table, then from memory
				if got := answered(v, r, nil, "db."); got != want {
					t.Errorf("%s, source %d: %s, want %s", tt.servers, source+1, got, want)
				}
			}
			// The same first, the rest at random.
			r.Balancing = bySource(balance.FixFirstBySource, "app")
			first, _, _ := strings.Cut(want, " ")
			seen, rng := map[string]bool{}, seeded()
			for range 100 {
				got := answered(v, r, rng, "db.")
				seen[got] = true
				if !strings.HasPrefix(got, first+" ") || len(got) != len(want) {
					t.Errorf("fix_by_src2, %s, source %d: %s, want %s and the rest", tt.servers, source+1, got, first)
				}
			}
			if servers := len(strings.Fields(want)); servers > 2 && len(seen) < 2 {
				t.Errorf("fix_by_src2, %s: always %v", tt.servers, seen)
			}
		}
	}
}

// appTable has the node 10.0.0.2 as one of the hosts that ask, and servers of
// every tier.
const appTable = `
10.0.0.2  10.0.0.2   app       60  master     100  active
10.0.0.2  fd00::2    app       60  master     100  active
10.0.0.1  10.0.0.1   app       60  backup     100  active
10.0.0.1  fd00::1    app       60  backup     100  active
10.0.0.3  10.0.0.3   app       60  master     100  inactive
10.0.0.4  10.0.0.4   app       60  master     100  active  down
10.0.0.5  10.0.0.5   batch     60  secondary  100  active
10.0.1.1  10.0.1.41  db        60  master     100  active
10.0.1.2  10.0.1.42  db        60  master     100  active
10.0.1.3  10.0.1.43  db        60  master     100  active
10.0.1.4  10.0.1.51  db        60  secondary  100  active
10.0.1.5  10.0.1.52  db        60  secondary  100  active
10.0.1.6  10.0.1.53  db        60  secondary  100  active
10.0.1.1  10.0.1.61  spare     60  backup     100  active
10.0.1.2  10.0.1.62  spare     60  backup     100  active
10.0.1.3  10.0.1.63  spare     60  backup     100  inactive
10.0.1.1  10.0.1.71  twice     60  master     100  active
10.0.1.2  10.0.1.71  twice     60  master     100  active
10.0.1.3  10.0.1.72  twice     60  master     100  active
10.0.1.1  10.0.1.81  one       60  master     100  active
`

// TestBalancingRules: which rule is whose, and what it does with the tiers.
func TestBalancingRules(t *testing.T) {
	rule := func(prefix string, b Balance) Balance {
		b.Match = func(name string) bool { return strings.HasPrefix(name, prefix) }
		return b
	}
	fixed := func(sources ...string) Balance { return Balance{Algorithm: balance.FixBySource, Sources: sources} }
	v := table(t, appTable)
	for _, tt := range []struct {
		what  string
		rules []Balance
		name  string
		want  string // "": any order
	}{
		// Places: 10.0.0.1 and, second of two, 10.0.0.2. Inactive sources and
		// those of dead nodes are none, priorities do not matter, and a host
		// with two addresses counts once.
		{"each tier for itself", []Balance{rule("db", fixed("app"))}, "db.", "43 41 42 53 51 52"},
		{"the name under the domain", []Balance{rule("db", fixed("app"))}, "DB.corp.example.", "43 41 42 53 51 52"},
		{"several sources", []Balance{rule("db", fixed("batch", "app"))}, "db.", "42 43 41 52 53 51"},
		{"a source twice", []Balance{rule("db", fixed("app", "app"))}, "db.", "43 41 42 53 51 52"},
		{"a source that is no name", []Balance{rule("db", fixed("nobody", "app"))}, "db.", "43 41 42 53 51 52"},
		{"most addresses of the rule", []Balance{rule("db", Balance{Algorithm: balance.FixBySource, Sources: []string{"app"}, MaxAnswers: 2})}, "db.", "43 41 53 51"},
		{"the first that matches", []Balance{rule("x", Balance{}), rule("d", fixed("app")), rule("db", Balance{Algorithm: balance.FixBySource, Sources: []string{"app"}, MaxAnswers: 1})}, "db.", "43 41 42 53 51 52"},
		{"in their order", []Balance{rule("db", Balance{Algorithm: balance.FixBySource, Sources: []string{"app"}, MaxAnswers: 1}), rule("d", fixed("app"))}, "db.", "43 53"},
		{"backups", []Balance{rule("spare", fixed("app"))}, "spare.", "62 61"},
		{"an address of two owners is one", []Balance{rule("twice", fixed("app"))}, "twice.", "72 71"},
		{"a single one", []Balance{rule("one", fixed("app"))}, "one.", "81"},
		{"random", []Balance{rule("db", Balance{MaxAnswers: 2})}, "db.", ""},
		{"no rule", []Balance{rule("x", fixed("app"))}, "db.", ""},
		{"none of the sources", []Balance{rule("db", fixed("batch"))}, "db.", ""},
		{"no source is Active", []Balance{rule("db", fixed("nobody"))}, "db.", ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r := &Rules{MaxAnswers: 8, Domain: domain, Balancing: NewBalancing(tt.rules)}
			seen, rng := map[string]bool{}, seeded()
			for range 50 {
				seen[answered(v, r, rng, tt.name)] = true
			}
			if tt.want == "" && len(seen) < 5 {
				t.Errorf("always %v", seen)
			}
			if tt.want != "" && (len(seen) != 1 || !seen[tt.want]) {
				t.Errorf("got %v, want %s", seen, tt.want)
			}
		})
	}
}

// TestBalancingFollowsTheTable: the place among the sources is that of the
// present table, for every view that the rules are asked with.
func TestBalancingFollowsTheTable(t *testing.T) {
	self := netip.MustParseAddr("10.0.0.2")
	c := catalog.New(catalog.Options{Self: self})
	put := func(rs ...catalog.Record) *catalog.View {
		return c.Update(func(own *catalog.Edit) {
			for _, r := range rs {
				fatal(t, own.Put(r))
			}
		})
	}
	server := func(name, addr string, active bool) catalog.Record {
		return catalog.Record{Name: name, Addr: netip.MustParseAddr(addr), Priority: catalog.Master, Weight: 100, Active: active, Static: addr != "10.0.0.2"}
	}
	r := &Rules{MaxAnswers: 8, Balancing: bySource(balance.FixBySource, "app")}
	// Things without a daemon count among the sources by their own addresses.
	first := put(server("db", "10.0.1.41", true), server("db", "10.0.1.42", true), server("app", "10.0.0.2", true), server("app", "10.0.0.3", true))
	second := put(server("app", "10.0.0.3", false), server("app", "10.0.0.1", true))
	third := put(server("other", "10.0.0.3", true)) // nothing to do with it
	for _, tt := range []struct {
		v    *catalog.View
		want string
	}{{first, "41 42"}, {second, "42 41"}, {third, "42 41"}, {first, "41 42"}, {second, "42 41"}} {
		if got := answered(tt.v, r, seeded(), "db."); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}

// TestBalancingTells: that the order is random for want of a place is told
// once, not per query, and again when that has changed.
func TestBalancingTells(t *testing.T) {
	self := netip.MustParseAddr("10.0.0.2")
	c := catalog.New(catalog.Options{Self: self})
	app := func(addr string, active bool) {
		c.Update(func(own *catalog.Edit) {
			fatal(t, own.Put(catalog.Record{Name: "app", Addr: netip.MustParseAddr(addr), Priority: catalog.Master, Weight: 100, Active: active, Static: addr != "10.0.0.2"}))
		})
	}
	c.Update(func(own *catalog.Edit) {
		for _, a := range []string{"10.0.1.41", "10.0.1.42"} {
			fatal(t, own.Put(catalog.Record{Name: "db", Addr: netip.MustParseAddr(a), Priority: catalog.Master, Weight: 100, Active: true}))
		}
		fatal(t, own.Put(catalog.Record{Name: "one", Addr: self, Priority: catalog.Master, Weight: 100, Active: true}))
	})
	log := &logBuffer{}
	s := New(Config{Rules: Rules{MaxAnswers: 8, Balancing: bySource(balance.FixBySource, "app", "batch")}, Log: log.logger()}, c.View)
	ask := func(name string) {
		t.Helper()
		for range 3 {
			if v := s.handle(packed(t, question(name, dns.TypeA)), nil, friend, false); v.reply == nil {
				t.Fatal("no reply")
			}
		}
	}
	const about = ` destination=all algorithm=fix_by_src sources="app, batch"`
	var want []string
	told := func(line string) {
		t.Helper()
		if line != "" {
			want = append(want, line+about)
		}
		ask("db.")
		if got := strings.Split(strings.TrimSpace(log.String()), "\n"); !slices.Equal(got, want) {
			t.Fatalf("log:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	ask("one.") // of one address there is no order
	told(`level=WARN msg="balancing: no source is Active: answering in random order"`)
	app("10.0.0.3", true)
	told(`level=WARN msg="balancing: this node is none of the Active sources: answering in random order"`)
	app("10.0.0.4", true)
	told("")
	app("10.0.0.2", true)
	told(`level=INFO msg="balancing: this node is one of the sources again"`)
	app("10.0.0.3", false)
	told("")
	app("10.0.0.2", false)
	told(`level=WARN msg="balancing: this node is none of the Active sources: answering in random order"`)
}

// TestBalancingRemembers: of many names the memory keeps what it has room for,
// and every name has its own rule.
func TestBalancingRemembers(t *testing.T) {
	asked := 0
	b := NewBalancing([]Balance{
		{Match: func(name string) bool { asked++; return strings.HasSuffix(name, "7") }},
		{Match: func(name string) bool { return strings.HasSuffix(name, "8") }},
	})
	for range 2 {
		for i := range 5000 {
			var want *balancer
			if last := i % 10; last == 7 || last == 8 {
				want = b.rules[last-7]
			}
			if got := b.of(fmt.Sprint(i)); got != want {
				t.Fatalf("%d: another rule", i)
			}
		}
	}
	asked = 0
	for range 100 {
		b.of("17")
	}
	if asked > 1 {
		t.Errorf("the expression was asked %d times for one name", asked)
	}
}

// TestStaticAnswers: a thing that several nodes tell of is answered once, as long
// as no check says that it is bad; also by its address.
func TestStaticAnswers(t *testing.T) {
	r := &Rules{MaxAnswers: 8}
	for _, tt := range []struct{ what, table, answer, pointer string }{
		{"three tell, none checks", `
			10.0.0.1 10.0.9.9 rds 60 master 100 active static
			10.0.0.2 10.0.9.9 rds 30 master 100 active static
			10.0.0.3 10.0.9.9 rds 60 master 100 active static`,
			text("rds. 30 IN A 10.0.9.9"), text("9.9.0.10.in-addr.arpa. 60 IN PTR rds.")},
		{"one checks, and it is bad", `
			10.0.0.1 10.0.9.9 rds 60 master 100 active static
			10.0.0.2 10.0.9.9 rds 60 master 100 inactive static checked`, "", ""},
		{"the one who checked is dead", `
			10.0.0.1 10.0.9.9 rds 60 master 100 active static
			10.0.0.2 10.0.9.9 rds 60 master 100 inactive down static checked`,
			text("rds. 60 IN A 10.0.9.9"), text("9.9.0.10.in-addr.arpa. 60 IN PTR rds.")},
		{"a bad check here", `
			10.0.0.1 10.0.9.9 rds 60 master 100 inactive static checked
			10.0.0.2 10.0.9.9 rds 60 master 100 active static`, "", ""},
		{"no verdict yet", `
			10.0.0.1 10.0.9.9 rds 60 master 100 inactive static
			10.0.0.2 10.0.9.9 rds 60 master 100 active static`,
			text("rds. 60 IN A 10.0.9.9"), text("9.9.0.10.in-addr.arpa. 60 IN PTR rds.")},
		{"its backup when it is bad", `
			10.0.0.1 10.0.0.1 rds 60 backup 100 active
			10.0.0.2 10.0.9.9 rds 60 master 100 inactive static checked`,
			text("rds. 60 IN A 10.0.0.1"), ""},
		{"another name of the address is good", `
			10.0.0.1 10.0.9.9 rds 60 master 100 inactive static checked
			10.0.0.1 10.0.9.9 sds 60 master 100 active static`, "", text("9.9.0.10.in-addr.arpa. 60 IN PTR sds.")},
	} {
		t.Run(tt.what, func(t *testing.T) {
			v := table(t, tt.table)
			a := Answer(v, r, seeded(), dns.Question{Name: "rds.", Qtype: dns.TypeA}, NoUpstream)
			if got := lines(a.Answer); got != tt.answer || a.Rcode != dns.RcodeSuccess {
				t.Errorf("answer:\n%swant:\n%s", got, tt.answer)
			}
			p := Answer(v, r, seeded(), dns.Question{Name: "9.9.0.10.in-addr.arpa.", Qtype: dns.TypePTR}, NoUpstream)
			if got := lines(p.Answer); got != tt.pointer {
				t.Errorf("pointer:\n%swant:\n%s", got, tt.pointer)
			}
		})
	}
	// Shares count the thing once, too.
	v := table(t, `
		10.0.0.1 10.0.1.41 db  60 master 100 active static
		10.0.0.2 10.0.1.41 db  60 master 100 active static
		10.0.0.3 10.0.1.41 db  60 master 100 active static
		10.0.0.1 10.0.1.42 db  60 master 100 active static`)
	first, rng := map[string]int{}, seeded()
	for range 10_000 {
		first[answered(v, r, rng, "db.")]++
	}
	if n := first["41 42"]; n < 4800 || n > 5200 || n+first["42 41"] != 10_000 {
		t.Errorf("who came first: %v", first)
	}
}
