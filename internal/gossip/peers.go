package gossip

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"murakumo/internal/catalog"
)

// maxPeers bounds how many lost nodes are remembered, and tried again, beside
// those alive: a fleet whose addresses come and go would collect them for ever.
// The longest lost goes first.
const maxPeers = 4096

// peers are the nodes this one knows of, apart from what they publish. It is
// safe for concurrent use.
type peers struct {
	mu sync.Mutex
	m  map[catalog.Owner]*peer
}

type peer struct {
	at     netip.AddrPort
	member bool      // memberlist has it alive
	seen   bool      // it was alive during this run
	since  time.Time // of the last change of member
	// left: it said goodbye, and nothing newer was heard of it. goodbye is the
	// version of its set then.
	left    bool
	goodbye uint64
	// doubted, if not zero, is when a member is lost that the member list,
	// which is a new one, has not found again by then.
	doubted time.Time
}

func (p *peers) get(o catalog.Owner) (peer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.m[o]; q != nil {
		return *q, true
	}
	return peer{}, false
}

// learn adds a node that was not heard of in this run.
func (p *peers) learn(at netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m[at.Addr()] == nil {
		p.entry(at.Addr()).at = at
	}
}

func (p *peers) entry(o catalog.Owner) *peer {
	if p.m == nil {
		p.m = make(map[catalog.Owner]*peer)
	}
	q := p.m[o]
	if q == nil {
		q = new(peer)
		p.m[o] = q
	}
	return q
}

// joined and lost are memberlist's word.

func (p *peers) joined(at netip.AddrPort, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.entry(at.Addr())
	q.at, q.member, q.seen, q.since, q.left, q.doubted = at, true, true, now, false, time.Time{}
}

func (p *peers) lost(o catalog.Owner, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.entry(o)
	q.member, q.seen, q.since, q.doubted = false, true, now, time.Time{}
	p.trim()
}

// doubt takes in that the member list was replaced: its members have until a
// time to be found again.
func (p *peers) doubt(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.m {
		if q.member {
			q.doubted = until
		}
	}
}

// doubted tells whether there is a member that is doubted.
func (p *peers) doubted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.m {
		if !q.doubted.IsZero() {
			return true
		}
	}
	return false
}

// overdue gives the members that were doubted until now, sorted.
func (p *peers) overdue(now time.Time) []catalog.Owner {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []catalog.Owner
	for o, q := range p.m {
		if !q.doubted.IsZero() && !now.Before(q.doubted) {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, catalog.Owner.Compare)
	return all
}

func (p *peers) trim() {
	var oldest catalog.Owner
	lost := 0
	for o, q := range p.m {
		if q.member {
			continue
		}
		lost++
		if !oldest.IsValid() || q.since.Before(p.m[oldest].since) {
			oldest = o
		}
	}
	if lost > maxPeers {
		delete(p.m, oldest)
	}
}

// bye takes in a goodbye said at a version of the node's set, and tells whether
// it is news. held is the version of the set that we hold: a newer one is of a
// later life of the node, and the goodbye a late copy.
func (p *peers) bye(o catalog.Owner, version, held uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.m[o]
	if q == nil || q.left || version <= q.goodbye || version < held {
		return false
	}
	q.left, q.goodbye = true, version
	return true
}

// published takes back a goodbye when a newer set of the node arrives.
func (p *peers) published(o catalog.Owner, version uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.m[o]; q != nil && version > q.goodbye {
		q.left = false
	}
}

// forget takes in that what a node published is forgotten. It is looked for all
// the same: nobody knows whether it is gone for good.
func (p *peers) forget(o catalog.Owner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.m[o]; q != nil {
		q.seen = false
		if q.left {
			delete(p.m, o)
		}
	}
}

// status is what the catalog shall say of a node, removals apart.
func (q peer) status() catalog.Status {
	switch {
	case q.left:
		return catalog.Left
	case q.member:
		return catalog.Alive
	case q.seen:
		return catalog.Dead
	}
	return catalog.Unknown
}

// alive tells whether a node can be talked to.
func (p *peers) alive(o catalog.Owner) bool {
	q, ok := p.get(o)
	return ok && q.member
}

// members gives all nodes that can be talked to, in random order.
func (p *peers) members() []catalog.Owner {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []catalog.Owner
	for o, q := range p.m {
		if q.member {
			all = append(all, o)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// missing gives the nodes to look for: known, not members or doubted ones, and
// not gone with a goodbye; in random order.
func (p *peers) missing() []netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []netip.AddrPort
	for _, q := range p.m {
		if (!q.member || !q.doubted.IsZero()) && !q.left {
			all = append(all, q.at)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// worthKnowing gives the nodes that a next run should look for, sorted.
func (p *peers) worthKnowing() []netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []netip.AddrPort
	for _, o := range slices.SortedFunc(maps.Keys(p.m), catalog.Owner.Compare) {
		if q := p.m[o]; !q.left {
			all = append(all, q.at)
		}
	}
	return all
}
