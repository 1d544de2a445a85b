package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
)

// Protocol is the number that this node writes into its own set.
const Protocol = 1

// MaxVersion is the greatest version of a set. An owner that raises it a
// million times a second needs 292,000 years to come here; what lies above is
// damage, and a decoder refuses it, so that no node stores it or passes it on.
const MaxVersion = math.MaxInt64

// Set is everything that one owner publishes, at one version. Sets are
// immutable; changing one means making its successor, which shares all that
// stayed.
type Set struct {
	owner    Owner
	version  uint64
	protocol uint32
	unknown  string // encoded header fields of a later protocol
	records  table[Key, *item]
	hash     uint64 // sum of the header's and all items'
	history  history
}

// item is a record as a set holds it: with its hash, so that taking it out
// again costs no hashing, and with its owner, so that it is an Entry of the
// indexes, too. Most names and most addresses have one record: there, it is what the
// indexes hold, see Name and place. A hundred thousand records are twelve megabytes
// of these, so mind the size (TestSizes).
type item struct {
	entry Entry
	sum   uint64
	more  *more // nil in a set
}

// more makes an item what is known of a name or an address that has not one record, and
// visible, but anything else. Of the entry there is only the name or the address then.
type more struct {
	name  *several
	place *crowd
}

func (it *item) key() Key { return it.entry.Key() }

// NewSet gives the empty set of an owner, at version 0.
func NewSet(o Owner) *Set {
	s := &Set{owner: o, protocol: Protocol}
	s.hash = headerSum(s.protocol, s.unknown)
	return s
}

// Owner gives the node that publishes the set.
func (s *Set) Owner() Owner { return s.owner }

// Version rises with every change; only the owner raises it.
func (s *Set) Version() uint64 { return s.version }

// Protocol gives the number of the owner's protocol.
func (s *Set) Protocol() uint32 { return s.protocol }

// Hash is a digest of the content: all records and the header's fields, without
// owner and version. It is the same on every node, also on one that does not
// know all fields.
func (s *Set) Hash() uint64 { return s.hash }

// Len gives the number of records.
func (s *Set) Len() int { return s.records.len() }

// Get gives the record of a key. It does not allocate.
func (s *Set) Get(k Key) (Record, bool) {
	if it := s.records.get(k); it != nil {
		return it.entry.Record, true
	}
	return Record{}, false
}

// Records gives all records, sorted by name, then address.
func (s *Set) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for _, it := range s.sorted() {
			if !yield(it.entry.Record) {
				return
			}
		}
	}
}

func (s *Set) sorted() []*item {
	items := make([]*item, 0, s.Len())
	for it := range s.records.all() {
		items = append(items, it)
	}
	slices.SortFunc(items, compareItems)
	return items
}

func compareItems(a, b *item) int {
	x, y := &a.entry, &b.entry
	return cmp.Or(strings.Compare(x.Name, y.Name), x.Addr.Compare(y.Addr))
}

func compareKeys(a, b Key) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), a.Addr.Compare(b.Addr))
}

// Merge picks the newer of two sets of one owner: the higher version, and
// between equal versions the higher hash, which is arbitrary but the same
// everywhere. Nil stands for no set. Merging is commutative, associative and
// idempotent, so it does not matter in which order or how often sets arrive.
func Merge(a, b *Set) *Set {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.owner != b.owner:
		panic(fmt.Sprintf("catalog: merging the sets of two owners, %v and %v", a.owner, b.owner))
	case b.newer(a.version, a.hash):
		return b
	}
	return a
}

func (s *Set) newer(version, hash uint64) bool {
	return s.version > version || s.version == version && s.hash > hash
}

// put and drop change a set that nobody else has seen yet.

func (s *Set) put(b *batch, it *item) {
	if old := s.records.get(it.entry.Key()); old != nil {
		s.hash -= old.sum
	}
	s.hash += it.sum
	s.records = s.records.setBy(b, it)
}

// putNew puts items of different keys that the set does not have.
func (s *Set) putNew(b *batch, items []*item) {
	for _, it := range items {
		s.hash += it.sum
	}
	s.records = s.records.withNew(b, items)
}

func (s *Set) drop(b *batch, k Key) {
	if old := s.records.get(k); old != nil {
		s.hash -= old.sum
		s.records = s.records.deleteBy(b, k)
	}
}

func (s *Set) head(protocol uint32, unknown string) {
	s.hash += headerSum(protocol, unknown) - headerSum(s.protocol, s.unknown)
	s.protocol, s.unknown = protocol, unknown
}

// onto gives a set with s's version and content that shares with held, an older
// set of the same owner, all records that are the same in both, and remembers
// the way from held to s. So a set that arrived whole costs its readers, and
// the peers who ask this node for it, no more than the records that differ.
func (s *Set) onto(held *Set) *Set {
	next := *s
	next.records = held.records
	keys := s.changed(held)
	b := new(batch)
	for _, k := range keys {
		if it := s.records.get(k); it != nil {
			next.records = next.records.setBy(b, it)
		} else {
			next.records = next.records.deleteBy(b, k)
		}
	}
	next.history = held.history.added(held.version, s.version, keys)
	return &next
}

// changed gives the keys whose records differ between two sets.
func (s *Set) changed(old *Set) []Key { return s.changedAtMost(old, math.MaxInt) }

// changedAtMost is changed, but looks for no more when it has found that many.
func (s *Set) changedAtMost(old *Set, most int) (keys []Key) {
	s.records.diff(old.records, func(k Key, was, is *item) bool {
		if was == nil || is == nil || was.entry.Record != is.entry.Record {
			keys = append(keys, k)
		}
		return len(keys) < most
	})
	return keys
}

// past gives the successor of our own set after a peer showed theirs, a set in
// our name that is not older than ours: our records, at a version above theirs.
// It happens when the state folder was lost, or when two daemons use one
// address. Transition numbers must rise even then, since hooks and peers
// compare them: a name in both sets takes over theirs where they are higher.
func (s *Set) past(theirs *Set) *Set {
	type numbers struct{ transition, acted, activated uint64 }
	seen := map[string]numbers{}
	for it := range theirs.records.all() {
		n := seen[it.entry.Name]
		seen[it.entry.Name] = numbers{max(n.transition, it.entry.Transition), max(n.acted, it.entry.Acted), max(n.activated, it.entry.Activated)}
	}
	next := *s
	b := new(batch)
	for it := range s.records.all() {
		n := seen[it.entry.Name]
		r := it.entry.Record
		r.Transition = max(r.Transition, n.transition)
		r.Acted = max(r.Acted, n.acted)
		r.Activated = max(r.Activated, n.activated)
		if r != it.entry.Record {
			next.put(b, newItem(s.owner, r))
		}
	}
	next.version = min(theirs.version, MaxVersion-1) + 1
	// Peers hold theirs: the way from there is what they will ask for.
	next.history = history{}.added(theirs.version, next.version, next.changed(theirs))
	return &next
}

// Delta is what leads from one version of a set to a later one. Deltas are
// immutable.
type Delta struct {
	owner    Owner
	from, to uint64
	protocol uint32
	unknown  string
	puts     []*item // sorted by key
	deletes  []Key   // sorted
	length   int     // records in the resulting set
	hash     uint64  // of the resulting set
}

// Owner gives the owner of the set that the delta belongs to.
func (d *Delta) Owner() Owner { return d.owner }

// From gives the version that the delta starts from.
func (d *Delta) From() uint64 { return d.from }

// To gives the version that the delta leads to; it is greater than From.
func (d *Delta) To() uint64 { return d.to }

// Hash gives the hash of the set that the delta leads to.
func (d *Delta) Hash() uint64 { return d.hash }

// Delta gives what changed since a version. It is false when this node does not
// know that: the version is too long ago, none that it ever saw, or not older
// than the set. The whole set is the answer then. Not only the owner can give
// deltas, but every node that followed its changes.
func (s *Set) Delta(from uint64) (*Delta, bool) {
	keys, ok := s.history.since(from)
	if !ok {
		return nil, false
	}
	d := &Delta{
		owner: s.owner, from: from, to: s.version,
		protocol: s.protocol, unknown: s.unknown,
		length: s.Len(), hash: s.hash,
	}
	for _, k := range slices.SortedFunc(maps.Keys(keys), compareKeys) {
		if it := s.records.get(k); it != nil {
			d.puts = append(d.puts, it)
		} else {
			d.deletes = append(d.deletes, k)
		}
	}
	return d, true
}

// Errors of Apply. After either the whole set has to be asked for.
var (
	ErrOtherBase = errors.New("the delta starts from another set")
	ErrMismatch  = errors.New("the delta does not lead to the set it announces")
)

// Apply gives the set that a delta leads to. It fails with ErrOtherBase when
// the delta starts elsewhere and with ErrMismatch when the result is not what
// the delta announces, for instance because this version of the set came from
// an earlier life of its owner.
func (s *Set) Apply(d *Delta) (*Set, error) {
	if d.owner != s.owner || d.from != s.version {
		return nil, fmt.Errorf("set of %v at version %d, delta of %v from version %d: %w",
			s.owner, s.version, d.owner, d.from, ErrOtherBase)
	}
	next := *s
	next.head(d.protocol, d.unknown)
	keys := make([]Key, 0, len(d.puts)+len(d.deletes))
	b := new(batch)
	for _, k := range d.deletes {
		next.drop(b, k)
		keys = append(keys, k)
	}
	for _, it := range d.puts {
		next.put(b, it)
		keys = append(keys, it.entry.Key())
	}
	if next.hash != d.hash || next.Len() != d.length {
		return nil, fmt.Errorf("set of %v from version %d to %d: %w", s.owner, d.from, d.to, ErrMismatch)
	}
	next.version = d.to
	next.history = s.history.added(d.from, d.to, keys)
	return &next, nil
}
