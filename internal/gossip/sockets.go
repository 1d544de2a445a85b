package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// sockets is the Transport of real hosts: one UDP and one TCP socket on the
// node's own address and the gossip port. In place of the library's own it
// dials from the node's address too (so that a rule about a host's address
// covers all it sends), bounds the connections strangers can hold, keeps the
// cause of a failed bind, and allocates what a packet needs instead of 64 KiB.
type sockets struct {
	log     logger
	udp     *net.UDPConn
	tcp     *net.TCPListener
	local   netip.Addr // what dials leave from; invalid when bound to the wildcard
	packets chan *Packet
	streams chan net.Conn

	ctx    context.Context // ends with Shutdown; dials hang on it
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex // guards all below
	ended bool
	conns map[*socketConn]struct{}
	hosts map[netip.Addr]int // accepted connections
}

// Bounds on accepted connections. A connection lasts for the receive timeout
// unless its peer proves that it has a key, so strangers cannot hold more than
// these, and one stranger cannot hold all.
const (
	maxAccepted        = 256
	maxAcceptedPerHost = 32
)

// listen binds self:port. An address that is not on this machine (yet), such as
// one behind NAT, is advertised all the same, from a socket on the wildcard.
// Port 0 takes any free one.
func listen(self netip.Addr, port uint16, log logger) (*sockets, error) {
	udp, tcp, err := bind(netip.AddrPortFrom(self, port))
	local := self
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		log.Warn("the node's address is not on this machine: listening on all addresses, and telling peers this one",
			"address", self.String())
		wildcard := netip.IPv4Unspecified()
		if self.Is6() {
			wildcard = netip.IPv6Unspecified()
		}
		local = netip.Addr{}
		udp, tcp, err = bind(netip.AddrPortFrom(wildcard, port))
	}
	if err != nil {
		return nil, fmt.Errorf("gossip: cannot listen on %v port %d, UDP and TCP: %w; %s", self, port, err, remedy(err))
	}
	// The more the kernel keeps, the longer this process may be away; it gives
	// what its limits allow.
	for size := 2 << 20; size > 64<<10 && udp.SetReadBuffer(size) != nil; size /= 2 {
	}
	s := &sockets{
		log: log, udp: udp, tcp: tcp, local: local,
		packets: make(chan *Packet),
		streams: make(chan net.Conn),
		conns:   make(map[*socketConn]struct{}),
		hosts:   make(map[netip.Addr]int),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.readPackets)
	s.wg.Go(s.accept)
	return s, nil
}

func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "is another murakumo running? stop it, or set another gossip-port on all nodes"
	case errors.Is(err, os.ErrPermission):
		return "start as root, or set a gossip-port above 1023 on all nodes"
	}
	return "check host and gossip-port"
}

func bind(at netip.AddrPort) (udp *net.UDPConn, tcp *net.TCPListener, err error) {
	family := "4"
	if at.Addr().Is6() {
		family = "6"
	}
	// A port that is free for TCP may be taken for UDP; only with port 0 there
	// is another one to try.
	for range 10 {
		tcp, err = net.ListenTCP("tcp"+family, net.TCPAddrFromAddrPort(at))
		if err != nil {
			return nil, nil, err
		}
		chosen := tcp.Addr().(*net.TCPAddr).AddrPort().Port()
		udp, err = net.ListenUDP("udp"+family, net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), chosen)))
		if err == nil {
			return udp, tcp, nil
		}
		_ = tcp.Close()
		if at.Port() != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return nil, nil, err
}

// port gives the port in use.
func (s *sockets) port() uint16 { return s.tcp.Addr().(*net.TCPAddr).AddrPort().Port() }

// pause waits after an error that might come back at once; it is false when the
// sockets are closed.
func (s *sockets) pause() bool {
	t := time.NewTimer(100 * time.Millisecond)
	defer t.Stop()
	select {
	case <-s.ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (s *sockets) readPackets() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(buf)
		now := time.Now()
		if s.ctx.Err() != nil {
			return
		}
		if err != nil {
			s.log.often(slog.LevelError, "udp read", "gossip: reading a packet failed; trying on", "error", err)
			if !s.pause() {
				return
			}
			continue
		}
		if n == 0 {
			continue
		}
		p := &Packet{Buf: slices.Clone(buf[:n]), From: net.UDPAddrFromAddrPort(from), Timestamp: now}
		select {
		case s.packets <- p:
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *sockets) accept() {
	for {
		c, err := s.tcp.AcceptTCP()
		if s.ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return
		}
		if err != nil { // such as too many open files
			s.log.often(slog.LevelError, "accept", "gossip: accepting a connection failed; trying on", "error", err)
			if !s.pause() {
				return
			}
			continue
		}
		from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		conn, ok := s.track(c, from)
		if !ok {
			_ = c.Close()
			s.log.often(slog.LevelWarn, "too many connections", "gossip: too many connections at once, dropping one", "from", from.String())
			continue
		}
		select {
		case s.streams <- conn:
		case <-s.ctx.Done():
			_ = conn.Close()
			return
		}
	}
}

// track remembers a connection so that Shutdown can end it. from is the peer of
// an accepted one, invalid for one that we dialled.
func (s *sockets) track(c net.Conn, from netip.Addr) (net.Conn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, false
	}
	if from.IsValid() {
		total := 0
		for _, n := range s.hosts {
			total += n
		}
		if total >= maxAccepted || s.hosts[from] >= maxAcceptedPerHost {
			return nil, false
		}
		s.hosts[from]++
	}
	conn := &socketConn{Conn: c, s: s, from: from}
	s.conns[conn] = struct{}{}
	return conn, true
}

// socketConn takes itself off the list when it is closed.
type socketConn struct {
	net.Conn
	s    *sockets
	from netip.Addr
}

// Close ends the connection.
func (c *socketConn) Close() error {
	c.s.mu.Lock()
	if _, open := c.s.conns[c]; open {
		delete(c.s.conns, c)
		if c.from.IsValid() {
			if c.s.hosts[c.from]--; c.s.hosts[c.from] == 0 {
				delete(c.s.hosts, c.from)
			}
		}
	}
	c.s.mu.Unlock()
	return c.Conn.Close()
}

// FinalAdvertiseAddr gives what gossip configured.
func (s *sockets) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, 0, err
	}
	return net.IP(a.AsSlice()), port, nil
}

// WriteTo sends a packet.
func (s *sockets) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = s.udp.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

// DialTimeout connects from the node's own address.
func (s *sockets) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	if timeout <= 0 { // to a Dialer 0 means without end
		return nil, os.ErrDeadlineExceeded
	}
	d := net.Dialer{Timeout: timeout}
	if s.local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.local, 0))
	}
	c, err := d.DialContext(s.ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn, ok := s.track(c, netip.Addr{})
	if !ok {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	return conn, nil
}

// PacketCh delivers what arrives by UDP.
func (s *sockets) PacketCh() <-chan *Packet { return s.packets }

// StreamCh delivers the connections of others.
func (s *sockets) StreamCh() <-chan net.Conn { return s.streams }

// Shutdown closes the sockets and all connections, and waits for the goroutines
// that read them.
func (s *sockets) Shutdown() error {
	s.cancel()
	s.mu.Lock()
	s.ended = true
	open := make([]net.Conn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	err := errors.Join(s.udp.Close(), s.tcp.Close())
	for _, c := range open {
		_ = c.Close()
	}
	s.wg.Wait()
	return err
}
