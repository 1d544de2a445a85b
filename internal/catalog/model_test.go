package catalog

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// indexes is what a view should give, made in the simplest way: from nothing.
type indexes struct {
	names map[string]several
	addrs map[netip.Addr][]Entry
}

func rebuilt(members map[Owner]Member) indexes {
	x := indexes{map[string]several{}, map[netip.Addr][]Entry{}}
	for _, o := range slices.SortedFunc(maps.Keys(members), Owner.Compare) {
		m := members[o]
		if m.Set == nil {
			continue
		}
		for r := range m.Set.Records() {
			n := x.names[r.Name]
			e := Entry{Record: r, Owner: o}
			switch {
			case r.Priority > Origin:
				n.others++
			case m.Status == Alive:
				n.entries = append(n.entries, e)
				x.addrs[r.Addr] = append(x.addrs[r.Addr], e)
			default:
				n.hidden = append(n.hidden, e)
			}
			x.names[r.Name] = n
		}
	}
	for _, list := range x.addrs {
		slices.SortFunc(list, compareEntries)
	}
	return x
}

// visible gives what a view shows, by owner and key.
func visible(v *View) map[Owner]map[Key]Record {
	shown := map[Owner]map[Key]Record{}
	for e := range v.Entries() {
		if shown[e.Owner] == nil {
			shown[e.Owner] = map[Key]Record{}
		}
		shown[e.Owner][e.Key()] = e.Record
	}
	return shown
}

// fataler is what *testing.T and *rapid.T have in common here.
type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// checkView compares every index of a view with one made from its members.
func checkView(t fataler, v *View) {
	t.Helper()
	members := map[Owner]Member{}
	for m := range v.Members() {
		members[m.Owner] = m
	}
	want := rebuilt(members)
	got := map[string]*Name{}
	for n := range v.Names() {
		got[n.Name()] = n
		if v.Name(n.Name()) != n {
			t.Fatalf("Name(%q) is not what Names gave", n.Name())
		}
		for o := range members {
			of := slices.DeleteFunc(slices.Clone(n.Entries()), func(e Entry) bool { return e.Owner != o })
			if !slices.Equal(n.Of(o), of) {
				t.Fatalf("%q of %v: %v, expected %v", n.Name(), o, n.Of(o), of)
			}
		}
	}
	if len(got) != len(want.names) {
		t.Fatalf("names %v, expected %v", got, want.names)
	}
	for name, w := range want.names {
		g := got[name]
		others := 0
		if s := g.several(); s != nil {
			others = s.others
		}
		if !slices.Equal(g.Entries(), w.entries) || !slices.Equal(g.Hidden(), w.hidden) || others != w.others {
			t.Fatalf("name %q: %v, %v, expected %v", name, g.Entries(), g.Hidden(), w)
		}
		if len(w.entries) == 1 && len(w.hidden) == 0 && w.others == 0 && (*item)(g) != members[w.entries[0].Owner].Set.records.get(w.entries[0].Key()) {
			t.Fatalf("name %q is not its only record", name)
		}
		checkAnswers(t, v, g)
	}
	parents := map[string]bool{}
	below := slices.Collect(maps.Keys(want.names))
	for name, n := range want.names {
		port := func(e Entry) bool { return e.Port != 0 }
		serves := slices.ContainsFunc(n.entries, port) || slices.ContainsFunc(n.hidden, port)
		if g := got[name]; g.Serves() != serves || g.Points() != slices.ContainsFunc(n.entries, func(e Entry) bool { return e.Target() != "" }) {
			t.Fatalf("name %q serves %v, points %v: %v", name, g.Serves(), g.Points(), g)
		}
		if serves {
			below = append(below, ServiceName(name, "_tcp"), ServiceName(name, "_udp"))
		}
	}
	for _, name := range below {
		for _, rest, more := strings.Cut(name, "."); more; _, rest, more = strings.Cut(rest, ".") {
			parents[rest] = true
		}
	}
	if v.parents.len() != len(parents) {
		t.Fatalf("%d names have others below, expected %v", v.parents.len(), parents)
	}
	for name := range parents {
		if !v.Below(name) {
			t.Fatalf("nothing below %q", name)
		}
	}
	if v.places.len() != len(want.addrs) {
		t.Fatalf("%d addresses, expected %d", v.places.len(), len(want.addrs))
	}
	for a, w := range want.addrs {
		if g := v.Addr(a); !slices.Equal(g, w) {
			t.Fatalf("address %v: %v, expected %v", a, g, w)
		}
		if p := v.places.get(a); len(w) == 1 && (*item)(p) != members[w[0].Owner].Set.records.get(w[0].Key()) {
			t.Fatalf("address %v is not its only record", a)
		}
	}
}

// checkDiffs compares Diff and DiffMembers with what plain maps say.
func checkDiffs(t fataler, old, v *View) {
	t.Helper()
	before, after := visible(old), visible(v)
	for c := range v.Diff(old) {
		was, shown := before[c.Owner][c.Key()]
		if shown != (c.Old != nil) || shown && *c.Old != was {
			t.Fatalf("change of %v of %v: was %v, expected %v", c.Key(), c.Owner, c.Old, was)
		}
		is, shows := after[c.Owner][c.Key()]
		if shows != (c.New != nil) || shows && *c.New != is {
			t.Fatalf("change of %v of %v: is %v, expected %v", c.Key(), c.Owner, c.New, is)
		}
		if shown == shows && was == is {
			t.Fatalf("no change of %v of %v", c.Key(), c.Owner)
		}
		delete(before[c.Owner], c.Key())
		delete(after[c.Owner], c.Key())
	}
	for _, o := range slices.Collect(maps.Keys(before)) {
		if !maps.Equal(before[o], after[o]) {
			t.Fatalf("changes of %v that Diff did not give: from %v to %v", o, before[o], after[o])
		}
		delete(after, o)
	}
	for o, rest := range after {
		if len(rest) > 0 {
			t.Fatalf("new records of %v that Diff did not give: %v", o, rest)
		}
	}

	var want []MemberChange
	owners := map[Owner]bool{}
	for m := range old.Members() {
		owners[m.Owner] = true
	}
	for m := range v.Members() {
		owners[m.Owner] = true
	}
	for _, o := range slices.SortedFunc(maps.Keys(owners), Owner.Compare) {
		was, had := old.Member(o)
		is, has := v.Member(o)
		if had != has || was.Status != is.Status {
			want = append(want, MemberChange{o, was, is})
		}
	}
	if got := slices.Collect(v.DiffMembers(old)); !reflect.DeepEqual(got, want) {
		t.Fatalf("members changed: %v, expected %v", got, want)
	}
}

// TestCatalogModel drives a catalog with everything that can happen to it and
// compares all that its views say with a model of plain maps. Then it looks at
// the earlier views once more: they must say what they said.
func TestCatalogModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var reserved uint64
		first := rapid.Uint64Range(0, 2).Draw(t, "first version")
		c := New(Options{Self: addr1, Version: first, Reserve: func(upTo uint64) {
			if upTo <= reserved {
				t.Fatalf("reserved up to %d after %d", upTo, reserved)
			}
			reserved = upTo
		}})
		reserved = first
		own := content(c.View().Own())
		ownVersion := first
		members := map[Owner]Member{}
		// Peers are named for owners; what they hold is all that they ever
		// published.
		peers := map[Owner][]*Set{addr2: {NewSet(addr2)}, addr3: {NewSet(addr3)}}
		genPeer := rapid.SampledFrom([]Owner{addr2, addr3})
		now := time0
		type picture struct {
			view  *View
			shown map[Owner]map[Key]Record
		}
		pictures := []picture{{c.View(), visible(c.View())}}

		check := func(t *rapid.T, before *View, changed bool) {
			v := c.View()
			if (v != before) != changed {
				t.Fatalf("view replaced: %v, expected %v", v != before, changed)
			}
			select {
			case <-before.Superseded():
				if !changed {
					t.Fatalf("superseded by itself")
				}
			default:
				if changed {
					t.Fatalf("not superseded")
				}
			}
			if changed && v.Serial() != before.Serial()+1 {
				t.Fatalf("serial %d after %d", v.Serial(), before.Serial())
			}
			if got := content(v.Own()); !maps.Equal(got, own) || v.Own().Version() != ownVersion {
				t.Fatalf("own set %v at %d, expected %v at %d", got, v.Own().Version(), own, ownVersion)
			}
			if ownVersion > reserved {
				t.Fatalf("version %d is published, but only %d reserved", ownVersion, reserved)
			}
			if self, _ := v.Member(addr1); self.Status != Alive || self.Set != v.Own() {
				t.Fatalf("self: %v", self)
			}
			got := map[Owner]Member{}
			for m := range v.Members() {
				if m.Owner != addr1 {
					got[m.Owner] = m
				}
			}
			if len(got) != len(members) {
				t.Fatalf("members %v, expected %v", got, members)
			}
			for o, w := range members {
				g := got[o]
				if g.Owner != o || g.Status != w.Status || !g.Since.Equal(w.Since) || (g.Set == nil) != (w.Set == nil) {
					t.Fatalf("member %v, expected %v", g, w)
				}
				if g.Set != nil && (g.Set.Version() != w.Set.Version() || g.Set.Hash() != w.Set.Hash() || !maps.Equal(content(g.Set), content(w.Set))) {
					t.Fatalf("set of %v at %d, expected %d", o, g.Set.Version(), w.Set.Version())
				}
			}
			checkView(t, v)
			checkDiffs(t, before, v)
			checkDiffs(t, pictures[rapid.IntRange(0, len(pictures)-1).Draw(t, "older view")].view, v)
			if changed {
				pictures = append(pictures, picture{v, visible(v)})
			}
		}

		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				before := c.View()
				want := maps.Clone(own)
				v := c.Update(func(e *Edit) {
					for range rapid.IntRange(0, 4).Draw(t, "edits") {
						r := genOwn.Draw(t, "record")
						if rapid.Bool().Draw(t, "delete") {
							e.Delete(r.Key())
							delete(want, r.Key())
						} else if err := e.Put(r); err != nil {
							t.Fatalf("%v", err)
						} else {
							want[r.Key()] = r
						}
						got := map[Key]Record{}
						for r := range e.Records() {
							got[r.Key()] = r
						}
						if !maps.Equal(got, want) {
							t.Fatalf("records %v, expected %v", got, want)
						}
						var byName []Record
						for _, a := range addrs {
							if r, ok := want[Key{r.Name, a}]; ok {
								byName = append(byName, r)
							}
						}
						if got := e.ByName(r.Name); !slices.Equal(got, byName) {
							t.Fatalf("by name %v, expected %v", got, byName)
						}
					}
				})
				changed := !maps.Equal(own, want)
				if changed {
					ownVersion++
				}
				own = want
				if v != c.View() {
					t.Fatalf("update gave another view")
				}
				check(t, before, changed)
			},
			"peer changes": func(t *rapid.T) {
				o := genPeer.Draw(t, "peer")
				sets := peers[o]
				last := sets[len(sets)-1]
				peers[o] = append(sets, grown(last, rapid.SliceOfN(genRecord, 0, 3).Draw(t, "puts"), rapid.SliceOfN(genKey, 0, 2).Draw(t, "deletes")))
			},
			"set arrives": func(t *rapid.T) {
				before := c.View()
				o := genPeer.Draw(t, "peer")
				s := peers[o][rapid.IntRange(0, len(peers[o])-1).Draw(t, "which")]
				m := members[o]
				want := Stale
				if m.Set == nil || s.Version() > m.Set.Version() {
					want = Replaced
					m.Owner, m.Set = o, s
					members[o] = m
				}
				if got := c.Merge(recodedIn(t, s)); got != want {
					t.Fatalf("merged: %v, expected %v", got, want)
				}
				check(t, before, want == Replaced)
			},
			"delta arrives": func(t *rapid.T) {
				before := c.View()
				o := genPeer.Draw(t, "peer")
				sets := peers[o]
				to := rapid.IntRange(0, len(sets)-1).Draw(t, "to")
				from := rapid.IntRange(0, to).Draw(t, "from")
				d, ok := sets[to].Delta(sets[from].Version())
				if ok != (from < to) {
					t.Fatalf("delta from %d to %d: %v", from, to, ok)
				}
				if !ok {
					return
				}
				m := members[o]
				var want Outcome
				switch {
				case m.Set == nil:
					want = NeedFull
				case m.Set.Version() >= d.To():
					want = Stale
				case m.Set.Version() != d.From():
					want = NeedFull
				default:
					want = Replaced
					m.Set = sets[to]
					members[o] = m
				}
				if got := c.MergeDelta(d); got != want {
					t.Fatalf("merged: %v, expected %v", got, want)
				}
				check(t, before, want == Replaced)
			},
			"status": func(t *rapid.T) {
				before := c.View()
				o := rapid.SampledFrom(addrs).Draw(t, "owner")
				s := rapid.SampledFrom([]Status{Alive, Alive, Dead, Left, Removed}).Draw(t, "status")
				c.SetStatus(o, s, now)
				m := members[o]
				changed := o != addr1 && m.Status != s
				if changed {
					m.Owner, m.Status, m.Since = o, s, now
					members[o] = m
				}
				check(t, before, changed)
			},
			"time passes": func(*rapid.T) { now = now.Add(time.Minute) },
			"expire": func(t *rapid.T) {
				before := c.View()
				after := time.Duration(rapid.IntRange(0, 3).Draw(t, "after")) * time.Minute
				var want []Owner
				changed := false
				for _, o := range addrs {
					m, known := members[o]
					if !known || m.Status == Alive {
						continue
					}
					if m.Since.IsZero() {
						changed = true
						m.Since = now
						members[o] = m
					} else if now.Sub(m.Since) >= after {
						changed = true
						want = append(want, o)
						delete(members, o)
					}
				}
				if got := c.Expire(now, after); !slices.Equal(got, want) {
					t.Fatalf("expired %v, expected %v", got, want)
				}
				check(t, before, changed)
			},
			"forget": func(t *rapid.T) {
				before := c.View()
				o := rapid.SampledFrom(addrs).Draw(t, "owner")
				_, known := members[o]
				c.Forget(o)
				delete(members, o)
				check(t, before, known)
			},
			"a set of our own arrives": func(t *rapid.T) {
				before := c.View()
				theirs := grown(NewSet(addr1), rapid.SliceOfN(genRecord, 0, 3).Draw(t, "records"), nil)
				theirs.version = rapid.Uint64Range(0, ownVersion+3).Draw(t, "version")
				want := Stale
				if theirs.version > ownVersion || theirs.version == ownVersion && theirs.Hash() != before.Own().Hash() {
					want = SteppedPast
					ownVersion = theirs.version + 1
					own = maps.Clone(own)
					for k, r := range own {
						for other := range theirs.Records() {
							if other.Name == k.Name {
								r.Transition = max(r.Transition, other.Transition)
								r.Acted = max(r.Acted, other.Acted)
								r.Activated = max(r.Activated, other.Activated)
							}
						}
						own[k] = r
					}
				}
				if got := c.Merge(recodedIn(t, theirs)); got != want {
					t.Fatalf("merged: %v, expected %v", got, want)
				}
				if want == SteppedPast {
					d, ok := c.View().Own().Delta(theirs.version)
					if !ok {
						t.Fatalf("no delta for those who hold what we stepped past")
					}
					if s, err := theirs.Apply(d); err != nil || s.Hash() != c.View().Own().Hash() {
						t.Fatalf("the delta from what we stepped past: %v", err)
					}
				}
				check(t, before, want == SteppedPast)
			},
		})
		for _, p := range pictures {
			if got := visible(p.view); !reflect.DeepEqual(got, p.shown) {
				t.Fatalf("view %d says %v, said %v", p.view.Serial(), got, p.shown)
			}
			checkView(t, p.view)
		}
	})
}

func recodedIn(t *rapid.T, s *Set) *Set {
	got, err := DecodeSet(s.Encode(), 0)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return got
}
