package gossip

import (
	"maps"
	"slices"
	"testing"
	"time"

	"murakumo/internal/catalog"
)

func TestWants(t *testing.T) {
	self, owner, a, b := addr("10.0.0.1"), addr("10.0.0.2"), addr("10.0.0.3"), addr("10.0.0.4")
	view := catalog.New(catalog.Options{Self: self}).View()
	all := []catalog.Owner{owner, a, b}
	alive := func(o catalog.Owner) bool { return slices.Contains(all, o) }
	now := time.Now()
	w := make(wants)
	asked := func(at time.Time) []catalog.Owner {
		return slices.Collect(maps.Keys(w.due(at, self, view, alive)))
	}
	expect := func(what string, at time.Time, want ...catalog.Owner) {
		t.Helper()
		if got := asked(at); !slices.Equal(got, want) {
			t.Errorf("%s: asked %v, want %v", what, got, want)
		}
	}

	expect("nothing wanted", now)
	w.note(held{owner: owner, version: 5}, a, now)
	expect("the one who has it", now, a)
	expect("one question at a time", now.Add(patience(0)-1))
	w.note(held{owner: owner, version: 5}, b, now)
	expect("no answer: the next one", now.Add(patience(0)), a) // b is newer word, so a is second now
	now = now.Add(patience(0))
	expect("then the owner", now.Add(patience(1)), owner)
	now = now.Add(patience(1))
	expect("and round again", now.Add(patience(2)), b)
	now = now.Add(patience(2))
	all = []catalog.Owner{owner}
	expect("only the owner is left", now.Add(patience(3)), owner)
	now = now.Add(patience(3))
	expect("given up", now.Add(patience(4)))
	if len(w) != 0 || !w.nextDue().IsZero() {
		t.Errorf("given up, but still wanted: %v", w)
	}

	w.note(held{owner: owner, version: 5}, owner, now)
	w.note(held{owner: owner, version: 6}, owner, now)
	w.got(owner, 5, 0)
	if len(w) != 1 {
		t.Error("got version 5, wanted 6: forgotten")
	}
	w.got(owner, 6, 0)
	if len(w) != 0 {
		t.Error("got version 6, and still wanted")
	}

	w.note(held{owner: owner, version: 5}, owner, now)
	all = nil
	expect("nobody can be asked", now)
	if len(w) != 0 {
		t.Error("nobody can be asked, but still wanted")
	}
}

// Questions to one node travel together, and say what is held; after a delta
// that led nowhere the whole set is asked for.
func TestWantsAskFromWhatIsHeld(t *testing.T) {
	self, a, b, c := addr("10.0.0.1"), addr("10.0.0.2"), addr("10.0.0.3"), addr("10.0.0.4")
	cat := catalog.New(catalog.Options{Self: self})
	owner := catalog.New(catalog.Options{Self: a})
	set := owner.Update(func(own *catalog.Edit) {
		_ = own.Put(catalog.Record{Name: "a", Addr: a, TTL: 60, Priority: catalog.Origin})
	}).Own()
	cat.Merge(set)
	alive := func(catalog.Owner) bool { return true }
	now := time.Now()
	w := make(wants)
	w.note(held{owner: a, version: 5}, c, now)
	w.note(held{owner: b, version: 5}, c, now)
	got := w.due(now, self, cat.View(), alive)
	want := []held{{owner: a, version: set.Version(), hash: set.Hash()}, {owner: b}}
	if len(got) != 1 || !slices.Equal(got[c], want) {
		t.Errorf("asked %v, want %v of %v", got, want, c)
	}
	w.refused(a, now)
	if got := w.due(now, self, cat.View(), alive); len(got) != 1 || !slices.Equal(got[a], []held{{owner: a}}) {
		t.Errorf("asked %v, want the whole set of %v", got, a)
	}
}
