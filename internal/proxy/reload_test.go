package proxy

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
)

// TestReloadKeepsResolved: a reload takes no backend away whose name has
// addresses, even while the resolver is dead.
func TestReloadKeepsResolved(t *testing.T) {
	h := newHarness(t, newEngine)
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
