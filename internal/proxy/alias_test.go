package proxy

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"murakumo/internal/catalog"
)

// TestAlias follows a table: the next connection goes where it points, and with
// cut the old ones end.
func TestAlias(t *testing.T) {
	for name, e := range engines {
		t.Run(name, func(t *testing.T) {
			// One port on two addresses of this host.
			var a, b *net.TCPListener
			for a == nil || b == nil {
				a = listen(t)
				port := a.Addr().(*net.TCPAddr).Port
				b, _ = net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: port})
			}
			greet := func(word string) func(*net.TCPConn) {
				return func(c *net.TCPConn) { io.WriteString(c, word); io.Copy(io.Discard, c) }
			}
			serve(t, a, greet("a"))
			serve(t, b, greet("b"))

			cat := catalog.New(catalog.Options{Self: netip.MustParseAddr("127.0.0.1")})
			put := func(addr string, p catalog.Priority, active bool) {
				cat.Update(func(own *catalog.Edit) {
					err := own.Put(catalog.Record{Name: "db", Addr: netip.MustParseAddr(addr), TTL: 60, Priority: p, Weight: 100, Active: active})
					if err != nil {
						t.Error(err)
					}
				})
			}
			put("127.0.0.1", catalog.Master, true)
			put("127.0.0.2", catalog.Backup, true)

			h := &harness{t: t, log: &logBuffer{}}
			h.proxy = New(Options{Log: slog.New(slog.NewTextHandler(h.log, nil)), View: cat.View})
			h.proxy.engine = e
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- h.proxy.Run(ctx) }()
			defer func() { cancel(); <-done }()
			c := Config{
				Name: "db", Listen: freePort(t), To: Alias{"db", uint16(a.Addr().(*net.TCPAddr).Port)}, Cut: true,
				ConnectTimeout: time.Second, DrainTimeout: time.Millisecond, MaxConns: 100,
			}
			h.proxy.Apply([]Config{c})
			h.eventually("listening", func() bool { return strings.Contains(h.log.String(), "listens on") })

			word := func(conn net.Conn) string {
				b := make([]byte, 1)
				if _, err := io.ReadFull(conn, b); err != nil {
					return err.Error()
				}
				return string(b)
			}
			first := h.dial(c)
			if w := word(first); w != "a" {
				t.Fatalf("the master: %s", w)
			}
			put("127.0.0.1", catalog.Master, false)
			// The table has changed: there is nothing to wait for but the cut.
			if _, err := first.Read(make([]byte, 1)); !isReset(err) {
				t.Errorf("the connection to the old master: %v", err)
			}
			second := h.dial(c)
			if w := word(second); w != "b" {
				t.Errorf("after the change: %s", w)
			}
			put("127.0.0.2", catalog.Backup, false)
			if _, err := second.Read(make([]byte, 1)); !isReset(err) {
				t.Errorf("the connection to the old backup: %v", err)
			}
			if s := h.ask(c); !strings.Contains(s, "reset") {
				t.Errorf("with nobody Active: %s", s)
			}
		})
	}
}

// TestRefusalNeverCrossesTiers: a master that refuses is no reason to ask a
// backup; only the table is.
func TestRefusalNeverCrossesTiers(t *testing.T) {
	backup := listen(t)
	port := uint16(backup.Addr().(*net.TCPAddr).Port)
	serve(t, backup, func(c *net.TCPConn) { io.WriteString(c, "b") })
	cat := catalog.New(catalog.Options{Self: netip.MustParseAddr("127.0.0.1")})
	cat.Update(func(own *catalog.Edit) {
		for addr, p := range map[string]catalog.Priority{"127.0.0.9": catalog.Master, "127.0.0.1": catalog.Backup} {
			if err := own.Put(catalog.Record{Name: "db", Addr: netip.MustParseAddr(addr), TTL: 60, Priority: p, Weight: 1, Active: true}); err != nil {
				t.Error(err)
			}
		}
	})
	h := newHarness(t, native)
	h.proxy.opts.View = cat.View
	c := Config{Name: "db", Listen: freePort(t), To: Alias{"db", port}, ConnectTimeout: time.Second, DrainTimeout: time.Millisecond, MaxConns: 9}
	h.proxy.Apply([]Config{c})
	h.eventually("listening", func() bool { return strings.Contains(h.log.String(), "listens on") })
	for range 5 {
		if s := h.ask(c); !strings.HasPrefix(s, "error") {
			t.Errorf("got %q of the backup", s)
		}
	}
}
