package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// native gives this system's engine.
func native() (engine, error) { return newEngine(runtime.GOMAXPROCS(0)) }

// engines are what every test of connections runs through.
var engines = map[string]func() (engine, error){
	"native":   native,
	"portable": func() (engine, error) { return newGoroutines(), nil },
}

func everyEngine(t *testing.T, test func(t *testing.T, h *harness)) {
	eachOf(t, engines, test)
}

func eachOf(t *testing.T, engines map[string]func() (engine, error), test func(t *testing.T, h *harness)) {
	for name, e := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newHarness(t, e))
		})
	}
}

// harness runs a proxy on loopback.
type harness struct {
	t     *testing.T
	proxy *Proxy
	log   *logBuffer
	stop  func()
}

// patience bounds what a test waits for; nothing takes so long but a failure,
// also where the race detector runs beside many other things.
const patience = 2 * time.Minute

func newHarness(t *testing.T, e func() (engine, error)) *harness {
	h := &harness{t: t, log: &logBuffer{}}
	h.proxy = New(Options{Log: slog.New(slog.NewTextHandler(h.log, nil))})
	h.proxy.engine = e
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.proxy.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run has not ended")
		}
	})
	t.Cleanup(h.stop)
	return h
}

// listener gives a configuration that tests change, on a free port.
func (h *harness) listener(backends ...net.Addr) Config {
	h.t.Helper()
	c := Config{
		Name: "web", Listen: freePort(h.t), ConnectTimeout: 10 * time.Second, DrainTimeout: patience, MaxConns: 10000,
	}
	for _, b := range backends {
		c.Backends = append(c.Backends, backend(b))
	}
	return c
}

func backend(a net.Addr) Backend {
	ap := a.(*net.TCPAddr).AddrPort()
	return Backend{Host: ap.Addr().String(), Port: ap.Port(), Weight: 1}
}

// apply makes the configuration the proxy's and waits until it listens.
func (h *harness) apply(c Config) {
	h.t.Helper()
	h.proxy.Apply([]Config{c})
	h.eventually("listening", func() bool {
		st := h.proxy.Stats()
		return len(st) == 1 && st[0].Error == "" && strings.Contains(h.log.String(), "listens on "+c.Listen.String()) && len(st[0].Backends) == len(c.Backends)
	})
}

// applyAll makes these the listeners and waits until all listen and know their
// backends.
func (h *harness) applyAll(all ...Config) {
	h.t.Helper()
	h.proxy.Apply(all)
	h.eventually("all listening", func() bool {
		st := h.proxy.Stats()
		if len(st) != len(all) {
			return false
		}
		for i, c := range all {
			if st[i].Error != "" || len(st[i].Backends) != len(c.Backends) || !strings.Contains(h.log.String(), "proxy "+c.Name+": listens on "+c.Listen.String()) {
				return false
			}
		}
		return true
	})
}

// listens waits until the log says so.
func (h *harness) listens(c Config) {
	h.t.Helper()
	h.eventually("listening", func() bool {
		return strings.Contains(h.log.String(), "proxy "+c.Name+": listens on "+c.Listen.String())
	})
}

// eventually waits for what other goroutines bring about.
func (h *harness) eventually(what string, ok func() bool) {
	h.t.Helper()
	eventually(h.t, what, ok)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func (h *harness) dial(c Config) *net.TCPConn {
	h.t.Helper()
	conn, err := net.Dial("tcp", c.Listen.String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// ask makes a connection and gives what the backend says on it.
func (h *harness) ask(c Config) string {
	h.t.Helper()
	conn, err := net.Dial("tcp", c.Listen.String())
	if err != nil {
		return "error: " + err.Error() // a reset can come before Dial is done
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(conn)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	// Port 0 is for listeners that can be asked for theirs; a service cannot
	// before it listens. Ports of the ephemeral range that were just closed are
	// not given out again soon.
	ln := listen(t)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// serve has handle answer each connection, and waits for all at the end.
func serve(t *testing.T, ln *net.TCPListener, handle func(*net.TCPConn)) {
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				handle(c)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
}

// says starts a backend that says a word and closes.
func says(t *testing.T, word string) net.Addr {
	ln := listen(t)
	serve(t, ln, func(c *net.TCPConn) { io.WriteString(c, word) })
	return ln.Addr()
}

// echoes starts a backend that gives back what it gets, and its end.
func echoes(t *testing.T) net.Addr {
	ln := listen(t)
	serve(t, ln, func(c *net.TCPConn) { io.Copy(struct{ io.Writer }{c}, c) })
	return ln.Addr()
}

// closedPort gives an address where nobody listens.
func closedPort(t *testing.T) net.Addr {
	ln := listen(t)
	ln.Close()
	return ln.Addr()
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func isReset(err error) bool { return errors.Is(err, errReset) }

// ping sends a word to a backend that echoes and waits until it is back.
func ping(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
}
