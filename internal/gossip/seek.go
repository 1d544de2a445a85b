package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Nodes are looked for at random times: after an outage of the network all
// nodes would else knock at once, and at one another.
const (
	seekMin = 1 * time.Second
	seekMax = 3 * time.Second
)

// seekAtOnce is how many initial nodes, and how many lost ones, are tried each
// time. One that answers brings all that it knows.
const seekAtOnce = 4

// seekers is how many of the nodes that see each other look for the others,
// each time: in a large cluster it need not be all of them, for ever, because
// one host was given back to the cloud.
const seekers = 8

// initial is one of the initial nodes.
type initial struct {
	host string
	port uint16     // 0: the gossip port
	addr netip.Addr // if host is one

	mu   sync.Mutex       // guards last
	last []netip.AddrPort // what it resolved to
}

// parseInitial reads host, host:port, an address, or [IPv6]:port.
func parseInitial(text string) (*initial, error) {
	wrong := func(why string) (*initial, error) {
		return nil, fmt.Errorf("node %q: %s, expected a host or an address, with :port if it is not the gossip port", text, why)
	}
	i := &initial{host: text}
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil {
		i.host, i.addr = a.String(), a.Unmap()
	} else if strings.Contains(text, ":") {
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			return wrong("cannot be read")
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return wrong("its port is not within 1 and 65535")
		}
		i.host, i.port = host, uint16(n)
		if a, err := netip.ParseAddr(host); err == nil {
			i.addr = a.Unmap()
		}
	}
	switch {
	case i.host == "" || strings.ContainsAny(i.host, " /%"):
		return wrong("is no host")
	case i.addr.IsValid() && !usable(i.addr):
		return wrong("no node can have this address")
	}
	return i, nil
}

// resolve finds the addresses of an initial node, within the receive timeout.
func (g *Gossip) resolve(ctx context.Context, i *initial) ([]netip.AddrPort, error) {
	port := i.port
	if port == 0 {
		port = uint16(g.port.Load())
	}
	if i.addr.IsValid() {
		return []netip.AddrPort{netip.AddrPortFrom(i.addr, port)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.Tuning().ReceiveTimeout)
	defer cancel()
	addrs, err := g.cfg.Resolve(ctx, i.host)
	if err != nil {
		return nil, fmt.Errorf("finding the address of %s: %w", i.host, err)
	}
	var all []netip.AddrPort
	for _, a := range addrs {
		if a = a.Unmap(); usable(a) {
			all = append(all, netip.AddrPortFrom(a, port))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("finding the address of %s: it has none", i.host)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last = all
	return all, nil
}

// seeker keeps count of whom the session is looking for.
type seeker struct {
	turn int // of the initial nodes

	mu      sync.Mutex      // guards all below
	busy    map[string]bool // being tried
	failing map[string]bool // initial nodes that did not answer last time, and were logged
}

func (k *seeker) start(what string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy == nil {
		k.busy, k.failing = make(map[string]bool), make(map[string]bool)
	}
	if k.busy[what] {
		return false
	}
	k.busy[what] = true
	return true
}

func (k *seeker) end(what string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.busy, what)
}

// outcome tells whether a failure has to be logged: it is the first in a row.
func (k *seeker) outcome(what string, err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	first := err != nil && !k.failing[what]
	if err != nil {
		k.failing[what] = true
	} else {
		delete(k.failing, what)
	}
	return first
}

// seek tries some of the nodes that should be members and are not. It starts
// jobs and returns; a node that hangs holds up no other.
func (s *session) seek() {
	if rand.Float64()*float64(len(s.g.peers.members())+1) > seekers && !s.g.peers.doubted() {
		return
	}
	initials := *s.g.initial.Load()
	tried := 0
	for range initials {
		i := initials[s.seeker.turn%len(initials)]
		s.seeker.turn++
		if s.found(i) {
			continue
		}
		s.seekInitial(i)
		if tried++; tried == seekAtOnce {
			break
		}
	}
	tried = 0
	for _, at := range s.g.peers.missing() {
		if s.g.removals.removed(at.Addr()) {
			continue
		}
		s.seekNode(at, "")
		if tried++; tried == seekAtOnce {
			break
		}
	}
}

// exchange makes a full exchange with a member.
func (s *session) exchange() {
	if members := s.g.peers.members(); len(members) > 0 { // in random order
		p, _ := s.g.peers.get(members[0])
		s.seekNode(p.at, "")
	}
}

// found tells whether all addresses of an initial node are members, so that
// there is nothing to resolve either.
func (s *session) found(i *initial) bool {
	i.mu.Lock()
	all := i.last
	i.mu.Unlock()
	if i.addr.IsValid() {
		all = []netip.AddrPort{netip.AddrPortFrom(i.addr, 0)}
	}
	for _, at := range all {
		if s.wanted(at.Addr()) {
			return false
		}
	}
	return len(all) > 0
}

// wanted tells whether a node should be a member and is not.
func (s *session) wanted(a netip.Addr) bool {
	return a != s.g.cfg.Self && !s.g.peers.alive(a) && !s.g.removals.removed(a)
}

func (s *session) seekInitial(i *initial) {
	key := "host " + i.host
	if !s.seeker.start(key) {
		return
	}
	if !s.joins.try(func() {
		defer s.seeker.end(key)
		all, err := s.g.resolve(s.ctx, i)
		if s.seeker.outcome(key, err) && s.ctx.Err() == nil {
			s.g.log.Warn("an initial node cannot be found; trying on", "node", i.host, "error", err)
		}
		for _, at := range all {
			if s.wanted(at.Addr()) {
				s.seekNode(at, i.host)
			}
		}
	}) {
		s.seeker.end(key)
	}
}

// seekNode tries to join by way of one node; name is set for an initial node,
// whose failure is worth a line.
func (s *session) seekNode(at netip.AddrPort, name string) {
	key := at.String()
	if !s.seeker.start(key) {
		return
	}
	if !s.joins.try(func() {
		defer s.seeker.end(key)
		err := s.join(at)
		if s.seeker.outcome(key, err) && name != "" && s.ctx.Err() == nil {
			s.g.log.Warn("an initial node does not answer; trying on", "node", name, "address", key, "error", err)
		} else if err != nil {
			s.g.log.often(slog.LevelDebug, "seek", "gossip: a node does not answer", "address", key, "error", err)
		}
	}) {
		s.seeker.end(key)
	}
}

// ping waits until one of the initial nodes accepts a connection. It is true at
// once when this node is the only one; false when ctx ended first.
func (g *Gossip) ping(ctx context.Context, link guarded) bool {
	for first := true; ; first = false {
		answered, others := g.pingAll(ctx, link)
		if answered || !others {
			return ctx.Err() == nil
		}
		if first {
			g.log.Info("gossip waits for an initial node to answer (ping-init-nodes)")
		}
		if !sleepFor(ctx, seekMin) {
			return false
		}
	}
}

// pingAll tries all initial nodes at once. others is false when they are all
// this node itself.
func (g *Gossip) pingAll(ctx context.Context, link guarded) (answered, others bool) {
	type result struct{ answered, other bool }
	initials := *g.initial.Load()
	results := make(chan result, len(initials))
	var wg sync.WaitGroup
	for _, n := range rand.Perm(len(initials)) {
		i := initials[n]
		wg.Go(func() {
			all, err := g.resolve(ctx, i)
			if err != nil {
				g.log.often(slog.LevelDebug, "ping", "gossip: an initial node cannot be found", "node", i.host, "error", err)
				results <- result{other: true}
				return
			}
			var r result
			for _, at := range all {
				if at.Addr() == g.cfg.Self {
					continue
				}
				r.other = true
				if knock(link, at, g.Tuning().ReceiveTimeout) == nil {
					r.answered = true
					break
				}
			}
			results <- r
		})
	}
	wg.Wait()
	close(results)
	for r := range results {
		answered, others = answered || r.answered, others || r.other
	}
	return answered, others
}

// knock opens and closes a connection. The label keeps the other side from
// logging a stranger.
func knock(link guarded, at netip.AddrPort, timeout time.Duration) error {
	c, err := link.DialAddressTimeout(Address{Addr: at.String()}, timeout)
	if err != nil {
		return err
	}
	err = memberlist.AddLabelHeaderToStream(c, label)
	_ = c.Close()
	return err
}
