package gossip

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"murakumo/internal/catalog"
)

// forget is an operator's statement that what a node published, up to a version,
// shall be forgotten as long as the node is not alive: its names are no longer
// ours. What it publishes later, and all it has when it is back, counts as ever.
type forget struct {
	owner   catalog.Owner
	version uint64
	age     time.Duration
	by      catalog.Owner // invalid: unknown
	unknown string        // encoded fields of a later protocol
}

func appendForget(b []byte, f forget) []byte {
	b = appendAddr(b, 1, f.owner)
	b = appendUint(b, 2, f.version)
	b = appendUint(b, 3, uint64(f.age.Milliseconds()))
	if f.by.IsValid() {
		b = appendAddr(b, 4, f.by)
	}
	return append(b, f.unknown...)
}

func decodeForget(b []byte) (forget, error) {
	var g forget
	var unknown []byte
	err := fields(b, 4, once, func(f field) error {
		var err error
		switch f.num {
		case 1:
			g.owner, err = f.addr()
		case 2:
			g.version, err = f.uint(math.MaxInt64)
		case 3:
			g.age, err = f.age()
		case 4:
			g.by, err = f.addr()
		default:
			unknown = append(unknown, f.raw...)
		}
		return err
	})
	switch {
	case err != nil:
	case !g.owner.IsValid():
		err = errors.New("what is to be forgotten has no owner")
	case len(unknown) > maxUnknown:
		err = fmt.Errorf("what is to be forgotten has %d octets of unknown fields: at most %d are allowed", len(unknown), maxUnknown)
	}
	g.unknown = string(unknown)
	return g, err
}

// forgets are these statements, for each owner the one with the highest version,
// each for a day: after that nobody holds anything of the owner anyway. It is
// safe for concurrent use. The zero value holds none.
type forgets struct {
	mu sync.Mutex
	m  map[catalog.Owner]oblivion
}

type oblivion struct {
	forget           // age is not used
	since  time.Time // when it was said, by this host's monotonic clock
	// void, if not zero, is when the owner was seen alive after it was said.
	// The statement is kept so that a copy is no news.
	void time.Time
}

// say makes a statement.
func (f *forgets) say(g forget, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g.version = max(g.version, f.m[g.owner].version)
	f.set(oblivion{forget: g, since: now})
}

func (f *forgets) set(o oblivion) {
	if f.m == nil {
		f.m = make(map[catalog.Owner]oblivion)
	}
	f.m[o.owner] = o
}

// merge takes in a statement that arrived and tells whether it is news.
func (f *forgets) merge(g forget, now time.Time) bool {
	if g.age >= hiddenFor {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	since := now.Add(-g.age)
	old, known := f.m[g.owner]
	again := !old.void.IsZero() && since.After(old.void)
	if known && g.version <= old.version && !again {
		if g.version == old.version && since.Before(old.since) {
			old.since = since // the oldest copy is right, as among removals
			f.m[g.owner] = old
		}
		return false
	}
	g.age = 0
	f.set(oblivion{forget: g, since: since})
	return true
}

// covers tells whether a version of an owner's set is to be forgotten while the
// owner is not alive.
func (f *forgets) covers(o catalog.Owner, version uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, ok := f.m[o]
	return ok && g.void.IsZero() && version <= g.version
}

// met takes in that an owner is alive: a later death is another matter.
func (f *forgets) met(o catalog.Owner, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g, ok := f.m[o]; ok {
		g.void = now
		f.m[o] = g
	}
}

// late tells whether an owner that is found dead now was alive for longer than
// grace after the statement about it, which is void then; also when there is
// none.
func (f *forgets) late(o catalog.Owner, now time.Time, grace time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, ok := f.m[o]
	if ok && now.Sub(g.since) > grace {
		g.void = now
		f.m[o] = g
	}
	return !ok || !g.void.IsZero()
}

// all gives the statements that count, with their present ages, sorted.
func (f *forgets) all(now time.Time) []forget {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []forget
	for _, g := range f.m {
		if g.void.IsZero() {
			g.age = max(0, now.Sub(g.since))
			all = append(all, g.forget)
		}
	}
	slices.SortFunc(all, func(a, b forget) int { return a.owner.Compare(b.owner) })
	return all
}

// expire drops old statements.
func (f *forgets) expire(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for o, g := range f.m {
		if now.Sub(g.since) >= hiddenFor {
			delete(f.m, o)
		}
	}
}

// forgotten tells whether a copy of a set is not to be taken in.
func (r *replica) forgotten(o catalog.Owner, version uint64) bool {
	return o != r.self && !r.peers.alive(o) && r.removals.forgets.covers(o, version)
}

// heedForgets takes in statements of operators.
func (r *replica) heedForgets(e *effects, all []forget, now time.Time) {
	for _, g := range all {
		if g.owner != r.self && r.removals.forgets.merge(g, now) {
			r.spread(e, g)
			r.drop(e, g.owner)
		}
	}
}

// forget gives what follows when a statement about an owner may apply now.
func (r *replica) forget(o catalog.Owner) (e effects) {
	r.drop(&e, o)
	return e
}

// spread passes a statement on.
func (r *replica) spread(e *effects, g forget) {
	e.broadcasts = append(e.broadcasts, broadcast{"forget " + g.owner.String(), message{via: r.self, kind: kindForget, forgets: []forget{g}}})
}

// drop forgets what is held of an owner, if that is to be forgotten.
func (r *replica) drop(e *effects, o catalog.Owner) {
	m, known := r.cat.View().Member(o)
	var version uint64
	if m.Set != nil {
		version = m.Set.Version()
	}
	if !known || !r.forgotten(o, version) {
		return
	}
	delete(r.wants, o)
	delete(r.tooMany, o)
	r.peers.forget(o)
	r.cat.Forget(o)
	r.log.Info("node forgotten: "+o.String(), "hint", "the dead list was cleared (mrkmctl -c)")
	e.touched = append(e.touched, o) // a removed one is still removed
}

// ForgetDead forgets on all nodes what the nodes published that are dead, left
// or removed, and gives how many those are. Their names are no longer ours from
// then on. They are looked for as before, and a removed one stays removed.
func (g *Gossip) ForgetDead(ctx context.Context) (int, error) {
	s, err := g.running()
	if err != nil {
		return 0, err
	}
	n := 0
	err = s.call(ctx, func(now time.Time) error {
		var e effects
		for m := range g.cat.View().Members() {
			said := forget{owner: m.Owner, by: g.cfg.Self}
			switch {
			case m.Status == catalog.Alive, m.Status == catalog.Unknown:
				continue
			case m.Set != nil:
				said.version = m.Set.Version()
			case m.Status == catalog.Removed:
				continue // it was forgotten before
			}
			n++
			g.removals.forgets.say(said, now)
			s.replica.spread(&e, said)
			s.replica.drop(&e, m.Owner)
		}
		s.carryOut(e, now)
		return nil
	})
	return n, err
}
