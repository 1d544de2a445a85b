package gossip

import (
	"time"

	"murakumo/internal/catalog"
)

// maxPacket is the size of a gossip packet, CRC and UDP header apart. 1200
// octets pass every path that IPv6 allows, with room for a tunnel; memberlist's
// own 1400 do not fit WireGuard's or a VPN's usual packets.
const maxPacket = 1200

// maxGossip is what of it is left for one of our messages: less memberlist's
// compound header (2), the label (2 + 8), encryption (29), and the length (2)
// and kind (1) of a user message.
const maxGossip = maxPacket - 2 - (2 + len(label)) - 29 - 3

// smallSet is the size up to which a set travels whole, whoever holds what:
// some six records.
const smallSet = 512

// settled is how long a change is repeated along with later ones. Gossip has
// reached nearly every node by then.
const settled = 2 * time.Second

// publisher decides in which form a node's own changes are broadcast.
type publisher struct {
	self    catalog.Owner
	version uint64 // last broadcast
	hash    uint64
	chain   []link // the last changes, each starting where the one before ended
}

type link struct {
	delta []byte
	at    time.Time
}

// next gives the message for a change of our own set; false when there is none.
//
// A broadcast replaces the one before in the queue, which may not have reached
// everybody yet, and a delta is of no use to a node that missed the one before
// it. So a message holds the chain of deltas of the last two seconds, as far as
// it fits a packet.
func (p *publisher) next(own *catalog.Set, now time.Time) (message, bool) {
	if own.Version() == p.version && own.Hash() == p.hash {
		return message{}, false
	}
	d, ok := own.Delta(p.version)
	p.version, p.hash = own.Version(), own.Hash()
	for len(p.chain) > 0 && now.Sub(p.chain[0].at) > settled {
		p.chain = p.chain[1:]
	}
	if ok {
		p.chain = append(p.chain, link{d.Encode(), now})
	} else {
		p.chain = nil
	}
	m := message{via: p.self, kind: kindContent}
	// A set of more than so many records is never small, nor worth encoding to
	// find out.
	var set []byte
	if own.Len() <= maxGossip/16 {
		set = own.Encode()
	}
	m.sets = [][]byte{set}
	if set != nil && len(set) <= smallSet {
		return m, true
	}
	for from := range p.chain {
		c := message{via: p.self, kind: kindContent}
		for _, l := range p.chain[from:] {
			c.deltas = append(c.deltas, l.delta)
		}
		if len(c.encode()) <= maxGossip {
			return c, true
		}
	}
	if set != nil && len(m.encode()) <= maxGossip {
		return m, true
	}
	return announcement(p.self, own), true
}

// announcement says that we have a set.
func announcement(self catalog.Owner, s *catalog.Set) message {
	return message{via: self, kind: kindAnnounce, held: []held{{owner: s.Owner(), version: s.Version(), hash: s.Hash()}}}
}
