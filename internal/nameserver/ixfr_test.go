package nameserver

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

// zoneText gives the records of a zone but for its SOA, one a line in order.
func zoneText(zone func(func(dns.RR) bool)) []string {
	var all []string
	for rr := range zone {
		if rr.Header().Rrtype != dns.TypeSOA {
			all = append(all, rr.String())
		}
	}
	slices.Sort(all)
	return all
}

// apply makes of a zone what a secondary makes of it by changes (RFC 1995 §4).
func apply(t *testing.T, zone []string, changes []dns.RR, from, to uint32) []string {
	t.Helper()
	serials, part := []uint32{}, 0
	for _, rr := range changes {
		if soa, ok := rr.(*dns.SOA); ok {
			serials = append(serials, soa.Serial)
			part++
			continue
		}
		switch i, there := slices.BinarySearch(zone, rr.String()); {
		case part == 2 && there:
			zone = slices.Delete(slices.Clone(zone), i, i+1)
		case part == 3 && !there:
			zone = slices.Insert(slices.Clone(zone), i, rr.String())
		default:
			t.Fatalf("part %d has %v, which is there: %v", part, rr, there)
		}
	}
	if !slices.Equal(serials, []uint32{to, from, to, to}) {
		t.Fatalf("serials %v, want %d and %d", serials, from, to)
	}
	return zone
}

// TestChanges: whatever happens to a table, what is sent as its changes makes the zone
// of the later table of that of the earlier one.
func TestChanges(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules Rules
		least int // of how many pairs the changes are sent, and not all
	}{
		{"plain", Rules{Domain: domain, Host: "host-1"}, 1000},
		{"by name", Rules{Domain: domain, Names: func(name string) bool { return name != "b" }}, 1000},
		{"fail open", Rules{Domain: domain, WhenEmpty: []WhenEmpty{{Match: func(string) bool { return true }, Answer: FailOpen}}}, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, 7))
			rules := &tt.rules
			nodes := make([]*catalog.Catalog, 4)
			for i := range nodes {
				nodes[i] = catalog.New(catalog.Options{Self: netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)})})
			}
			addrs := []netip.Addr{netip.MustParseAddr("fd00::1"), nodes[0].View().Self(), nodes[1].View().Self(), nodes[2].View().Self()}
			self := nodes[0]
			step := func() {
				i := rng.IntN(len(nodes))
				if i > 0 && rng.IntN(4) == 0 {
					self.SetStatus(nodes[i].View().Self(), []catalog.Status{catalog.Alive, catalog.Dead, catalog.Removed}[rng.IntN(3)], time.Unix(1, 0))
					return
				}
				nodes[i].Update(func(own *catalog.Edit) {
					r := catalog.Record{
						Name: []string{"a", "b", "c.d", "d", fmt.Sprintf("host-%d", i)}[rng.IntN(5)], Addr: addrs[rng.IntN(len(addrs))], TTL: uint32(rng.IntN(3)),
						Priority: catalog.Priority(1 + rng.IntN(4)), Weight: 1, Active: rng.IntN(3) > 0,
					}
					if rng.IntN(4) == 0 {
						own.Delete(r.Key())
						return
					}
					switch {
					case r.Priority == catalog.Origin:
						r.Weight, r.Active = 0, true
					case rng.IntN(2) == 0:
						r.Port = uint16(1 + rng.IntN(2))
					case rng.IntN(3) == 0:
						r = r.WithTarget("d")
					}
					own.Put(r) // some are refused
				})
				if i > 0 {
					self.Merge(nodes[i].View().Own())
				}
			}
			had, zone, sent := self.View(), zoneText(rules.zone(self.View())), 0
			for range 1000 {
				for range 1 + rng.IntN(3) {
					step()
				}
				now := self.View()
				want := zoneText(rules.zone(now))
				got := want
				if changes := rules.changes(had, now); changes != nil {
					sent++
					got = apply(t, zone, changes, uint32(had.Serial()), uint32(now.Serial()))
				}
				if !slices.Equal(got, want) {
					t.Fatalf("from\n%s\nby the changes\n%s\nwant\n%s", strings.Join(zone, "\n"), strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				had, zone = now, want
			}
			if sent < tt.least {
				t.Errorf("of %d pairs only were there changes", sent)
			}
		})
	}
}

// TestTransferChanges: who has a zone that was sent gets what has changed in it; who
// has another one, or one by other rules, gets all.
func TestTransferChanges(t *testing.T) {
	c := catalog.New(catalog.Options{Self: netip.MustParseAddr("10.0.0.1")})
	put := func(name string) uint32 {
		return uint32(c.Update(func(own *catalog.Edit) {
			fatal(t, own.Put(catalog.Record{Name: name, Addr: netip.MustParseAddr("10.0.0.1"), TTL: 60, Priority: catalog.Master, Weight: 1, Active: true}))
		}).Serial())
	}
	rules := Rules{Domain: domain, MaxAnswers: 8, AllowTransfer: everybody}
	s := New(Config{Bind: []netip.Addr{loopback}, Rules: rules, Log: quiet()}, c.View)
	start(t, s)
	conn := dial(t, "tcp", s.Addrs()[0])
	get := func(serial uint32) []string {
		t.Helper()
		send(t, conn, ixfr(domain+".", serial))
		var all []string
		for soas := 0; ; {
			r := receive(t, conn)
			for _, rr := range r.Answer {
				text := strings.Fields(rr.String())
				if soa, ok := rr.(*dns.SOA); ok {
					soas++
					text = []string{"SOA", fmt.Sprint(soa.Serial)}
				}
				all = append(all, strings.Join(text, " "))
			}
			if soas == 4 || soas == 2 && len(all) > 2 && strings.Contains(all[1], " NS ") {
				return all
			}
		}
	}
	one := put("one")
	if got := get(one - 1); len(got) != 4 { // two SOA, NS, A
		t.Errorf("of a serial that was never sent: %q", got)
	}
	two := put("two")
	three := put("three")
	soa := func(n uint32) string { return fmt.Sprintf("SOA %d", n) }
	want := []string{soa(three), soa(one), soa(three), "three.corp.example. 60 IN A 10.0.0.1", "two.corp.example. 60 IN A 10.0.0.1", soa(three)}
	got := get(one)
	if len(got) == len(want) {
		slices.Sort(got[3:5])
	}
	if !slices.Equal(got, want) {
		t.Errorf("changes\n%q\nwant\n%q", got, want)
	}
	if got := get(two); len(got) != 6 {
		t.Errorf("of a serial between: %q", got)
	}
	four := put("four")
	for range 2 * maxPast { // in small steps
		if got := get(three); !slices.Equal(got, []string{soa(four), soa(three), soa(four), "four.corp.example. 60 IN A 10.0.0.1", soa(four)}) {
			t.Fatalf("changes %q", got)
		}
	}
	s.Change(rules, nil)
	if got := get(three); len(got) != 7 {
		t.Errorf("by other rules: %q", got)
	}
	for i := range maxPast {
		last := put(fmt.Sprintf("more-%d", i))
		get(last - 1)
	}
	if got := get(four); len(got) != 7+maxPast {
		t.Errorf("of long ago: %q", got)
	}
	if n := len(s.past.views); n != maxPast {
		t.Errorf("%d tables are kept", n)
	}
}
