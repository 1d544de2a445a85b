package proxy

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// front is what the connections of one listener share: its configuration, its
// backends and what it says about them. The engines own the sockets.
type front struct {
	name string
	cfg  atomic.Pointer[Config]
	pool *Pool
	log  *slog.Logger
	// ejected tells whoever probes that there is something to probe.
	ejected chan struct{}

	// full says that a loop stopped accepting at MaxConns; resume has them go
	// on. It does not wait.
	full   atomic.Bool
	resume func()

	// emptied, one slot, is told when the last connection has ended while
	// draining.
	draining atomic.Bool
	emptied  chan struct{}

	open     atomic.Int64 // connections that are open
	total    atomic.Int64 // connections that were accepted
	rejected atomic.Int64 // those that no backend took
	hopeless throttle
	starved  throttle
	headers  throttle
}

func newFront(c Config, log *slog.Logger) *front {
	f := &front{name: c.Name, pool: NewPool(c.Algorithm), log: log, ejected: make(chan struct{}, 1), emptied: make(chan struct{}, 1)}
	f.cfg.Store(&c)
	return f
}

// ended counts a connection off.
func (f *front) ended() {
	n := f.open.Add(-1)
	if f.full.Load() && f.full.CompareAndSwap(true, false) && f.resume != nil {
		f.resume()
	}
	if n == 0 && f.draining.Load() {
		select {
		case f.emptied <- struct{}{}:
		default:
		}
	}
}

// connected takes that a backend took a connection.
func (f *front) connected(m *Member, began time.Time) {
	m.Total.Add(1)
	m.ConnectNs.Add(int64(time.Since(began)))
	f.answered(m, began)
}

// answered takes that a backend is there.
func (f *front) answered(m *Member, began time.Time) {
	if f.pool.Succeeded(m, began) {
		f.log.Info(fmt.Sprintf("proxy %s: backend %s is good again", f.name, f.nameOf(m)))
	}
}

// failed takes that a backend did not take a connection.
func (f *front) failed(m *Member, began time.Time, why error) {
	if f.pool.Failed(m, began, time.Now(), why) {
		f.log.Warn(fmt.Sprintf("proxy %s: backend %s fails and is left alone for a while", f.name, f.nameOf(m)), "error", why)
		select {
		case f.ejected <- struct{}{}:
		default:
		}
	}
}

// gaveUp takes that nobody took a client's connection.
func (f *front) gaveUp(client netip.AddrPort, tried int) {
	f.rejected.Add(1)
	if more, ok := f.hopeless.ok(); ok {
		f.log.Error(fmt.Sprintf("proxy %s: no backend took the connection; the client was reset", f.name),
			"client", client, "tried", tried, "others since the last line", more)
	}
}

// badHeader takes that a client did not say who it speaks for.
func (f *front) badHeader(client netip.AddrPort, err error) {
	if more, ok := f.headers.ok(); ok {
		f.log.Warn(fmt.Sprintf("proxy %s: a client was reset", f.name), "client", client, "error", err, "others since the last line", more)
	}
}

// starvedFor is how long nothing is accepted when descriptors ran out.
const starvedFor = 100 * time.Millisecond

// noDescriptors takes that a socket could not be had for lack of descriptors or
// memory.
func (f *front) noDescriptors(err error) {
	if more, ok := f.starved.ok(); ok {
		f.log.Error(fmt.Sprintf("proxy %s: cannot accept connections now; further ones wait (raise LimitNOFILE, or lower max-conns)", f.name),
			"error", err, "others since the last line", more)
	}
}

// nameOf is how people know a backend.
func (f *front) nameOf(m *Member) string {
	if name := f.pool.State(m).Name; name != "" && name != m.Addr.String() {
		return fmt.Sprintf("%s (%s)", name, m.Addr)
	}
	return m.Addr.String()
}

// speaksProxy says whether a client sends the PROXY header.
func (c *Config) speaksProxy(client netip.Addr) bool {
	return slices.ContainsFunc(c.AcceptProxyFrom, func(p netip.Prefix) bool { return p.Contains(client) })
}

// throttle lets one line a second pass and counts the others.
type throttle struct {
	last atomic.Int64 // Unix time in nanoseconds
	held atomic.Int64
}

func (t *throttle) ok() (held int64, ok bool) {
	now, last := time.Now().UnixNano(), t.last.Load()
	if now-last < int64(time.Second) || !t.last.CompareAndSwap(last, now) {
		t.held.Add(1)
		return 0, false
	}
	return t.held.Swap(0), true
}
