package nameserver

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

// What stands behind a name in a snapshot is a block for IPv4 and one for IPv6. A
// block is one octet, its kind, and of kind laid
//
//	TTL, 4 octets, big-endian; rule that goes by sources, 1 octet, from 1, 0 for none;
//	most addresses of a tier, 2 octets; number of tiers, 1 octet
//
// and for each tier
//
//	number of addresses, 1 octet; those of them that come first in this order, 1 octet;
//	weight of each, 2 octets; address of each, 4 or 16
//
// Numbers are little-endian where nothing else is said.
const (
	lacks byte = iota // no address of this family: a negative answer
	laid              // as above
	other             // the slow path decides
)

// blockHead is the length of a block of kind laid before its tiers.
const blockHead = 9

// layName lays ready what is answered for a name; nothing where the slow path decides
// about all of it.
func (t *snapshot) layName(b []byte, n *catalog.Name) []byte {
	r := &t.policy.rules
	if n == nil || n.Points() || r.Names != nil && !r.Names(n.Name()) {
		return b
	}
	es := n.Answers()
	tiers := activeTiers(es)
	if len(tiers) == 0 { // what then counts is told besides, or remembered
		return b
	}
	by := r.Balancing.rule(n.Name())
	b = t.layFamily(b, es, tiers, by, true)
	return t.layFamily(b, es, tiers, by, false)
}

// layFamily lays one family of a name.
func (t *snapshot) layFamily(b []byte, es []catalog.Entry, tiers []catalog.Priority, by *balancer, is4 bool) []byte {
	var (
		room      [8]*catalog.Entry
		start     = len(b)
		r         = &t.policy.rules
		most      = r.MaxAnswers
		algorithm balance.Algorithm
		ttl       uint32
		ttls, cut bool // they differ; not all are answered
		count     int
	)
	if by != nil {
		algorithm = by.Algorithm
		if by.MaxAnswers > 0 {
			most = by.MaxAnswers
		}
	}
	most = min(most, mostInTier)
	b = append(b, laid)
	b = append(b, make([]byte, blockHead-1)...)
	for _, priority := range tiers {
		tier := room[:0]
		for i := range es {
			if e := &es[i]; e.Active && e.Priority == priority && e.Addr.Is4() == is4 {
				tier = append(tier, e)
			}
		}
		if len(tier) == 0 {
			continue
		}
		if len(tier) > mostInTier || repeats(tier, es, tiers) {
			return append(b[:start], other)
		}
		fixed := 0
		if algorithm.BySource() && len(tier) > 1 {
			i := slices.IndexFunc(t.places, func(p placement) bool { return p.by == by })
			if i < 0 || i >= 255 {
				return append(b[:start], other)
			}
			b[start+5] = byte(i + 1)
			tier = distinct(tier)
			if at := t.places[i].place; at.Known() {
				balance.Fixed(tier, at)
				if fixed = 1; algorithm == balance.FixBySource {
					fixed = len(tier)
				}
			}
		}
		for _, e := range tier {
			if count > 0 && e.TTL != ttl {
				ttls, ttl = true, min(ttl, e.TTL)
			} else {
				ttl = e.TTL
			}
			count++
		}
		cut = cut || len(tier) > most
		b[start+8]++
		b = append(b, byte(len(tier)), byte(fixed))
		for _, e := range tier {
			b = binary.LittleEndian.AppendUint16(b, max(1, e.Weight))
		}
		for _, e := range tier {
			b = appendAddress(b, e.Addr)
		}
	}
	switch {
	case count == 0:
		return append(b[:start], lacks)
	case ttls && cut: // the least is that of those that are drawn
		return append(b[:start], other)
	}
	binary.BigEndian.PutUint32(b[start+1:], ttl)
	binary.LittleEndian.PutUint16(b[start+6:], uint16(most))
	return b
}

// repeats says whether an address of the tier has more than one record in the tiers.
func repeats(tier []*catalog.Entry, es []catalog.Entry, tiers []catalog.Priority) bool {
	if len(es) == 1 {
		return false
	}
	for _, e := range tier {
		for i := range es {
			if o := &es[i]; o != e && o.Active && o.Addr == e.Addr && slices.Contains(tiers, o.Priority) {
				return true
			}
		}
	}
	return false
}

// layPointer lays ready what an address is the name of: TTL, 4 octets, big-endian, and
// the name in wire form without the domain; or nothing where the slow path decides.
func (t *snapshot) layPointer(b []byte, a netip.Addr, es []catalog.Entry) []byte {
	r := &t.policy.rules
	if r.Addrs != nil && !r.Addrs(a) {
		return b
	}
	var best *catalog.Entry
	for i := range es {
		e := &es[i]
		if !e.Active || e.Priority > catalog.Origin || e.Target() != "" {
			continue
		}
		if best != nil && !nearer(e, best) &&
			(nearer(best, e) || best.Owner.Compare(e.Owner) <= 0) { // the first as Addr has them
			continue
		}
		if t.view.Active(*e) {
			best = e
		}
	}
	// The library shortens names that share an end with the question.
	if best == nil || r.Domain == "" && lastLabel(best.Name) == "arpa" {
		return b
	}
	b = binary.BigEndian.AppendUint32(b, best.TTL)
	return appendWire(b, best.Name)
}
