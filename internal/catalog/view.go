package catalog

import (
	"iter"
	"net/netip"
	"time"
)

type Status uint8

const (
	Unknown Status = iota
	Alive
	Dead
	Left
	Removed
)

func (s Status) String() string { panic("todo") }

// Set: immutable.
type Set struct{}

func NewSet(o Owner) *Set                              { panic("todo") }
func (s *Set) Owner() Owner                            { panic("todo") }
func (s *Set) Version() uint64                         { panic("todo") }
func (s *Set) Hash() uint64                            { panic("todo") }
func (s *Set) Len() int                                { panic("todo") }
func (s *Set) Get(k Key) (Record, bool)                { panic("todo") }
func (s *Set) Records() iter.Seq[Record]               { panic("todo") } // sorted by name, address
func (s *Set) Delta(from uint64) (*Delta, bool)        { panic("todo") }
func (s *Set) Apply(d *Delta) (*Set, error)            { panic("todo") }
func (s *Set) Encode() []byte                          { panic("todo") }
func DecodeSet(b []byte, maxRecords int) (*Set, error) { panic("todo") }

// Merge picks the set with the higher (version, hash).
func Merge(a, b *Set) *Set { panic("todo") }

type Delta struct{}

func (d *Delta) Owner() Owner                              { panic("todo") }
func (d *Delta) From() uint64                              { panic("todo") }
func (d *Delta) To() uint64                                { panic("todo") }
func (d *Delta) Encode() []byte                            { panic("todo") }
func DecodeDelta(b []byte, maxRecords int) (*Delta, error) { panic("todo") }

type Member struct {
	Owner  Owner
	Status Status
	Since  time.Time
	Set    *Set // nil until one arrived
}

// Name is everything known of one name. Immutable.
type Name struct {
	Name    string
	Entries []Entry // of owners that are alive; sorted by owner, then address
	Hidden  []Entry // of owners that are dead, left, removed, or not yet seen alive
}

type View struct{}

func (v *View) Self() Owner                     { panic("todo") }
func (v *View) Own() *Set                       { panic("todo") }
func (v *View) Serial() uint64                  { panic("todo") }
func (v *View) Name(name string) *Name          { panic("todo") } // nil: not ours
func (v *View) Addr(a netip.Addr) []Entry       { panic("todo") } // visible ones
func (v *View) Entries() iter.Seq[Entry]        { panic("todo") } // visible ones, no order
func (v *View) Names() iter.Seq[*Name]          { panic("todo") }
func (v *View) Member(o Owner) (Member, bool)   { panic("todo") }
func (v *View) Members() iter.Seq[Member]       { panic("todo") }
func (v *View) Superseded() <-chan struct{}     { panic("todo") }
func (v *View) Diff(old *View) iter.Seq[Change] { panic("todo") }

// Change is one difference between two views.
type Change struct {
	Owner    Owner
	Old, New *Record // nil: absent before, absent now
}

type Options struct {
	Self    Owner
	Version uint64
	Reserve func(upTo uint64)
}

type Catalog struct{}

func New(o Options) *Catalog   { panic("todo") }
func (c *Catalog) View() *View { panic("todo") }

type Edit struct{}

func (e *Edit) Get(k Key) (Record, bool)    { panic("todo") }
func (e *Edit) Records() iter.Seq[Record]   { panic("todo") }
func (e *Edit) Put(r Record)                { panic("todo") }
func (e *Edit) Delete(k Key)                { panic("todo") }
func (e *Edit) ByName(name string) []Record { panic("todo") }

func (c *Catalog) Update(fn func(own *Edit)) *View { panic("todo") }

type Outcome uint8

const (
	Stale Outcome = iota // not newer than what we have
	Replaced
	SteppedPast // a newer set of our own: our version went past it
	NeedFull    // a delta whose base we do not hold
)

func (c *Catalog) Merge(s *Set) Outcome                              { panic("todo") }
func (c *Catalog) MergeDelta(d *Delta) Outcome                       { panic("todo") }
func (c *Catalog) SetStatus(o Owner, s Status, now time.Time)        { panic("todo") }
func (c *Catalog) Expire(now time.Time, after time.Duration) []Owner { panic("todo") }
func (c *Catalog) Forget(o Owner)                                    { panic("todo") }
