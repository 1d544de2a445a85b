package gossip

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"murakumo/internal/catalog"
)

// replica decides what becomes of messages: what to merge, pass on, ask for and
// answer. It does no I/O and reads no clock; what is to be done comes back as
// effects. Only Run's goroutine uses it.
type replica struct {
	self     catalog.Owner
	cat      *catalog.Catalog
	max      func() int // records per owner
	removals *removals
	peers    *peers
	log      logger

	wants   wants
	tooMany map[catalog.Owner]refused // owners with too many records
	publish publisher
	stepped time.Time // when our own set last stepped past another
	steps   int       // how often that followed within a minute
}

// refused is a set with too many records.
type refused struct {
	version uint64 // the newest that was refused
	max     int    // by this limit
}

// effects are what a message asks the shell to do.
type effects struct {
	broadcasts []broadcast
	parcels    []parcel
	// touched are the nodes whose status may be another now.
	touched []catalog.Owner
	// removedBy is who removed this very node.
	removedBy *removal
	// exchange is set when a full exchange with somebody is called for.
	exchange bool
}

// broadcast is a message for everybody. A later one of the same name takes its
// place in the queue.
type broadcast struct {
	name string
	msg  message
}

// parcel is a message for one node, by a connection of its own.
type parcel struct {
	to  catalog.Owner
	msg message
}

func newReplica(self catalog.Owner, cat *catalog.Catalog, max func() int, p *peers, r *removals, log logger) *replica {
	return &replica{
		self: self, cat: cat, max: max, removals: r, peers: p, log: log,
		wants:   make(wants),
		tooMany: make(map[catalog.Owner]refused),
		publish: publisher{self: self},
	}
}

// receive takes in one message, as it arrived.
func (r *replica) receive(b []byte, now time.Time) (e effects) {
	m, err := decode(b)
	switch {
	case errors.Is(err, errLater):
		r.log.often(slog.LevelWarn, "later", "gossip: ignored "+err.Error())
		return e
	case err != nil:
		r.log.often(slog.LevelWarn, "garbage", "gossip: ignored a malformed message", "error", err)
		return e
	}
	r.heedRemovals(&e, m.removals, now)
	r.heedForgets(&e, m.forgets, now)
	if m.via == r.self || r.removals.removed(m.via) {
		return e // what a removed node pushes is not wanted; what it knows of removals is
	}
	switch m.kind {
	case kindContent:
		for _, b := range m.sets {
			r.mergeSet(&e, b, m.via, now)
		}
		r.mergeDeltas(&e, m.deltas, m.via, now)
	case kindAnnounce:
		r.notice(m.held[0], m.via, now)
	case kindWant:
		r.answer(&e, m)
	case kindGoodbye:
		r.goodbye(&e, m)
	case kindState:
		for _, h := range m.held {
			r.adopt(h, now)
			r.notice(h, m.via, now)
		}
	}
	return e
}

// holds gives the set that we hold of an owner, nil when none.
func (r *replica) holds(o catalog.Owner) *catalog.Set {
	m, _ := r.cat.View().Member(o)
	return m.Set
}

// lacks tells whether a set is newer than what we hold. Of our own, one that is
// as new but differs counts as well: Merge steps past it.
func (r *replica) lacks(h held) bool {
	s := r.holds(h.owner)
	switch {
	case s == nil:
		return true
	case h.owner == r.self && h.version == s.Version():
		return h.hash != s.Hash()
	}
	return h.newer(s.Version(), s.Hash())
}

// stepPause bounds how often our own set steps past what others hold in our
// name: with two daemons on one address each step of one makes the other step.
const stepPause = time.Second

// notice takes in that via has a set.
func (r *replica) notice(h held, via catalog.Owner, now time.Time) {
	if r.removals.removed(h.owner) || r.forgotten(h.owner, h.version) || !r.lacks(h) {
		return
	}
	if no, ok := r.tooMany[h.owner]; ok && h.version <= no.version && r.max() <= no.max {
		return
	}
	from := now
	if h.owner == r.self && now.Sub(r.stepped) < stepPause {
		from = r.stepped.Add(stepPause)
	}
	r.wants.note(h, via, from)
}

// almostForgotten is the age from which hidden sets are not taken over any
// more: messages take time that no age counts, so that two nodes about to
// forget a set could keep it alive between them.
const almostForgotten = hiddenFor - 10*time.Minute

// adopt takes over what another node knows of one that this one never saw: how
// long it has been dead, so that its hidden set is forgotten in time.
func (r *replica) adopt(h held, now time.Time) {
	if h.owner == r.self || h.status == catalog.Alive || h.status == catalog.Unknown || h.age >= almostForgotten || r.forgotten(h.owner, h.version) {
		return
	}
	if p, _ := r.peers.get(h.owner); p.seen {
		return
	}
	if m, known := r.cat.View().Member(h.owner); known && m.Status != catalog.Unknown {
		return
	}
	status := catalog.Dead
	if h.status == catalog.Left {
		status = catalog.Left
	}
	r.cat.SetStatus(h.owner, status, now.Add(-h.age))
}

func (r *replica) mergeSet(e *effects, b []byte, via catalog.Owner, now time.Time) {
	s, err := catalog.DecodeSet(b, r.max())
	if err != nil {
		r.unreadable(err)
		return
	}
	if r.removals.removed(s.Owner()) || r.forgotten(s.Owner(), s.Version()) || !r.mayStep(s.Owner(), now) {
		return
	}
	r.merged(e, r.cat.Merge(s), s.Owner(), now, message{kind: kindContent, sets: [][]byte{b}})
}

// mergeDeltas takes in a chain of deltas. What we have of it already is skipped.
func (r *replica) mergeDeltas(e *effects, all [][]byte, via catalog.Owner, now time.Time) {
	// A reply to a question may hold chains of several owners.
	for len(all) > 0 {
		first, err := catalog.DecodeDelta(all[0], r.max())
		if err != nil {
			r.unreadable(err)
			all = all[1:]
			continue
		}
		chain, n := []*catalog.Delta{first}, 1
		for n < len(all) {
			d, err := catalog.DecodeDelta(all[n], r.max())
			if err != nil || d.Owner() != first.Owner() {
				break
			}
			chain = append(chain, d)
			n++
		}
		r.mergeChain(e, chain, all[:n], via, now)
		all = all[n:]
	}
}

func (r *replica) mergeChain(e *effects, chain []*catalog.Delta, raw [][]byte, via catalog.Owner, now time.Time) {
	o := chain[0].Owner()
	if r.removals.removed(o) || r.forgotten(o, chain[len(chain)-1].To()) || !r.mayStep(o, now) {
		return
	}
	best := catalog.Stale
	for _, d := range chain {
		switch outcome := r.cat.MergeDelta(d); outcome {
		case catalog.Replaced, catalog.SteppedPast:
			best = outcome
		case catalog.NeedFull:
			last := chain[len(chain)-1]
			r.notice(held{owner: o, version: last.To(), hash: last.Hash()}, via, now)
			if s := r.holds(o); s != nil && s.Version() == d.From() {
				r.wants.refused(o, now) // we hold the version, with other content
			}
			return
		}
	}
	r.merged(e, best, o, now, message{kind: kindContent, deltas: raw})
}

func (r *replica) unreadable(err error) {
	var limit *catalog.LimitError
	if !errors.As(err, &limit) {
		r.log.often(slog.LevelWarn, "document", "gossip: ignored a malformed document", "error", err)
		return
	}
	r.log.often(slog.LevelWarn, "too many records "+limit.Owner.String(), "gossip: refused a set; what was held of it stays", "error", err)
	if w := r.wants[limit.Owner]; w != nil {
		r.tooMany[limit.Owner] = refused{w.best.version, r.max()}
		delete(r.wants, limit.Owner)
	}
}

func (r *replica) mayStep(o catalog.Owner, now time.Time) bool {
	return o != r.self || now.Sub(r.stepped) >= stepPause
}

// merged does what follows from a merge: it passes the news on, since
// memberlist does not, in the form it came in if that fits a packet.
func (r *replica) merged(e *effects, outcome catalog.Outcome, o catalog.Owner, now time.Time, news message) {
	switch outcome {
	case catalog.SteppedPast:
		r.warnStep(now)
		delete(r.wants, o)
	case catalog.Replaced:
		s := r.holds(o)
		r.wants.got(o, s.Version(), s.Hash())
		delete(r.tooMany, o)
		r.peers.published(o, s.Version())
		e.touched = append(e.touched, o)
		news.via = r.self
		if len(news.encode()) > maxGossip {
			news = announcement(r.self, s)
		}
		e.broadcasts = append(e.broadcasts, broadcast{"set " + o.String(), news})
	case catalog.Stale:
		// The answer to our question, overtaken by gossip.
		if s := r.holds(o); s != nil {
			r.wants.got(o, s.Version(), s.Hash())
		}
	}
}

// warnStep tells of a set in our own name. Once is a restart whose state was
// lost; again and again within a minute is a second daemon.
func (r *replica) warnStep(now time.Time) {
	if now.Sub(r.stepped) > time.Minute {
		r.steps = 0
	}
	r.stepped = now
	r.steps++
	version := r.cat.View().Own().Version()
	if r.steps < 3 {
		r.log.Info("peers held a newer set of this node, from an earlier run: went past it", "version", version)
		return
	}
	r.log.often(slog.LevelError, "second daemon",
		"another daemon publishes with this node's address; stop one of them, or correct its host", "address", r.self.String(), "version", version)
}

// maxReply bounds one message of an answer; a longer answer is several.
const maxReply = 256 << 10

// Gossip brings a new node's set within a second or so, unless it started
// together with many others and told it while nobody was there to listen. Then
// it is asked; at random times, since all may have to ask.
const (
	meetMin = 1 * time.Second
	meetMax = 2 * time.Second
)

// met takes in that a node is alive of which no set may be held yet.
func (r *replica) met(o catalog.Owner, now time.Time) {
	if r.holds(o) == nil && !r.removals.removed(o) {
		r.wants.note(held{owner: o}, o, now.Add(meetMin+rand.N(meetMax-meetMin)))
	}
}

// answer sends what a node asked for: changes since what it holds if we know
// them, else the whole set.
func (r *replica) answer(e *effects, m message) {
	reply, size := message{via: r.self, kind: kindContent}, 0
	flush := func() {
		if size > 0 {
			e.parcels = append(e.parcels, parcel{m.via, reply})
			reply, size = message{via: r.self, kind: kindContent}, 0
		}
	}
	for _, q := range m.held {
		s := r.holds(q.owner)
		switch {
		case s == nil || r.removals.removed(q.owner):
			continue
		case q.version > 0 && q.version == s.Version() && q.hash == s.Hash():
			continue
		case q.version > s.Version():
			continue
		}
		if d, ok := s.Delta(q.version); ok && q.version > 0 {
			b := d.Encode()
			reply.deltas = append(reply.deltas, b)
			size += len(b)
		} else {
			b := s.Encode()
			reply.sets = append(reply.sets, b)
			size += len(b)
		}
		if size >= maxReply {
			flush()
		}
	}
	flush()
}

func (r *replica) goodbye(e *effects, m message) {
	h := m.held[0]
	var version uint64
	if s := r.holds(h.owner); s != nil {
		version = s.Version()
	}
	if h.owner == r.self || !r.peers.bye(h.owner, h.version, version) {
		return
	}
	e.touched = append(e.touched, h.owner)
	m.via = r.self
	e.broadcasts = append(e.broadcasts, broadcast{"bye " + h.owner.String(), m})
}

// heedRemovals takes in statements of operators.
func (r *replica) heedRemovals(e *effects, all []removal, now time.Time) {
	for _, s := range all {
		if !r.removals.merge(s, now) {
			continue
		}
		r.removalChanged(e, s.target, now)
	}
}

// removalChanged passes the statement about a target on and acts upon it.
func (r *replica) removalChanged(e *effects, target catalog.Owner, now time.Time) {
	s, ok := r.removals.get(target, now)
	if !ok {
		return
	}
	switch {
	case target == r.self && s.removed:
		e.removedBy = &s
	case target == r.self:
		// Nobody answered this node while it was out: ask anew.
		clear(r.wants)
		e.exchange = true
	case s.removed:
		delete(r.wants, target)
	}
	e.touched = append(e.touched, target)
	e.broadcasts = append(e.broadcasts, broadcast{"removal " + target.String(),
		message{via: r.self, kind: kindRemoval, removals: []removal{s}}})
}

// questions gives what to ask for now.
func (r *replica) questions(now time.Time) (e effects) {
	for to, asks := range r.wants.due(now, r.self, r.cat.View(), r.peers.alive) {
		e.parcels = append(e.parcels, parcel{to, message{via: r.self, kind: kindWant, held: asks}})
	}
	return e
}

// own gives the broadcast for a change of our own set, if there was one.
func (r *replica) own(now time.Time) (e effects) {
	if m, changed := r.publish.next(r.cat.View().Own(), now); changed {
		e.broadcasts = append(e.broadcasts, broadcast{"set " + r.self.String(), m})
	}
	return e
}

// state gives the message of the periodic exchange: versions and statements, no
// records. It may be called from any goroutine.
func state(self catalog.Owner, v *catalog.View, r *removals, now time.Time) message {
	m := message{via: self, kind: kindState, removals: r.all(now), forgets: r.forgets.all(now)}
	for member := range v.Members() {
		if member.Set == nil {
			continue
		}
		h := held{owner: member.Owner, version: member.Set.Version(), hash: member.Set.Hash(), status: member.Status}
		if member.Status != catalog.Alive && !member.Since.IsZero() {
			h.age = min(max(0, now.Sub(member.Since)), maxAge)
		}
		if h.age < almostForgotten {
			m.held = append(m.held, h)
		}
	}
	return m
}
