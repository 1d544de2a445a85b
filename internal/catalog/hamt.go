package catalog

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// table is a persistent map from K to *T: set and delete give a new table and
// leave the old one as it was. Both share whatever the change did not touch,
// so that a change in a table of a hundred thousand entries copies a handful
// of small nodes and a reader of the old table needs no lock.
//
// It is a hash array mapped trie: each level takes five more bits of the key's
// hash. Entries and sub-nodes of a node are kept apart and a node that shrinks
// to one entry is folded into its parent, so equal contents have equal shapes
// whatever their history; diff relies on neither, but is fast because of both.
//
// The zero table is empty and ready. A nil *T is never stored.
type table[K comparable, T any] struct {
	root *node[K, T]
	size int
	// hash is nil except in tests, which put in one that collides.
	hash func(K) uint64
}

// The seed is per process: nobody outside can choose names that collide.
var seed = maphash.MakeSeed()

const (
	slotBits = 5
	hashBits = 64
)

type entry[K comparable, T any] struct {
	key K
	val *T
}

// node holds up to 32 slots, each with an entry, a node below, or nothing.
// Below the last bit of the hash there are no slots any more: such a node is a
// plain list of entries, all with one hash.
type node[K comparable, T any] struct {
	held, below uint32 // the slots with an entry, with a node
	entries     []entry[K, T]
	nodes       []*node[K, T]
	maker       *batch // may change the node in place
}

// batch is a change of many keys whose outcome nobody sees before its end: the nodes
// that it has made it changes in place. Nil is none. At its end it is forgotten, and
// with it the right to change them.
type batch struct{ _ byte }

// by gives the node itself where the batch has made it, else a copy that it has.
func (n *node[K, T]) by(b *batch) *node[K, T] {
	if b != nil && n.maker == b {
		return n
	}
	c := *n
	if c.maker = b; b != nil {
		c.nodes = append([]*node[K, T](nil), n.nodes...) // see replaceBelow
	}
	return &c
}

func slot(h uint64, shift uint) uint32 { return 1 << (h >> shift & (1<<slotBits - 1)) }

// rank is the place of a slot among those set in a bitmap.
func rank(bitmap, bit uint32) int { return bits.OnesCount32(bitmap & (bit - 1)) }

func (t table[K, T]) hashOf(k K) uint64 {
	if t.hash != nil {
		return t.hash(k)
	}
	return maphash.Comparable(seed, k)
}

// len gives the number of entries.
func (t table[K, T]) len() int { return t.size }

// tableOf gives the table of these entries, of different keys, that setting one after the
// other would make, without all that lies between. It changes their order.
func tableOf[K comparable, T any](entries []entry[K, T], hash func(K) uint64) table[K, T] {
	t := table[K, T]{size: len(entries), hash: hash}
	if len(entries) == 0 {
		return t
	}
	list := make([]hashed[K, T], len(entries))
	for i, e := range entries {
		list[i] = hashed[K, T]{t.hashOf(e.key), e}
	}
	t.root = nodeOf(list, make([]hashed[K, T], len(list)), 0)
	return t
}

type hashed[K comparable, T any] struct {
	hash uint64
	entry[K, T]
}

// nodeOf makes the node of a list. It uses room, which is as long.
func nodeOf[K comparable, T any](list, room []hashed[K, T], shift uint) *node[K, T] {
	n := &node[K, T]{}
	if shift >= hashBits {
		for i := range list {
			n.entries = append(n.entries, list[i].entry)
		}
		return n
	}
	// end is where each slot's part of the list ends, once it is in order of the slots.
	var end [1 << slotBits]int
	for i := range list {
		end[list[i].hash>>shift&(1<<slotBits-1)]++
	}
	held := 0
	for s, at := 0, 0; s < len(end); s++ {
		switch end[s] {
		case 0:
		case 1:
			n.held |= 1 << s
			held++
		default:
			n.below |= 1 << s
		}
		at += end[s]
		end[s] = at
	}
	for i := len(list) - 1; i >= 0; i-- {
		s := list[i].hash >> shift & (1<<slotBits - 1)
		end[s]-- // where it begins, in the end
		room[end[s]] = list[i]
	}
	if held > 0 {
		n.entries = make([]entry[K, T], 0, held)
	}
	if n.below != 0 {
		n.nodes = make([]*node[K, T], 0, bits.OnesCount32(n.below))
	}
	for s := range end {
		from, to := end[s], len(list)
		if s+1 < len(end) {
			to = end[s+1]
		}
		switch to - from {
		case 0:
		case 1:
			n.entries = append(n.entries, room[from].entry)
		default:
			n.nodes = append(n.nodes, nodeOf(room[from:to], list[from:to], shift+slotBits))
		}
	}
	return n
}

// get gives what k leads to, nil if nothing. It does not allocate.
func (t table[K, T]) get(k K) *T {
	n := t.root
	if n == nil {
		return nil
	}
	h := t.hashOf(k)
	for shift := uint(0); shift < hashBits; shift += slotBits {
		bit := slot(h, shift)
		if n.held&bit != 0 {
			if e := &n.entries[rank(n.held, bit)]; e.key == k {
				return e.val
			}
			return nil
		}
		if n.below&bit == 0 {
			return nil
		}
		n = n.nodes[rank(n.below, bit)]
	}
	if i := n.find(k); i >= 0 {
		return n.entries[i].val
	}
	return nil
}

// set gives a table in which k leads to v.
func (t table[K, T]) set(k K, v *T) table[K, T] { return t.setBy(nil, k, v) }

// setBy is set within a batch: it may change t, too.
func (t table[K, T]) setBy(b *batch, k K, v *T) table[K, T] {
	h := t.hashOf(k)
	e := entry[K, T]{k, v}
	if t.root == nil {
		t.root = &node[K, T]{held: slot(h, 0), entries: []entry[K, T]{e}, maker: b}
		t.size = 1
		return t
	}
	root, grown := t.put(b, t.root, 0, h, e)
	t.root = root
	if grown {
		t.size++
	}
	return t
}

// delete gives a table without k.
func (t table[K, T]) delete(k K) table[K, T] { return t.deleteBy(nil, k) }

// deleteBy is delete within a batch: it may change t, too.
func (t table[K, T]) deleteBy(b *batch, k K) table[K, T] {
	if t.root == nil {
		return t
	}
	root, gone := t.root.remove(b, 0, t.hashOf(k), k)
	if !gone {
		return t
	}
	t.size--
	t.root = root
	if t.size == 0 {
		t.root = nil
	}
	return t
}

// all gives every entry, in no order.
func (t table[K, T]) all() iter.Seq2[K, *T] {
	return func(yield func(K, *T) bool) {
		if t.root != nil {
			t.root.each(yield)
		}
	}
}

// diff calls yield for every key that leads elsewhere in t than in old, with
// nil for absent, until it returns false. What the two share is skipped, so
// between a table and its successor the cost is that of the change. Values are
// compared as pointers.
func (t table[K, T]) diff(old table[K, T], yield func(k K, was, is *T) bool) {
	diffNodes(old.root, t.root, 0, yield)
}

func (t table[K, T]) put(b *batch, n *node[K, T], shift uint, h uint64, e entry[K, T]) (_ *node[K, T], grown bool) {
	if shift >= hashBits {
		i := n.find(e.key)
		if i >= 0 && n.entries[i].val == e.val {
			return n, false
		}
		c := n.by(b)
		if i >= 0 {
			c.entries = replaced(n.entries, i, e)
			return c, false
		}
		c.entries = inserted(n.entries, len(n.entries), e)
		return c, true
	}
	bit := slot(h, shift)
	switch {
	case n.held&bit != 0:
		i := rank(n.held, bit)
		there := n.entries[i]
		if there.key == e.key {
			if there.val == e.val {
				return n, false
			}
			c := n.by(b)
			c.entries = replaced(n.entries, i, e)
			return c, false
		}
		// Two keys want the slot: both go one level down.
		c := n.by(b)
		c.nodes = inserted(n.nodes, rank(n.below, bit), pair(b, there, t.hashOf(there.key), e, h, shift+slotBits))
		c.entries = removed(n.entries, i)
		c.held &^= bit
		c.below |= bit
		return c, true
	case n.below&bit != 0:
		i := rank(n.below, bit)
		sub, grown := t.put(b, n.nodes[i], shift+slotBits, h, e)
		if sub == n.nodes[i] {
			return n, grown
		}
		return n.replaceBelow(b, i, sub), grown
	default:
		c := n.by(b)
		c.entries = inserted(n.entries, rank(n.held, bit), e)
		c.held |= bit
		return c, true
	}
}

// replaceBelow puts another node into the place of the i-th below.
func (n *node[K, T]) replaceBelow(b *batch, i int, sub *node[K, T]) *node[K, T] {
	c := n.by(b)
	if b != nil {
		c.nodes[i] = sub // by has made the slice the node's own
	} else {
		c.nodes = replaced(n.nodes, i, sub)
	}
	return c
}

// pair is the node for two entries with different keys.
func pair[K comparable, T any](by *batch, a entry[K, T], ha uint64, b entry[K, T], hb uint64, shift uint) *node[K, T] {
	if shift >= hashBits {
		return &node[K, T]{entries: []entry[K, T]{a, b}, maker: by}
	}
	sa, sb := slot(ha, shift), slot(hb, shift)
	if sa == sb {
		return &node[K, T]{below: sa, nodes: []*node[K, T]{pair(by, a, ha, b, hb, shift+slotBits)}, maker: by}
	}
	if sa > sb {
		a, b = b, a
	}
	return &node[K, T]{held: sa | sb, entries: []entry[K, T]{a, b}, maker: by}
}

// remove says whether k was there.
func (n *node[K, T]) remove(b *batch, shift uint, h uint64, k K) (_ *node[K, T], gone bool) {
	if shift >= hashBits {
		i := n.find(k)
		if i < 0 {
			return n, false
		}
		c := n.by(b)
		c.entries = removed(n.entries, i)
		return c, true
	}
	bit := slot(h, shift)
	switch {
	case n.held&bit != 0:
		i := rank(n.held, bit)
		if n.entries[i].key != k {
			return n, false
		}
		c := n.by(b)
		c.entries = removed(n.entries, i)
		c.held &^= bit
		return c, true
	case n.below&bit != 0:
		i := rank(n.below, bit)
		sub, gone := n.nodes[i].remove(b, shift+slotBits, h, k)
		if !gone {
			return n, false
		}
		if len(sub.entries) == 1 && len(sub.nodes) == 0 {
			c := n.by(b)
			c.nodes = removed(n.nodes, i)
			c.entries = inserted(n.entries, rank(n.held, bit), sub.entries[0])
			c.below &^= bit
			c.held |= bit
			return c, true
		}
		if sub == n.nodes[i] {
			return n, true
		}
		return n.replaceBelow(b, i, sub), true
	}
	return n, false
}

// find gives the place of k in a node, or -1.
func (n *node[K, T]) find(k K) int {
	return slices.IndexFunc(n.entries, func(e entry[K, T]) bool { return e.key == k })
}

func (n *node[K, T]) each(yield func(K, *T) bool) bool {
	for i := range n.entries {
		if !yield(n.entries[i].key, n.entries[i].val) {
			return false
		}
	}
	for _, sub := range n.nodes {
		if !sub.each(yield) {
			return false
		}
	}
	return true
}

// at gives the slot's entry or node; at most one of them is not nil.
func (n *node[K, T]) at(bit uint32) (*entry[K, T], *node[K, T]) {
	switch {
	case n.held&bit != 0:
		return &n.entries[rank(n.held, bit)], nil
	case n.below&bit != 0:
		return nil, n.nodes[rank(n.below, bit)]
	}
	return nil, nil
}

func diffNodes[K comparable, T any](a, b *node[K, T], shift uint, yield func(k K, was, is *T) bool) bool {
	switch {
	case a == b:
		return true
	case a == nil:
		return b.each(func(k K, v *T) bool { return yield(k, nil, v) })
	case b == nil:
		return a.each(func(k K, v *T) bool { return yield(k, v, nil) })
	case shift >= hashBits:
		return diffLists(a, b, yield)
	}
	for rest := a.held | a.below | b.held | b.below; rest != 0; rest &= rest - 1 {
		bit := rest & -rest
		ae, an := a.at(bit)
		be, bn := b.at(bit)
		// An entry beside a node is compared as a list of one.
		if (ae != nil && bn != nil) || (an != nil && be != nil) {
			if !diffEntry(ae, an, be, bn, yield) {
				return false
			}
			continue
		}
		if !diffNodes(an, bn, shift+slotBits, yield) || !diffEntries(ae, be, yield) {
			return false
		}
	}
	return true
}

// diffEntry compares an entry on one side with a node on the other.
func diffEntry[K comparable, T any](ae *entry[K, T], an *node[K, T], be *entry[K, T], bn *node[K, T], yield func(k K, was, is *T) bool) bool {
	met := false
	if ae != nil {
		return bn.each(func(k K, v *T) bool {
			if k != ae.key {
				return yield(k, nil, v)
			}
			met = true
			return v == ae.val || yield(k, ae.val, v)
		}) && (met || yield(ae.key, ae.val, nil))
	}
	return an.each(func(k K, v *T) bool {
		if k != be.key {
			return yield(k, v, nil)
		}
		met = true
		return v == be.val || yield(k, v, be.val)
	}) && (met || yield(be.key, nil, be.val))
}

// diffEntries compares two entries of one slot, either of which may be absent.
func diffEntries[K comparable, T any](a, b *entry[K, T], yield func(k K, was, is *T) bool) bool {
	if a != nil && b != nil && a.key == b.key {
		return a.val == b.val || yield(a.key, a.val, b.val)
	}
	if a != nil && !yield(a.key, a.val, nil) {
		return false
	}
	return b == nil || yield(b.key, nil, b.val)
}

func diffLists[K comparable, T any](a, b *node[K, T], yield func(k K, was, is *T) bool) bool {
	for _, e := range a.entries {
		var is *T
		if i := b.find(e.key); i >= 0 {
			is = b.entries[i].val
		}
		if is != e.val && !yield(e.key, e.val, is) {
			return false
		}
	}
	for _, e := range b.entries {
		if a.find(e.key) < 0 && !yield(e.key, nil, e.val) {
			return false
		}
	}
	return true
}

// replaced, inserted and removed give a changed copy of a slice, without spare
// capacity that two successors could both write into.

func replaced[E any](s []E, i int, e E) []E {
	c := make([]E, len(s))
	copy(c, s)
	c[i] = e
	return c
}

func inserted[E any](s []E, i int, e E) []E {
	c := make([]E, len(s)+1)
	copy(c, s[:i])
	c[i] = e
	copy(c[i+1:], s[i:])
	return c
}

func removed[E any](s []E, i int) []E {
	if len(s) == 1 {
		return nil
	}
	c := make([]E, len(s)-1)
	copy(c, s[:i])
	copy(c[i:], s[i+1:])
	return c
}
