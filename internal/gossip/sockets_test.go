package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"murakumo/internal/catalog"
)

// out is a log that goroutines share.
type out struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *out) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *out) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *out) logger() logger {
	return logger{slog.New(slog.NewTextHandler(o, nil)), new(throttle)}
}

func mustListen(t *testing.T, self string, port uint16) (*sockets, *out) {
	t.Helper()
	o := new(out)
	s, err := listen(addr(self), port, o.logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown() })
	return s, o
}

func (s *sockets) where() string { return netip.AddrPortFrom(addr("127.0.0.2"), s.port()).String() }

func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing arrived")
		panic("not reached")
	}
}

// Packets and connections leave from the node's own address, and arrive.
func TestSocketsCarry(t *testing.T) {
	a, _ := mustListen(t, "127.0.0.2", 0)
	b, _ := mustListen(t, "127.0.0.3", 0)
	if _, err := b.WriteTo([]byte("hello"), a.where()); err != nil {
		t.Fatal(err)
	}
	p := receive(t, a.PacketCh())
	if string(p.Buf) != "hello" || !strings.HasPrefix(p.From.String(), "127.0.0.3:") || p.Timestamp.IsZero() {
		t.Errorf("got %q from %v at %v", p.Buf, p.From, p.Timestamp)
	}
	c, err := b.DialTimeout(a.where(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	in := receive(t, a.StreamCh())
	if !strings.HasPrefix(in.RemoteAddr().String(), "127.0.0.3:") {
		t.Errorf("connected from %v, want 127.0.0.3", in.RemoteAddr())
	}
	if _, err := c.Write([]byte("stream")); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if got, err := io.ReadAll(in); string(got) != "stream" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	_ = in.Close()
	if len(a.conns)+len(b.conns)+len(a.hosts) != 0 {
		t.Errorf("still tracked: %d, %d, %d", len(a.conns), len(b.conns), len(a.hosts))
	}
	if _, err := b.DialTimeout(a.where(), 0); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a dial without time: %v", err)
	}
}

// A peer that takes a connection and reads nothing does not hold it for ever,
// also where memberlist sets no deadline; after a failed write it is closed.
func TestGuardedDial(t *testing.T) {
	a, _ := mustListen(t, "127.0.0.2", 0)
	b, _ := mustListen(t, "127.0.0.3", 0)
	c, err := guarded{b, 100 * time.Millisecond}.DialAddressTimeout(Address{Addr: a.where()}, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		chunk := make([]byte, 1<<20)
		for {
			if _, err := c.Write(chunk); err != nil {
				failed <- err
				return
			}
		}
	}()
	if err := receive(t, failed); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing: %v", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.conns) != 0 {
		t.Error("the connection is still open")
	}
}

// The end closes everything that is open, on both sides of it.
func TestSocketsShutdown(t *testing.T) {
	before := runtime.NumGoroutine()
	a, _ := mustListen(t, "127.0.0.2", 0)
	b, _ := mustListen(t, "127.0.0.3", 0)
	c, err := b.DialTimeout(a.where(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	in := receive(t, a.StreamCh())
	if _, err := b.WriteTo([]byte("nobody reads this"), a.where()); err != nil {
		t.Fatal(err)
	}
	pending, err := b.DialTimeout(a.where(), time.Second) // nobody accepts this
	if err != nil {
		t.Fatal(err)
	}
	defer pending.Close()
	if err := a.Shutdown(); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if _, err := in.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading an accepted connection: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the peer reads on")
	}
	if _, err := a.DialTimeout(b.where(), time.Second); err == nil {
		t.Error("dialled after the end")
	}
	_ = b.Shutdown()
	for start := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// Failures to bind say where, why, and what to do.
func TestListenFails(t *testing.T) {
	a, _ := mustListen(t, "127.0.0.2", 0)
	_, err := listen(addr("127.0.0.2"), a.port(), new(out).logger())
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("a port in use: %v", err)
	}
	for _, part := range []string{"127.0.0.2", fmt.Sprintf("port %d", a.port()), "address already in use", "another murakumo"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	// Free for TCP, taken for UDP.
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 4)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	if _, err := listen(addr("127.0.0.4"), udp.LocalAddr().(*net.UDPAddr).AddrPort().Port(), new(out).logger()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a UDP port in use: %v", err)
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{syscall.EACCES, "as root"},
		{syscall.ENOBUFS, "check host"},
	} {
		if got := remedy(fmt.Errorf("listen: %w", c.err)); !strings.Contains(got, c.want) {
			t.Errorf("remedy(%v) = %q, want %q", c.err, got, c.want)
		}
	}
}

// An address that is not on this machine is advertised from the wildcard, with
// a line.
func TestListenElsewhere(t *testing.T) {
	s, o := mustListen(t, "192.0.2.1", 0) // TEST-NET-1: on no machine
	if !strings.Contains(o.String(), "192.0.2.1") || !strings.Contains(o.String(), "not on this machine") {
		t.Errorf("the log: %q", o)
	}
	if s.local.IsValid() {
		t.Errorf("dials from %v", s.local)
	}
	b, _ := mustListen(t, "127.0.0.3", 0)
	if _, err := b.WriteTo([]byte("x"), s.where()); err != nil {
		t.Fatal(err)
	}
	receive(t, s.PacketCh())
	if ip, p, err := s.FinalAdvertiseAddr("192.0.2.1", 7); ip.String() != "192.0.2.1" || p != 7 || err != nil {
		t.Errorf("advertises %v %d, %v", ip, p, err)
	}
}

// A stranger cannot hold more than so many connections.
func TestSocketsBoundStrangers(t *testing.T) {
	s, o := mustListen(t, "127.0.0.2", 0)
	go func() { // as memberlist: takes them, and waits for them to speak
		for {
			select {
			case <-s.StreamCh():
			case <-s.ctx.Done():
				return
			}
		}
	}()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for range maxAcceptedPerHost + 5 {
		c, err := net.DialTimeout("tcp4", s.where(), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	last := open[len(open)-1]
	_ = last.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := last.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the last connection: %v, want it closed", err)
	}
	if n := strings.Count(o.String(), "too many connections"); n != 1 {
		t.Errorf("%d lines, want 1: %s", n, o)
	}
	// Another host gets in.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 5)}, Timeout: 5 * time.Second}
	c, err := d.Dial("tcp4", s.where())
	if err != nil {
		t.Fatal(err)
	}
	open = append(open, c)
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("another host: %v, want it kept", err)
	}
}

// Two nodes on real sockets meet, tell each other their records, and part.
func TestRealSockets(t *testing.T) {
	before := runtime.NumGoroutine()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	type side struct {
		cat  *catalog.Catalog
		g    *Gossip
		stop context.CancelFunc
		done chan error
		log  *out
	}
	start := func(self netip.Addr, known []netip.AddrPort) side {
		s := side{cat: catalog.New(catalog.Options{Self: self}), done: make(chan error, 1), log: new(out)}
		s.cat.Update(func(own *catalog.Edit) { _ = own.Put(rec("on-"+self.String(), self, 1)) })
		var err error
		s.g, err = New(Config{
			Self: self, Keys: []string{"onion"}, Known: known,
			Lifetime: 3 * time.Second, SendInterval: 100 * time.Millisecond, ReceiveTimeout: time.Second,
			Log: s.log.logger().Logger,
		}, s.cat)
		if err != nil {
			t.Fatal(err)
		}
		var own context.Context
		own, s.stop = context.WithCancel(ctx)
		go func() { s.done <- s.g.Run(own) }()
		select {
		case <-s.g.Ready():
		case err := <-s.done:
			t.Fatal(err)
		}
		return s
	}
	await := func(s side, cond func(*catalog.View) bool) {
		t.Helper()
		limit := time.After(20 * time.Second)
		for v := s.cat.View(); !cond(v); v = s.cat.View() {
			select {
			case <-v.Superseded():
			case <-limit:
				t.Fatalf("not within 20 s; the log:\n%s", s.log)
			}
		}
	}
	a := start(addr("127.0.0.2"), nil)
	b := start(addr("127.0.0.3"), []netip.AddrPort{a.g.Addr()})
	await(a, func(v *catalog.View) bool { n := v.Name("on-127.0.0.3"); return n != nil && len(n.Entries()) == 1 })
	await(b, func(v *catalog.View) bool { n := v.Name("on-127.0.0.2"); return n != nil && len(n.Entries()) == 1 })
	b.stop()
	if err := <-b.done; err != nil {
		t.Error(err)
	}
	await(a, func(v *catalog.View) bool { m, _ := v.Member(addr("127.0.0.3")); return m.Status == catalog.Left })
	a.stop()
	if err := <-a.done; err != nil {
		t.Error(err)
	}
	stop()
	for start := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Since(start) > 10*time.Second {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

// The same over IPv6, where the machine has it.
func TestSocketsIPv6(t *testing.T) {
	probe, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Logf("no IPv6 on this machine: %v", err)
		return
	}
	_ = probe.Close()
	s, _ := mustListen(t, "::1", 0)
	at := netip.AddrPortFrom(addr("::1"), s.port()).String()
	if _, err := s.WriteTo([]byte("x"), at); err != nil {
		t.Fatal(err)
	}
	receive(t, s.PacketCh())
	c, err := s.DialTimeout(at, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_ = receive(t, s.StreamCh()).Close()
	_ = c.Close()
}

// A peer that does not encrypt is refused, whatever it says.
func TestPlaintextIsRefused(t *testing.T) {
	o := new(out)
	self, stranger := addr("127.0.0.2"), addr("127.0.0.3")
	cat := catalog.New(catalog.Options{Self: self})
	g, err := New(Config{
		Self: self, Keys: []string{"onion"}, Log: o.logger().Logger,
		Lifetime: time.Second, SendInterval: 100 * time.Millisecond, ReceiveTimeout: time.Second,
	}, cat)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	<-g.Ready()

	c := memberlist.DefaultLANConfig()
	c.Name, c.Label = stranger.String(), label
	c.BindAddr, c.BindPort, c.AdvertiseAddr, c.AdvertisePort = c.Name, 0, c.Name, 0
	c.Logger = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	plain, err := memberlist.Create(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Join([]string{g.Addr().String()}); err == nil {
		t.Error("it joined")
	}
	// Its word by UDP: that it is alive, and a message of ours.
	victim := &memberlist.Node{Name: self.String(), Addr: net.IP(self.AsSlice()), Port: g.Addr().Port()}
	said := message{via: stranger, kind: kindRemoval, removals: []removal{{target: here, counter: 1, removed: true, by: stranger}}}.encode()
	for start := time.Now(); !strings.Contains(o.String(), "Decrypt packet failed"); runtime.Gosched() {
		if err := plain.SendBestEffort(victim, said); err != nil {
			t.Fatal(err)
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("the packet is not refused; the log:\n%s", o)
		}
	}
	if err := plain.Shutdown(); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for m := range cat.View().Members() {
		if m.Owner != self {
			t.Errorf("%v is known", m.Owner)
		}
	}
	if g.removals.removed(here) {
		t.Error("it could remove a node")
	}
}

// A port in use is Run's error.
func TestRunFailsToBind(t *testing.T) {
	s, _ := mustListen(t, "127.0.0.2", 0)
	g, err := New(Config{
		Self: addr("127.0.0.2"), Port: s.port(), Keys: []string{"onion"},
		Lifetime: 10 * time.Second, SendInterval: time.Second, ReceiveTimeout: time.Second,
	}, catalog.New(catalog.Options{Self: addr("127.0.0.2")}))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Run: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	cat := catalog.New(catalog.Options{Self: here})
	good := Config{Self: here, Keys: []string{"onion"}, Lifetime: time.Second, SendInterval: time.Second, ReceiveTimeout: time.Second}
	if _, err := New(good, cat); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		edit func(*Config)
		want string
	}{
		{"no key", func(c *Config) { c.Keys = nil }, "auth-key"},
		{"no address", func(c *Config) { c.Self = netip.Addr{} }, "host"},
		{"unspecified", func(c *Config) { c.Self = netip.IPv4Unspecified() }, "host"},
		{"another catalog", func(c *Config) { c.Self = there }, "10.0.0.1"},
		{"short lifetime", func(c *Config) { c.Lifetime = 499 * time.Millisecond }, "gossip-node-lifetime"},
		{"long lifetime", func(c *Config) { c.Lifetime = 301 * time.Second }, "gossip-node-lifetime"},
		{"no interval", func(c *Config) { c.SendInterval = 0 }, "gossip-send-interval"},
		{"no timeout", func(c *Config) { c.ReceiveTimeout = 0 }, "gossip-receive-timeout"},
		{"no host", func(c *Config) { c.Peers = []string{""} }, "is no host"},
		{"port 0", func(c *Config) { c.Peers = []string{"a:0"} }, "port"},
		{"two ports", func(c *Config) { c.Peers = []string{"a:1:2"} }, "cannot be read"},
	} {
		cfg := good
		c.edit(&cfg)
		if _, err := New(cfg, cat); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestParseInitial(t *testing.T) {
	for _, c := range []struct {
		text, host string
		port       uint16
		literal    bool
	}{
		{"10.0.0.2", "10.0.0.2", 0, true},
		{"10.0.0.2:7", "10.0.0.2", 7, true},
		{"2001:db8::2", "2001:db8::2", 0, true},
		{"[2001:db8::2]", "2001:db8::2", 0, true},
		{"[2001:db8::2]:7", "2001:db8::2", 7, true},
		{"seed.example", "seed.example", 0, false},
		{"seed.example:7", "seed.example", 7, false},
	} {
		i, err := parseInitial(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		} else if i.host != c.host || i.port != c.port || i.addr.IsValid() != c.literal {
			t.Errorf("%s: %s, %d, %v", c.text, i.host, i.port, i.addr)
		}
	}
}
