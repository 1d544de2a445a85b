package catalog

import (
	"net/netip"
	"slices"
	"strings"
)

// Name is everything known of one name. Names are immutable. A nil Name is one of which
// nothing is known: its methods give nothing.
//
// Where a name has one record, and that is visible, the Name is that record, the very one
// that the set of its owner holds.
type Name item

// several is what is known of a name whatever that is.
type several struct {
	entries, hidden []Entry
	// others counts the records whose priority this node does not know. They
	// make the name ours, no more.
	others int
	// answers is what Answers gives where that is not entries.
	answers *[]Entry
	// serves and points are what the methods of these names give.
	serves, points bool
}

func (n *Name) key() string { return n.Name() }

func (n *Name) several() *several {
	if n == nil || n.more == nil {
		return nil
	}
	return n.more.name
}

// only gives the one entry that is known where that is not what the name is yet.
func (n *Name) only() (Entry, bool) {
	if s := n.several(); s != nil && len(s.entries) == 1 && len(s.hidden) == 0 && s.others == 0 {
		return s.entries[0], true
	}
	return Entry{}, false
}

// Name gives the name itself, in lower case and without the domain.
func (n *Name) Name() string {
	if n == nil {
		return ""
	}
	return n.entry.Name
}

// Entries gives those of owners that are alive, sorted by owner, then address. Two
// owners may publish one address. The caller must not change the slice.
func (n *Name) Entries() []Entry {
	if n == nil {
		return nil
	}
	if s := n.several(); s != nil {
		return s.entries
	}
	return (*item)(n).alone()
}

// Hidden gives the entries of owners that are dead, left, removed or not yet seen
// alive, in the same order. The caller must not change the slice.
func (n *Name) Hidden() []Entry {
	if s := n.several(); s != nil {
		return s.hidden
	}
	return nil
}

// Of gives the entries of one owner that is alive, sorted by address. A nil Name
// has none. The caller must not change the slice.
func (n *Name) Of(o Owner) []Entry {
	entries := n.Entries()
	byOwner := func(e Entry, o Owner) int { return e.Owner.Compare(o) }
	i, _ := slices.BinarySearchFunc(entries, o, byOwner)
	j := i
	for j < len(entries) && entries[j].Owner == o {
		j++
	}
	return entries[i:j:j]
}

// Serves says whether some record of the name has a port, also a hidden one, so
// that its service names exist.
func (n *Name) Serves() bool {
	if s := n.several(); s != nil {
		return s.serves
	}
	return n != nil && n.entry.Port != 0 && servable(n.entry.Name)
}

// Points says whether some visible record of the name stands for another name.
func (n *Name) Points() bool {
	if s := n.several(); s != nil {
		return s.points
	}
	return n != nil && n.entry.Target() != ""
}

// servable is false where a service name has no room for its _.
func servable(name string) bool {
	service, _, _ := strings.Cut(name, ".")
	return len(service) < maxLabel
}

// altered gives the name after one owner's records of it changed, nil when
// nobody has it any more.
func (n *Name) altered(name string, o Owner, list []alteration, wasVisible, isVisible bool) *Name {
	old := n.several()
	if a := list[0]; len(list) == 1 && isVisible && a.is != nil && a.is.entry.Priority.known() &&
		(n == nil || old == nil && n.entry.Owner == o && n.entry.Addr == a.addr()) {
		return (*Name)(a.is)
	}
	var next several
	if old != nil {
		next = *old
	} else {
		next.entries = n.Entries()
	}
	next.entries = merged(next.entries, o, list, wasVisible, isVisible)
	next.hidden = merged(next.hidden, o, list, !wasVisible, !isVisible)
	for _, a := range list {
		if a.was != nil && !a.was.entry.Priority.known() {
			next.others--
		}
		if a.is != nil && !a.is.entry.Priority.known() {
			next.others++
		}
	}
	if len(next.entries) == 0 && len(next.hidden) == 0 && next.others == 0 {
		return nil
	}
	next.answers = answers(next.entries)
	port := func(e Entry) bool { return e.Port != 0 }
	next.serves = servable(name) && (slices.ContainsFunc(next.entries, port) || slices.ContainsFunc(next.hidden, port))
	next.points = slices.ContainsFunc(next.entries, func(e Entry) bool { return e.Target() != "" })
	return &Name{entry: Entry{Record: Record{Name: name}}, more: &more{name: &next}}
}

// merged gives a list of entries without the altered ones of an owner, if they
// were in it, and with what they became, if that belongs in it.
func merged(entries []Entry, o Owner, list []alteration, were, are bool) []Entry {
	if !were && !are {
		return entries
	}
	next := make([]Entry, 0, len(entries)+len(list))
	i := 0
	for _, a := range list {
		for i < len(entries) && before(entries[i], o, a.addr()) {
			next = append(next, entries[i])
			i++
		}
		if i < len(entries) && entries[i].Owner == o && entries[i].Addr == a.addr() {
			i++ // were
		}
		if are && a.is != nil && a.is.entry.Priority.known() {
			next = append(next, a.is.entry)
		}
	}
	next = append(next, entries[i:]...)
	return slices.Clip(next)
}

func before(e Entry, o Owner, addr netip.Addr) bool {
	if c := e.Owner.Compare(o); c != 0 {
		return c < 0
	}
	return e.Addr.Less(addr)
}
