package catalog

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// ofMany gives a set of n records: of names with dots and without, some of them with
// several addresses, of addresses with one name and with many, with ports, with targets,
// and of priorities of a later protocol.
func ofMany(rng *rand.Rand, o Owner, n int) *Set {
	var puts []Record
	for range n {
		r := rec(fmt.Sprintf("n%d", rng.IntN(n)), netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(1 + n/100)), byte(rng.IntN(256))}))
		switch rng.IntN(4) {
		case 0:
			r.Name += fmt.Sprintf(".z%d.example", rng.IntN(1+n/20))
		case 1:
			r.Addr = addr3
		}
		r.Static = rng.IntN(2) == 0
		switch rng.IntN(8) {
		case 0:
			r.Static, r = false, r.WithTarget("other.example.")
		case 1:
			r.Port = 80
		case 2:
			r.Priority = Origin + 1
		}
		if r.Check() == nil {
			puts = append(puts, r)
		}
	}
	return grown(NewSet(o), puts, nil)
}

// TestBegin: the indexes are the same whether they are made at once or step by step, with
// what hashes there may be, and lead back to nothing.
func TestBegin(t *testing.T) {
	name := func(v int) func(string) uint64 {
		return func(s string) uint64 { return maphash.String(seed, s) >> v }
	}
	for what, hash := range map[string]func(string) uint64{"maphash": nil, "few": name(60), "short": name(52)} {
		t.Run(what, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			s := recoded(t, ofMany(rng, addr2, 1000))
			first := func() *Catalog {
				c := New(Options{Self: addr1})
				v := c.View()
				v.names.hash, v.parents.hash = hash, hash
				if hash != nil {
					v.places.hash = func(a netip.Addr) uint64 { return hash(a.String()) }
				}
				return c
			}
			merged, alive, after := first(), first(), first()
			merged.SetStatus(addr2, Alive, time0)
			merged.Merge(s)
			alive.Merge(s)
			alive.SetStatus(addr2, Alive, time0)
			after.Update(put(t, rec("n1", addr1))) // then nothing begins any more
			after.SetStatus(addr2, Alive, time0)
			after.Merge(s)
			after.Update(func(e *Edit) { e.Delete(Key{"n1", addr1}) })

			var counts []map[string]int
			for _, c := range []*Catalog{merged, alive, after} {
				v := c.View()
				checkView(t, v)
				count := map[string]int{}
				for p := range v.parents.all() {
					count[p.name] = p.names
				}
				counts = append(counts, count)
			}
			for i, count := range counts[:2] {
				if fmt.Sprint(count) != fmt.Sprint(counts[2]) {
					t.Errorf("%d: how many names are below others:\n%v, step by step\n%v", i, count, counts[2])
				}
			}

			for _, c := range []*Catalog{merged, alive, after} {
				begun := c.View()
				keys := slices.Collect(func(yield func(Key) bool) {
					for r := range s.Records() {
						if !yield(r.Key()) {
							return
						}
					}
				})
				rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
				for held := s; len(keys) > 0; {
					n := min(len(keys), 250)
					held = grown(held, nil, keys[:n])
					keys = keys[n:]
					before := c.View()
					if c.Merge(held) != Replaced {
						t.Fatal("not merged")
					}
					checkView(t, c.View())
					checkDiffs(t, before, c.View())
				}
				v := c.View()
				if v.names.len()+v.places.len()+v.parents.len() != 0 {
					t.Errorf("%d names, %d addresses and %d parents of nothing", v.names.len(), v.places.len(), v.parents.len())
				}
				checkView(t, begun)
			}
		})
	}
}
