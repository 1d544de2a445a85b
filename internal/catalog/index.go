package catalog

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// place is the visible entries of one address. One host may have many
// thousands of names, so a change must not copy them all: the entries are a
// persistent table, and the sorted list that readers want is made when the
// first of them asks.
type place struct {
	entries table[placeKey, item]

	once sync.Once // guards list
	list []Entry
}

type placeKey struct {
	name  string
	owner Owner
}

func (p *place) sorted() []Entry {
	p.once.Do(func() {
		p.list = make([]Entry, 0, p.entries.len())
		for k, it := range p.entries.all() {
			p.list = append(p.list, Entry{Record: it.Record, Owner: k.owner})
		}
		slices.SortFunc(p.list, compareEntries)
	})
	return p.list
}

// each gives the entries of a place, in no order.
func (p *place) each(yield func(Entry) bool) {
	for k, it := range p.entries.all() {
		if !yield(Entry{Record: it.Record, Owner: k.owner}) {
			return
		}
	}
}

// indexed gives a copy of the record, nil when there is none or none that this
// node can answer.
func (it *item) indexed() *Record {
	if it == nil || !it.Priority.known() {
		return nil
	}
	r := it.Record
	return &r
}

// alteration is a change of one key of one owner on its way into the indexes.
type alteration struct {
	addr    netip.Addr
	was, is *item
}

// replace puts a member into a view that nobody has seen yet, or takes it out
// (is == nil), and brings the indexes up to date. The cost is that of the
// records that differ and of their names.
func (v *View) replace(o Owner, is *Member) {
	was := v.members.get(o)
	if was != nil && is != nil && was.visible() != is.visible() {
		// Every record moves from one list to the other.
		v.replace(o, nil)
		was = nil
	}
	names := map[string][]alteration{}
	is.records().diff(was.records(), func(k Key, was, is *item) bool {
		names[k.Name] = append(names[k.Name], alteration{k.Addr, was, is})
		return true
	})
	places := map[netip.Addr]table[placeKey, item]{}
	for name, list := range names {
		slices.SortFunc(list, func(a, b alteration) int { return a.addr.Compare(b.addr) })
		old := v.names.get(name)
		n := old.altered(name, o, list, was.visible(), is.visible())
		if n != nil {
			v.names = v.names.set(name, n)
		} else {
			v.names = v.names.delete(name)
		}
		if (old == nil) != (n == nil) {
			v.count(name, n != nil)
		}
		if old.Serves() != n.Serves() {
			for _, protocol := range protocols {
				v.count(ServiceName(name, protocol), n.Serves())
			}
		}
		if !was.visible() && !is.visible() {
			continue
		}
		for _, a := range list {
			entries, met := places[a.addr]
			if !met {
				if p := v.places.get(a.addr); p != nil {
					entries = p.entries
				}
			}
			k := placeKey{name, o}
			if is.visible() && a.is != nil && a.is.Priority.known() {
				entries = entries.set(k, a.is)
			} else if was.visible() {
				entries = entries.delete(k)
			}
			places[a.addr] = entries
		}
	}
	for a, entries := range places {
		if entries.len() == 0 {
			v.places = v.places.delete(a)
		} else {
			v.places = v.places.set(a, &place{entries: entries})
		}
	}
	if is != nil {
		v.members = v.members.set(o, is)
	} else {
		v.members = v.members.delete(o)
	}
}

// count brings the parents up to date after a name came or went.
func (v *View) count(name string, came bool) {
	for {
		_, parent, more := strings.Cut(name, ".")
		if !more {
			return
		}
		n := 0
		if p := v.parents.get(parent); p != nil {
			n = *p
		}
		if came {
			n++
		} else {
			n--
		}
		if n > 0 {
			v.parents = v.parents.set(parent, &n)
		} else {
			v.parents = v.parents.delete(parent)
		}
		name = parent
	}
}

// altered gives the name after one owner's records of it changed, nil when
// nobody has it any more.
func (n *Name) altered(name string, o Owner, list []alteration, wasVisible, isVisible bool) *Name {
	next := Name{Name: name}
	if n != nil {
		next = *n
	}
	next.Entries = merged(next.Entries, o, list, wasVisible, isVisible)
	next.Hidden = merged(next.Hidden, o, list, !wasVisible, !isVisible)
	for _, a := range list {
		if a.was != nil && !a.was.Priority.known() {
			next.others--
		}
		if a.is != nil && !a.is.Priority.known() {
			next.others++
		}
	}
	if len(next.Entries) == 0 && len(next.Hidden) == 0 && next.others == 0 {
		return nil
	}
	next.answers = answers(next.Entries)
	next.look()
	return &next
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
		for i < len(entries) && before(entries[i], o, a.addr) {
			next = append(next, entries[i])
			i++
		}
		if i < len(entries) && entries[i].Owner == o && entries[i].Addr == a.addr {
			i++ // were
		}
		if are && a.is != nil && a.is.Priority.known() {
			next = append(next, Entry{Record: a.is.Record, Owner: o})
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
