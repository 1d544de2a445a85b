package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"murakumo/internal/catalog"
)

// label marks all packets and streams, and is authenticated with them: another
// program that uses memberlist with the same key is no peer.
const label = "murakumo"

// hiddenFor is how long the set of a node that is gone is kept: its names stay
// ours, and a late copy of it cannot raise a record that was deleted since.
const hiddenFor = 24 * time.Hour

// retransmitMult is how often each node sends a broadcast, times the decimal
// digits of the number of nodes. memberlist's default is 4; two more make up for
// lost packets (see timing's pushPull: 3 false deaths in place of 38 by this
// alone) and cost nothing while nothing happens.
const retransmitMult = 6

// Config is what a Gossip works with.
type Config struct {
	// Self is this node: the first address of `host:`. Peers reach it there.
	Self netip.Addr
	// Port is the gossip port, UDP and TCP; 0 takes any free one.
	Port uint16
	// Keys are the auth-keys, texts of any length; the first encrypts, all
	// decrypt.
	Keys []string
	// Peers are the initial nodes, each host or host:port. They are resolved
	// and tried again for as long as they are not members.
	Peers []string
	// Known are nodes of an earlier run, as Peers() gave them.
	Known []netip.AddrPort

	// Lifetime is gossip-node-lifetime, 0.5 s … 300 s: a node that is silent is
	// dead everywhere after 0.5 to 1.0 of it.
	Lifetime time.Duration
	// SendInterval is the greatest time between gossip packets; with a lifetime
	// below ten seconds it is made shorter.
	SendInterval time.Duration
	// ReceiveTimeout bounds a dial, and each step of an exchange.
	ReceiveTimeout time.Duration
	// StartDelay is waited, bound but silent, before anything else.
	StartDelay time.Duration
	// PingInit makes Run wait, bound but silent, until one of Peers accepts a
	// connection.
	PingInit bool

	// MaxRecords is the most records accepted from one owner; 0 means 10,000.
	MaxRecords int

	// Transport replaces real sockets, in tests. Run shuts it down.
	Transport Transport
	// Resolve finds the addresses of an initial node; nil means
	// net.DefaultResolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Log gets what an operator should know; nil means nobody.
	Log *slog.Logger
	// OnRemoved, if not nil, is called once when another node has removed this
	// one from the cluster. It must return at once; usually it ends Run's
	// context.
	OnRemoved func()
}

// Gossip is this node's part in the cluster.
type Gossip struct {
	cfg      Config
	cat      *catalog.Catalog
	log      logger
	ring     *memberlist.Keyring
	peers    *peers
	removals *removals
	// What Prepare's change replaces.
	initial    atomic.Pointer[[]*initial]
	maxRecords atomic.Int64

	early *sockets // of Listen
	ready chan struct{}
	port  atomic.Uint32
	stay  atomic.Bool // no goodbye

	mu      sync.Mutex // guards all below
	session *session
	tuning  Tuning
}

// New checks the configuration. It starts nothing; Run does.
func New(cfg Config, cat *catalog.Catalog) (*Gossip, error) {
	ring, err := keyring(cfg.Keys)
	if err != nil {
		return nil, err
	}
	cfg.Self = cfg.Self.Unmap()
	switch {
	case !usable(cfg.Self):
		return nil, fmt.Errorf("gossip: %v cannot be a node's address; set host to an address of this machine", cfg.Self)
	case cat.View().Self() != cfg.Self:
		return nil, fmt.Errorf("gossip: the node is %v and its records those of %v", cfg.Self, cat.View().Self())
	}
	tuning := Tuning{cfg.Lifetime, cfg.SendInterval, cfg.ReceiveTimeout}
	if err := tuning.check(); err != nil {
		return nil, err
	}
	if cfg.MaxRecords == 0 {
		cfg.MaxRecords = 10_000
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gossip{
		cfg: cfg, cat: cat, ring: ring,
		log:      logger{cfg.Log, new(throttle)},
		tuning:   tuning,
		peers:    new(peers),
		removals: new(removals),
		ready:    make(chan struct{}),
	}
	for _, at := range cfg.Known {
		if a := at.Addr().Unmap(); usable(a) && a != cfg.Self && at.Port() != 0 {
			g.peers.learn(netip.AddrPortFrom(a, at.Port()))
		}
	}
	initial, err := g.parsePeers(cfg.Peers)
	if err != nil {
		return nil, err
	}
	g.initial.Store(&initial)
	g.maxRecords.Store(int64(cfg.MaxRecords))
	return g, nil
}

// Ready gives a channel that is closed once this node listens and can be joined.
func (g *Gossip) Ready() <-chan struct{} { return g.ready }

// Addr gives where peers reach this node, once it is ready.
func (g *Gossip) Addr() netip.AddrPort {
	return netip.AddrPortFrom(g.cfg.Self, uint16(g.port.Load()))
}

// Peers gives the nodes that a next run should know: all but those that left or
// were removed, sorted.
func (g *Gossip) Peers() []netip.AddrPort {
	var all []netip.AddrPort
	for _, at := range g.peers.worthKnowing() {
		if !g.removals.removed(at.Addr()) {
			all = append(all, at)
		}
	}
	return all
}

// Stay makes the end of Run be without a goodbye, as a crash is: peers keep this
// node's records until its lifetime is over, and a new run within it changes
// nothing for them.
func (g *Gossip) Stay() { g.stay.Store(true) }

// Run takes part in the cluster until ctx is done, then says goodbye (about a
// second) and returns nil. It may be called once. The set of this node should
// not be empty by then: peers would take the emptiness for its content. An error
// means that it could not start.
func (g *Gossip) Run(ctx context.Context) error {
	transport, port := g.cfg.Transport, g.cfg.Port
	if transport == nil {
		s, err := g.sockets()
		if err != nil {
			return err
		}
		transport, port = s, s.port()
	}
	g.port.Store(uint32(port))
	if !sleepFor(ctx, g.cfg.StartDelay) {
		return transport.Shutdown()
	}
	link := lent{transport}
	if g.cfg.PingInit && !g.ping(ctx, guarded{link, g.Tuning().ReceiveTimeout}) {
		return transport.Shutdown()
	}
	s, err := g.open(link, port)
	if err != nil {
		_ = transport.Shutdown()
		return fmt.Errorf("gossip: starting on %v port %d: %w", g.cfg.Self, port, err)
	}
	close(g.ready)
	g.log.Info("gossip started", "address", g.cfg.Self.String(), "port", port)
	s.loop(ctx)
	if err := g.close(s, transport); err != nil {
		return fmt.Errorf("gossip: closing port %d: %w", port, err)
	}
	return nil
}

// open starts memberlist.
func (g *Gossip) open(link Transport, port uint16) (*session, error) {
	t := g.Tuning()
	d, list, err := g.membership(link, port, t)
	if err != nil {
		return nil, err
	}
	s := newSession(g, d, list)
	s.link, s.tuned = link, t
	s.drain()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.session = s
	return s, nil
}

// membership makes a new member list, in which there is nobody yet but us.
func (g *Gossip) membership(link Transport, port uint16, t Tuning) (*delegate, *memberlist.Memberlist, error) {
	d := newDelegate(g.cfg.Self, g.cat, g.removals, timingFor(t.Lifetime, t.SendInterval), g.log)
	d.config = g.memberlistConfig(d, guarded{link, t.ReceiveTimeout}, port)
	d.config.TCPTimeout = t.ReceiveTimeout
	list, err := memberlist.Create(d.config)
	return d, list, err
}

// close ends memberlist and all that the session started.
func (g *Gossip) close(s *session, transport Transport) error {
	g.mu.Lock()
	g.session = nil
	g.mu.Unlock()
	close(s.done)
	if !g.stay.Load() {
		s.goodbye()
	}
	err := errors.Join(s.list.Load().Shutdown(), transport.Shutdown())
	s.cancel()
	// With the transport, all its dials and connections have ended, so none of
	// these waits for long.
	s.sends.Wait()
	s.joins.Wait()
	return err
}

// memberlistConfig is memberlist's configuration.
func (g *Gossip) memberlistConfig(d *delegate, t Transport, port uint16) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = g.cfg.Self.String()
	c.Transport = t
	c.AdvertiseAddr, c.AdvertisePort = c.Name, int(port)
	c.BindAddr, c.BindPort = c.Name, int(port)
	c.Label = label
	c.Keyring = g.ring
	c.GossipVerifyIncoming, c.GossipVerifyOutgoing = true, true
	c.EnableCompression = false // the lengths of compressed secrets tell about them, and packets are small
	c.UDPBufferSize = maxPacket
	c.Logger = g.log.std()

	c.ProbeInterval, c.ProbeTimeout = d.timing.probe, d.timing.probeTimeout
	c.GossipInterval = d.timing.gossip
	c.PushPullInterval = d.timing.pushPull
	c.GossipToTheDeadTime = d.timing.toTheDead
	c.AwarenessMaxMultiplier = awareness
	c.RetransmitMult = retransmitMult
	c.SuspicionMult = d.timing.suspicionMult(1)
	c.SuspicionMaxTimeoutMult = 1 // nobody's confirmation makes it shorter, and nobody's silence longer
	c.DeadNodeReclaimTime = d.timing.silence

	c.Delegate, c.Events, c.Alive, c.Conflict = d, d, d, d
	return c
}

// errNotRunning is what calls get outside Run.
var errNotRunning = errors.New("gossip is not running")

// running gives the session while Run runs.
func (g *Gossip) running() (*session, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.session == nil {
		return nil, errNotRunning
	}
	return g.session, nil
}

// Remove takes a node out of the cluster, alive or dead, on all nodes, for 24
// hours or until Join names it: its records go, and a living one is told to
// stop.
func (g *Gossip) Remove(target catalog.Owner) error {
	target = target.Unmap()
	if target == g.cfg.Self {
		return fmt.Errorf("%v is this very node: stop its daemon instead, or remove it from another node", target)
	}
	s, err := g.running()
	if err != nil {
		return err
	}
	return s.call(context.Background(), func(now time.Time) error {
		_, met := g.peers.get(target)
		if _, known := g.cat.View().Member(target); !known && !met {
			return fmt.Errorf("no node %v is known here", target)
		}
		if g.removals.removed(target) {
			return nil
		}
		s.say(target, true, now)
		return nil
	})
}

// Join contacts a host, written host or host:port. It is an error when no node
// answers at any of its addresses. A node there that was removed is allowed
// again, also when it does not answer yet.
func (g *Gossip) Join(ctx context.Context, host string) error {
	i, err := parseInitial(host)
	if err != nil {
		return err
	}
	s, err := g.running()
	if err != nil {
		return err
	}
	all, err := g.resolve(ctx, i)
	if err != nil {
		return err
	}
	var others []netip.AddrPort
	for _, at := range all {
		if at.Addr() != g.cfg.Self {
			others = append(others, at)
		}
	}
	if len(others) == 0 {
		return fmt.Errorf("%s is this very node", host)
	}
	allowed := false
	if err := s.call(ctx, func(now time.Time) error {
		for _, at := range others {
			if g.removals.removed(at.Addr()) {
				allowed = true
				s.say(at.Addr(), false, now)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	err = s.contact(ctx, others)
	if err != nil && allowed {
		return fmt.Errorf("%s is allowed again, but does not answer yet: %w", host, err)
	}
	return err
}

// sleepFor waits; it is false when ctx ended first.
func sleepFor(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
