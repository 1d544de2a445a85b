package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// goroutines is the engine of systems that have no epoll: two goroutines a
// connection.
type goroutines struct {
	mu        sync.Mutex // guards what follows
	listening map[*front]*portableListener
	pairs     map[*pair]struct{}

	running sync.WaitGroup
}

type portableListener struct {
	stop context.CancelFunc
	done chan struct{}
	wake chan struct{} // one slot: there may be room for connections
}

// pair is one connection with the one to its backend.
type pair struct {
	*front
	client  *net.TCPConn
	from    netip.AddrPort
	mu      sync.Mutex // guards what follows
	backend *net.TCPConn
	member  *Member
	cut     bool
}

func newGoroutines() *goroutines {
	return &goroutines{listening: map[*front]*portableListener{}, pairs: map[*pair]struct{}{}}
}

func (g *goroutines) run(ctx context.Context) {
	<-ctx.Done()
	g.mu.Lock()
	var listeners []*portableListener
	for _, l := range g.listening {
		listeners = append(listeners, l)
	}
	pairs := make([]*pair, 0, len(g.pairs))
	for p := range g.pairs {
		pairs = append(pairs, p)
	}
	g.mu.Unlock()
	for _, l := range listeners {
		l.stop()
	}
	for _, p := range pairs {
		p.reset()
	}
	g.running.Wait()
}

func (g *goroutines) listen(ctx context.Context, f *front, at netip.AddrPort) (unlisten func(), err error) {
	ln, err := listenTCP(ctx, at)
	if err != nil {
		return nil, err
	}
	accepting, stop := context.WithCancel(context.Background())
	l := &portableListener{stop: stop, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	g.mu.Lock()
	g.listening[f] = l
	g.mu.Unlock()
	g.running.Go(func() {
		defer close(l.done)
		g.accept(accepting, f, ln, l.wake)
	})
	return func() { g.unlisten(f, ln) }, nil
}

func (g *goroutines) resume(f *front) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.listening[f]; l != nil {
		l.resume()
	}
}

func (l *portableListener) resume() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (g *goroutines) changed(f *front) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.listening[f]; l != nil {
		l.resume()
	}
	for p := range g.pairs {
		if p.front == f {
			p.changed()
		}
	}
}

// changed has a new idle-timeout count from now on.
func (p *pair) changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.backend == nil {
		return
	}
	var until time.Time
	if idle := p.cfg.Load().IdleTimeout; idle > 0 {
		until = time.Now().Add(idle)
	}
	p.client.SetReadDeadline(until)  //nolint:errcheck // one that is closed needs none
	p.backend.SetReadDeadline(until) //nolint:errcheck
}

func (g *goroutines) unlisten(f *front, ln *net.TCPListener) {
	g.mu.Lock()
	l := g.listening[f]
	delete(g.listening, f)
	g.mu.Unlock()
	l.stop()
	ln.Close()
	<-l.done
}

func (g *goroutines) accept(ctx context.Context, f *front, ln *net.TCPListener, wake <-chan struct{}) {
	for ctx.Err() == nil {
		if f.open.Load() >= int64(f.cfg.Load().MaxConns) {
			f.full.Store(true)
			if f.open.Load() >= int64(f.cfg.Load().MaxConns) {
				select {
				case <-wake:
				case <-ctx.Done():
				}
				continue
			}
		}
		c, err := ln.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				f.noDescriptors(err)
				select {
				case <-time.After(starvedFor):
				case <-ctx.Done():
				}
			}
			continue
		}
		f.open.Add(1)
		f.total.Add(1)
		from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
		p := &pair{front: f, client: c, from: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
		g.mu.Lock()
		g.pairs[p] = struct{}{}
		g.mu.Unlock()
		g.running.Go(func() {
			p.serve()
			g.mu.Lock()
			delete(g.pairs, p)
			g.mu.Unlock()
			f.ended()
		})
	}
}

func (g *goroutines) cut(f *front, match func(*Member) bool) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p := range g.pairs {
		if p.front == f && p.cutIf(match) {
			n++
		}
	}
	return n
}

func (p *pair) cutIf(match func(*Member) bool) bool {
	p.mu.Lock()
	hit := match(p.member)
	p.mu.Unlock()
	if hit {
		p.reset()
	}
	return hit
}

// reset ends both sides so that both notice.
func (p *pair) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for _, c := range []*net.TCPConn{p.client, p.backend} {
		if c != nil {
			c.SetLinger(0) //nolint:errcheck // one that is closed needs none
			c.Close()
		}
	}
}

func (p *pair) serve() {
	defer p.client.Close()
	cfg := p.cfg.Load()
	var rest []byte
	if cfg.speaksProxy(p.from.Addr()) {
		var err error
		if rest, err = p.greeting(cfg); err != nil {
			p.rejected.Add(1)
			p.badHeader(p.from, err)
			p.reset()
			return
		}
	}
	backend, m := p.dial(cfg)
	if backend == nil {
		p.reset()
		return
	}
	defer m.Active.Add(-1)
	defer backend.Close()
	if cfg.SendProxy != 0 {
		rest = append(proxyHeader(cfg.SendProxy, p.from, p.client.LocalAddr().(*net.TCPAddr).AddrPort()), rest...)
	}
	if len(rest) > 0 {
		n, err := backend.Write(rest)
		m.Sent.Add(int64(n))
		if err != nil {
			p.reset()
			return
		}
	}
	var down sync.WaitGroup
	down.Go(func() { p.pass(p.client, backend, &m.Received) })
	p.pass(backend, p.client, &m.Sent)
	down.Wait()
}

// greeting reads the client's PROXY header and gives what came behind it.
func (p *pair) greeting(cfg *Config) ([]byte, error) {
	p.client.SetReadDeadline(time.Now().Add(cfg.ConnectTimeout)) //nolint:errcheck // then reading fails
	defer p.client.SetReadDeadline(time.Time{})                  //nolint:errcheck
	buf := make([]byte, 0, maxHeader2)
	for {
		n, err := p.client.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return nil, err
		}
		buf = buf[:len(buf)+n]
		h, err := headerLen(buf)
		if err != nil {
			return nil, err
		}
		if h > 0 {
			p.from, err = parseHeader(buf[:h], p.from)
			return buf[h:], err
		}
	}
}

// dial tries backends until one answers.
func (p *pair) dial(cfg *Config) (*net.TCPConn, *Member) {
	var tried []*Member
	for {
		m := p.pool.Pick(p.from.Addr(), tried)
		if m == nil {
			p.gaveUp(p.from, len(tried))
			return nil, nil
		}
		p.mu.Lock()
		p.member = m
		p.mu.Unlock()
		began := time.Now()
		d := net.Dialer{Timeout: cfg.ConnectTimeout}
		c, err := d.Dial("tcp", m.Addr.String())
		if err != nil {
			m.Active.Add(-1)
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				p.noDescriptors(err)
				time.Sleep(starvedFor) // or the next client would come to the same at once
				return nil, nil
			}
			tried = append(tried, m)
			p.failed(m, began, err)
			continue
		}
		p.connected(m, began)
		backend := c.(*net.TCPConn)
		p.mu.Lock()
		p.backend = backend
		gone := p.cut
		p.mu.Unlock()
		if gone {
			backend.Close()
			m.Active.Add(-1)
			return nil, nil
		}
		return backend, m
	}
}

// pass copies one way until the source ends, and tells the destination.
func (p *pair) pass(to, from *net.TCPConn, count interface{ Add(int64) int64 }) {
	buf := make([]byte, 32<<10)
	for {
		if idle := p.cfg.Load().IdleTimeout; idle > 0 {
			// Octets either way count for both.
			until := time.Now().Add(idle)
			from.SetReadDeadline(until) //nolint:errcheck // then reading fails
			to.SetReadDeadline(until)   //nolint:errcheck
		}
		n, err := from.Read(buf)
		if n > 0 {
			m, werr := to.Write(buf[:n])
			count.Add(int64(m))
			if werr != nil {
				p.reset()
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			to.CloseWrite() //nolint:errcheck // the other direction finds out
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.client.Close()
			to.Close()
			from.Close()
			return
		default:
			p.reset()
			return
		}
	}
}
