package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// udpBackend answers each datagram with its name and what came.
func udpBackend(t *testing.T, name string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	answerAs(t, conn, name)
	return conn
}

// answerAs is what a backend does.
func answerAs(t *testing.T, conn *net.UDPConn, name string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				conn.WriteToUDPAddrPort(append([]byte(name+":"), buf[:n]...), from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
}

// asker is a UDP client.
func asker(t *testing.T, to netip.AddrPort) func(string) string {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func(word string) string {
		buf := make([]byte, 64<<10)
		// A datagram may be lost for good: what a client does then is ask again.
		for end := time.Now().Add(patience); time.Now().Before(end); {
			conn.Write([]byte(word))
			conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			n, err := conn.Read(buf)
			if err == nil {
				return string(buf[:n])
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				time.Sleep(time.Millisecond) // refused: not listening (any more)
			}
		}
		return "nothing"
	}
}

func udpConfig(t *testing.T, backends ...*net.UDPConn) Config {
	c := Config{Name: "dns", UDP: true, Listen: freePort(t), ConnectTimeout: time.Second, DrainTimeout: time.Second, MaxConns: 1000}
	for _, b := range backends {
		ap := b.LocalAddr().(*net.UDPAddr).AddrPort()
		c.Backends = append(c.Backends, Backend{Host: ap.Addr().String(), Port: ap.Port(), Weight: 1})
	}
	return c
}

func TestUDP(t *testing.T) {
	h := newHarness(t, native)
	c := udpConfig(t, udpBackend(t, "a"), udpBackend(t, "b"))
	h.apply2(c)
	// A client stays where it is; clients take turns.
	var got []string
	for range 4 {
		ask := asker(t, c.Listen)
		first := ask("x")
		if again := ask("x"); again != first {
			t.Errorf("a client was at %s, then at %s", first, again)
		}
		got = append(got, first)
	}
	slices.Sort(got)
	if s := strings.Join(got, " "); s != "a:x a:x b:x b:x" {
		t.Errorf("four clients: %s", s)
	}
	big := strings.Repeat("y", 9000)
	if got := asker(t, c.Listen)(big); got != "a:"+big && got != "b:"+big {
		t.Errorf("of a large datagram %d octets came back", len(got))
	}
	h.eventually("counted", func() bool { return h.proxy.Stats()[0].Open >= 4 })
}

func TestUDPIdle(t *testing.T) {
	h := newHarness(t, native)
	c := udpConfig(t, udpBackend(t, "a"))
	c.IdleTimeout = 20 * time.Millisecond
	h.apply2(c)
	asker(t, c.Listen)("x")
	h.eventually("the session ends", func() bool { st := h.proxy.Stats()[0]; return st.Open == 0 && st.Backends[0].Active == 0 })
}

// TestUDPRefused: a backend where nobody listens is left alone, and the client's
// next datagram goes to another one.
func TestUDPRefused(t *testing.T) {
	h := newHarness(t, native)
	dead := udpBackend(t, "dead")
	c := udpConfig(t, dead, udpBackend(t, "b"))
	h.apply2(c)
	dead.Close()
	for range 4 {
		if s := asker(t, c.Listen)("x"); s != "b:x" {
			t.Errorf("got %s", s)
		}
	}
	if !strings.Contains(h.log.String(), "left alone") {
		t.Errorf("no line about it:\n%s", h.log)
	}
}

// TestUDPAnswersFromTheAddressAsked on a wildcard: a connected client takes no
// other.
func TestUDPAnswersFromTheAddressAsked(t *testing.T) {
	h := newHarness(t, native)
	c := udpConfig(t, udpBackend(t, "a"))
	c.Listen = netip.AddrPortFrom(netip.IPv4Unspecified(), c.Listen.Port())
	h.apply2(c)
	for _, at := range []string{"127.0.0.1", "127.0.0.7"} {
		if s := asker(t, netip.AddrPortFrom(netip.MustParseAddr(at), c.Listen.Port()))("x"); s != "a:x" {
			t.Errorf("asked at %s: %s", at, s)
		}
	}
}

func TestUDPMaxSessions(t *testing.T) {
	h := newHarness(t, native)
	c := udpConfig(t, udpBackend(t, "a"))
	c.MaxConns = 1
	h.apply2(c)
	asker(t, c.Listen)("x")
	second, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(c.Listen))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	second.Write([]byte("x"))
	h.eventually("told", func() bool { return strings.Contains(h.log.String(), "max-conns") })
	if n := h.proxy.Stats()[0].Total; n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// apply2 is apply for UDP.
func (h *harness) apply2(c Config) {
	h.t.Helper()
	h.proxy.Apply([]Config{c})
	h.eventually("listening", func() bool {
		st := h.proxy.Stats()
		return len(st) == 1 && len(st[0].Backends) == len(c.Backends) && strings.Contains(h.log.String(), "listens on")
	})
}

// TestChecks: a backend whose check fails gets no connections, and some again
// when it is well.
func TestChecks(t *testing.T) {
	h := newHarness(t, native)
	a, b := says(t, "a"), says(t, "b")
	c := h.listener(a, b)
	var sick atomic.Bool
	sick.Store(true)
	c.Check = Check{Interval: time.Millisecond, Timeout: time.Second, Probe: func(target Target) func(context.Context) error {
		return func(context.Context) error {
			if sick.Load() && target.Addr == a.(*net.TCPAddr).AddrPort() {
				return fmt.Errorf("bad")
			}
			return nil
		}
	}}
	h.apply(c)
	status := func() string {
		for _, s := range h.proxy.Stats()[0].Backends {
			if s.Addr == a.(*net.TCPAddr).AddrPort() {
				return s.Status + s.Why
			}
		}
		return ""
	}
	h.eventually("sick", func() bool { return status() == "sickbad" })
	for range 6 {
		if s := h.ask(c); s != "b" {
			t.Errorf("got %s", s)
		}
	}
	sick.Store(false)
	h.eventually("well", func() bool { return status() == "up" })
	if s := h.ask(c) + h.ask(c); s != "ab" && s != "ba" {
		t.Errorf("got %s", s)
	}
	if log := h.log.String(); strings.Count(log, "fails its check") != 1 || strings.Count(log, "well again") != 1 {
		t.Errorf("log:\n%s", log)
	}
	// Without checks nobody is sick.
	sick.Store(true)
	h.eventually("sick again", func() bool { return status() == "sickbad" })
	c.Check = Check{}
	h.apply(c)
	h.eventually("forgiven", func() bool { return status() == "up" })
}
