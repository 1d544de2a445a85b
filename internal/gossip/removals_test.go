package gossip

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"murakumo/internal/catalog"
)

func TestRemovals(t *testing.T) {
	target, here, there := addr("10.0.0.9"), addr("10.0.0.1"), addr("10.0.0.2")
	now := time.Now()
	var r removals
	if r.removed(target) {
		t.Error("removed before anybody said so")
	}
	r.say(target, true, here, now)
	if !r.removed(target) {
		t.Error("not removed after saying so")
	}
	for _, c := range []struct {
		name    string
		in      removal
		news    bool
		removed bool
	}{
		{"the same again", removal{target: target, counter: 1, removed: true, by: here}, false, true},
		{"at once elsewhere: allowed", removal{target: target, counter: 1, by: there}, false, true},
		{"later: allowed", removal{target: target, counter: 2, by: there}, true, false},
		{"the first one again, late", removal{target: target, counter: 1, removed: true, by: here}, false, false},
		{"a tie is a removal", removal{target: target, counter: 2, removed: true, by: here}, true, true},
		{"too old", removal{target: target, counter: 9, age: removalMemory}, false, true},
	} {
		if news := r.merge(c.in, now); news != c.news || r.removed(target) != c.removed {
			t.Errorf("%s: news %v, removed %v; want %v, %v", c.name, news, r.removed(target), c.news, c.removed)
		}
	}
	r.say(target, false, here, now)
	if got, _ := r.get(target, now.Add(time.Second)); got.counter != 3 || got.removed || got.age != time.Second {
		t.Errorf("after allowing it: %+v", got)
	}
}

func TestRemovalsExpireByTheOldestAge(t *testing.T) {
	target := addr("10.0.0.9")
	now := time.Now()
	var r removals
	r.merge(removal{target: target, counter: 1, removed: true, age: time.Hour}, now)
	r.merge(removal{target: target, counter: 1, removed: true, age: 2 * time.Hour}, now)
	r.merge(removal{target: target, counter: 1, removed: true}, now) // a copy that claims to be fresh
	end := now.Add(removalMemory - 2*time.Hour)
	if free := r.expire(end.Add(-1)); free != nil || !r.removed(target) {
		t.Errorf("forgotten too early: %v", free)
	}
	if free := r.expire(end); !slices.Equal(free, []catalog.Owner{target}) || r.removed(target) {
		t.Errorf("expire gave %v, want %v", free, target)
	}
}

// Whatever the order and however often, all nodes end with one statement.
func TestRemovalsMergeLaws(t *testing.T) {
	target := addr("10.0.0.9")
	now := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) removal {
			return removal{
				target:  target,
				counter: rapid.Uint64Range(0, 3).Draw(t, "counter"),
				removed: rapid.Bool().Draw(t, "removed"),
				age:     time.Duration(rapid.IntRange(0, 3).Draw(t, "age")) * time.Hour,
				by:      addr(rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2"}).Draw(t, "by")),
			}
		}), 1, 8).Draw(t, "statements")
		order := rapid.Permutation(append(slices.Clone(all), all...)).Draw(t, "order")
		var a, b removals
		for _, s := range all {
			a.merge(s, now)
		}
		for _, s := range order {
			b.merge(s, now)
		}
		if x, y := a.all(now), b.all(now); !reflect.DeepEqual(x, y) {
			t.Fatalf("%+v and %+v", x, y)
		}
	})
}
