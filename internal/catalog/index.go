package catalog

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

// place is the visible entries of one address: an item alone, or with more the crowd
// there. Immutable, as all in a view.
type place item

// crowd is the entries of an address with several. One host may have many thousands
// of names, so a change must not copy them all: the entries are a persistent table, and
// the sorted list that readers want is made when the first of them asks.
type crowd struct {
	entries table[placeKey, *placed]
	maker   *batch // may change it in place, for nobody has seen it

	once sync.Once // guards list
	list []Entry
}

type placeKey struct {
	name  string
	owner Owner
}

// placed is an item as a crowd holds it.
type placed item

func (it *placed) key() placeKey { return placeKey{it.entry.Name, it.entry.Owner} }

func (p *place) key() netip.Addr { return p.entry.Addr }

// crowd gives nil where there is one entry.
func (p *place) crowd() *crowd {
	if p.more == nil {
		return nil
	}
	return p.more.place
}

// place gives the place with that crowd.
func (c *crowd) place(a netip.Addr) *place {
	return &place{entry: Entry{Record: Record{Addr: a}}, more: &more{place: c}}
}

// parent is a name that others end in.
type parent struct {
	name  string
	names int // how many are directly or farther below it
}

func (p *parent) key() string { return p.name }

func (p *place) sorted() []Entry {
	c := p.crowd()
	if c == nil {
		return (*item)(p).alone()
	}
	c.once.Do(func() {
		c.list = make([]Entry, 0, c.entries.len())
		for it := range c.entries.all() {
			c.list = append(c.list, it.entry)
		}
		slices.SortFunc(c.list, compareEntries)
	})
	return c.list
}

// altered gives the place with an entry, or with is nil without it; nil when there is
// none any more. A nil place has none.
func (p *place) altered(b *batch, k placeKey, is *item) *place {
	switch {
	case p == nil || p.crowd() == nil && (*placed)(p).key() == k:
		return (*place)(is)
	case p.crowd() == nil && is == nil:
		return p
	case p.crowd() == nil:
		c := &crowd{maker: b}
		c.entries = c.entries.setBy(b, (*placed)(p)).setBy(b, (*placed)(is))
		return c.place(p.key())
	}
	c := p.crowd()
	if c.maker != b {
		c = &crowd{entries: c.entries, maker: b}
		p = c.place(p.key())
	}
	if is != nil {
		c.entries = c.entries.setBy(b, (*placed)(is))
		return p
	}
	c.entries = c.entries.deleteBy(b, k)
	if c.entries.len() > 1 {
		return p
	}
	for it := range c.entries.all() {
		return (*place)(it)
	}
	return nil
}

// alone gives the entry as a slice of it alone.
func (it *item) alone() []Entry { return unsafe.Slice(&it.entry, 1) }

// indexed gives a copy of the record, nil when there is none or none that this
// node can answer.
func (it *item) indexed() *Record {
	if it == nil || !it.entry.Priority.known() {
		return nil
	}
	r := it.entry.Record
	return &r
}

// alteration is a change of one key of one owner on its way into the indexes.
type alteration struct {
	was, is *item // at least one is there
}

func (a alteration) any() *item { return cmp.Or(a.is, a.was) }

func (a alteration) name() string { return a.any().entry.Name }

func (a alteration) addr() netip.Addr { return a.any().entry.Addr }

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
	if v.names.len() == 0 && is.visible() {
		v.begin(o, is.records())
		v.members = v.members.set(is)
		return
	}
	all := make([]alteration, 0, max(0, is.records().len()-was.records().len()))
	is.records().diff(was.records(), func(_ Key, was, is *item) bool {
		all = append(all, alteration{was, is})
		return true
	})
	slices.SortFunc(all, func(a, b alteration) int { return compareItems(a.any(), b.any()) })
	b := new(batch)
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].name() == all[0].name() {
			n++
		}
		v.rename(b, o, all[:n], was, is)
		all = all[n:]
	}
	if is != nil {
		v.members = v.members.set(is)
	} else {
		v.members = v.members.delete(o)
	}
}

// begin makes the indexes of the records of the first member that has any, who is
// visible. A start has a hundred thousand at once where there is a large hosts file.
func (v *View) begin(o Owner, records table[Key, *item]) {
	b := new(batch)
	items := slices.AppendSeq(make([]*item, 0, records.len()), records.all())
	v.names = tableFrom(items, func(it *item) string { return it.entry.Name }, func(same []hashed[*item]) *Name {
		slices.SortFunc(same, func(x, y hashed[*item]) int { return compareItems(x.of, y.of) })
		list := make([]alteration, 0, 8)
		for _, it := range same {
			list = append(list, alteration{is: it.of})
		}
		n := (*Name)(nil).altered(list[0].name(), o, list, true, true)
		v.count(b, n.Name(), true)
		if n.Serves() {
			for _, protocol := range protocols {
				v.count(b, ServiceName(n.Name(), protocol), true)
			}
		}
		return n
	}, v.names.hash)
	items = slices.DeleteFunc(items, func(it *item) bool { return !it.entry.Priority.known() })
	v.places = tableFrom(items, func(it *item) netip.Addr { return it.entry.Addr }, func(same []hashed[*item]) (p *place) {
		for _, it := range same {
			p = p.altered(b, placeKey{it.of.entry.Name, o}, it.of)
		}
		return p
	}, v.places.hash)
}

// rename brings the indexes up to date with the alterations of one name, sorted by
// address.
func (v *View) rename(b *batch, o Owner, list []alteration, was, is *Member) {
	name := list[0].name()
	wasVisible, isVisible := was.visible(), is.visible()
	old := v.names.get(name)
	n := old.altered(name, o, list, wasVisible, isVisible)
	if e, only := n.only(); only {
		m := is
		if e.Owner != o {
			m = v.members.get(e.Owner)
		}
		n = (*Name)(m.records().get(e.Key()))
	}
	if n != nil {
		v.names = v.names.setBy(b, n)
	} else {
		v.names = v.names.deleteBy(b, name)
	}
	if (old == nil) != (n == nil) {
		v.count(b, name, n != nil)
	}
	if old.Serves() != n.Serves() {
		for _, protocol := range protocols {
			v.count(b, ServiceName(name, protocol), n.Serves())
		}
	}
	if !wasVisible && !isVisible {
		return
	}
	k := placeKey{name, o}
	for _, a := range list {
		p := v.places.get(a.addr())
		var next *place
		if isVisible && a.is != nil && a.is.entry.Priority.known() {
			next = p.altered(b, k, a.is)
		} else if wasVisible && p != nil {
			next = p.altered(b, k, nil)
		} else {
			continue
		}
		switch {
		case next == p:
		case next == nil:
			v.places = v.places.deleteBy(b, a.addr())
		default:
			v.places = v.places.setBy(b, next)
		}
	}
}

// count brings the parents up to date after a name came or went.
func (v *View) count(b *batch, name string, came bool) {
	for {
		_, rest, more := strings.Cut(name, ".")
		if !more {
			return
		}
		n := 0
		if p := v.parents.get(rest); p != nil {
			n = p.names
		}
		if came {
			n++
		} else {
			n--
		}
		if n > 0 {
			v.parents = v.parents.setBy(b, &parent{rest, n})
		} else {
			v.parents = v.parents.deleteBy(b, rest)
		}
		name = rest
	}
}
