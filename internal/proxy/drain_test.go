package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"murakumo/internal/catalog"
)

// TestCutWhileDraining: a listener that was taken out still obeys the table; a
// member that loses its duty keeps none of the connections that drain.
func TestCutWhileDraining(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		addr := echoes(t).(*net.TCPAddr).AddrPort()
		cat := catalog.New(catalog.Options{Self: netip.MustParseAddr("127.0.0.1")})
		put := func(active bool) {
			cat.Update(func(own *catalog.Edit) {
				err := own.Put(catalog.Record{Name: "db", Addr: addr.Addr(), TTL: 60, Priority: catalog.Master, Weight: 1, Active: active})
				if err != nil {
					t.Error(err)
				}
			})
		}
		put(true)
		h.proxy.opts.View = cat.View
		c := h.listener()
		c.To, c.Cut, c.DrainTimeout = Alias{"db", addr.Port()}, true, time.Hour
		h.proxy.Apply([]Config{c})
		h.eventually("a member", func() bool {
			st := h.proxy.Stats()
			return len(st) == 1 && st[0].Error == "" && len(st[0].Backends) == 1
		})
		h.listens(c)
		conn := h.dial(c)
		ping(t, conn)
		h.proxy.Apply(nil)
		h.eventually("not accepting", func() bool {
			other, err := net.Dial("tcp", c.Listen.String())
			if err == nil {
				other.Close()
			}
			return err != nil
		})
		ping(t, conn) // drains
		put(false)
		if _, err := io.ReadFull(conn, make([]byte, 1)); !isReset(err) {
			t.Errorf("the connection to a member off duty: %v", err)
		}
	})
}

// TestDrainsWhatCameHalfWay: where some loops took clients already, and then one could not
// listen, those clients drain like others.
func TestDrainsWhatCameHalfWay(t *testing.T) {
	e := &halfWay{engine: newGoroutines()}
	h := newHarness(t, func() (engine, error) { return e, nil })
	c := h.listener(says(t, "a"))
	c.DrainTimeout = time.Millisecond
	h.proxy.Apply([]Config{c})
	h.eventually("it does not listen", func() bool {
		st := h.proxy.Stats()
		return len(st) == 1 && st[0].Error != ""
	})
	h.stop()
	if !e.ended.Load() {
		t.Error("the client was left to nobody")
	}
}

// halfWay is an engine that takes a client and then cannot listen.
type halfWay struct {
	engine
	ended atomic.Bool
}

func (*halfWay) listen(_ context.Context, f *front, _ netip.AddrPort) (func(), error) {
	f.open.Store(1)
	return nil, errors.New("half-way")
}

func (e *halfWay) cut(f *front, _ func(*Member) bool) int {
	e.ended.Store(true)
	f.ended()
	return 1
}
