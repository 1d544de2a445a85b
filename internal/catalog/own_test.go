package catalog

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// Tests of the versions of this node's own set.

func TestVersionsAreReservedFirst(t *testing.T) {
	var c *Catalog
	var reserved []uint64
	c = New(Options{Self: addr1, Version: 1024, Reserve: func(upTo uint64) {
		if c.View().Own().Version() >= upTo {
			t.Errorf("version %d was published before %d was reserved", c.View().Own().Version(), upTo)
		}
		reserved = append(reserved, upTo)
	}})
	if v := c.View().Own().Version(); v != 1024 || c.View().Own().Len() != 0 {
		t.Fatalf("begins with version %d", v)
	}
	for i := range uint32(versionBlock + 1) {
		r := rec("web", addr1)
		r.TTL = i
		v := c.Update(put(t, r))
		if want := 1025 + uint64(i); v.Own().Version() != want {
			t.Fatalf("version %d, expected %d", v.Own().Version(), want)
		}
	}
	if want := []uint64{1024 + versionBlock, 1025 + 2*versionBlock - 1}; !slices.Equal(reserved, want) {
		t.Errorf("reserved %v, expected %v", reserved, want)
	}

	reserved = nil
	theirs := grown(NewSet(addr1), nil, nil)
	theirs.version = 1_000_000
	if got := c.Merge(theirs); got != SteppedPast || c.View().Own().Version() != 1_000_001 {
		t.Fatalf("%v, version %d", got, c.View().Own().Version())
	}
	if want := []uint64{1_000_000 + versionBlock}; !slices.Equal(reserved, want) {
		t.Errorf("reserved %v, expected %v", reserved, want)
	}
}

func TestDeltaOfOurOwn(t *testing.T) {
	c := New(Options{Self: addr1})
	base := c.Update(put(t, rec("web", addr1))).Own()
	web := rec("web", addr1)
	web.Transition, web.Acted = 7, 6
	twin := grown(base, []Record{web, rec("db", addr1)}, nil) // a second daemon's
	d, _ := twin.Delta(base.Version())
	if got := c.MergeDelta(recodedDelta(t, d)); got != SteppedPast {
		t.Fatal(got)
	}
	own := c.View().Own()
	if r, _ := own.Get(web.Key()); own.Version() != twin.Version()+1 || own.Len() != 1 || r != web {
		t.Errorf("version %d, records %v", own.Version(), content(own))
	}
	if got := c.MergeDelta(d); got != Stale {
		t.Errorf("the same again: %v", got)
	}

	// At our version with other content, whether its hash is higher or not.
	for range 8 {
		own := c.View().Own()
		twin := grown(base, []Record{rec(fmt.Sprintf("n%d", own.Version()), addr1)}, nil)
		twin.version = own.Version()
		if got := c.Merge(twin); got != SteppedPast || c.View().Own().Version() != own.Version()+1 {
			t.Errorf("other content at our version: %v", got)
		}
		own = c.View().Own()
		twin.version = own.Version()
		twin.history = base.history.added(base.Version(), twin.version, []Key{{"web", addr1}})
		d, _ := twin.Delta(base.Version())
		if got := c.MergeDelta(d); got != NeedFull {
			t.Errorf("a delta to other content at our version: %v", got)
		}
	}
}

// TestLostState is the restart of a node whose state folder is gone.
func TestLostState(t *testing.T) {
	web, db := rec("web", addr1), rec("db", addr1)
	web.Duty, web.Transition, web.Acted, web.Activated = DutyActive, 41, 40, 41
	a, b := New(Options{Self: addr1}), New(Options{Self: addr2})
	for range 9 {
		a.Update(put(t, web, db))
		a.Update(func(e *Edit) { e.Delete(db.Key()) })
	}
	tell(t, a, b)
	b.SetStatus(addr1, Alive, time0)

	a = New(Options{Self: addr1})
	other := web
	other.Addr, other.Duty, other.Transition, other.Acted = addr3, DutyUndefined, 0, 0
	mail := rec("mail", addr1)
	mail.Transition = 3
	a.Update(put(t, other, mail))
	if got := tell(t, a, b); got != Stale {
		t.Fatalf("version %d at the peer: %v", a.View().Own().Version(), got)
	}
	held, _ := b.View().Member(addr1)
	if got := a.Merge(recoded(t, held.Set)); got != SteppedPast {
		t.Fatal(got)
	}
	own := a.View().Own()
	if own.Version() != held.Set.Version()+1 {
		t.Errorf("version %d after %d", own.Version(), held.Set.Version())
	}
	// The number of a name holds for all its addresses; the duty is ours.
	other.Transition, other.Acted, other.Activated = 41, 40, 41
	want := map[Key]Record{other.Key(): other, mail.Key(): mail}
	if got := content(own); !maps.Equal(got, want) {
		t.Errorf("records %v, expected %v", got, want)
	}
	d, ok := own.Delta(held.Set.Version())
	if !ok || b.MergeDelta(recodedDelta(t, d)) != Replaced {
		t.Errorf("no delta for the peer that holds the former set")
	}
	if got := a.Merge(held.Set); got != Stale {
		t.Errorf("the former set once more: %v", got)
	}
}

// TestGreatestVersion: a broken peer that holds the key may show us a set of
// ours with any number. Versions never wrap.
func TestGreatestVersion(t *testing.T) {
	var reserved uint64
	c := New(Options{Self: addr1, Reserve: func(upTo uint64) { reserved = upTo }})
	c.Update(put(t, rec("web", addr1)))
	theirs := grown(NewSet(addr1), []Record{rec("db", addr1)}, nil)

	theirs.version = MaxVersion - 1
	if got := c.Merge(theirs); got != SteppedPast {
		t.Fatal(got)
	}
	if got := c.View().Own().Version(); got != MaxVersion || reserved != MaxVersion {
		t.Fatalf("version %d, reserved %d", got, reserved)
	}
	before := c.View()
	at := *theirs
	at.version = MaxVersion
	if got := c.Merge(&at); got != Stale || c.View() != before {
		t.Errorf("at the greatest version: %v", got)
	}
	// Changes go on, here, and at the peers that see a higher hash.
	v := c.Update(put(t, rec("mail", addr1)))
	if own := v.Own(); own.Version() != MaxVersion || own.Len() != 2 || v.Name("mail") == nil {
		t.Errorf("version %d, records %v", own.Version(), content(own))
	}
	if _, ok := v.Own().Delta(MaxVersion - 1); ok {
		t.Error("a delta to a version that has two contents")
	}

	c = New(Options{Self: addr1})
	c.Update(put(t, rec("web", addr1)))
	at.version = MaxVersion
	if got := c.Merge(&at); got != SteppedPast || c.View().Own().Version() != MaxVersion || c.View().Name("web") == nil {
		t.Errorf("from afar: %v, version %d", got, c.View().Own().Version())
	}
	if c = New(Options{Self: addr1, Version: math.MaxUint64}); c.Update(put(t, rec("web", addr1))).Own().Version() != MaxVersion {
		t.Errorf("a state file of all ones: version %d", c.View().Own().Version())
	}
}

// TestEditRecords: who lists the records gets them as they were when he asked, whatever
// he changes meanwhile.
func TestEditRecords(t *testing.T) {
	c := filled(t, 40, 0)
	c.Update(func(e *Edit) {
		before, seq := slices.Collect(e.Records()), e.Records()
		for i := range 40 {
			e.Delete(Key{fmt.Sprintf("own-%d", i), addr1})
			if err := e.Put(rec(fmt.Sprintf("new-%d", i), addr1)); err != nil {
				t.Error(err)
			}
		}
		if after := slices.Collect(seq); !slices.Equal(before, after) {
			t.Errorf("%d records, %d when they were asked for, or others", len(after), len(before))
		}
		if got := e.ByName("new-7"); len(got) != 1 {
			t.Errorf("%v", got)
		}
		if got := e.ByName("own-7"); len(got) != 0 {
			t.Errorf("%v", got)
		}
	})
}

// TestPutAll: what is wrong among many is left out, and the rest put, in a set that has
// much or little before.
func TestPutAll(t *testing.T) {
	for _, before := range []int{0, 3, 100} {
		c := filled(t, before, 0)
		last := c.View()
		bad, other := rec("none", netip.IPv4Unspecified()), rec("own-1", addr1)
		other.Weight = 7
		added := []Record{rec("a", addr1), other, bad, rec("b", addr2), rec("-", addr1), rec("a", addr2), rec("c", addr3)}
		var err error
		v := c.Update(func(e *Edit) { err = e.PutAll(slices.Values(added)) })
		if want := bad.Check().Error(); err == nil || err.Error() != want {
			t.Errorf("%v, expected %s", err, want)
		}
		want := content(last.Own())
		for _, r := range []Record{added[0], added[1], added[3], added[5], added[6]} {
			want[r.Key()] = r
		}
		if got := content(v.Own()); !maps.Equal(got, want) {
			t.Errorf("of %d: %v, expected %v", before, got, want)
		}
		anew := grown(NewSet(addr1), slices.Collect(maps.Values(want)), nil)
		if v.Own().Hash() != anew.Hash() {
			t.Errorf("of %d: another hash than that of the set when it is made record by record", before)
		}
		checkView(t, v)
		checkView(t, last)
		checkDiffs(t, last, v)
	}
}

// TestPutKeepsNoText: a name that is part of a long text, as those of a hosts file are, does
// not keep that text.
func TestPutKeepsNoText(t *testing.T) {
	for how, put := range map[string]func(*Edit, Record) error{
		"one":  (*Edit).Put,
		"many": func(e *Edit, r Record) error { return e.PutAll(slices.Values([]Record{r})) },
	} {
		text := strings.Repeat("a", 10)
		r := rec(text[:3], addr1)
		c := New(Options{Self: addr1})
		v := c.Update(func(e *Edit) {
			if err := put(e, r); err != nil {
				t.Fatal(err)
			}
		})
		if n := v.Name("aaa"); n == nil || unsafe.StringData(n.Name()) == unsafe.StringData(text) {
			t.Errorf("%s: the name is a part of the text still", how)
		}
	}
}
