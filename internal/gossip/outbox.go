package gossip

import (
	"cmp"
	"math"
	"slices"
	"sync"
)

// outbox holds our messages until memberlist has put each into as many packets
// as it takes to reach everybody with the help of those who pass it on.
//
// memberlist's own TransmitLimitedQueue (v0.7.0) is not used: when a message
// replaces the only one in it, its numbering starts again at 1 although the new
// message has number 2, so the next but one, if it is as long, takes its place
// without a word (hashicorp/memberlist pull requests 263 and 322, both open).
type outbox struct {
	nodes func() int // how many nodes are alive

	mu    sync.Mutex // guards all below
	items []outItem  // those sent least first; among equals the newest
	last  uint64
}

type outItem struct {
	name string
	b    []byte
	sent int
	id   uint64
}

func (o *outbox) compare(a, b outItem) int {
	return cmp.Or(cmp.Compare(a.sent, b.sent), cmp.Compare(b.id, a.id))
}

// put adds a message. It replaces an earlier one of the same name.
func (o *outbox) put(name string, b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.items = slices.DeleteFunc(o.items, func(i outItem) bool { return i.name == name })
	o.last++
	o.items = slices.Insert(o.items, 0, outItem{name: name, b: b, id: o.last})
}

// take gives messages for one packet: as many as fit into limit octets when
// each costs overhead more.
func (o *outbox) take(overhead, limit int) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.items) == 0 {
		return nil
	}
	most := retransmitMult * int(math.Ceil(math.Log10(float64(o.nodes()+1)))) // as memberlist does
	var packet [][]byte
	for i := range o.items {
		item := &o.items[i]
		if cost := overhead + len(item.b); cost <= limit {
			limit -= cost
			packet = append(packet, item.b)
			item.sent++
		}
	}
	o.items = slices.DeleteFunc(o.items, func(i outItem) bool { return i.sent >= most })
	slices.SortFunc(o.items, o.compare)
	return packet
}
