package gossip

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"murakumo/internal/catalog"
)

// session is one run of memberlist with the loop around it. What it decides it
// leaves to replica, peers and removals; here it is carried out.
type session struct {
	g       *Gossip
	replica *replica
	link    Transport // lent to one member list after the other

	// What retune replaces. The loop has all but list for itself.
	d      *delegate
	tuned  Tuning
	doubts time.Time // when members are lost that the list has not found again; zero: there are none
	list   atomic.Pointer[memberlist.Memberlist]

	calls  chan func() // for the loop, from other goroutines
	done   chan struct{}
	ctx    context.Context // of the jobs; ends with the session
	cancel context.CancelFunc
	sends  jobs // messages to single nodes
	joins  jobs // looking for nodes
	seeker seeker

	removedSelf bool
}

// Bounds on what runs at once. Messages wait for a dial at most; a send that
// finds no place is dropped, and the asker asks again.
const (
	maxSends = 32
	maxJoins = 32
)

// housekeeping is how often what is a day old is looked for.
const housekeeping = time.Minute

func newSession(g *Gossip, d *delegate, list *memberlist.Memberlist) *session {
	s := &session{
		g: g, d: d,
		replica: newReplica(g.cfg.Self, g.cat, func() int { return int(g.maxRecords.Load()) }, g.peers, g.removals, g.log),
		calls:   make(chan func()),
		done:    make(chan struct{}),
		sends:   jobs{limit: maxSends},
		joins:   jobs{limit: maxJoins},
	}
	s.list.Store(list)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// drain empties memberlist's own queue before anybody is met. In it is the word
// that this node is alive. A node that restarts is told, when it joins, that it
// is suspected, and objects; the objection would replace the only message in the
// queue, and then be lost to the fault that outbox describes. So one restart in
// ten was declared dead although it was back in time. Packets to this node
// itself take the message along until it was sent often enough.
func (s *session) drain() {
	var pings sync.WaitGroup
	self := s.node(s.g.cfg.Self)
	at := &net.UDPAddr{IP: self.Addr, Port: int(self.Port)}
	list := s.list.Load()
	for range retransmitMult {
		pings.Add(1)
		if !s.joins.try(func() {
			defer pings.Done()
			_, _ = list.Ping(self.Name, at) // sending it is all that matters
		}) {
			pings.Done()
		}
	}
	sent := make(chan struct{})
	s.joins.try(func() { pings.Wait(); close(sent) })
	select {
	case <-sent:
	case <-time.After(100 * time.Millisecond): // this node cannot reach itself at its address
	}
}

// loop does everything that changes state, one thing at a time.
func (s *session) loop(ctx context.Context) {
	now := time.Now()
	seek, keep := now, now.Add(housekeeping)
	timer := time.NewTimer(0)
	defer timer.Stop()
	if err := s.retune(s.g.Tuning(), now); err != nil { // it was tuned while memberlist started
		s.g.log.Error("gossip goes on as it was tuned before", "error", err)
	}
	for {
		now = time.Now()
		view := s.g.cat.View()
		s.heedEvents()
		s.carryOut(s.replica.own(now), now)
		s.carryOut(s.replica.questions(now), now)
		if !now.Before(seek) {
			s.seek()
			seek = now.Add(seekMin + rand.N(seekMax-seekMin))
		}
		if !now.Before(keep) {
			s.keepHouse(now)
			keep = now.Add(housekeeping)
		}
		next := seek
		if keep.Before(next) {
			next = keep
		}
		s.dismiss(now)
		if !s.doubts.IsZero() && s.doubts.Before(next) {
			next = s.doubts
		}
		if due := s.replica.wants.nextDue(); !due.IsZero() && due.Before(next) {
			next = due
		}
		timer.Reset(max(0, next.Sub(now)))
		select {
		case <-ctx.Done():
			// The end of the last hook may have been published just now.
			s.carryOut(s.replica.own(time.Now()), time.Now())
			return
		case b := <-s.d.inbox:
			s.d.taken(b)
			now = time.Now()
			s.heedEvents() // what happened before the message
			s.carryOut(s.replica.receive(b, now), now)
		case <-s.d.wake:
		case <-view.Superseded():
		case fn := <-s.calls:
			fn()
		case <-timer.C:
		}
	}
}

// call runs fn in the loop.
func (s *session) call(ctx context.Context, fn func(now time.Time) error) error {
	result := make(chan error, 1)
	select {
	case s.calls <- func() { result <- fn(time.Now()) }:
		return <-result
	case <-s.done:
		return errNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
}

// say makes a statement about a node, here and everywhere.
func (s *session) say(target catalog.Owner, removed bool, now time.Time) {
	s.g.removals.say(target, removed, s.g.cfg.Self, now)
	var e effects
	s.replica.removalChanged(&e, target, now)
	s.carryOut(e, now)
}

func (s *session) heedEvents() {
	for _, e := range s.d.takeEvents() {
		if e.joined {
			s.g.peers.joined(e.at, e.when)
			s.g.removals.forgets.met(e.at.Addr(), e.when)
			s.replica.met(e.at.Addr(), e.when)
		} else {
			s.lost(e.at.Addr(), e.when)
		}
		s.settle(e.at.Addr(), e.when)
	}
}

func (s *session) lost(o catalog.Owner, now time.Time) {
	s.g.peers.lost(o, now)
	s.settle(o, now)
	// A peer may have found it dead sooner, where it was said to forget it.
	if !s.g.removals.forgets.late(o, now, 2*s.tuned.Lifetime) {
		s.carryOut(s.replica.forget(o), now)
	}
}

func (s *session) carryOut(e effects, now time.Time) {
	for _, b := range e.broadcasts {
		s.d.outbox.put(b.name, b.msg.encode())
	}
	for _, p := range e.parcels {
		s.send(p)
	}
	for _, o := range e.touched {
		s.settle(o, now)
	}
	if e.exchange {
		s.exchange()
	}
	if e.removedBy != nil && !s.removedSelf {
		s.removedSelf = true
		s.g.log.Warn("this node was removed from the cluster by "+e.removedBy.by.String(),
			"age", e.removedBy.age.Round(time.Second).String(), "hint", "mrkmctl -a on a node of the cluster lets it in again")
		if s.g.cfg.OnRemoved != nil {
			s.g.cfg.OnRemoved()
		}
	}
}

// node gives memberlist's form of where a node is.
func (s *session) node(o catalog.Owner) *memberlist.Node {
	at := netip.AddrPortFrom(o, uint16(s.g.port.Load()))
	if p, ok := s.g.peers.get(o); ok {
		at = p.at
	}
	return &memberlist.Node{Name: o.String(), Addr: net.IP(at.Addr().AsSlice()), Port: at.Port()}
}

// send delivers a message by a connection of its own. When that fails, the
// asker asks elsewhere.
func (s *session) send(p parcel) {
	to, b, list := s.node(p.to), p.msg.encode(), s.list.Load()
	s.sends.try(func() {
		if err := list.SendReliable(to, b); err != nil {
			s.g.log.often(slog.LevelDebug, "send", "gossip: a message was not delivered", "to", to.Name, "error", err)
		}
	})
}

// settle brings the catalog up to what is known of a node, and logs what became
// of it.
func (s *session) settle(o catalog.Owner, now time.Time) {
	m, _ := s.g.cat.View().Member(o)
	p, _ := s.g.peers.get(o)
	status := p.status()
	removed := s.g.removals.removed(o)
	switch {
	case removed:
		status = catalog.Removed
	case status == catalog.Unknown && m.Status == catalog.Removed:
		status = catalog.Dead
	case status == catalog.Unknown:
		return // what others told of it stands
	}
	if o == s.g.cfg.Self || m.Status == status {
		return
	}
	s.g.cat.SetStatus(o, status, now)
	switch {
	case status == catalog.Removed:
		said, _ := s.g.removals.get(o, now)
		s.g.log.Info("node removed: "+o.String(), "by", said.by.String())
	case m.Status == catalog.Removed:
		s.g.log.Info("node allowed again: "+o.String(), "status", status.String())
	case status == catalog.Alive:
		s.g.log.Info("node joined: "+o.String(), "port", p.at.Port())
	case status == catalog.Left:
		s.g.log.Info("node left: " + o.String())
	case m.Status == catalog.Alive:
		s.g.log.Warn("node lost: " + o.String())
	}
}

func (s *session) keepHouse(now time.Time) {
	s.g.removals.forgets.expire(now)
	for _, o := range s.g.removals.expire(now) {
		s.settle(o, now)
	}
	for _, o := range s.g.cat.Expire(now, hiddenFor) {
		s.g.log.Info("node forgotten: "+o.String(), "hint", "it was not alive for a day")
	}
}

// Goodbyes go to this many nodes directly, so that they arrive before the word
// of memberlist that the node is gone; gossip takes them further.
const goodbyes = 128

// leaving is how long memberlist may take to tell others that this node leaves.
const leaving = time.Second

// goodbye tells the others that this node leaves, so that its records go at
// once.
func (s *session) goodbye() {
	members := s.g.peers.members()
	if len(members) == 0 {
		return
	}
	version := s.g.cat.View().Own().Version()
	b := message{via: s.g.cfg.Self, kind: kindGoodbye, held: []held{{owner: s.g.cfg.Self, version: version}}}.encode()
	s.d.outbox.put("bye "+s.g.cfg.Self.String(), b)
	for _, o := range members[:min(len(members), goodbyes)] {
		if err := s.list.Load().SendBestEffort(s.node(o), b); err != nil {
			s.g.log.often(slog.LevelDebug, "goodbye", "gossip: a goodbye was not sent", "to", o.String(), "error", err)
		}
	}
	sleepFor(context.Background(), min(s.d.timing.gossip, 100*time.Millisecond))
	if err := s.list.Load().Leave(leaving); err != nil {
		s.g.log.Debug("gossip: leaving", "error", err)
	}
}

// contact joins by way of given nodes, all at once; one that answers will do.
func (s *session) contact(ctx context.Context, all []netip.AddrPort) error {
	results := make(chan error, len(all))
	started := 0
	for _, at := range all {
		if s.joins.try(func() { results <- s.join(at) }) {
			started++
		}
	}
	err := errors.New("too many nodes are being looked for at once; try again")
	for range started {
		select {
		case err = <-results:
			if err == nil {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// join makes a full exchange with a node.
func (s *session) join(at netip.AddrPort) error {
	var err error
	for joined := (*memberlist.Memberlist)(nil); joined != s.list.Load(); { // again if it was replaced meanwhile
		joined = s.list.Load()
		_, err = joined.Join([]string{at.String()})
	}
	// memberlist wraps the one error in a list that prints on three lines.
	var list interface{ WrappedErrors() []error }
	if errors.As(err, &list) {
		err = errors.Join(list.WrappedErrors()...)
	}
	return err
}
