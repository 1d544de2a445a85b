package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// same is what merging must preserve of a set.
func same(a, b *Set) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Version() == b.Version() && a.Hash() == b.Hash() && maps.Equal(content(a), content(b))
}

func TestMerge(t *testing.T) {
	older := grown(NewSet(addr1), []Record{rec("web", addr1)}, nil)
	newer := grown(older, nil, []Key{{"web", addr1}})
	other := grown(NewSet(addr1), []Record{rec("db", addr1)}, nil)
	higher, lower := older, other
	if higher.Hash() < lower.Hash() {
		higher, lower = lower, higher
	}
	for what, tt := range map[string]struct{ a, b, want *Set }{
		"nothing and nothing":            {nil, nil, nil},
		"nothing and a set":              {nil, older, older},
		"the newer one wins":             {older, newer, newer},
		"equal versions, the hash wins":  {lower, higher, higher},
		"a set and itself":               {older, older, older},
		"newer by far":                   {&Set{owner: addr1, version: MaxVersion}, newer, &Set{owner: addr1, version: MaxVersion}},
		"version goes before the hash":   {higher, newer, newer},
		"version goes before the hash 2": {lower, newer, newer},
	} {
		t.Run(what, func(t *testing.T) {
			if got := Merge(tt.a, tt.b); !same(got, tt.want) {
				t.Errorf("merge(a, b) = %s, expected %s", describe(got), describe(tt.want))
			}
			if got := Merge(tt.b, tt.a); !same(got, tt.want) {
				t.Errorf("merge(b, a) = %s, expected %s", describe(got), describe(tt.want))
			}
		})
	}
	defer func() {
		if recover() == nil {
			t.Error("merging the sets of two owners did not panic")
		}
	}()
	Merge(NewSet(addr1), NewSet(addr2))
}

// TestMergeLaws uses sets of few versions and few contents, so that ties of
// every kind occur.
func TestMergeLaws(t *testing.T) {
	gen := rapid.Custom(func(t *rapid.T) *Set {
		if rapid.IntRange(0, 9).Draw(t, "nil") == 0 {
			return nil
		}
		return genSet.Draw(t, "set")
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := gen.Draw(t, "a"), gen.Draw(t, "b"), gen.Draw(t, "c")
		if rapid.Bool().Draw(t, "same version") && a != nil && b != nil {
			b.version = a.version
		}
		ab := Merge(a, b)
		if !same(ab, a) && !same(ab, b) {
			t.Fatalf("merge gave neither of the two")
		}
		if !same(ab, Merge(b, a)) {
			t.Fatalf("not commutative")
		}
		if !same(Merge(ab, c), Merge(a, Merge(b, c))) {
			t.Fatalf("not associative")
		}
		if !same(Merge(a, a), a) || !same(Merge(ab, b), ab) {
			t.Fatalf("not idempotent")
		}
		if !same(Merge(a, nil), a) || !same(Merge(nil, a), a) {
			t.Fatalf("nil is not the identity")
		}
	})
}

// TestHashIsOfTheContent: whatever way led to a content, the hash is the same,
// and another content has another hash.
func TestHashIsOfTheContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := NewSet(addr1)
		for range rapid.IntRange(0, 10).Draw(t, "steps") {
			a = grown(a, rapid.SliceOfN(genRecord, 0, 2).Draw(t, "puts"), rapid.SliceOfN(genKey, 0, 2).Draw(t, "deletes"))
		}
		b := NewSet(addr1)
		for r := range a.Records() {
			b.put(nil, newItem(b.owner, r))
		}
		if a.Hash() != b.Hash() {
			t.Fatalf("hash %#x, of the same records at once %#x", a.Hash(), b.Hash())
		}
		c := grown(a, []Record{genRecord.Draw(t, "more")}, nil)
		if (a.Hash() == c.Hash()) != maps.Equal(content(a), content(c)) {
			t.Fatalf("hashes %#x and %#x of\n%v and\n%v", a.Hash(), c.Hash(), content(a), content(c))
		}
	})
	a, b := NewSet(addr1), NewSet(addr1)
	b.head(2, "")
	if a.Hash() == b.Hash() {
		t.Error("the protocol number is not in the hash")
	}
	b.head(1, string(number(9, 1)))
	if a.Hash() == b.Hash() {
		t.Error("what is unknown in the header is not in the hash")
	}
}

func TestRecordsAreSorted(t *testing.T) {
	s := grown(NewSet(addr1), []Record{rec("b", addr1), rec("a", addr3), rec("a", addr2), rec("a", addr1)}, nil)
	var got []Key
	for r := range s.Records() {
		got = append(got, r.Key())
	}
	if want := []Key{{"a", addr1}, {"a", addr2}, {"a", addr3}, {"b", addr1}}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
}

// TestDeltas follows an owner and a relay that gets some of its changes as
// sets, some as deltas and some not at all. Whatever delta either of them
// gives must lead from the true set of that version to the true set it names.
func TestDeltas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		published := []*Set{NewSet(addr1)}
		relay := published[0]
		followed := map[uint64]bool{0: true} // versions that the relay stood at
		for range rapid.IntRange(1, 20).Draw(t, "changes") {
			last := published[len(published)-1]
			next := grown(last, rapid.SliceOfN(genRecord, 0, 2).Draw(t, "puts"), rapid.SliceOfN(genKey, 0, 2).Draw(t, "deletes"))
			published = append(published, next)
			switch rapid.IntRange(0, 2).Draw(t, "how it reaches the relay") {
			case 0:
				relay = recodedIn(t, next).onto(relay)
			case 1:
				d, ok := next.Delta(relay.Version())
				if !ok {
					t.Fatalf("no delta from %d to %d", relay.Version(), next.Version())
				}
				var err error
				if relay, err = relay.Apply(d); err != nil {
					t.Fatalf("%v", err)
				}
			default:
				continue
			}
			followed[next.Version()] = true
			if !same(relay, next) {
				t.Fatalf("the relay holds %s, expected %s", describe(relay), describe(next))
			}
		}
		owner := published[len(published)-1]
		for from, base := range published {
			if d, ok := owner.Delta(uint64(from)); ok != (base != owner) {
				t.Fatalf("the owner at %d: delta from %d: %v", owner.Version(), from, ok)
			} else if ok {
				got, err := base.Apply(d)
				if err != nil || !same(got, owner) {
					t.Fatalf("the owner's delta from %d: %v", from, err)
				}
			}
			want := followed[uint64(from)] && uint64(from) < relay.Version()
			if d, ok := relay.Delta(uint64(from)); ok != want {
				t.Fatalf("the relay at %d: delta from %d: %v, expected %v", relay.Version(), from, ok, want)
			} else if ok {
				got, err := base.Apply(d)
				if err != nil || !same(got, relay) {
					t.Fatalf("the relay's delta from %d: %v", from, err)
				}
			}
		}
		for _, from := range []uint64{owner.Version(), owner.Version() + 1, MaxVersion} {
			if _, ok := owner.Delta(from); ok {
				t.Fatalf("the owner at %d: a delta from %d", owner.Version(), from)
			}
		}
	})
}

func TestApplyRefuses(t *testing.T) {
	base := grown(NewSet(addr1), []Record{rec("web", addr1)}, nil)
	next := grown(base, []Record{rec("db", addr1)}, nil)
	d, ok := next.Delta(1)
	if !ok {
		t.Fatal("no delta")
	}
	otherLife := grown(NewSet(addr1), []Record{rec("mail", addr1)}, nil) // also version 1
	otherOwner := NewSet(addr2)
	otherOwner.version = 1
	otherLength := *d
	otherLength.length++
	otherHash := *d
	otherHash.hash++
	for what, tt := range map[string]struct {
		s    *Set
		d    *Delta
		want error
	}{
		"good":                            {base, d, nil},
		"older base":                      {NewSet(addr1), d, ErrOtherBase},
		"newer base":                      {next, d, ErrOtherBase},
		"other owner":                     {otherOwner, d, ErrOtherBase},
		"same version in another life":    {otherLife, d, ErrMismatch},
		"length is not what is announced": {base, &otherLength, ErrMismatch},
		"hash is not what is announced":   {base, &otherHash, ErrMismatch},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := tt.s.Apply(tt.d)
			if !errors.Is(err, tt.want) || (err == nil) != (got != nil) {
				t.Fatalf("%v, %v, expected %v", got, err, tt.want)
			}
		})
	}
	if !same(base, grown(NewSet(addr1), []Record{rec("web", addr1)}, nil)) {
		t.Error("applying changed the base")
	}
}

// TestHistoryIsBounded: both in what it keeps and in what it costs to add.
func TestHistoryIsBounded(t *testing.T) {
	kept := func(h history) (keys, steps int) {
		for _, s := range []*step{h.recent, h.older} {
			for ; s != nil; s = s.before {
				keys += len(s.keys)
				steps++
			}
		}
		return keys, steps
	}
	for _, perStep := range []int{0, 1, 7, 300, historyKeys - 1} {
		t.Run(fmt.Sprint(perStep), func(t *testing.T) {
			var h history
			least := 2 * historyKeys
			for v := range uint64(5000) {
				h = h.added(v, v+1, make([]Key, perStep))
				keys, steps := kept(h)
				if keys+steps > 2*historyKeys {
					t.Fatalf("version %d: %d keys in %d steps are kept", v, keys, steps)
				}
				if v > historyKeys {
					least = min(least, keys+steps)
				}
				if _, ok := h.since(v); !ok {
					t.Fatalf("version %d: the last step is lost", v)
				}
			}
			if least < historyKeys/2-perStep-1 {
				t.Errorf("at times only %d keys and steps are kept", least)
			}
		})
	}

	var h history
	h = h.added(0, 1, make([]Key, historyKeys))
	if _, ok := h.since(0); ok {
		t.Error("a step larger than the history is kept")
	}
	h = h.added(1, 2, nil).added(3, 4, nil)
	if _, ok := h.since(1); ok {
		t.Error("the history leaps over a gap")
	}
	if _, ok := h.since(3); !ok {
		t.Error("no history after a gap")
	}
	if h = h.added(4, 4, nil); h != (history{}) {
		t.Error("a step that does not rise is kept")
	}
}

// TestSuccessorsDoNotAlias: two successors of one set do not write into each
// other's memory.
func TestSuccessorsDoNotAlias(t *testing.T) {
	base := NewSet(addr1)
	for i := range 40 {
		base = grown(base, []Record{rec(fmt.Sprintf("n%d", i), addr1)}, nil)
	}
	a := grown(base, []Record{rec("a", addr1)}, nil)
	b := grown(base, []Record{rec("b", addr1)}, nil)
	for name, s := range map[string]*Set{"a": a, "b": b} {
		d, ok := s.Delta(base.Version())
		if !ok || len(d.puts) != 1 || d.puts[0].entry.Name != name {
			t.Errorf("delta to %s: %v", name, d)
		}
		got, err := base.Apply(d)
		if err != nil || !same(got, s) {
			t.Errorf("delta to %s: %v", name, err)
		}
	}
}
