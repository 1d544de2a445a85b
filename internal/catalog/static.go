package catalog

import (
	"net/netip"
	"slices"
)

// Answers are the entries by which the name is answered and by which duties are
// decided, in the order of Entries. They are Entries, except for the addresses
// that someone tells of as static:
//
// The static records of one address are one entry, with the least of their TTLs.
// It is Active when one of them is, unless an owner who checks the thing says
// Inactive: an owner who does not check knows nothing against that. So one check
// anywhere in the cluster is enough, and when its owner dies the others' word
// stands.
//
// Where the host of that address runs a daemon and has the name as an alias, its
// records stand for themselves, and the static ones only turn them Inactive when
// a check says so.
//
// A nil Name has none. The caller must not change the slice.
func (n *Name) Answers() []Entry {
	if s := n.several(); s != nil && s.answers != nil {
		return *s.answers
	}
	return n.Entries()
}

// answers gives the entries as Answers has them, nil when they are the same.
func answers(entries []Entry) *[]Entry {
	static := func(e Entry) bool { return e.Static && e.Priority != Origin }
	first := slices.IndexFunc(entries, static)
	if first < 0 || len(entries) == 1 {
		return nil
	}
	// told is what is said of one address.
	type told struct {
		ttl     uint32 // the least of the static ones
		active  bool   // one of the static ones is
		refuted bool   // a check says Inactive
		alias   bool   // its host speaks for itself
		done    bool
	}
	all := map[netip.Addr]*told{}
	for _, e := range entries[first:] {
		if !static(e) {
			continue
		}
		t := all[e.Addr]
		if t == nil {
			t = &told{ttl: e.TTL}
			all[e.Addr] = t
		}
		t.ttl = min(t.ttl, e.TTL)
		t.active = t.active || e.Active
		t.refuted = t.refuted || e.Checked && !e.Active
	}
	for _, e := range entries {
		if t := all[e.Addr]; t != nil && !e.Static && e.Priority != Origin {
			t.alias = true
		}
	}
	list := make([]Entry, 0, len(entries))
	for _, e := range entries {
		t := all[e.Addr]
		switch {
		case t == nil || e.Priority == Origin:
		case !e.Static:
			e.Active = e.Active && !t.refuted
		case t.alias || t.done:
			continue
		default:
			t.done = true
			e.TTL, e.Active = t.ttl, t.active && !t.refuted
		}
		list = append(list, e)
	}
	if slices.Equal(list, entries) { // as most static ones are
		return nil
	}
	list = slices.Clip(list)
	return &list
}

// Active says whether a visible entry is answered as Active. It is what the
// entry itself says, except where somebody tells of its address as static.
func (v *View) Active(e Entry) bool {
	s := v.Name(e.Name).several()
	if s == nil || s.answers == nil || e.Priority == Origin {
		return e.Active
	}
	for _, a := range *s.answers {
		if a.Addr == e.Addr && a.Priority == e.Priority && a.Active {
			return e.Static || e.Active
		}
	}
	return false
}
