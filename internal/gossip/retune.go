package gossip

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Tuning is what of a Config can be changed while gossip runs.
type Tuning struct {
	// Lifetime, SendInterval and ReceiveTimeout are described at Config.
	Lifetime, SendInterval, ReceiveTimeout time.Duration
}

func (t Tuning) check() error {
	switch {
	case t.Lifetime < 500*time.Millisecond || t.Lifetime > 300*time.Second:
		return fmt.Errorf("gossip: gossip-node-lifetime is %v, expected 0.5 s to 300 s", t.Lifetime)
	case t.SendInterval <= 0 || t.ReceiveTimeout <= 0:
		return errors.New("gossip: gossip-send-interval and gossip-receive-timeout must be greater than 0")
	}
	return nil
}

// Tuning gives the present tuning.
func (g *Gossip) Tuning() Tuning {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tuning
}

// Tune changes the tuning of this node. It has taken effect when Tune returns:
// no record, here or at a peer, and no peer's word that this node is alive, was
// lost by it. Before Run it says how gossip will start.
func (g *Gossip) Tune(ctx context.Context, t Tuning) error {
	if err := t.check(); err != nil {
		return err
	}
	g.mu.Lock()
	s := g.session
	if s == nil {
		g.tuning = t
	}
	g.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.call(ctx, func(now time.Time) error { return s.retune(t, now) })
}

// retune puts a new member list in the place of the present one when the tuning
// is another: memberlist reads its settings once. The transport stays, and
// nobody is told anything, so that to peers it is as if a packet had been lost.
// What was waiting to be sent or taken in is known from the full exchanges with
// which the new list begins. The members are members until a lifetime is over
// without it having found them.
func (s *session) retune(t Tuning, now time.Time) error {
	if t == s.tuned {
		return nil
	}
	d, list, err := s.g.membership(s.link, uint16(s.g.port.Load()), t)
	if err != nil {
		return fmt.Errorf("gossip: restarting the membership: %w", err)
	}
	if err := s.list.Swap(list).Shutdown(); err != nil {
		s.g.log.Debug("gossip: ending the membership before", "error", err)
	}
	s.heedEvents()
	s.d, s.tuned = d, t
	s.g.mu.Lock()
	s.g.tuning = t
	s.g.mu.Unlock()
	s.drain()
	s.doubts = now.Add(t.Lifetime)
	s.g.peers.doubt(s.doubts)
	s.seek()
	s.g.log.Info("gossip tuned", "node_lifetime", t.Lifetime, "send_interval", t.SendInterval, "receive_timeout", t.ReceiveTimeout)
	return nil
}

// dismiss loses the members that a new list did not find in time.
func (s *session) dismiss(now time.Time) {
	if s.doubts.IsZero() || now.Before(s.doubts) {
		return
	}
	s.doubts = time.Time{}
	for _, o := range s.g.peers.overdue(now) {
		s.lost(o, now)
	}
}
