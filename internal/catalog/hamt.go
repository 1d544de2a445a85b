package catalog

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// table is a persistent map from K to V: set and delete give a new table and
// leave the old one as it was. Both share whatever the change did not touch,
// so that a change in a table of a hundred thousand values copies a handful
// of small nodes and a reader of the old table needs no lock. Values know their
// keys, which are not held a second time beside them.
//
// It is a hash array mapped trie: each level takes five more bits of the key's
// hash. Values and sub-nodes of a node are kept apart and a node that shrinks
// to one value is folded into its parent, so equal contents have equal shapes
// whatever their history; diff relies on neither, but is fast because of both.
//
// The zero table is empty and ready.
type table[K comparable, V keyed[K]] struct {
	root *node[K, V]
	size int
	// hash is nil except in tests, which put in one that collides.
	hash func(K) uint64
}

// keyed is what a table holds: pointers to what never changes its key. Nil is never
// stored.
type keyed[K comparable] interface {
	comparable
	key() K
}

// The seed is per process: nobody outside can choose names that collide.
var seed = maphash.MakeSeed()

const (
	slotBits = 5
	hashBits = 64
)

// node holds up to 32 slots, each with a value, a node below, or nothing.
// Below the last bit of the hash there are no slots any more: such a node is a
// plain list of values, all with one hash.
type node[K comparable, V keyed[K]] struct {
	held, below uint32 // the slots with a value, with a node
	values      []V
	nodes       []*node[K, V]
	maker       *batch // may change the node in place
}

// batch is a change of many keys whose outcome nobody sees before its end: the nodes
// that it has made it changes in place. Nil is none. At its end it is forgotten, and
// with it the right to change them.
type batch struct{ _ byte }

// by gives the node itself where the batch has made it, else a copy that it has.
func (n *node[K, V]) by(b *batch) *node[K, V] {
	if b != nil && n.maker == b {
		return n
	}
	c := *n
	if c.maker = b; b != nil {
		c.nodes = append([]*node[K, V](nil), n.nodes...) // see replaceBelow
	}
	return &c
}

func slot(h uint64, shift uint) uint32 { return 1 << (h >> shift & (1<<slotBits - 1)) }

// rank is the place of a slot among those set in a bitmap.
func rank(bitmap, bit uint32) int { return bits.OnesCount32(bitmap & (bit - 1)) }

func (t table[K, V]) hashOf(k K) uint64 {
	if t.hash != nil {
		return t.hash(k)
	}
	return maphash.Comparable(seed, k)
}

// len gives the number of values.
func (t table[K, V]) len() int { return t.size }

// tableOf gives the table of these values, of different keys, that setting one after the
// other would make, without all that lies between.
func tableOf[K comparable, V keyed[K]](values []V, hash func(K) uint64) table[K, V] {
	return tableFrom(values, V.key, func(same []hashed[V]) V { return same[0].of }, hash)
}

// tableFrom gives the table of the values that value makes of all things of one key.
// value must not keep the list.
func tableFrom[K comparable, V keyed[K], E any](things []E, key func(E) K, value func(same []hashed[E]) V, hash func(K) uint64) table[K, V] {
	t := table[K, V]{hash: hash}
	if len(things) == 0 {
		return t
	}
	list := make([]hashed[E], len(things))
	for i, e := range things {
		list[i] = hashed[E]{t.hashOf(key(e)), e}
	}
	b := builder[K, V, E]{key: key, value: value}
	t.root = b.node(list, make([]hashed[E], len(list)), 0)
	t.size = b.size
	return t
}

// hashed is a thing with the hash of its key.
type hashed[E any] struct {
	hash uint64
	of   E
}

type builder[K comparable, V keyed[K], E any] struct {
	key   func(E) K
	value func([]hashed[E]) V
	size  int
}

// node makes the node of a list. It uses room, which is as long.
func (b *builder[K, V, E]) node(list, room []hashed[E], shift uint) *node[K, V] {
	n := &node[K, V]{}
	if shift >= hashBits {
		for len(list) > 0 {
			// Those of the key of the first, in the order that they have, then the others.
			k := b.key(list[0].of)
			others := 0
			same := room[:0]
			for _, e := range list {
				if b.key(e.of) == k {
					same = append(same, e)
				} else {
					list[others] = e
					others++
				}
			}
			n.values = append(n.values, b.make(same))
			list = list[:others]
		}
		return n
	}
	// end is where each slot's part of the list ends, once it is in order of the slots.
	var end [1 << slotBits]int
	for i := range list {
		end[list[i].hash>>shift&(1<<slotBits-1)]++
	}
	for s, at := 0, 0; s < len(end); s++ {
		at += end[s]
		end[s] = at
	}
	for i := len(list) - 1; i >= 0; i-- {
		s := list[i].hash >> shift & (1<<slotBits - 1)
		end[s]-- // where it begins, in the end
		room[end[s]] = list[i]
	}
	part := func(s int) (from, to int) {
		if s+1 < len(end) {
			return end[s], end[s+1]
		}
		return end[s], len(list)
	}
	for s := range end {
		switch from, to := part(s); {
		case from == to:
		case b.same(room[from:to]):
			n.held |= 1 << s
		default:
			n.below |= 1 << s
		}
	}
	n.values = make([]V, 0, bits.OnesCount32(n.held))
	if n.below != 0 {
		n.nodes = make([]*node[K, V], 0, bits.OnesCount32(n.below))
	}
	for s := range end {
		from, to := part(s)
		switch bit := uint32(1) << s; {
		case n.held&bit != 0:
			n.values = append(n.values, b.make(room[from:to]))
		case n.below&bit != 0:
			n.nodes = append(n.nodes, b.node(room[from:to], list[from:to], shift+slotBits))
		}
	}
	return n
}

// same says whether all have one key.
func (b *builder[K, V, E]) same(list []hashed[E]) bool {
	for _, e := range list[1:] {
		if e.hash != list[0].hash || b.key(e.of) != b.key(list[0].of) {
			return false
		}
	}
	return true
}

func (b *builder[K, V, E]) make(same []hashed[E]) V {
	b.size++
	return b.value(same)
}

// get gives what k leads to, nil if nothing. It does not allocate.
func (t table[K, V]) get(k K) (none V) {
	n := t.root
	if n == nil {
		return none
	}
	h := t.hashOf(k)
	for shift := uint(0); shift < hashBits; shift += slotBits {
		bit := slot(h, shift)
		if n.held&bit != 0 {
			if v := n.values[rank(n.held, bit)]; v.key() == k {
				return v
			}
			return none
		}
		if n.below&bit == 0 {
			return none
		}
		n = n.nodes[rank(n.below, bit)]
	}
	if i := n.find(k); i >= 0 {
		return n.values[i]
	}
	return none
}

// set gives a table in which the key of v leads to v.
func (t table[K, V]) set(v V) table[K, V] { return t.setBy(nil, v) }

// setBy is set within a batch: it may change t, too.
func (t table[K, V]) setBy(b *batch, v V) table[K, V] {
	h := t.hashOf(v.key())
	if t.root == nil {
		t.root = &node[K, V]{held: slot(h, 0), values: []V{v}, maker: b}
		t.size = 1
		return t
	}
	root, grown := t.put(b, t.root, 0, h, v)
	t.root = root
	if grown {
		t.size++
	}
	return t
}

// withNew gives a table with more values, of different keys that it does not have, within
// a batch: it may change t, too.
func (t table[K, V]) withNew(b *batch, values []V) table[K, V] {
	if len(values) > t.size {
		return tableOf(slices.AppendSeq(values, t.all()), t.hash)
	}
	for _, v := range values {
		t = t.setBy(b, v)
	}
	return t
}

// delete gives a table without k.
func (t table[K, V]) delete(k K) table[K, V] { return t.deleteBy(nil, k) }

// deleteBy is delete within a batch: it may change t, too.
func (t table[K, V]) deleteBy(b *batch, k K) table[K, V] {
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

// all gives every value, in no order.
func (t table[K, V]) all() iter.Seq[V] {
	return func(yield func(V) bool) {
		if t.root != nil {
			t.root.each(yield)
		}
	}
}

// diff calls yield for every key that leads elsewhere in t than in old, with
// nil for absent, until it returns false. What the two share is skipped, so
// between a table and its successor the cost is that of the change. Values are
// compared as pointers.
func (t table[K, V]) diff(old table[K, V], yield func(k K, was, is V) bool) {
	diffNodes(old.root, t.root, 0, yield)
}

func (t table[K, V]) put(b *batch, n *node[K, V], shift uint, h uint64, v V) (_ *node[K, V], grown bool) {
	if shift >= hashBits {
		i := n.find(v.key())
		if i >= 0 && n.values[i] == v {
			return n, false
		}
		c := n.by(b)
		if i >= 0 {
			c.values = replaced(n.values, i, v)
			return c, false
		}
		c.values = inserted(n.values, len(n.values), v)
		return c, true
	}
	bit := slot(h, shift)
	switch {
	case n.held&bit != 0:
		i := rank(n.held, bit)
		there := n.values[i]
		if there.key() == v.key() {
			if there == v {
				return n, false
			}
			c := n.by(b)
			c.values = replaced(n.values, i, v)
			return c, false
		}
		// Two keys want the slot: both go one level down.
		c := n.by(b)
		c.nodes = inserted(n.nodes, rank(n.below, bit), pair(b, there, t.hashOf(there.key()), v, h, shift+slotBits))
		c.values = removed(n.values, i)
		c.held &^= bit
		c.below |= bit
		return c, true
	case n.below&bit != 0:
		i := rank(n.below, bit)
		sub, grown := t.put(b, n.nodes[i], shift+slotBits, h, v)
		if sub == n.nodes[i] {
			return n, grown
		}
		return n.replaceBelow(b, i, sub), grown
	default:
		c := n.by(b)
		c.values = inserted(n.values, rank(n.held, bit), v)
		c.held |= bit
		return c, true
	}
}

// replaceBelow puts another node into the place of the i-th below.
func (n *node[K, V]) replaceBelow(b *batch, i int, sub *node[K, V]) *node[K, V] {
	c := n.by(b)
	if b != nil {
		c.nodes[i] = sub // by has made the slice the node's own
	} else {
		c.nodes = replaced(n.nodes, i, sub)
	}
	return c
}

// pair is the node for two values with different keys.
func pair[K comparable, V keyed[K]](by *batch, a V, ha uint64, b V, hb uint64, shift uint) *node[K, V] {
	if shift >= hashBits {
		return &node[K, V]{values: []V{a, b}, maker: by}
	}
	sa, sb := slot(ha, shift), slot(hb, shift)
	if sa == sb {
		return &node[K, V]{below: sa, nodes: []*node[K, V]{pair(by, a, ha, b, hb, shift+slotBits)}, maker: by}
	}
	if sa > sb {
		a, b = b, a
	}
	return &node[K, V]{held: sa | sb, values: []V{a, b}, maker: by}
}

// remove says whether k was there.
func (n *node[K, V]) remove(b *batch, shift uint, h uint64, k K) (_ *node[K, V], gone bool) {
	if shift >= hashBits {
		i := n.find(k)
		if i < 0 {
			return n, false
		}
		c := n.by(b)
		c.values = removed(n.values, i)
		return c, true
	}
	bit := slot(h, shift)
	switch {
	case n.held&bit != 0:
		i := rank(n.held, bit)
		if n.values[i].key() != k {
			return n, false
		}
		c := n.by(b)
		c.values = removed(n.values, i)
		c.held &^= bit
		return c, true
	case n.below&bit != 0:
		i := rank(n.below, bit)
		sub, gone := n.nodes[i].remove(b, shift+slotBits, h, k)
		if !gone {
			return n, false
		}
		if len(sub.values) == 1 && len(sub.nodes) == 0 {
			c := n.by(b)
			c.nodes = removed(n.nodes, i)
			c.values = inserted(n.values, rank(n.held, bit), sub.values[0])
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
func (n *node[K, V]) find(k K) int {
	return slices.IndexFunc(n.values, func(v V) bool { return v.key() == k })
}

func (n *node[K, V]) each(yield func(V) bool) bool {
	for _, v := range n.values {
		if !yield(v) {
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

// at gives the slot's value or node; at most one of them is not nil.
func (n *node[K, V]) at(bit uint32) (none V, _ *node[K, V]) {
	switch {
	case n.held&bit != 0:
		return n.values[rank(n.held, bit)], nil
	case n.below&bit != 0:
		return none, n.nodes[rank(n.below, bit)]
	}
	return none, nil
}

func diffNodes[K comparable, V keyed[K]](a, b *node[K, V], shift uint, yield func(k K, was, is V) bool) bool {
	var none V
	switch {
	case a == b:
		return true
	case a == nil:
		return b.each(func(v V) bool { return yield(v.key(), none, v) })
	case b == nil:
		return a.each(func(v V) bool { return yield(v.key(), v, none) })
	case shift >= hashBits:
		return diffLists(a, b, yield)
	}
	for rest := a.held | a.below | b.held | b.below; rest != 0; rest &= rest - 1 {
		bit := rest & -rest
		av, an := a.at(bit)
		bv, bn := b.at(bit)
		// A value beside a node is compared as a list of one.
		if (av != none && bn != nil) || (an != nil && bv != none) {
			if !diffValue(av, an, bv, bn, yield) {
				return false
			}
			continue
		}
		if !diffNodes(an, bn, shift+slotBits, yield) || !diffValues(av, bv, yield) {
			return false
		}
	}
	return true
}

// diffValue compares a value on one side with a node on the other.
func diffValue[K comparable, V keyed[K]](av V, an *node[K, V], bv V, bn *node[K, V], yield func(k K, was, is V) bool) bool {
	var none V
	met := false
	if av != none {
		return bn.each(func(v V) bool {
			if v.key() != av.key() {
				return yield(v.key(), none, v)
			}
			met = true
			return v == av || yield(v.key(), av, v)
		}) && (met || yield(av.key(), av, none))
	}
	return an.each(func(v V) bool {
		if v.key() != bv.key() {
			return yield(v.key(), v, none)
		}
		met = true
		return v == bv || yield(v.key(), v, bv)
	}) && (met || yield(bv.key(), none, bv))
}

// diffValues compares two values of one slot, either of which may be absent.
func diffValues[K comparable, V keyed[K]](a, b V, yield func(k K, was, is V) bool) bool {
	var none V
	switch {
	case a == b:
		return true
	case a != none && b != none && a.key() == b.key():
		return yield(a.key(), a, b)
	case a != none && !yield(a.key(), a, none):
		return false
	}
	return b == none || yield(b.key(), none, b)
}

func diffLists[K comparable, V keyed[K]](a, b *node[K, V], yield func(k K, was, is V) bool) bool {
	var none V
	for _, v := range a.values {
		is := none
		if i := b.find(v.key()); i >= 0 {
			is = b.values[i]
		}
		if is != v && !yield(v.key(), v, is) {
			return false
		}
	}
	for _, v := range b.values {
		if a.find(v.key()) < 0 && !yield(v.key(), none, v) {
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
