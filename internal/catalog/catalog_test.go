package catalog

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// put gives an Update function that puts records.
func put(t testing.TB, records ...Record) func(*Edit) {
	return func(e *Edit) {
		t.Helper()
		for _, r := range records {
			if err := e.Put(r); err != nil {
				t.Error(err)
			}
		}
	}
}

// tell takes the set of one catalog to another, over the wire.
func tell(t testing.TB, from, to *Catalog) Outcome {
	t.Helper()
	return to.Merge(recoded(t, from.View().Own()))
}

func TestUpdateWithoutChange(t *testing.T) {
	c := New(Options{Self: addr1})
	before := c.Update(put(t, rec("web", addr1)))
	for what, fn := range map[string]func(*Edit){
		"nothing":           func(*Edit) {},
		"the same again":    put(t, rec("web", addr1)),
		"deleting nothing":  func(e *Edit) { e.Delete(Key{"db", addr1}) },
		"put and deleted":   func(e *Edit) { put(t, rec("db", addr1))(e); e.Delete(Key{"db", addr1}) },
		"deleted and put":   func(e *Edit) { e.Delete(Key{"web", addr1}); put(t, rec("web", addr1))(e) },
		"changed and back":  func(e *Edit) { put(t, Record{Name: "web", Addr: addr1, Priority: Origin}, rec("web", addr1))(e) },
		"refused by put":    func(e *Edit) { _ = e.Put(rec("Web", addr1)) },
		"refused by put, 2": func(e *Edit) { _ = e.Put(Record{Name: "web", Addr: addr1, Priority: 9}) },
	} {
		if after := c.Update(fn); after != before || c.View() != before {
			t.Errorf("%s: another view, version %d", what, after.Own().Version())
		}
	}
}

func TestTouch(t *testing.T) {
	c := New(Options{Self: addr1})
	old := c.Update(put(t, rec("web", addr1)))
	v := c.Touch()
	select {
	case <-old.Superseded():
	default:
		t.Error("who watches is not told")
	}
	if v != c.View() || v.Serial() <= old.Serial() || v.Own() != old.Own() {
		t.Errorf("serial %d after %d, version %d after %d", v.Serial(), old.Serial(), v.Own().Version(), old.Own().Version())
	}
}

func TestDiffNames(t *testing.T) {
	c := New(Options{Self: addr1})
	old := c.Update(put(t, rec("stays", addr1), rec("goes", addr1), rec("other", addr1)))
	other := rec("other", addr1)
	other.TTL++
	now := c.Update(func(e *Edit) {
		put(t, rec("comes", addr1), other)(e)
		e.Delete(rec("goes", addr1).Key())
	})
	got := map[string]string{}
	for was, is := range now.DiffNames(old) {
		switch {
		case was == nil:
			got[is.Name()] = "comes"
		case is == nil:
			got[was.Name()] = "goes"
		default:
			got[is.Name()] = "changes"
		}
	}
	if want := map[string]string{"comes": "comes", "goes": "goes", "other": "changes"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for was, is := range now.DiffNames(now) {
		t.Errorf("to itself: %v %v", was, is)
	}
}

func TestPutRefuses(t *testing.T) {
	c := New(Options{Self: addr1})
	c.Update(func(e *Edit) {
		for want, r := range map[string]Record{
			"lower case":   rec("Web", addr1),
			"weight":       {Name: "web", Addr: addr1, Priority: Backup},
			"priority 9":   {Name: "web", Addr: addr1, Priority: 9},
			"is missing":   {Name: "web", Priority: Origin},
			"is not known": {Name: "web", Addr: addr1, Priority: math.MaxUint8},
		} {
			if err := e.Put(r); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v, expected …%s…", r, err, want)
			}
		}
		foreign := rec("web", addr1)
		foreign = foreign.withUnknown(string(number(10, 1)))
		if err := e.Put(foreign); err != nil {
			t.Error(err)
		}
		if r, _ := e.Get(foreign.Key()); r.rarities().unknown != "" {
			t.Error("a record of our own has unknown fields")
		}
	})
	if n := c.View().Own().Len(); n != 1 {
		t.Errorf("%d records, expected 1", n)
	}
}

func TestUpdatePanics(t *testing.T) {
	c := New(Options{Self: addr1})
	before := c.View()
	func() {
		defer func() { _ = recover() }()
		c.Update(func(e *Edit) {
			put(t, rec("web", addr1))(e)
			panic("in the middle")
		})
	}()
	if c.View() != before {
		t.Error("half a change was published")
	}
	if c.Update(put(t, rec("web", addr1))) == before { // would hang, were it still locked
		t.Error("no change")
	}
}

func TestNewRefusesBadSelf(t *testing.T) {
	for _, bad := range []Owner{{}, netip.IPv4Unspecified(), netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("fe80::1%eth0")} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a node %v was made", bad)
				}
			}()
			New(Options{Self: bad})
		}()
	}
}

func TestTwoOwnersOfOneKey(t *testing.T) {
	a, b := New(Options{Self: addr1}), New(Options{Self: addr2})
	shared := netip.MustParseAddr("10.9.9.9")
	a.Update(put(t, rec("web", shared)))
	b.Update(put(t, rec("web", shared)))
	tell(t, b, a)
	a.SetStatus(addr2, Alive, time0)

	owners := func(entries []Entry) (list []Owner) {
		for _, e := range entries {
			list = append(list, e.Owner)
		}
		return list
	}
	both := []Owner{addr1, addr2}
	if got := owners(a.View().Name("web").Entries()); !slices.Equal(got, both) {
		t.Errorf("by name: owners %v, expected %v", got, both)
	}
	if got := owners(a.View().Addr(shared)); !slices.Equal(got, both) {
		t.Errorf("by address: owners %v, expected %v", got, both)
	}
	v := a.Update(func(e *Edit) { e.Delete(Key{"web", shared}) })
	if got := owners(v.Name("web").Entries()); !slices.Equal(got, both[1:]) {
		t.Errorf("ours deleted: by name: owners %v", got)
	}
	if got := owners(v.Addr(shared)); !slices.Equal(got, both[1:]) {
		t.Errorf("ours deleted: by address: owners %v", got)
	}
}

// TestLastRecordOfASet: the set without records stays, since it says that there
// are none.
func TestLastRecordOfASet(t *testing.T) {
	a, b := New(Options{Self: addr1}), New(Options{Self: addr2})
	a.Update(put(t, rec("web", addr1)))
	full := a.View().Own()
	tell(t, a, b)
	b.SetStatus(addr1, Alive, time0)
	a.Update(func(e *Edit) { e.Delete(Key{"web", addr1}) })
	d, ok := a.View().Own().Delta(1)
	if !ok || b.MergeDelta(recodedDelta(t, d)) != Replaced {
		t.Fatal("the deletion did not arrive")
	}
	if b.View().Name("web") != nil || b.View().Addr(addr1) != nil {
		t.Error("the record is still there")
	}
	if m, _ := b.View().Member(addr1); m.Set == nil || m.Set.Version() != 2 || m.Set.Len() != 0 {
		t.Errorf("member %v", m)
	}
	if got := b.Merge(full); got != Stale || b.View().Name("web") != nil {
		t.Errorf("a late copy: %v; the record is back: %v", got, b.View().Name("web"))
	}
}

func TestDeletedWhileHidden(t *testing.T) {
	a, b := New(Options{Self: addr1}), New(Options{Self: addr2})
	a.Update(put(t, rec("web", addr1), rec("db", addr1)))
	tell(t, a, b)
	b.SetStatus(addr1, Alive, time0)
	late := a.View().Own()
	a.Update(func(e *Edit) { e.Delete(Key{"web", addr1}) })
	b.SetStatus(addr1, Dead, time0)
	if n := b.View().Name("db"); n == nil || len(n.Hidden()) != 1 {
		t.Errorf("the name of a dead host is %v: it would be asked of others", n)
	}
	if got := tell(t, a, b); got != Replaced {
		t.Fatal(got)
	}
	if n := b.View().Name("db"); n == nil || len(n.Entries()) != 0 || len(n.Hidden()) != 1 {
		t.Errorf("db of a dead owner: %v", n)
	}
	b.SetStatus(addr1, Alive, time0)
	if got := b.Merge(late); got != Stale || b.View().Name("web") != nil || len(b.View().Name("db").Entries()) != 1 {
		t.Errorf("%v; web: %v; db: %v", got, b.View().Name("web"), b.View().Name("db"))
	}
}

func TestRemovedThenAlive(t *testing.T) {
	a, b := New(Options{Self: addr1}), New(Options{Self: addr2})
	a.Update(put(t, rec("web", addr1)))
	tell(t, a, b)
	b.SetStatus(addr1, Alive, time0)
	b.SetStatus(addr1, Removed, time0)
	if n := b.View().Name("web"); n == nil || len(n.Entries()) != 0 || b.View().Addr(addr1) != nil {
		t.Fatalf("removed: %v, %v", n, b.View().Addr(addr1))
	}
	a.Update(put(t, rec("db", addr1)))
	tell(t, a, b)
	if n := b.View().Name("db"); n == nil || len(n.Entries()) != 0 {
		t.Fatalf("a set that came after the removal: %v", n)
	}
	old := b.View()
	b.SetStatus(addr1, Alive, time0.Add(time.Hour))
	var back []string
	for c := range b.View().Diff(old) {
		back = append(back, c.New.Name)
	}
	if want := []string{"db", "web"}; !slices.Equal(back, want) {
		t.Errorf("back are %v, expected %v", back, want)
	}
}

func TestDeltaOfAStranger(t *testing.T) {
	a, b := New(Options{Self: addr1}), New(Options{Self: addr2})
	a.Update(put(t, rec("web", addr1)))
	d, ok := a.View().Own().Delta(0)
	if !ok {
		t.Fatal("no delta")
	}
	before := b.View()
	if got := b.MergeDelta(d); got != NeedFull || b.View() != before {
		t.Errorf("%v, members %v", got, slices.Collect(b.View().Members()))
	}
}

func TestDeltaAtOurVersionOfAnother(t *testing.T) {
	c := New(Options{Self: addr1})
	base := NewSet(addr2)
	x := grown(base, []Record{rec("x", addr2)}, nil)
	y := grown(base, []Record{rec("y", addr2)}, nil)
	if x.Hash() > y.Hash() {
		x, y = y, x
	}
	delta := func(s *Set) *Delta { d, _ := s.Delta(0); return d }
	c.Merge(x)
	if got := c.MergeDelta(delta(y)); got != NeedFull {
		t.Errorf("a higher hash at the held version: %v", got)
	}
	c.Merge(y)
	if got := c.MergeDelta(delta(x)); got != Stale {
		t.Errorf("a lower hash at the held version: %v", got)
	}
	if got := c.MergeDelta(delta(y)); got != Stale {
		t.Errorf("what is held: %v", got)
	}
	if m, _ := c.View().Member(addr2); !same(m.Set, y) {
		t.Errorf("held: %s", describe(m.Set))
	} else if _, ok := m.Set.Delta(1); ok {
		t.Error("a delta from the version that had two contents")
	}
}

// TestLaterPriority: a record whose priority is of a later protocol makes the
// name ours and is passed on, but it is not answered.
func TestLaterPriority(t *testing.T) {
	c := New(Options{Self: addr1})
	later := rec("web", addr2)
	later.Priority = 5
	s := grown(NewSet(addr2), []Record{later}, nil)
	c.Merge(recoded(t, s))
	c.SetStatus(addr2, Alive, time0)
	v := c.View()
	if n := v.Name("web"); n == nil || len(n.Entries()) != 0 || len(n.Hidden()) != 0 {
		t.Errorf("by name: %v", n)
	}
	if got := v.Addr(addr2); got != nil {
		t.Errorf("by address: %v", got)
	}
	for range v.Diff(nil) {
		t.Error("Diff shows it")
	}
	if m, _ := v.Member(addr2); !slices.Equal(m.Set.Encode(), s.Encode()) {
		t.Error("it is not passed on")
	}
	c.Merge(grown(s, []Record{rec("web", addr2)}, nil))
	for ch := range c.View().Diff(v) {
		if ch.Old != nil || ch.New == nil || ch.New.Priority != Master {
			t.Errorf("change %v", ch)
		}
	}
	if n := c.View().Name("web"); len(n.Entries()) != 1 {
		t.Errorf("once it is known: %v", n)
	}
}

// TestAddrOrder: what a reverse lookup wants comes first.
func TestAddrOrder(t *testing.T) {
	c := New(Options{Self: addr1})
	origin := Record{Name: "zz", Addr: addr1, Priority: Origin, Active: true}
	backup, secondary := rec("a", addr1), rec("b", addr1)
	backup.Priority, secondary.Priority = Backup, Secondary
	v := c.Update(put(t, backup, secondary, rec("d", addr1), rec("c", addr1), origin))
	var got []string
	for _, e := range v.Addr(addr1) {
		got = append(got, e.Name)
	}
	if want := []string{"zz", "c", "d", "b", "a"}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
}

// TestDiffFromNothing: the first event of a stream is the whole table.
func TestDiffFromNothing(t *testing.T) {
	c := New(Options{Self: addr1})
	v := c.Update(put(t, rec("b", addr1), rec("a", addr2), rec("a", addr1)))
	var got []Key
	for ch := range v.Diff(nil) {
		if ch.Old != nil || ch.Owner != addr1 {
			t.Errorf("change %v", ch)
		}
		got = append(got, ch.Key())
	}
	if want := []Key{{"a", addr1}, {"a", addr2}, {"b", addr1}}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
	members := slices.Collect(v.DiffMembers(nil))
	if len(members) != 1 || members[0].Owner != addr1 || members[0].Old.Status != Unknown || members[0].New.Status != Alive {
		t.Errorf("members %v", members)
	}
}

// TestDiffGivesCopies: whoever writes into a change does not write into views.
func TestDiffGivesCopies(t *testing.T) {
	c := New(Options{Self: addr1})
	v := c.Update(put(t, rec("web", addr1)))
	for ch := range v.Diff(nil) {
		ch.New.TTL = 4711
	}
	if r, _ := v.Own().Get(Key{"web", addr1}); r.TTL != 60 || v.Name("web").Entries()[0].TTL != 60 {
		t.Error("a record in a view changed")
	}
}

func TestStrings(t *testing.T) {
	for got, want := range map[string]string{
		fmt.Sprint(Unknown, Alive, Dead, Left, Removed):     "unknown alive dead left removed",
		fmt.Sprint(Stale, Replaced, SteppedPast, NeedFull):  "stale replaced stepped past need full",
		fmt.Sprint(Master, Secondary, Backup, Origin):       "Master Secondary Backup Origin",
		fmt.Sprint(DutyUndefined, DutyInactive, DutyActive): "undefined inactive active",
		fmt.Sprint(Priority(9)):                             "Priority(9)",
		(&LimitError{Owner: addr1, Max: 3}).Error():         "set of 10.0.0.1: too many records: more than 3; raise max-records here if its owner needs them",
		fmt.Sprint(ParsePriority("MASTER")):                 "Master <nil>",
		fmt.Sprint(ParsePriority("Secondary")):              "Secondary <nil>",
		fmt.Sprint(ParsePriority("backup")):                 "Backup <nil>",
		fmt.Sprint(ParsePriority("origin")):                 `Priority(0) priority "origin": expected master, secondary or backup`,
	} {
		if got != want {
			t.Errorf("%s, expected %s", got, want)
		}
	}
}

// TestWholeSetOnTopOfAnother: a set that arrives whole shares with the one that
// was held whatever is the same, and this node can pass on the difference.
func TestWholeSetOnTopOfAnother(t *testing.T) {
	a, b := New(Options{Self: addr1}), New(Options{Self: addr2})
	a.Update(put(t, rec("web", addr1), rec("db", addr1)))
	tell(t, a, b)
	before, _ := b.View().Member(addr1)
	a.Update(put(t, rec("mail", addr1)))
	a.Update(func(e *Edit) { e.Delete(Key{"web", addr1}) })
	tell(t, a, b)
	after, _ := b.View().Member(addr1)

	if db := (Key{"db", addr1}); before.Set.records.get(db) != after.Set.records.get(db) {
		t.Error("a record that did not change is there twice")
	}
	d, ok := after.Set.Delta(1)
	if !ok || len(d.puts) != 1 || len(d.deletes) != 1 {
		t.Fatalf("delta %v", d)
	}
	if got, err := before.Set.Apply(d); err != nil || !same(got, a.View().Own()) {
		t.Errorf("%v", err)
	}
	if _, ok := after.Set.Delta(2); ok {
		t.Error("a delta from a version that this node never saw")
	}
}

// TestIteratorsStop: a caller may leave any loop early.
func TestIteratorsStop(t *testing.T) {
	c := New(Options{Self: addr1})
	c.Update(put(t, rec("a", addr1), rec("b", addr1)))
	c.SetStatus(addr2, Alive, time0)
	v := c.View()
	for what, first := range map[string]func() any{
		"records":         func() any { return firstOf(v.Own().Records()) },
		"names":           func() any { return firstOf(v.Names()) },
		"entries":         func() any { return firstOf(v.Entries()) },
		"members":         func() any { return firstOf(v.Members()) },
		"changes":         func() any { return firstOf(v.Diff(nil)).New },
		"member changes":  func() any { return firstOf(v.DiffMembers(nil)) },
		"records of edit": func() (r any) { c.Update(func(e *Edit) { r = firstOf(e.Records()) }); return r },
	} {
		if got := first(); got == nil {
			t.Errorf("%s: nothing", what)
		}
	}
	if v.Self() != addr1 || v.Own().Protocol() != Protocol {
		t.Errorf("self %v, protocol %d", v.Self(), v.Own().Protocol())
	}
}

func firstOf[E any](seq iter.Seq[E]) (e E) {
	for e = range seq {
		break
	}
	return e
}
