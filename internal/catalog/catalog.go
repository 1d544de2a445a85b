package catalog

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// versionBlock is how many versions are reserved at once: a busy owner writes
// its state file once in a thousand changes, and a restart skips at most as
// many numbers.
const versionBlock = 1024

// Options is what a catalog starts from.
type Options struct {
	// Self is this node. It must be a valid address, as Check demands it of
	// records.
	Self Owner
	// Version is what Reserve was last called with, 0 on the first start. All
	// versions up to it may have been published in an earlier life; the first
	// change gets the one after it.
	Version uint64
	// Reserve, if not nil, is called before a version is published that is
	// greater than any reserved so far. It must make upTo durable before it
	// returns, as far as it can. Writers of the catalog wait for it, readers
	// do not; it must not call the catalog.
	Reserve func(upTo uint64)
	// Serial gives the serial of the next view from that of the last one, which
	// it must exceed. It is called by writers, one at a time, and must not call
	// the catalog. Nil: views are counted.
	Serial func(last uint64) uint64
}

// Catalog is the one place where the table changes. Its methods may be called
// from many goroutines at once. Writers take turns; readers never wait.
type Catalog struct {
	view atomic.Pointer[View]

	mu       sync.Mutex // held while the next view is made; guards reserved
	reserved uint64     // versions up to this are durable
	reserve  func(upTo uint64)
	serial   func(last uint64) uint64
}

// New gives a catalog with an empty set of this node. It panics when o.Self is
// no address that a node can have.
func New(o Options) *Catalog {
	if err := checkAddr(o.Self); err != nil {
		panic(fmt.Sprintf("catalog: this node's own address: %v", err))
	}
	c := &Catalog{reserved: o.Version, reserve: o.Reserve, serial: o.Serial}
	if c.serial == nil {
		c.serial = func(last uint64) uint64 { return last + 1 }
	}
	own := NewSet(o.Self)
	own.version = min(o.Version, MaxVersion)
	v := &View{self: o.Self, superseded: make(chan struct{})}
	v.replace(o.Self, &Member{Owner: o.Self, Status: Alive, Set: own})
	c.view.Store(v)
	return c
}

// View gives the table as it is now.
func (c *Catalog) View() *View { return c.view.Load() }

// publish makes the next view of what is to be said of one or more members. The
// caller holds mu.
func (c *Catalog) publish(members ...update) *View {
	old := c.view.Load()
	next := *old
	next.serial = c.serial(old.serial)
	next.superseded = make(chan struct{})
	for _, u := range members {
		next.replace(u.owner, u.member)
	}
	c.view.Store(&next)
	close(old.superseded)
	return &next
}

// update is a member's new state; nil takes it out.
type update struct {
	owner  Owner
	member *Member
}

// publishOwn publishes a set of this node, after its version is durable.
func (c *Catalog) publishOwn(v *View, own *Set) *View {
	if own.version > c.reserved {
		upTo := min(own.version, MaxVersion-versionBlock+1) + versionBlock - 1
		if c.reserve != nil {
			c.reserve(upTo)
		}
		c.reserved = upTo
	}
	m, _ := v.Member(v.self)
	m.Set = own
	return c.publish(update{v.self, &m})
}

// Edit is the set of this node while Update changes it.
type Edit struct {
	view  *View
	next  Set
	batch *batch
}

// Get gives the record of a key.
func (e *Edit) Get(k Key) (Record, bool) { return e.next.Get(k) }

// Records gives all records as they are when it is called, sorted by name, then
// address.
func (e *Edit) Records() iter.Seq[Record] {
	items := e.next.sorted() // now: what comes is changed in place
	return func(yield func(Record) bool) {
		for _, it := range items {
			if !yield(it.entry.Record) {
				return
			}
		}
	}
}

// ByName gives the records of a name, sorted by address.
func (e *Edit) ByName(name string) []Record {
	var keys []Key
	for _, own := range e.view.Name(name).Of(e.next.owner) {
		keys = append(keys, own.Key())
	}
	e.next.records.diff(e.view.Own().records, func(k Key, _, _ *item) bool {
		if k.Name == name {
			keys = append(keys, k)
		}
		return true
	})
	slices.SortFunc(keys, compareKeys)
	var records []Record
	for _, k := range slices.Compact(keys) {
		if r, ok := e.Get(k); ok {
			records = append(records, r)
		}
	}
	return records
}

// Put adds a record or replaces the one with its key. A record that peers would
// refuse is not put, and the error says why: one such record would keep them
// from taking the whole set.
func (e *Edit) Put(r Record) error {
	old, next, err := e.item(r)
	if err == nil && next != old {
		e.next.put(e.batch, next)
	}
	return err
}

// PutAll is Put for many records, of which no two may have one key. Where most of the set
// will be new, as at a start, it takes a fraction of the time. Until it has returned, the
// set does not have them. Those that are wrong are left out; it gives the first error.
func (e *Edit) PutAll(records iter.Seq[Record]) error {
	var fresh []*item
	var first error
	for r := range records {
		old, next, err := e.item(r)
		switch {
		case err != nil:
			first = cmp.Or(first, err)
		case old == nil:
			fresh = append(fresh, next)
		case next != old:
			e.next.put(e.batch, next)
		}
	}
	e.next.putNew(e.batch, fresh)
	return first
}

// item gives what the set has of a record's key, nil for nothing, and what it should
// have, which is the same item where nothing is different.
func (e *Edit) item(r Record) (old, next *item, err error) {
	r = r.withUnknown("") // what another owner's protocol added is not ours to say
	if err := r.Check(); err != nil {
		return nil, nil, err
	}
	if !r.Priority.known() {
		return nil, nil, fmt.Errorf("record %s: priority %d is not known", r.Name, r.Priority)
	}
	if old = e.next.records.get(r.Key()); old == nil {
		r.Name = strings.Clone(r.Name) // it may be part of a long text, which would stay
	} else if r.Name = old.entry.Name; old.entry.Record == r {
		return old, old, nil
	}
	return old, newItem(e.next.owner, r), nil
}

// Delete takes a record out, if it is there.
func (e *Edit) Delete(k Key) { e.next.drop(e.batch, k) }

// Update lets fn change the set of this node. All that fn changed becomes
// visible at once, in one view and under a version raised by one; when nothing
// is different in the end, neither changes. It returns the view with the
// change. fn must not call the catalog, nor keep the Edit.
func (c *Catalog) Update(fn func(own *Edit)) *View {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view.Load()
	own := v.Own()
	e := &Edit{view: v, next: *own, batch: new(batch)}
	fn(e)
	keys := e.next.changedAtMost(own, historyKeys+1) // more are not remembered
	if len(keys) == 0 {
		return v
	}
	next := e.next
	next.version = min(own.version, MaxVersion-1) + 1
	next.history = own.history.added(own.version, next.version, keys)
	return c.publishOwn(v, &next)
}

// Touch makes a view that differs from the last one by its serial alone, for when
// what is told of the table has changed, but not the table.
func (c *Catalog) Touch() *View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.publish()
}

// Outcome is what became of a set or delta that arrived.
type Outcome uint8

// The outcomes.
const (
	Stale       Outcome = iota // not newer than what we have
	Replaced                   // it took the place of what we had
	SteppedPast                // a newer set of our own: our version went past it
	NeedFull                   // a delta whose base we do not hold, or not with this content: ask for the whole set
)

// String gives stale, replaced, stepped past or need full.
func (o Outcome) String() string {
	switch o {
	case Replaced:
		return "replaced"
	case SteppedPast:
		return "stepped past"
	case NeedFull:
		return "need full"
	}
	return "stale"
}

// Merge takes in a set that arrived. A set of another owner takes the place of
// an older one; it stays hidden unless the owner is alive. A set in our own
// name that is newer than ours, or as new with other content, is from an
// earlier life of this node or from a second daemon with this address: our set
// keeps its records and goes past that version.
func (c *Catalog) Merge(s *Set) Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.merge(c.view.Load(), s)
}

func (c *Catalog) merge(v *View, s *Set) Outcome {
	if s.owner == v.self {
		return c.stepPast(v, s)
	}
	m, known := v.Member(s.owner)
	if !known {
		m.Owner = s.owner
	}
	held := m.Set
	if held != nil {
		if !s.newer(held.version, held.hash) {
			return Stale
		}
		s = s.onto(held)
	}
	m.Set = s
	c.publish(update{s.owner, &m})
	return Replaced
}

func (c *Catalog) stepPast(v *View, theirs *Set) Outcome {
	own := v.Own()
	if theirs.version < own.version || theirs.version == own.version && theirs.hash == own.hash {
		return Stale
	}
	if own.version == MaxVersion {
		// There is no number past it. Ours stays as it is, and peers keep
		// whichever of the two has the higher hash.
		return Stale
	}
	c.publishOwn(v, own.past(theirs))
	return SteppedPast
}

// MergeDelta takes in a delta that arrived, as Merge would take in the set that
// it leads to.
func (c *Catalog) MergeDelta(d *Delta) Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view.Load()
	m, _ := v.Member(d.owner)
	held := m.Set
	if held == nil {
		return NeedFull
	}
	if held.version > d.to || held.version == d.to && held.hash == d.hash {
		return Stale
	}
	// At equal versions our own set has to step past also what loses by hash.
	if held.version == d.to && held.hash > d.hash && d.owner != v.self {
		return Stale
	}
	next, err := held.Apply(d)
	if err != nil {
		return NeedFull
	}
	if d.owner == v.self {
		return c.stepPast(v, next)
	}
	m.Set = next
	c.publish(update{d.owner, &m})
	return Replaced
}

// SetStatus says how a node is, and since when by the clock of this host. A
// node that becomes Alive shows the set that is held of it at once; one that
// stops being Alive has it hidden at once. Nothing happens when the status is
// what it was, and for this node itself, which is always Alive.
func (c *Catalog) SetStatus(o Owner, s Status, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view.Load()
	m, known := v.Member(o)
	if o == v.self || known && m.Status == s {
		return
	}
	m.Owner, m.Status, m.Since = o, s, now
	c.publish(update{o, &m})
}

// Expire drops the members that have not been alive for a time, with their
// sets, and gives them, sorted. For a member whose status nobody ever set, the
// time begins with the first call.
func (c *Catalog) Expire(now time.Time, after time.Duration) []Owner {
	c.mu.Lock()
	defer c.mu.Unlock()
	var expired []Owner
	var updates []update
	for m := range c.view.Load().Members() {
		switch {
		case m.Status == Alive:
		case m.Since.IsZero():
			m.Since = now
			updates = append(updates, update{m.Owner, &m})
		case now.Sub(m.Since) >= after:
			expired = append(expired, m.Owner)
			updates = append(updates, update{m.Owner, nil})
		}
	}
	if len(updates) > 0 {
		c.publish(updates...)
	}
	slices.SortFunc(expired, Owner.Compare)
	return expired
}

// Forget drops a member with its set at once, whatever its status. This node
// itself is never forgotten.
func (c *Catalog) Forget(o Owner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view.Load()
	if _, known := v.Member(o); known && o != v.self {
		c.publish(update{o, nil})
	}
}
