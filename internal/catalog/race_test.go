package catalog

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestWritersAndReaders lets many write and many read. In every view, all that
// was written in one go is of one version: weight, activity and TTL of two
// records of one set, by each index.
func TestWritersAndReaders(t *testing.T) {
	const writers, rounds = 4, 50
	c := New(Options{Self: addr1})
	mark := func(name string, i uint32) Record {
		r := rec(name, addr1)
		r.TTL, r.Weight, r.Active = i, uint16(i+1), i%2 == 0
		return r
	}
	checkPair := func(what string, a, b Record) {
		if a.TTL != b.TTL || a != mark(a.Name, a.TTL) || b != mark(b.Name, b.TTL) {
			t.Errorf("%s: %v beside %v", what, a, b)
		}
	}
	c.Update(put(t, mark("a", 0), mark("b", 0)))

	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for range writers {
		writing.Go(func() {
			for range rounds {
				c.Update(func(e *Edit) {
					r, _ := e.Get(Key{"a", addr1})
					put(t, mark("a", r.TTL+1), mark("b", r.TTL+1))(e)
				})
			}
		})
	}
	writing.Go(func() { // another node's sets, in and out of sight
		s := NewSet(addr2)
		for i := range uint32(rounds) {
			s = grown(s, []Record{mark("x", i), mark("y", i)}, nil)
			if d, ok := s.Delta(uint64(i)); i%2 == 0 || !ok || c.MergeDelta(d) != Replaced {
				c.Merge(s)
			}
			c.SetStatus(addr2, []Status{Alive, Dead}[i%2], time0)
			if i%10 == 0 {
				c.Expire(time0.Add(time.Hour), time.Hour)
				c.Forget(addr2)
			}
		}
	})
	for range 4 {
		reading.Go(func() { // as fast as it can
			for {
				v := c.View()
				checkPair("by name", v.Name("a").Entries()[0].Record, v.Name("b").Entries()[0].Record)
				if l := v.Addr(addr1); len(l) < 2 {
					t.Errorf("by address: %v", l)
				} else {
					checkPair("by address", l[0].Record, l[1].Record)
				}
				x, y := v.Name("x"), v.Name("y")
				if (x == nil) != (y == nil) {
					t.Errorf("x is %v, y is %v", x, y)
				} else if x != nil && len(x.Entries()) != len(y.Entries()) {
					t.Errorf("x has %v, y has %v", x.Entries(), y.Entries())
				} else if x != nil && len(x.Entries()) == 1 {
					checkPair("of the peer", x.Entries()[0].Record, y.Entries()[0].Record)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
		reading.Go(func() { // view by view, and misses nothing in the end
			v := c.View()
			var last Record
			for {
				select {
				case <-v.Superseded():
				case <-done:
					if v == c.View() {
						if r, _ := v.Own().Get(Key{"a", addr1}); last.Name != "" && last != r {
							t.Errorf("followed to %v, it is %v", last, r)
						}
						return
					}
				}
				next := c.View()
				if next.Serial() <= v.Serial() {
					t.Errorf("view %d after %d", next.Serial(), v.Serial())
				}
				for ch := range next.Diff(v) {
					if ch.Owner == addr1 && ch.New != nil && ch.New.Name == "a" {
						last = *ch.New
					}
				}
				v = next
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()

	own := c.View().Own()
	if want := uint64(1 + writers*rounds); own.Version() != want {
		t.Errorf("version %d, expected %d", own.Version(), want)
	}
	if r, _ := own.Get(Key{"b", addr1}); r.TTL != writers*rounds {
		t.Errorf("updates were lost: %v", r)
	}
}

// TestManyRecords takes 10,000 records of one owner through all that can happen
// to them.
func TestManyRecords(t *testing.T) {
	const n = 10_000
	a, b := New(Options{Self: addr1}), New(Options{Self: addr2})
	a.Update(func(e *Edit) {
		for i := range n {
			put(t, rec(fmt.Sprintf("name-%d", i), addr1))(e)
		}
	})
	if got := tell(t, a, b); got != Replaced {
		t.Fatal(got)
	}
	visible := func() (n int) {
		for range b.View().Entries() {
			n++
		}
		return n
	}
	b.SetStatus(addr1, Alive, time0)
	if got := visible(); got != n || len(b.View().Addr(addr1)) != n {
		t.Errorf("%d visible, %d by address", got, len(b.View().Addr(addr1)))
	}
	a.Update(func(e *Edit) { e.Delete(Key{"name-4711", addr1}) })
	d, ok := a.View().Own().Delta(1)
	if !ok {
		t.Fatal("no delta")
	}
	if size := len(d.Encode()); size > 100 {
		t.Errorf("a deletion travels in %d octets", size)
	}
	if got := b.MergeDelta(recodedDelta(t, d)); got != Replaced || visible() != n-1 {
		t.Errorf("%v, %d visible", got, visible())
	}
	b.SetStatus(addr1, Dead, time0)
	if got := visible(); got != 0 || b.View().Name("name-1") == nil {
		t.Errorf("%d visible, name-1: %v", got, b.View().Name("name-1"))
	}
	b.Expire(time0.Add(time.Hour), time.Hour)
	if b.View().names.len() != 0 || b.View().places.len() != 0 {
		t.Errorf("%d names and %d addresses are left", b.View().names.len(), b.View().places.len())
	}
}

// TestSupersededMeansThereIsANext: whoever sees that a view is superseded finds
// the later one, and does not spin on the one it had. The many who wait keep
// the writer busy for a while after the channel is closed; the one who polls
// looks at just that moment.
func TestSupersededMeansThereIsANext(t *testing.T) {
	c := New(Options{Self: addr1})
	for i := range uint32(20) {
		v := c.View()
		var ready, waiting sync.WaitGroup
		for range 1000 {
			ready.Add(1)
			waiting.Go(func() {
				ready.Done()
				<-v.Superseded()
			})
		}
		ready.Add(1)
		waiting.Go(func() {
			ready.Done()
			for {
				select {
				case <-v.Superseded():
					if c.View() == v {
						t.Error("superseded, but still the present view")
					}
					return
				default:
					runtime.Gosched()
				}
			}
		})
		ready.Wait()
		r := rec("a", addr1)
		r.TTL = i
		c.Update(put(t, r))
		waiting.Wait()
	}
}
