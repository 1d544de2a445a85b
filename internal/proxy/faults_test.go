package proxy

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRefusedIsSkipped(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(closedPort(t), says(t, "a"), closedPort(t))
		h.apply(c)
		for range 10 {
			if s := h.ask(c); s != "a" {
				t.Fatalf("got %q", s)
			}
		}
		st := h.proxy.Stats()[0]
		if st.Rejected != 0 {
			t.Errorf("%d clients were rejected", st.Rejected)
		}
		for _, b := range st.Backends {
			// Ejected after its first failure; the probes, a second apart at
			// first, may have found it still closed.
			if b.Total == 0 && (b.Failures < 1 || b.Status != "failing" || !strings.Contains(b.Why, "refused")) {
				t.Errorf("backend %v", b)
			}
		}
		if n := strings.Count(h.log.String(), "fails and is left alone"); n != 2 {
			t.Errorf("%d lines about failing backends, want one each:\n%s", n, h.log)
		}
	})
}

func TestSilentIsSkipped(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(silent(t), says(t, "a"))
		c.ConnectTimeout = 50 * time.Millisecond
		h.apply(c)
		for range 4 {
			if s := h.ask(c); s != "a" {
				t.Fatalf("got %q", s)
			}
		}
	})
}

// silent gives an address that takes no connections and refuses none: a socket
// whose backlog is full.
func silent(t *testing.T) net.Addr {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*syscall.SockaddrInet4).Port}
	for range 8 { // the backlog holds one or two; the rest is not answered
		c, err := net.DialTimeout("tcp", addr.String(), 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the backlog is not full")
	return nil
}

// TestNobody: the client is reset, the log has a line and not one a client.
func TestNobody(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(closedPort(t))
		h.apply(c)
		for range 50 {
			conn, err := net.Dial("tcp", c.Listen.String())
			if err == nil {
				conn.SetDeadline(time.Now().Add(patience))
				_, err = conn.Read(make([]byte, 1))
				conn.Close()
			}
			if !isReset(err) {
				t.Fatalf("the client got %v", err)
			}
		}
		h.eventually("counted", func() bool { return h.proxy.Stats()[0].Rejected == 50 })
		// 50 connections that are refused on loopback may take seconds on a
		// loaded machine, never one each.
		if n := strings.Count(h.log.String(), "no backend took"); n == 0 || n > 25 {
			t.Errorf("%d lines", n)
		}
	})
}

// TestOthersDoNotWait: a client that says nothing, a backend that hangs in its
// connect and one that never reads delay only themselves.
func TestOthersDoNotWait(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		good := h.listener(echoes(t))
		good.Name = "good"
		hanging := h.listener(silent(t))
		hanging.Name, hanging.ConnectTimeout, hanging.DrainTimeout = "hanging", time.Hour, time.Millisecond
		h.proxy.Apply([]Config{good, hanging})
		h.eventually("listening", func() bool { return strings.Count(h.log.String(), "listens on") == 2 })
		for range 20 {
			h.dial(hanging)
			h.dial(good) // and says nothing
		}
		conn := h.dial(good)
		io.WriteString(conn, "hello")
		if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
			t.Error(err)
		}
	})
}

// TestComesBack: an ejected backend is found again without a client's try.
func TestComesBack(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		dead := closedPort(t)
		c := h.listener(dead, says(t, "b"))
		h.apply(c)
		h.ask(c)
		h.ask(c)
		h.eventually("ejected", func() bool { return strings.Contains(h.log.String(), "left alone") })
		var ln *net.TCPListener
		h.eventually("the port is free, should somebody else have taken it", func() bool {
			var err error
			ln, err = net.ListenTCP("tcp", dead.(*net.TCPAddr))
			return err == nil
		})
		serve(t, ln, func(c *net.TCPConn) { io.WriteString(c, "a") })
		h.eventually("good again", func() bool { return strings.Contains(h.log.String(), "is good again") })
		if s := h.ask(c) + h.ask(c); s != "ab" && s != "ba" {
			t.Errorf("got %s", s)
		}
	})
}
