package gossip

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"murakumo/internal/catalog"
)

func TestForgets(t *testing.T) {
	now := time.Now()
	var f forgets
	if f.covers(there, 0) || f.merge(forget{owner: there, version: 5, age: hiddenFor}, now) {
		t.Error("nobody said so, or too long ago")
	}
	f.say(forget{owner: there, version: 5, by: here}, now)
	for version, want := range map[uint64]bool{0: true, 5: true, 6: false} {
		if f.covers(there, version) != want {
			t.Errorf("version %d: covered: %v", version, !want)
		}
	}
	for _, c := range []struct {
		what string
		in   forget
		news bool
	}{
		{"the same", forget{owner: there, version: 5, by: third}, false},
		{"of an older version", forget{owner: there, version: 4}, false},
		{"of a newer one", forget{owner: there, version: 6, age: time.Minute}, true},
		{"of another owner", forget{owner: third}, true},
	} {
		if news := f.merge(c.in, now); news != c.news {
			t.Errorf("%s: news %v", c.what, news)
		}
	}
	f.say(forget{owner: there, by: here}, now)
	if !f.covers(there, 6) {
		t.Error("said again when nothing was held, it covers less")
	}
	if all := f.all(now.Add(time.Second)); len(all) != 2 || all[0].age != time.Second || all[0].version != 6 || all[1].age != time.Second {
		t.Errorf("all: %+v", all)
	}

	// The owner is back: void, for copies of the statement too, but not for a
	// new one.
	f.met(there, now.Add(time.Hour))
	if f.covers(there, 1) || len(f.all(now)) != 1 {
		t.Error("counts although the owner was met")
	}
	at := now.Add(2 * time.Hour)
	if f.merge(forget{owner: there, version: 6, age: 2 * time.Hour}, at) || f.covers(there, 1) {
		t.Error("a late copy counts")
	}
	if !f.merge(forget{owner: there, version: 6, age: time.Minute}, at) || !f.covers(there, 6) {
		t.Error("said again after that, it is no news")
	}
	f.expire(at.Add(hiddenFor - time.Minute - 1))
	if !f.covers(there, 6) || f.covers(third, 0) {
		t.Error("expired too early or too late")
	}
	f.expire(at.Add(hiddenFor))
	if f.covers(there, 6) {
		t.Error("not expired")
	}
}

// A death that is found later than elsewhere is the one that was meant; one that
// comes much later is not.
func TestForgetsAfterALateDeath(t *testing.T) {
	now := time.Now()
	var f forgets
	if !f.late(there, now, time.Second) {
		t.Error("nothing was said")
	}
	f.say(forget{owner: there, version: 5}, now)
	if f.late(there, now.Add(time.Second), time.Second) {
		t.Error("late within the grace")
	}
	if !f.late(there, now.Add(time.Second+1), time.Second) || f.covers(there, 5) {
		t.Error("counts after the grace")
	}
}

// Whatever the order and however often, all nodes end with the same.
func TestForgetsMergeLaws(t *testing.T) {
	now := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) forget {
			version := rapid.Uint64Range(0, 2).Draw(t, "version")
			return forget{owner: there, version: version, age: time.Duration(rapid.IntRange(0, 3).Draw(t, "age")) * time.Hour}
		}), 1, 8).Draw(t, "statements")
		order := rapid.Permutation(append(slices.Clone(all), all...)).Draw(t, "order")
		var a, b forgets
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

// What a replica makes of it: it drops what it holds of a node that is not
// alive, passes the word on once, and takes no copy in after that.
func TestReplicaForgets(t *testing.T) {
	b := newBench()
	set := b.put("www", 1)
	b.hear(message{via: there, kind: kindContent, sets: [][]byte{set.Encode()}})
	said := message{via: third, kind: kindForget, forgets: []forget{{owner: there, version: set.Version(), by: third}}}

	// It is alive here: nothing happens, but others hear of it.
	if e := b.hear(said); b.holds(there) == nil || len(e.broadcasts) != 1 || e.broadcasts[0].msg.kind != kindForget {
		t.Errorf("alive: %v, holds %v", names(e), b.holds(there))
	}
	b.peers.lost(there, b.now)
	b.cat.SetStatus(there, catalog.Dead, b.now)
	b.forget(there)
	if _, known := b.cat.View().Member(there); known {
		t.Error("still known when it is dead, too")
	}
	if e := b.hear(said); len(e.broadcasts) != 0 {
		t.Errorf("told twice: %v", names(e))
	}
	// Copies, in every form.
	delta, _ := b.other.View().Own().Delta(0)
	for _, m := range []message{
		{via: third, kind: kindContent, sets: [][]byte{set.Encode()}},
		{via: third, kind: kindContent, deltas: [][]byte{delta.Encode()}},
		{via: third, kind: kindAnnounce, held: []held{{owner: there, version: set.Version(), hash: set.Hash()}}},
		{via: third, kind: kindState, held: []held{{owner: there, version: set.Version(), hash: set.Hash(), status: catalog.Dead, age: time.Minute}}},
	} {
		b.hear(m)
		if _, known := b.cat.View().Member(there); known || len(b.wants) > 0 {
			t.Errorf("a copy was taken in or asked for: kind %d", m.kind)
		}
	}
	// What is newer is another matter.
	newer := b.put("www", 2)
	b.hear(message{via: third, kind: kindContent, sets: [][]byte{newer.Encode()}})
	if b.holds(there) == nil {
		t.Error("a newer set was not taken in")
	}
}
