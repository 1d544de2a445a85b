package nameserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

// snapshot is what the common questions are answered from: for each name and for
// each address of a view, what the rules make of it, ready to be laid into a reply.
// It holds for this view and these rules and no others, so who answers from it has
// made sure that both are still the ones that count. What is not in it, the slow
// path decides about: it is no proof that there is nothing.
//
// Snapshots are immutable. They share the parts that do not differ, so a change
// costs the parts of the names that it touches.
type snapshot struct {
	view   *catalog.View
	policy *policy
	parts  *[partCount]*part
	zone   zone
	// places are the rules of balancing that go by sources, and where this node is
	// among them.
	places []placement
	// reverse: no name of the table can be mistaken for a reverse name.
	reverse bool
}

const (
	// partCount is how many parts a snapshot has: of 100,000 names a hundred in
	// each, with their addresses some ten kilobytes.
	partCount = 1 << 10
	// mostInTier is the longest tier that is laid ready; a reply over UDP has no
	// room for more than about as many.
	mostInTier = 64
)

// placement is where this node stands for a rule that goes by sources.
type placement struct {
	by    *balancer
	place balance.Place
	how   uint32
}

// part is a hash table with its entries one behind the other, without a pointer
// that the garbage collector would have to follow. An entry is
//
//	length of the key, 1 octet; length of the rest, 2 octets; key; rest
//
// and its key a name without the domain in wire form, without the root and in lower
// case, or a zero and an address.
type part struct {
	slots []uint32 // 0, or 8 bits of the hash above 24 of the place plus one
	data  []byte
	count int
}

const (
	entryHead  = 3
	slotPlace  = 1<<24 - 1
	leastSlots = 4
)

// snapshotSeed is per process: nobody outside can choose names that collide.
var snapshotSeed = maphash.MakeSeed()

func hashOf(key []byte) uint64 { return maphash.Bytes(snapshotSeed, key) }

func partOf(h uint64) uint64 { return h >> 54 } // 10 bits

// find gives what stands behind a key, nil for nothing.
func (t *snapshot) find(key []byte) []byte {
	h := hashOf(key)
	s := t.parts[partOf(h)]
	if s == nil {
		return nil
	}
	mask := uint64(len(s.slots) - 1)
	tag := uint32(h>>46) << 24
	for i := h & mask; ; i = (i + 1) & mask {
		slot := s.slots[i]
		if slot == 0 {
			return nil
		}
		if slot&^slotPlace != tag {
			continue
		}
		e := s.data[slot&slotPlace-1:]
		if k := e[entryHead : entryHead+int(e[0])]; bytes.Equal(k, key) {
			return e[entryHead+len(k):][:binary.LittleEndian.Uint16(e[1:])]
		}
	}
}

// each gives the entries of a part.
func (s *part) each(yield func(key, rest []byte)) {
	if s == nil {
		return
	}
	for d := s.data; len(d) > 0; {
		k, n := int(d[0]), int(binary.LittleEndian.Uint16(d[1:]))
		yield(d[entryHead:entryHead+k], d[entryHead+k:entryHead+k+n])
		d = d[entryHead+k+n:]
	}
}

// add appends an entry, if there is room for it. The slots come later.
func (s *part) add(key, rest []byte) {
	if len(s.data)+entryHead+len(key)+len(rest) >= slotPlace || len(rest) > 1<<16-1 {
		return // the slow path knows it
	}
	s.data = append(s.data, byte(len(key)))
	s.data = binary.LittleEndian.AppendUint16(s.data, uint16(len(rest)))
	s.data = append(append(s.data, key...), rest...)
	s.count++
}

// index makes the slots: three of four at most are taken.
func (s *part) index() {
	n := leastSlots
	for 3*n < 4*(s.count+1) {
		n *= 2
	}
	s.slots = make([]uint32, n)
	s.data = slices.Clip(s.data)
	mask := uint64(n - 1)
	at := uint32(1)
	s.each(func(key, rest []byte) {
		h := hashOf(key)
		i := h & mask
		for s.slots[i] != 0 {
			i = (i + 1) & mask
		}
		s.slots[i] = uint32(h>>46)<<24 | at
		at += uint32(entryHead + len(key) + len(rest))
	})
}

// newSnapshot makes the snapshot of a whole view.
func newSnapshot(v *catalog.View, p *policy) *snapshot {
	t := &snapshot{view: v, policy: p, parts: new([partCount]*part)}
	t.prepare()
	var key, rest []byte
	put := func() {
		i := partOf(hashOf(key))
		if t.parts[i] == nil {
			t.parts[i] = new(part)
		}
		t.parts[i].add(key, rest)
	}
	for n := range v.Names() {
		key = appendWire(key[:0], n.Name())
		if rest = t.layName(rest[:0], n); len(rest) > 0 {
			put()
		}
	}
	for a, es := range v.Places() {
		key = addressKey(key[:0], a)
		if rest = t.layPointer(rest[:0], a, es); len(rest) > 0 {
			put()
		}
	}
	for _, s := range t.parts {
		if s != nil {
			s.data = slices.Clone(s.data) // it was grown for more
			s.index()
		}
	}
	return t
}

// prepare makes what does not belong to one name.
func (t *snapshot) prepare() {
	r := &t.policy.rules
	t.zone = newZone(r, uint32(t.view.Serial()))
	t.places = placements(r.Balancing, t.view)
	t.reverse = !t.view.Below("arpa") && lastLabel(r.Domain) != "arpa"
}

// placements looks where this node stands for each rule that goes by sources.
func placements(b *Balancing, v *catalog.View) (places []placement) {
	if b == nil {
		return nil
	}
	for _, by := range b.rules {
		if by.Algorithm.BySource() {
			s := by.standing(v)
			places = append(places, placement{by, s.place, s.how})
		}
	}
	return places
}

// next makes the snapshot of a later view, under the same rules.
func (t *snapshot) next(v *catalog.View) *snapshot {
	n := &snapshot{view: v, policy: t.policy, parts: new([partCount]*part)}
	n.prepare()
	if !slices.Equal(n.places, t.places) {
		// The order of any number of names is another one.
		return newSnapshot(v, t.policy)
	}
	*n.parts = *t.parts
	// changed are the entries to be put anew, nil for those to be left out.
	changed := map[uint64]map[string][]byte{}
	put := func(key, rest []byte) {
		i := partOf(hashOf(key))
		if changed[i] == nil {
			changed[i] = map[string][]byte{}
		}
		changed[i][string(key)] = rest
	}
	names, addrs := map[string]bool{}, map[netip.Addr]bool{}
	for c := range v.Diff(t.view) {
		k := c.Key()
		names[k.Name], addrs[k.Addr] = true, true
	}
	for name := range names {
		put(appendWire(nil, name), n.layName(nil, v.Name(name)))
	}
	for a := range addrs {
		put(addressKey(nil, a), n.layPointer(nil, a, v.Addr(a)))
	}
	for i, entries := range changed {
		s := new(part)
		t.parts[i].each(func(key, rest []byte) {
			if _, touched := entries[string(key)]; !touched {
				s.add(key, rest)
			}
		})
		for key, rest := range entries {
			if len(rest) > 0 {
				s.add([]byte(key), rest)
			}
		}
		s.index()
		n.parts[i] = s
	}
	return n
}

// appendWire appends a valid name in wire form, without the root.
func appendWire(b []byte, name string) []byte {
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return b
}

// addressKey appends the key of an address: no name begins with a label of no octet.
func addressKey(b []byte, a netip.Addr) []byte {
	return appendAddress(append(b, 0), a)
}

// appendAddress appends the octets of an address.
func appendAddress(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		ip := a.As4()
		return append(b, ip[:]...)
	}
	ip := a.As16()
	return append(b, ip[:]...)
}

// lastLabel gives the label at the end of a name.
func lastLabel(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// prepare makes a snapshot for each view and each policy until ctx is done. Until it
// is there, questions go the slow path, so nobody waits for it.
func (s *Server) prepare(ctx context.Context) {
	for {
		v, p := s.view(), s.policy.Load()
		s.prepareFor(v, p)
		select {
		case <-ctx.Done():
			return
		case <-v.Superseded():
		case <-p.superseded:
		}
	}
}

func (s *Server) prepareFor(v *catalog.View, p *policy) {
	if t := s.ready.Load(); t != nil && t.policy == p {
		s.ready.Store(t.next(v))
	} else {
		s.ready.Store(newSnapshot(v, p))
		// As much again was needed to make it, and to make the table or the rules that
		// it is of. It may be long until the collector comes to it by itself.
		debug.FreeOSMemory()
	}
}
