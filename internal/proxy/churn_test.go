//go:build linux

package proxy

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestNothingIsLeft: after idleConns connections that idled and shortConns that
// came and went, goroutines, descriptors and memory are where they were.
func TestNothingIsLeft(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	idle := idleConns
	if most := (int(limit.Cur) - 500) / 4; idle > most {
		// Client, proxy (two) and backend are in this process.
		t.Logf("only %d descriptors are allowed here: %d idle connections", limit.Cur, most)
		idle = most
	}
	h := newHarness(t, native)
	ln := listen(t)
	serve(t, ln, func(c *net.TCPConn) {
		b := make([]byte, 1)
		if _, err := io.ReadFull(c, b); err == nil && b[0] == 'i' {
			c.Write(b)
			io.Copy(io.Discard, c)
			return
		}
		c.Write(b)
	})
	c := h.listener(ln.Addr())
	c.MaxConns = 1_000_000
	h.apply(c)
	var failed atomic.Int64
	short := func(n int) {
		var all sync.WaitGroup
		left := atomic.Int64{}
		left.Store(int64(n))
		for range 32 {
			all.Go(func() {
				for left.Add(-1) >= 0 {
					if h.ask1(c, "s") != nil {
						failed.Add(1)
					}
				}
			})
		}
		all.Wait()
	}
	short(200) // what is made once is made now
	h.eventually("all ended", func() bool { return h.proxy.Stats()[0].Open == 0 })
	before := usageNow(t)

	conns := make([]net.Conn, idle)
	for i := range conns {
		conn, err := net.Dial("tcp", c.Listen.String())
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
		if _, err := conn.Write([]byte("i")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.proxy.Stats()[0].Open; n != int64(idle) {
		t.Errorf("%d are open, want %d", n, idle)
	}
	// The client's descriptor, the backend's, and two of the proxy's.
	if with := usageNow(t); with.fds-before.fds > 4*idle+4 {
		t.Errorf("%d idle connections hold %d descriptors of the proxy, want 2 each", idle, with.fds-before.fds-2*idle)
	}
	for _, conn := range conns {
		conn.Close()
	}
	conns = nil
	short(shortConns)
	if n := failed.Load(); n > 0 {
		t.Errorf("%d short connections failed", n)
	}
	h.eventually("all ended", func() bool { return h.proxy.Stats()[0].Open == 0 })

	h.eventually("goroutines and descriptors as before", func() bool {
		now := usageNow(t)
		return now.goroutines <= before.goroutines && now.fds <= before.fds
	})
	if now := usageNow(t); now.heap > before.heap+4<<20 {
		t.Errorf("the heap was %d octets and is %d", before.heap, now.heap)
	}
}

// ask1 sends a word and waits for the end.
func (h *harness) ask1(c Config, word string) error {
	conn, err := net.Dial("tcp", c.Listen.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, word); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}

type usage struct {
	goroutines, fds int
	heap            uint64
}

func usageNow(t *testing.T) usage {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), len(fds), m.HeapAlloc}
}
