package nameserver

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

// TestQuickIsUpToDate: what has changed is never answered quickly as it was, not even
// before anybody has made ready what it is now.
func TestQuickIsUpToDate(t *testing.T) {
	c := catalog.New(catalog.Options{Self: netip.MustParseAddr("10.0.0.1")})
	put := func(last byte, active bool) {
		c.Update(func(own *catalog.Edit) {
			fatal(t, own.Put(catalog.Record{Name: "web", Addr: netip.AddrFrom4([4]byte{10, 0, 0, last}), TTL: 60, Priority: catalog.Master, Weight: 1, Active: active}))
		})
	}
	put(1, true)
	s := New(Config{Rules: Rules{MaxAnswers: 8}, Log: quiet()}, c.View)
	k := newQuick(s)
	raw := packed(t, question("web.", dns.TypeA))
	ready := func() { s.prepareFor(c.View(), s.policy.Load()) }
	check := func(what string, want bool) {
		t.Helper()
		if got := bothWays(t, s, k, raw, friend, 1); got != want {
			t.Errorf("%s: quick %v, want %v", what, got, want)
		}
	}
	check("nothing is ready", false)
	ready()
	check("ready", true)
	put(2, true)
	check("a record more", false)
	ready()
	check("ready again", true)
	put(2, false)
	check("one is ill", false)
	ready()
	check("ready again", true)
	s.Change(Rules{MaxAnswers: 1}, nil)
	check("other rules", false)
	ready()
	check("ready again", true)
}

// TestPrepare: each view and each policy is made ready by itself.
func TestPrepare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := catalog.New(catalog.Options{Self: netip.MustParseAddr("10.0.0.1")})
		s := New(Config{Rules: Rules{MaxAnswers: 8}, Log: quiet()}, c.View)
		go s.prepare(t.Context())
		for i := range 5 {
			synctest.Wait()
			if r := s.ready.Load(); r == nil || r.view != c.View() || r.policy != s.policy.Load() {
				t.Fatalf("%d: not ready", i)
			}
			if i%2 == 0 {
				s.Change(Rules{MaxAnswers: i + 1}, nil)
			} else {
				c.Update(func(own *catalog.Edit) {
					fatal(t, own.Put(catalog.Record{Name: fmt.Sprintf("n%d", i), Addr: netip.MustParseAddr("10.0.0.1"), TTL: 1, Priority: catalog.Master, Weight: 1, Active: true}))
				})
			}
		}
	})
}

// TestSnapshotModel: whatever happened to the table, in steps or all at once, a
// snapshot that followed it has what a new one would have.
func TestSnapshotModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	owner := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}) }
	var nodes []*catalog.Catalog
	for i := range 4 {
		nodes = append(nodes, catalog.New(catalog.Options{Self: owner(i)}))
	}
	self := nodes[0]
	s := New(Config{Rules: Rules{MaxAnswers: 8, Domain: domain}, Log: quiet()}, self.View)
	p := s.policy.Load()
	at := newSnapshot(self.View(), p)
	for step := range 600 {
		for range 1 + rng.IntN(4) {
			i := rng.IntN(len(nodes))
			nodes[i].Update(func(own *catalog.Edit) {
				r := catalog.Record{
					Name: fmt.Sprintf("n%d", rng.IntN(30)), Addr: netip.AddrFrom4([4]byte{10, 1, 0, byte(rng.IntN(20))}), TTL: uint32(50 + rng.IntN(2)),
					Priority: catalog.Priority(1 + rng.IntN(3)), Weight: uint16(1 + rng.IntN(3)), Active: rng.IntN(4) > 0,
				}
				if rng.IntN(9) == 0 {
					r.Static = true
					r.Checked = rng.IntN(2) == 0
				}
				if rng.IntN(3) == 0 {
					own.Delete(r.Key())
				} else if err := own.Put(r); err != nil {
					t.Log(err)
				}
			})
			if i > 0 {
				self.Merge(nodes[i].View().Own())
				self.SetStatus(owner(i), []catalog.Status{catalog.Alive, catalog.Alive, catalog.Dead}[rng.IntN(3)], time.Unix(int64(step), 0))
			}
		}
		v := self.View()
		at = at.next(v)
		sameSnapshot(t, at, newSnapshot(v, p))
		if t.Failed() {
			t.Fatalf("step %d", step)
		}
	}
}

// sameSnapshot compares what two snapshots have, by the keys of both.
func sameSnapshot(t *testing.T, got, want *snapshot) {
	t.Helper()
	for i := range got.parts {
		n := [2]int{}
		for j, side := range [][2]*snapshot{{got, want}, {want, got}} {
			side[0].parts[i].each(func(key, rest []byte) {
				n[j]++
				if other := side[1].find(key); string(other) != string(rest) {
					t.Errorf("side %d: %q: %x, on the other %x", j, key, rest, other)
				}
				if string(side[0].find(key)) != string(rest) {
					t.Errorf("side %d: %q is not found", j, key)
				}
			})
		}
		if n[0] != n[1] {
			t.Errorf("part %d: %v entries", i, n)
		}
	}
}
