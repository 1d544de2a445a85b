package proxy

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMaxConns(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(echoes(t))
		c.MaxConns = 2
		h.apply(c)
		first, second, third := h.dial(c), h.dial(c), h.dial(c)
		for _, conn := range []net.Conn{first, second, third} {
			io.WriteString(conn, "x")
		}
		for _, conn := range []net.Conn{first, second} {
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if st := h.proxy.Stats()[0]; st.Total != 2 {
			t.Errorf("%d connections were accepted beside max-conns: 2", st.Total)
		}
		first.Close()
		if _, err := io.ReadFull(third, make([]byte, 1)); err != nil {
			t.Errorf("the one in the backlog: %v", err)
		}
	})
}

func TestIdleTimeout(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(echoes(t))
		c.IdleTimeout = 30 * time.Millisecond
		h.apply(c)
		conn := h.dial(c)
		io.WriteString(conn, "x")
		// On a busy machine the time may be over before the echo is there.
		if b, err := io.ReadAll(conn); err != nil && !isReset(err) || !strings.HasPrefix("x", string(b)) {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// TestCut: connections to a member that left are reset, others stay.
func TestCut(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(echoes(t), echoes(t))
		c.Cut = true
		h.apply(c)
		a, b := h.dial(c), h.dial(c)
		for _, conn := range []net.Conn{a, b} {
			io.WriteString(conn, "x")
			io.ReadFull(conn, make([]byte, 1))
		}
		stays := h.proxy.Stats()[0].Backends[0]
		c.Backends = []Backend{{Host: stays.Addr.Addr().String(), Port: stays.Addr.Port(), Weight: 1}}
		h.apply(c)
		cut, kept := 0, 0
		for _, conn := range []net.Conn{a, b} {
			// A write that meets the reset takes the error with it.
			_, err := io.WriteString(conn, "y")
			if err == nil {
				_, err = io.ReadFull(conn, make([]byte, 1))
			}
			switch {
			case err == nil:
				kept++
			case isReset(err) || errors.Is(err, syscall.EPIPE):
				cut++
			default:
				t.Error(err)
			}
		}
		if cut != 1 || kept != 1 {
			t.Errorf("%d cut, %d kept", cut, kept)
		}
	})
}

// TestReload: a backend that is taken out gets no more connections; those that
// it has go on.
func TestReload(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		old := echoes(t)
		c := h.listener(old)
		h.apply(c)
		conn := h.dial(c)
		io.WriteString(conn, "x")
		io.ReadFull(conn, make([]byte, 1))
		fresh := says(t, "fresh")
		c.Backends = []Backend{backend(fresh)}
		h.apply(c)
		h.eventually("the new backend", func() bool {
			return h.proxy.Stats()[0].Backends[0].Addr == fresh.(*net.TCPAddr).AddrPort()
		})
		if s := h.ask(c); s != "fresh" {
			t.Errorf("got %q", s)
		}
		io.WriteString(conn, "y")
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Errorf("the connection from before: %v", err)
		}
		conn.Close()
		// Without listeners: nobody accepts.
		h.proxy.Apply(nil)
		h.eventually("closed", func() bool {
			conn, err := net.Dial("tcp", c.Listen.String())
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
	})
}

// TestDrain: at the end connections may finish, up to drain-timeout.
func TestDrain(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(echoes(t))
		h.apply(c)
		conn := h.dial(c)
		io.WriteString(conn, "x")
		io.ReadFull(conn, make([]byte, 1))
		stopped := make(chan struct{})
		go func() { h.stop(); close(stopped) }()
		h.eventually("no accepting", func() bool {
			conn, err := net.Dial("tcp", c.Listen.String())
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
		io.WriteString(conn, "y")
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Errorf("while draining: %v", err)
		}
		select {
		case <-stopped:
			t.Error("it did not wait for the connection")
		default:
		}
		conn.Close()
		<-stopped
	})
}

func TestDrainTimeout(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(echoes(t))
		c.DrainTimeout = 20 * time.Millisecond
		h.apply(c)
		conn := h.dial(c)
		io.WriteString(conn, "x")
		io.ReadFull(conn, make([]byte, 1))
		h.stop()
		if _, err := conn.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("after drain-timeout the client got %v", err)
		}
	})
}

// TestAddressInUse: it listens as soon as it can.
func TestAddressInUse(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(says(t, "a"))
		blocker, err := net.Listen("tcp", c.Listen.String())
		if err != nil {
			t.Fatal(err)
		}
		h.proxy.Apply([]Config{c})
		h.eventually("a warning", func() bool {
			st := h.proxy.Stats()
			return len(st) == 1 && strings.Contains(st[0].Error, "in use") && strings.Contains(h.log.String(), "does not listen")
		})
		blocker.Close()
		h.eventually("listening", func() bool { return h.proxy.Stats()[0].Error == "" })
		h.eventually("a backend", func() bool { return len(h.proxy.Stats()[0].Backends) == 1 })
		if s := h.ask(c); s != "a" {
			t.Errorf("got %q", s)
		}
	})
}
