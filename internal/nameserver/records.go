package nameserver

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"

	"murakumo/internal/balance"
)

// addresses appends the records of one family; none when the name has none, and nil is
// for handle.
func (k *quick) addresses(t *snapshot, out, found []byte, qtype uint16) []byte {
	size := 4
	if qtype == dns.TypeAAAA {
		found = found[blockSize(found, 4):]
		size = 16
	}
	switch found[0] {
	case lacks:
		return out
	case other:
		return nil
	}
	if by := found[5]; by != 0 {
		if p := &t.places[by-1]; p.by.told.Load() != p.how {
			return nil // handle tells it
		}
	}
	most := int(binary.LittleEndian.Uint16(found[6:]))
	tiers := int(found[8])
	// What all the records begin with: the name is that of the question.
	var head [12]byte
	binary.BigEndian.PutUint32(head[0:], 0xC000_0000|headerSize<<16|uint32(qtype))
	binary.BigEndian.PutUint16(head[4:], dns.ClassINET)
	copy(head[6:10], found[1:5])
	head[11] = byte(size)
	count := 0
	b := found[blockHead:]
	for range tiers {
		n, fixed := int(b[0]), int(b[1])
		weights, addrs := b[2:2+2*n], b[2+2*n:2+2*n+size*n]
		b = b[2+(2+size)*n:]
		chosen := min(n, most)
		order := asLaid[:chosen]
		if chosen > fixed && n > 1 && fixed < n {
			order = k.draw(weights, fixed, chosen)
		}
		out = appendRecords(out, &head, addrs, order)
		count += chosen
	}
	binary.BigEndian.PutUint16(out[6:], uint16(count))
	return out
}

// asLaid is the order that nothing was drawn for.
var asLaid = func() (o [mostInTier]uint8) {
	for i := range o {
		o[i] = uint8(i)
	}
	return o
}()

// appendRecords appends a record of each address that order names.
func appendRecords(out []byte, head *[12]byte, addrs []byte, order []uint8) []byte {
	size := int(head[11])
	at := len(out)
	out = slices.Grow(out, len(order)*(len(head)+size))[:at+len(order)*(len(head)+size)]
	if size == 4 {
		// A record is two words.
		first, second := binary.NativeEndian.Uint64(head[:]), uint64(binary.BigEndian.Uint32(head[8:]))<<32
		for to := out[at:]; len(order) > 0 && len(to) >= 16; to, order = to[16:], order[1:] {
			a := addrs[4*int(order[0]):]
			binary.NativeEndian.PutUint64(to, first)
			binary.BigEndian.PutUint64(to[8:], second|uint64(binary.BigEndian.Uint32(a)))
		}
		return out
	}
	for _, i := range order {
		at += copy(out[at:], head[:])
		at += copy(out[at:], addrs[size*int(i):][:size])
	}
	return out
}

// blockSize is how long a block is whose addresses are of size octets.
func blockSize(b []byte, size int) int {
	if b[0] != laid {
		return 1
	}
	n := blockHead
	for range b[8] {
		n += 2 + (2+size)*int(b[n])
	}
	return n
}

// draw puts records of these weights into order as balance.Random does, by the same
// draws: those from fixed on, and as many of them as it takes for the first chosen. The
// order is good until the next one.
func (k *quick) draw(weights []byte, fixed, chosen int) []uint8 {
	cs := k.candidates[:len(weights)/2]
	for i := range cs {
		cs[i] = balance.CandidateOf(binary.LittleEndian.Uint16(weights[2*i:]), uint8(i))
	}
	balance.Draw(cs[fixed:], chosen-fixed, k.rng)
	order := k.order[:chosen]
	for i := range order {
		order[i] = cs[i].Number()
	}
	return order
}
