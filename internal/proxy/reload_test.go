package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestReloadKeepsResolved: a reload takes no backend away whose name has
// addresses, even while the resolver is dead.
func TestReloadKeepsResolved(t *testing.T) {
	h := newHarness(t, native)
	var dead atomic.Bool
	h.proxy.opts.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
		if dead.Load() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	c := h.listener(echoes(t))
	c.Backends[0].Host, c.Cut = "backend.example", true
	h.apply(c)
	conn := h.dial(c)
	ping(t, conn)
	dead.Store(true)
	// The address beside the name says when the new list is in force.
	c.Backends = append(c.Backends, backend(echoes(t)))
	h.apply(c)
	ping(t, conn)
	for range 2 {
		ping(t, h.dial(c))
	}
}

// TestReloadChangesTimesAndBounds: max-conns, idle-timeout and the algorithm
// count at once when a reload changes them, for the connections that there are,
// too, and no connection ends because of it.
func TestReloadChangesTimesAndBounds(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(echoes(t), echoes(t))
		c.MaxConns = 1
		h.apply(c)
		first, second := h.dial(c), h.dial(c)
		ping(t, first)
		c.MaxConns = 100
		h.apply(c)
		ping(t, second) // it was in the backlog

		c.Algorithm = Source
		h.apply(c)
		h.eventually("the algorithm", func() bool { return h.proxy.Stats()[0].Algorithm == Source })
		before := h.proxy.Stats()[0].Backends
		for range 4 {
			ping(t, h.dial(c))
		}
		ping(t, first)
		for i, b := range h.proxy.Stats()[0].Backends {
			if n := b.Total - before[i].Total; n != 0 && n != 4 {
				t.Errorf("of four connections of one client %d were at %s", n, b.Addr)
			}
		}
		if n := strings.Count(h.log.String(), "listens on"); n != 1 {
			t.Errorf("it listened %d times", n)
		}

		// A time that is too short to be over by chance is not tested: one that
		// was long and is none, then one that was none and is short.
		c.IdleTimeout = time.Hour
		h.apply(c)
		ping(t, first)
		c.IdleTimeout = 0
		h.apply(c)
		ping(t, first)
		c.IdleTimeout = 20 * time.Millisecond
		h.proxy.Apply([]Config{c})
		for _, conn := range []net.Conn{first, second} {
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
				t.Errorf("an idle connection ended with %v", err)
			}
		}
	})
}
