package proxy

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// TestProbesDoNotWait: of two backends that were ejected one hangs when it is
// tried again; the other is tried as often as it has to be.
func TestProbesDoNotWait(t *testing.T) {
	h := newHarness(t, native)
	s := newService(h.listener(), h.proxy.opts, nil)
	hangs, other := netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")
	s.pool.Update([]Target{{Addr: hangs, Weight: 1}, {Addr: other, Weight: 1}})
	for _, m := range s.pool.Members() {
		s.pool.Failed(m, time.Now().Add(-time.Hour), time.Now().Add(-time.Hour), errors.New("refused"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	tried := make(chan netip.AddrPort)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.probe(ctx, func(ctx context.Context, m *Member) {
			select {
			case tried <- m.Addr:
			case <-ctx.Done():
			}
			if m.Addr == hangs {
				<-ctx.Done()
			}
		})
	}()
	defer func() { cancel(); <-ended }()
	count := map[netip.AddrPort]int{}
	for count[other] < 3 {
		select {
		case a := <-tried:
			count[a]++
		case <-time.After(patience):
			t.Fatalf("tried: %v", count)
		}
	}
	if count[hangs] > 1 {
		t.Errorf("the one that hangs was tried %d times at once", count[hangs])
	}
}
