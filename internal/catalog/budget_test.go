package catalog

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
)

// filled gives a catalog of n own records and m records in a foreign set.
func filled(tb testing.TB, n, m int) *Catalog {
	tb.Helper()
	c := New(Options{Self: addr1})
	c.Update(func(e *Edit) {
		for i := range n {
			if err := e.Put(rec(fmt.Sprintf("own-%d", i), addr1)); err != nil {
				tb.Fatal(err)
			}
		}
	})
	peer := New(Options{Self: addr2})
	peer.Update(func(e *Edit) {
		for i := range m {
			if err := e.Put(rec(fmt.Sprintf("peer-%d", i), addr2)); err != nil {
				tb.Fatal(err)
			}
		}
	})
	c.SetStatus(addr2, Alive, time0)
	c.Merge(peer.View().Own())
	return c
}

// TestReadsDoNotAllocate: a query costs what is written here and no more.
func TestReadsDoNotAllocate(t *testing.T) {
	v := filled(t, 1000, 1000).View()
	own := v.Own()
	v.Addr(addr2) // sorts, once
	for what, read := range map[string]func() bool{
		"name":         func() bool { return v.Name("peer-47") != nil },
		"foreign name": func() bool { return v.Name("example.com") == nil },
		"of an owner":  func() bool { return len(v.Name("peer-47").Of(addr2)) == 1 },
		"address":      func() bool { return len(v.Addr(addr2)) == 1000 },
		"member":       func() bool { _, ok := v.Member(addr2); return ok },
		"own":          func() bool { return v.Own() == own },
		"record":       func() bool { _, ok := own.Get(Key{"own-47", addr1}); return ok },
	} {
		if !read() {
			t.Errorf("%s: not found", what)
		}
		if n := testing.AllocsPerRun(100, func() { read() }); n != 0 {
			t.Errorf("%s: %v allocations, expected none", what, n)
		}
	}
}

// allocated gives the octets that fn allocates, on average of n calls.
func allocated(n int, fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		fn()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / uint64(n)
}

// TestOneChangeCostsWhatItTouches: in a table of 100,000 records, all of one
// address, a change copies a few nodes of each index. A copy of anything that
// is in proportion to the table would be megabytes.
func TestOneChangeCostsWhatItTouches(t *testing.T) {
	const budget = 16 << 10 // about thrice what it is
	costs := func(n int) map[string]uint64 {
		c := filled(t, n/2, n/2)
		k := Key{"own-47", addr1}
		m, _ := c.View().Member(addr2)
		peer := m.Set
		flip := func(r Record) Record {
			r.Active = !r.Active
			return r
		}
		view := c.View()
		return map[string]uint64{
			"update": allocated(200, func() {
				c.Update(func(e *Edit) {
					r, _ := e.Get(k)
					if err := e.Put(flip(r)); err != nil {
						t.Error(err)
					}
				})
			}),
			"delta": allocated(200, func() {
				r, _ := peer.Get(Key{"peer-47", addr2})
				next := grown(peer, []Record{flip(r)}, nil)
				d, ok := next.Delta(peer.Version())
				if !ok || c.MergeDelta(d) != Replaced {
					t.Error("the delta did not arrive")
				}
				peer = next
			}),
			"diff": allocated(200, func() {
				n := 0
				for range c.View().Diff(view) {
					n++
				}
				if n > 2 {
					t.Errorf("%d changes", n)
				}
			}),
		}
	}
	small, large := costs(1000), costs(100_000)
	for what, cost := range large {
		t.Logf("%s: %d octets of 100,000, %d of 1,000", what, cost, small[what])
		if cost > budget {
			t.Errorf("%s: %d octets, at most %d are allowed", what, cost, budget)
		}
	}
}

// TestRecordsAreSmall: what a table of many names holds of each, with its address and
// in all indexes.
func TestRecordsAreSmall(t *testing.T) {
	const n, budget = 50_000, 600 // octets; it is some 480
	c := New(Options{Self: addr1})
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	c.Update(func(e *Edit) {
		for i := range n {
			r := rec(fmt.Sprintf("thing-%05d", i), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
			r.Static = true
			if err := e.Put(r); err != nil {
				t.Error(err)
			}
		}
	})
	per := (used() - before) / n
	t.Logf("%d octets a record", per)
	if per > budget {
		t.Errorf("%d octets a record, at most %d are allowed", per, budget)
	}
	runtime.KeepAlive(c)
}
