package proxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"murakumo/internal/catalog"
)

// TestFirstClient: who can connect finds the backends that the table has.
func TestFirstClient(t *testing.T) {
	h := newHarness(t, native)
	c := h.listener()
	c.To = Alias{"db", 3306}
	cat := catalog.New(catalog.Options{Self: netip.MustParseAddr("127.0.0.1")})
	asked := make(chan struct{}, 1)
	h.proxy.opts.View = func() *catalog.View {
		for range 20 {
			if conn, err := net.Dial("tcp", c.Listen.String()); err == nil {
				conn.Close()
				t.Error("it listens before it has asked the table")
			}
			time.Sleep(time.Millisecond)
		}
		select {
		case asked <- struct{}{}:
		default:
		}
		return cat.View()
	}
	h.proxy.Apply([]Config{c})
	<-asked
	h.listens(c)
}

// TestRename: listeners that change names or swap addresses hand their sockets
// over, and their connections end in their own time.
func TestRename(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		a, b := h.listener(echoes(t)), h.listener(echoes(t))
		a.Name, b.Name = "a", "b"
		h.applyAll(a, b)
		conn := h.dial(a)
		ping(t, conn)
		a.Listen, b.Listen = b.Listen, a.Listen
		h.applyAll(a, b)
		ping(t, conn)
		ping(t, h.dial(a))
		a.Name = "c"
		h.applyAll(a, b)
		ping(t, conn)
		ping(t, h.dial(a))
		if log := h.log.String(); strings.Contains(log, "does not listen") {
			t.Errorf("log:\n%s", log)
		}
		conn.Close()
	})
}
