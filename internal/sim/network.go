package sim

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"murakumo/internal/gossip"
)

// Rule tells whether packets from one host to another are lost.
type Rule func(from, to netip.Addr) bool

// Partition loses everything between hosts of different groups, both ways.
// A host in no group is not affected.
func Partition(groups ...[]netip.Addr) Rule {
	side := make(map[netip.Addr]int)
	for i, g := range groups {
		for _, a := range g {
			side[a] = i + 1
		}
	}
	return func(from, to netip.Addr) bool {
		f, t := side[from], side[to]
		return f != 0 && t != 0 && f != t
	}
}

// Deaf makes a host receive nothing; what it sends arrives.
func Deaf(a netip.Addr) Rule { return func(_, to netip.Addr) bool { return to == a } }

// Mute loses all that a host sends; it still hears the others.
func Mute(a netip.Addr) Rule { return func(from, _ netip.Addr) bool { return from == a } }

// Traffic is what one host has sent, lost or not.
type Traffic struct {
	Packets, PacketBytes int64
	LargestPacket        int64
	Streams, StreamBytes int64 // connections dialled; octets written to any connection
}

// Network connects endpoints. Create it inside the bubble that uses it.
type Network struct {
	mu        sync.Mutex // guards all below
	rng       *rand.Rand
	min, max  time.Duration
	loss      float64
	rules     map[int]Rule
	nextRule  int
	endpoints map[netip.AddrPort]*Endpoint
	traffic   map[netip.Addr]*Traffic
	changed   chan struct{} // closed and replaced whenever reachability changes
}

// NewNetwork makes a network without loss, with delays of 0.2 to 0.5 ms (one
// way, as within a data centre). The seed decides delays and losses.
func NewNetwork(seed uint64) *Network {
	return &Network{
		rng:       rand.New(rand.NewPCG(seed, seed)),
		min:       200 * time.Microsecond,
		max:       500 * time.Microsecond,
		rules:     make(map[int]Rule),
		endpoints: make(map[netip.AddrPort]*Endpoint),
		traffic:   make(map[netip.Addr]*Traffic),
		changed:   make(chan struct{}),
	}
}

// SetDelay sets the bounds of the one-way delay, 0 < min ≤ max.
func (n *Network) SetDelay(min, max time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.min, n.max = min, max
}

// SetLoss sets the share of packets that are lost, 0 … 1. On a connection a
// loss is a delay of 200 ms, the least retransmission timeout of Linux.
func (n *Network) SetLoss(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = share
}

// Cut puts a rule in force, beside those that already are, until the returned
// function is called.
func (n *Network) Cut(r Rule) (heal func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := n.nextRule
	n.nextRule++
	n.rules[id] = r
	n.wakeLocked()
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.rules, id)
		n.wakeLocked()
	}
}

// Sent tells what a host has sent so far.
func (n *Network) Sent(a netip.Addr) Traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	return *n.countLocked(a)
}

// Listen starts an endpoint; one that was at the same address before is
// replaced, as when a host comes back.
func (n *Network) Listen(at netip.AddrPort) *Endpoint {
	e := &Endpoint{
		net:     n,
		at:      at,
		packets: make(chan *gossip.Packet, 1024),
		streams: make(chan net.Conn, 128),
		down:    make(chan struct{}),
		conns:   make(map[*conn]struct{}),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.endpoints[at] = e
	n.wakeLocked()
	return e
}

func (n *Network) wakeLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *Network) countLocked(a netip.Addr) *Traffic {
	t := n.traffic[a]
	if t == nil {
		t = new(Traffic)
		n.traffic[a] = t
	}
	return t
}

func (n *Network) cutLocked(from, to netip.Addr) bool {
	for _, r := range n.rules {
		if r(from, to) {
			return true
		}
	}
	return false
}

func (n *Network) delayLocked() time.Duration {
	if n.max <= n.min {
		return n.min
	}
	return n.min + time.Duration(n.rng.Int64N(int64(n.max-n.min)))
}

func (n *Network) lostLocked() bool { return n.loss > 0 && n.rng.Float64() < n.loss }

// Endpoint is the network as one process sees it. It implements
// gossip.Transport.
type Endpoint struct {
	net     *Network
	at      netip.AddrPort
	packets chan *gossip.Packet
	streams chan net.Conn

	down    chan struct{} // closed at the end of the process or the host
	crashed bool          // guarded by net.mu: the host is gone, not only the process
	ended   bool          // guarded by net.mu
	conns   map[*conn]struct{}
}

// Addr is the address of the endpoint's host.
func (e *Endpoint) Addr() netip.Addr { return e.at.Addr() }

// Crash takes the host away without a word to anybody.
func (e *Endpoint) Crash() { e.end(true) }

// Shutdown ends the process: peers see their connections end and their dials
// refused.
func (e *Endpoint) Shutdown() error {
	e.end(false)
	return nil
}

func (e *Endpoint) end(crash bool) {
	e.net.mu.Lock()
	if e.ended {
		e.net.mu.Unlock()
		return
	}
	e.ended, e.crashed = true, crash
	close(e.down)
	conns := make([]*conn, 0, len(e.conns))
	for c := range e.conns {
		conns = append(conns, c)
	}
	e.net.wakeLocked()
	e.net.mu.Unlock()
	for _, c := range conns {
		c.abort(crash)
	}
}

// FinalAdvertiseAddr gives the endpoint's own address, whatever is asked.
func (e *Endpoint) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IP(e.at.Addr().AsSlice()), int(e.at.Port()), nil
}

// PacketCh delivers what others sent by WriteTo.
func (e *Endpoint) PacketCh() <-chan *gossip.Packet { return e.packets }

// StreamCh delivers connections that others dialled.
func (e *Endpoint) StreamCh() <-chan net.Conn { return e.streams }

// WriteToAddress is WriteTo.
func (e *Endpoint) WriteToAddress(b []byte, a gossip.Address) (time.Time, error) {
	return e.WriteTo(b, a.Addr)
}

// DialAddressTimeout is DialTimeout.
func (e *Endpoint) DialAddressTimeout(a gossip.Address, timeout time.Duration) (net.Conn, error) {
	return e.DialTimeout(a.Addr, timeout)
}

// WriteTo sends a packet; that it is lost is not an error.
func (e *Endpoint) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return now, fmt.Errorf("send to %q: %w", addr, err)
	}
	n := e.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.ended {
		return now, net.ErrClosed
	}
	count := n.countLocked(e.at.Addr())
	count.Packets++
	count.PacketBytes += int64(len(b))
	count.LargestPacket = max(count.LargestPacket, int64(len(b)))
	d := n.endpoints[to]
	if d == nil || d.ended || n.cutLocked(e.at.Addr(), to.Addr()) || n.lostLocked() {
		return now, nil
	}
	p := &gossip.Packet{Buf: slices.Clone(b), From: net.UDPAddrFromAddrPort(e.at)}
	time.AfterFunc(n.delayLocked(), func() {
		p.Timestamp = time.Now()
		select {
		case <-d.down:
			return
		default:
		}
		select {
		case d.packets <- p:
		default: // full, as a socket's buffer
		}
	})
	return now, nil
}

// DialTimeout connects, is refused when nothing listens on a living host, and
// hangs until the timeout when the host cannot be reached.
func (e *Endpoint) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", addr, err)
	}
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	n := e.net
	n.mu.Lock()
	if e.ended {
		n.mu.Unlock()
		return fail(net.ErrClosed)
	}
	n.countLocked(e.at.Addr()).Streams++
	d := n.endpoints[to]
	wait, refused := n.delayLocked()+n.delayLocked(), d != nil && d.ended && !d.crashed
	reachable := d != nil && !d.crashed &&
		!n.cutLocked(e.at.Addr(), to.Addr()) && !n.cutLocked(to.Addr(), e.at.Addr())
	if n.lostLocked() {
		wait += time.Second // the first retransmission of a SYN
	}
	n.mu.Unlock()
	if !reachable || wait > timeout {
		wait = timeout
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-e.down:
		return fail(net.ErrClosed)
	case <-timer.C:
	}
	switch {
	case !reachable || wait == timeout:
		return fail(os.ErrDeadlineExceeded)
	case refused:
		return fail(syscall.ECONNREFUSED)
	}
	near, far, err := n.connect(e, d)
	if err != nil {
		return fail(err)
	}
	select {
	case d.streams <- far:
		return near, nil
	default:
		far.abort(false)
		return fail(syscall.ECONNREFUSED)
	}
}

func (n *Network) connect(a, b *Endpoint) (near, far *conn, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a.ended {
		return nil, nil, net.ErrClosed
	}
	if b.ended {
		return nil, nil, syscall.ECONNREFUSED
	}
	out, back := newHalf(n, a, b), newHalf(n, b, a)
	near = &conn{own: a, peer: b, read: back, write: out}
	far = &conn{own: b, peer: a, read: out, write: back}
	a.conns[near] = struct{}{}
	b.conns[far] = struct{}{}
	return near, far, nil
}
