package catalog

import (
	"fmt"
	"net/netip"
	"strings"
	"unique"
)

// Priority is the tier of a record. Lower values are answered first; Origin is
// the record of a host's own name and never competes with aliases.
type Priority uint8

// The priorities, in the order in which tiers are tried.
const (
	Master Priority = iota + 1
	Secondary
	Backup
	Origin
)

// String gives the word that tables show: Master, Secondary, Backup, Origin.
func (p Priority) String() string {
	switch p {
	case Master:
		return "Master"
	case Secondary:
		return "Secondary"
	case Backup:
		return "Backup"
	case Origin:
		return "Origin"
	}
	return fmt.Sprintf("Priority(%d)", uint8(p))
}

// ParsePriority reads master, secondary or backup in any case. Origin is not
// among them: nobody writes it, a host's own name has it.
func ParsePriority(s string) (Priority, error) {
	switch strings.ToLower(s) {
	case "master":
		return Master, nil
	case "secondary":
		return Secondary, nil
	case "backup":
		return Backup, nil
	}
	return 0, fmt.Errorf("priority %q: expected master, secondary or backup", s)
}

// Duty is what a node's activity check last settled on for one of its aliases.
type Duty uint8

// The duties. DutyUndefined means that the alias has no activity check or that
// the check has not settled yet.
const (
	DutyUndefined Duty = iota
	DutyInactive
	DutyActive
)

// String gives undefined, inactive or active.
func (d Duty) String() string {
	switch d {
	case DutyInactive:
		return "inactive"
	case DutyActive:
		return "active"
	}
	return "undefined"
}

// Owner names the node that published a record: the first address of its
// `host:`. Only the owner changes its records.
type Owner = netip.Addr

// Key identifies a record within its owner's set.
type Key struct {
	Name string
	Addr netip.Addr
}

// Record is one line of the table: a name, an address and what is known of it.
// Records are values; a record inside a View is never changed.
type Record struct {
	// Name is in lower case and without the domain suffix.
	Name string
	Addr netip.Addr
	// TTL in seconds, 0 … 2³¹−1 (RFC 2181 §8).
	TTL      uint32
	Priority Priority
	// Weight is 1 … 65535; 0 for an origin, which has none.
	Weight uint16
	// Active records are answered; the owner's health check decides.
	Active bool

	// Static says that the address is that of a thing which runs no daemon. Its
	// owner only tells of it, others may tell the same, and nobody has a duty
	// for it. See Name.Answers.
	Static bool
	// Checked says of a static record that Active is the verdict of a health
	// check of its owner, and not merely what is taken for granted.
	Checked bool

	// Duty is what the owner's activity check last settled on. It stands here for want
	// of room below.
	Duty Duty

	// Port is where the service of an alias listens, 0 for one that does not say.
	// It makes the service names of the alias, see ServiceName.
	Port uint16
	// rare is what few records have, in one place for all records that have the same,
	// so that records can be compared with ==. It is zero where there is nothing.
	rare unique.Handle[rare]

	// Transition is the number of the last transition of Duty (rising, per alias),
	// Activated that of the last one to active, and Acted the last one whose hook
	// has ended, however it ended. All addresses of one alias of one owner carry the
	// same four.
	Transition uint64
	Acted      uint64
	Activated  uint64
}

type rare struct {
	text   Text
	target string
	// unknown holds encoded fields of a later protocol, passed on as they came.
	unknown string
}

func (r Record) rarities() rare {
	if r.rare == (unique.Handle[rare]{}) {
		return rare{}
	}
	return r.rare.Value()
}

func (r Record) with(s rare) Record {
	r.rare = unique.Handle[rare]{}
	if s != (rare{}) {
		r.rare = unique.Make(s)
	}
	return r
}

// Text is what the alias says of itself, "" for nothing.
func (r Record) Text() Text { return r.rarities().text }

// Target is another name that this one stands for, "" for none. With a dot at
// its end it is a full name, without one a name as those of the table. The
// record's address is then only that of who tells.
func (r Record) Target() string { return r.rarities().target }

// WithText gives the record with that Text.
func (r Record) WithText(t Text) Record {
	s := r.rarities()
	s.text = t
	return r.with(s)
}

// WithTarget gives the record with that Target.
func (r Record) WithTarget(target string) Record {
	s := r.rarities()
	s.target = target
	return r.with(s)
}

func (r Record) withUnknown(unknown string) Record {
	s := r.rarities()
	s.unknown = unknown
	return r.with(s)
}

// Key gives the record's identity within its owner's set.
func (r Record) Key() Key { return Key{Name: r.Name, Addr: r.Addr} }

// Entry is a record with its owner, as the indexes of a View hold it.
type Entry struct {
	Record
	Owner Owner
}
