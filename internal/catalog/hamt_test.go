package catalog

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// hashes are ways of hashing that lead a table into each of its corners.
var hashes = map[string]func(int) uint64{
	"maphash":             nil,
	"all collide":         func(int) uint64 { return 7 },
	"few values":          func(k int) uint64 { return uint64(k % 5) },
	"differ in last bits": func(k int) uint64 { return uint64(k) << 60 },
	"long common prefix":  func(k int) uint64 { return uint64(k%3)<<62 | uint64(k%2)<<40 },
	"small":               func(k int) uint64 { return uint64(k) },
}

// keyedInt is a value that is its own key.
type keyedInt struct{ k int }

func (n *keyedInt) key() int { return n.k }

// version is a table beside the map that it should equal.
type version struct {
	table table[int, *keyedInt]
	model map[int]*keyedInt
}

func (v version) check(t *rapid.T, keys int) {
	if v.table.len() != len(v.model) {
		t.Fatalf("len %d, expected %d", v.table.len(), len(v.model))
	}
	for k := range keys {
		if v.table.get(k) != v.model[k] {
			t.Fatalf("get(%d) = %p, expected %p", k, v.table.get(k), v.model[k])
		}
	}
	got := map[int]*keyedInt{}
	for n := range v.table.all() {
		if got[n.k] != nil {
			t.Fatalf("all gave %d twice", n.k)
		}
		got[n.k] = n
	}
	if !maps.Equal(got, v.model) {
		t.Fatalf("all: %v, expected %v", got, v.model)
	}
}

// TestTableModel changes random versions of a table and then compares each of
// them, not only the last, with a Go map, and every pair by diff.
func TestTableModel(t *testing.T) {
	const keys = 40
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				versions := []version{{table[int, *keyedInt]{hash: hash}, map[int]*keyedInt{}}}
				for range rapid.IntRange(1, 60).Draw(t, "steps") {
					old := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "version")]
					k := rapid.IntRange(0, keys-1).Draw(t, "key")
					next := version{model: maps.Clone(old.model)}
					switch {
					case rapid.Bool().Draw(t, "batch"):
						// Its steps may change each other's outcome, and no earlier one.
						next.table = old.table
						b := new(batch)
						for _, k := range rapid.SliceOfN(rapid.IntRange(-keys, keys-1), 0, 2*keys).Draw(t, "keys") {
							if k < 0 {
								next.table = next.table.deleteBy(b, -k-1)
								delete(next.model, -k-1)
								continue
							}
							v := &keyedInt{k}
							next.table = next.table.setBy(b, v)
							next.model[k] = v
						}
					case rapid.Bool().Draw(t, "delete"):
						next.table = old.table.delete(k)
						delete(next.model, k)
						if old.model[k] == nil && next.table.root != old.table.root {
							t.Fatal("deleting what is not there made a new table")
						}
					case old.model[k] != nil && rapid.Bool().Draw(t, "same"):
						next.table = old.table.set(old.model[k])
						if next.table.root != old.table.root {
							t.Fatal("setting the same value made a new table")
						}
					default:
						v := &keyedInt{k}
						next.table = old.table.set(v)
						next.model[k] = v
					}
					versions = append(versions, next)
				}
				for _, v := range versions {
					v.check(t, keys)
					checkShape(t, v)
					at := version{tableOf(slices.Collect(maps.Values(v.model)), hash), v.model}
					at.check(t, keys)
					checkShape(t, at)
					groups := ofGroups(t, v.model, hash)
					groups.check(t, keys)
					checkShape(t, groups)
				}
				a := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "a")]
				b := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "b")]
				checkDiff(t, a, b)
				checkDiff(t, a, version{table[int, *keyedInt]{}, nil})
				checkDiff(t, version{table[int, *keyedInt]{}, nil}, b)
			})
		})
	}
}

// ofGroups makes the table of a model from several things for each value, in any order.
func ofGroups(t *rapid.T, model map[int]*keyedInt, hash func(int) uint64) version {
	var things []*keyedInt
	for _, v := range model {
		things = append(things, slices.Repeat([]*keyedInt{v}, 1+v.k%3)...)
	}
	things = rapid.Permutation(things).Draw(t, "things")
	key := func(v *keyedInt) int { return v.k }
	return version{tableFrom(things, key, func(same []hashed[*keyedInt]) *keyedInt {
		for _, e := range same {
			if e.of != same[0].of || len(same) != 1+e.of.k%3 {
				t.Fatalf("%v are one value", same)
			}
		}
		return same[0].of
	}, hash), model}
}

func checkDiff(t *rapid.T, old, new version) {
	type pair struct{ was, is *keyedInt }
	got := map[int]pair{}
	new.table.diff(old.table, func(k int, was, is *keyedInt) bool {
		if _, twice := got[k]; twice {
			t.Fatalf("diff gave %d twice", k)
		}
		got[k] = pair{was, is}
		return true
	})
	want := map[int]pair{}
	for k, v := range old.model {
		if new.model[k] != v {
			want[k] = pair{v, new.model[k]}
		}
	}
	for k, v := range new.model {
		if old.model[k] != v {
			want[k] = pair{old.model[k], v}
		}
	}
	if !maps.Equal(got, want) {
		t.Fatalf("diff gave %v, expected %v", got, want)
	}
	for stop := 1; stop <= len(want); stop++ {
		n := 0
		new.table.diff(old.table, func(int, *keyedInt, *keyedInt) bool { n++; return n < stop })
		if n != stop {
			t.Fatalf("diff went on for %d after it was stopped at %d", n, stop)
		}
	}
}

// checkShape sees that a table has the shape of one that was built by setting
// its entries and nothing else.
func checkShape(t *rapid.T, v version) {
	fresh := table[int, *keyedInt]{hash: v.table.hash}
	for _, k := range slices.Sorted(maps.Keys(v.model)) {
		fresh = fresh.set(v.model[k])
	}
	if got, want := shape(v.table.root), shape(fresh.root); got != want {
		t.Fatalf("shape after deletions:\n%s\nof a fresh table:\n%s", got, want)
	}
}

func shape(n *node[int, *keyedInt]) string {
	if n == nil {
		return "-"
	}
	if n.held|n.below != 0 && (bits.OnesCount32(n.held) != len(n.values) || bits.OnesCount32(n.below) != len(n.nodes)) {
		return "bitmaps and slices differ"
	}
	var keys []int
	for _, e := range n.values {
		keys = append(keys, e.k)
	}
	if n.held|n.below == 0 {
		slices.Sort(keys) // a list has no order
	}
	s := fmt.Sprintf("(%x %x %v", n.held, n.below, keys)
	for _, sub := range n.nodes {
		s += " " + shape(sub)
	}
	return s + ")"
}

func TestTableAllStops(t *testing.T) {
	var tab table[int, *keyedInt]
	for k := range 1000 {
		tab = tab.set(&keyedInt{k})
	}
	for stop := 1; stop < 1000; stop += 100 {
		n := 0
		for range tab.all() {
			if n++; n == stop {
				break
			}
		}
		if n != stop {
			t.Fatalf("went on for %d after it was stopped at %d", n, stop)
		}
	}
}

// TestDiffSkipsWhatIsShared compares times, but two that are a factor of ten
// thousand apart.
func TestDiffSkipsWhatIsShared(t *testing.T) {
	var tab table[int, *keyedInt]
	for k := range 100_000 {
		tab = tab.set(&keyedInt{k})
	}
	next := tab.set(&keyedInt{4711})
	count := func(old, new table[int, *keyedInt]) (n int) {
		new.diff(old, func(int, *keyedInt, *keyedInt) bool { n++; return true })
		return n
	}

	start := time.Now()
	if n := count(table[int, *keyedInt]{}, tab); n != 100_000 {
		t.Fatalf("%d differences from nothing", n)
	}
	whole := time.Since(start)

	start = time.Now()
	for range 100 {
		if n := count(tab, next); n != 1 {
			t.Fatalf("%d differences after one change", n)
		}
	}
	if hundred := time.Since(start); hundred > 10*whole {
		t.Errorf("100 diffs with a successor took %v, one walk over everything %v", hundred, whole)
	}
}
