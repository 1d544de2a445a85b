package catalog

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Status is what this node thinks of another one.
type Status uint8

// The statuses. Unknown is a node whose set came by way of others while nobody
// has told yet how the node itself is.
const (
	Unknown Status = iota
	Alive
	Dead    // silent for longer than the lifetime
	Left    // said goodbye
	Removed // taken out by an operator
)

// String gives unknown, alive, dead, left or removed.
func (s Status) String() string {
	switch s {
	case Alive:
		return "alive"
	case Dead:
		return "dead"
	case Left:
		return "left"
	case Removed:
		return "removed"
	}
	return "unknown"
}

// Member is what this node holds of one node.
type Member struct {
	Owner  Owner
	Status Status
	// Since is when the status last changed, by the clock of this host; zero
	// for this node itself.
	Since time.Time
	// Set is nil until one arrived. It is visible while the status is Alive.
	Set *Set
}

func (m *Member) visible() bool { return m != nil && m.Status == Alive }

func (m *Member) key() Owner { return m.Owner }

func (m *Member) records() (t table[Key, *item]) {
	if m == nil || m.Set == nil {
		return t
	}
	return m.Set.records
}

// View is the whole table at one moment. Views are immutable, and so is all
// that they give out; reading takes no lock. A later view shares with an
// earlier one whatever did not change.
type View struct {
	self    Owner
	serial  uint64
	members table[Owner, *Member]
	names   table[string, *Name]
	places  table[netip.Addr, *place]
	parents table[string, *parent]

	superseded chan struct{}
}

// Self gives this node.
func (v *View) Self() Owner { return v.self }

// Own gives the set of this node.
func (v *View) Own() *Set { return v.members.get(v.self).Set }

// Serial rises from view to view of one catalog, see [Options].
func (v *View) Serial() uint64 { return v.serial }

// Superseded gives a channel that is closed when a later view has taken the
// place of this one.
func (v *View) Superseded() <-chan struct{} { return v.superseded }

// Name gives what is known of a name in lower case, without the domain. It is
// nil when no set has the name, not even a hidden one: the name is not ours.
// Name does not allocate.
func (v *View) Name(name string) *Name { return v.names.get(name) }

// Below says whether some name of ours ends in a dot and this one, which then
// exists too, if only as a place within names (RFC 8020). It does not allocate.
func (v *View) Below(name string) bool { return v.parents.get(name) != nil }

// Names gives all names that are ours, in no order.
func (v *View) Names() iter.Seq[*Name] {
	return func(yield func(*Name) bool) {
		for n := range v.names.all() {
			if !yield(n) {
				return
			}
		}
	}
}

// Addr gives the visible entries with an address: origins first, then masters,
// secondaries and backups, each sorted by name, then owner. The caller must not
// change the slice. The first call after a change of the address sorts; others
// do not allocate.
func (v *View) Addr(a netip.Addr) []Entry {
	p := v.places.get(a)
	if p == nil {
		return nil
	}
	return p.sorted()
}

// Places gives each address with its visible entries, both in no order. The caller
// must not change the slice, which is good until the next one.
func (v *View) Places() iter.Seq2[netip.Addr, []Entry] {
	return func(yield func(netip.Addr, []Entry) bool) {
		var room []Entry
		for p := range v.places.all() {
			es := room[:0]
			if c := p.crowd(); c == nil {
				es = (*item)(p).alone()
			} else {
				for it := range c.entries.all() {
					es = append(es, it.entry)
				}
				room = es
			}
			if !yield(p.key(), es) {
				return
			}
		}
	}
}

// Entries gives all visible entries, in no order.
func (v *View) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for n := range v.names.all() {
			for _, e := range n.Entries() {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// Member gives what is held of a node.
func (v *View) Member(o Owner) (Member, bool) {
	if m := v.members.get(o); m != nil {
		return *m, true
	}
	return Member{}, false
}

// Members gives all nodes, this one too, in no order.
func (v *View) Members() iter.Seq[Member] {
	return func(yield func(Member) bool) {
		for m := range v.members.all() {
			if !yield(*m) {
				return
			}
		}
	}
}

// Change is the difference in one record between two views.
type Change struct {
	Owner    Owner
	Old, New *Record // nil: not visible before, not visible now
}

// Key gives the key of the record that changed.
func (c Change) Key() Key {
	if c.New != nil {
		return c.New.Key()
	}
	return c.Old.Key()
}

// Diff gives what changed among the visible records since an older view, sorted
// by owner, name and address. Nil stands for an empty table. The cost is that
// of the changes, not of the table.
func (v *View) Diff(old *View) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		var changes []Change
		v.changedMembers(old, func(was, is *Member) {
			var before, after table[Key, *item]
			if was.visible() {
				before = was.records()
			}
			if is.visible() {
				after = is.records()
			}
			owner := cmp.Or(was, is).Owner
			after.diff(before, func(_ Key, was, is *item) bool {
				c := Change{Owner: owner, Old: was.indexed(), New: is.indexed()}
				if c.Old != nil && c.New != nil && *c.Old == *c.New || c.Old == nil && c.New == nil {
					return true
				}
				changes = append(changes, c)
				return true
			})
		})
		slices.SortFunc(changes, func(a, b Change) int {
			return cmp.Or(a.Owner.Compare(b.Owner), compareKeys(a.Key(), b.Key()))
		})
		for _, c := range changes {
			if !yield(c) {
				return
			}
		}
	}
}

// DiffNames gives the names of which anything is known otherwise than in an older
// view, hidden entries included, as they were and as they are, nil for what was or is
// not known; in no order. The cost is that of the changes, not of the table.
func (v *View) DiffNames(old *View) iter.Seq2[*Name, *Name] {
	return func(yield func(was, is *Name) bool) {
		v.names.diff(old.names, func(_ string, was, is *Name) bool { return yield(was, is) })
	}
}

// MemberChange is the difference in one node between two views. The member that
// is absent, before or now, is zero, so its status is Unknown.
type MemberChange struct {
	Owner    Owner
	Old, New Member
}

// DiffMembers gives the nodes that came, went or changed their status since an
// older view, sorted by owner. Nil stands for no members.
func (v *View) DiffMembers(old *View) iter.Seq[MemberChange] {
	return func(yield func(MemberChange) bool) {
		var changes []MemberChange
		v.changedMembers(old, func(was, is *Member) {
			c := MemberChange{Owner: cmp.Or(was, is).Owner}
			if was != nil {
				c.Old = *was
			}
			if is != nil {
				c.New = *is
			}
			if was == nil || is == nil || was.Status != is.Status {
				changes = append(changes, c)
			}
		})
		slices.SortFunc(changes, func(a, b MemberChange) int { return a.Owner.Compare(b.Owner) })
		for _, c := range changes {
			if !yield(c) {
				return
			}
		}
	}
}

func (v *View) changedMembers(old *View, fn func(was, is *Member)) {
	if old == nil {
		old = &View{}
	}
	v.members.diff(old.members, func(_ Owner, was, is *Member) bool {
		fn(was, is)
		return true
	})
}

// compareEntries is the order within a place.
func compareEntries(a, b Entry) int {
	rank := func(p Priority) Priority {
		if p == Origin {
			return 0
		}
		return p
	}
	return cmp.Or(cmp.Compare(rank(a.Priority), rank(b.Priority)), strings.Compare(a.Name, b.Name), a.Owner.Compare(b.Owner))
}
