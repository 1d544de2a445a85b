package sim

import (
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// conn is one end of a connection: two halves, each the bytes of one direction.
// Writes never block (the buffer has no bound); reads wait for the delay and,
// while the network is cut in either direction, for the healing (bytes that
// cannot be acknowledged do not flow for long either).
type conn struct {
	own, peer   *Endpoint
	read, write *half
}

type chunk struct {
	at   time.Time
	data []byte
}

// half is one direction.
type half struct {
	net      *Network
	from, to *Endpoint

	mu       sync.Mutex // guards all below; net.mu may be taken inside
	chunks   []chunk
	eof      bool  // the writer has closed
	closed   error // the reader's end is gone: what it gets
	refused  error // what the writer gets
	deadline struct{ read, write time.Time }
	wake     chan struct{}
}

func newHalf(n *Network, from, to *Endpoint) *half {
	return &half{net: n, from: from, to: to, wake: make(chan struct{})}
}

// update changes the half and wakes its reader.
func (h *half) update(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
	close(h.wake)
	h.wake = make(chan struct{})
}

// flowing tells whether bytes arrive now, and a channel that is closed when
// that may have changed. A process that ended still has what it wrote on the
// way; a host that crashed has not.
func (h *half) flowing() (bool, <-chan struct{}) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	a, b := h.from.at.Addr(), h.to.at.Addr()
	return !h.from.crashed && !h.to.crashed && !n.cutLocked(a, b) && !n.cutLocked(b, a), n.changed
}

func (c *conn) Read(p []byte) (int, error) {
	h := c.read
	for {
		flowing, changed := h.flowing()
		now := time.Now()
		h.mu.Lock()
		wake, wait := h.wake, time.Duration(-1)
		switch {
		case h.closed != nil:
			defer h.mu.Unlock()
			return 0, h.closed
		case expired(h.deadline.read, now):
			h.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case flowing && len(h.chunks) > 0 && !h.chunks[0].at.After(now):
			defer h.mu.Unlock()
			k := copy(p, h.chunks[0].data)
			if h.chunks[0].data = h.chunks[0].data[k:]; len(h.chunks[0].data) == 0 {
				h.chunks = h.chunks[1:]
			}
			return k, nil
		case flowing && len(h.chunks) == 0 && h.eof:
			h.mu.Unlock()
			return 0, io.EOF
		case flowing && len(h.chunks) > 0:
			wait = h.chunks[0].at.Sub(now)
		}
		if d := h.deadline.read; !d.IsZero() && (wait < 0 || d.Sub(now) < wait) {
			wait = d.Sub(now)
		}
		h.mu.Unlock()
		sleep(wait, wake, changed)
	}
}

// sleep waits for one of the events, at most d; a negative d has no bound.
func sleep(d time.Duration, a, b <-chan struct{}) {
	var end <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		end = t.C
	}
	select {
	case <-end:
	case <-a:
	case <-b:
	}
}

func expired(deadline, now time.Time) bool { return !deadline.IsZero() && !deadline.After(now) }

func (c *conn) Write(p []byte) (int, error) {
	h := c.write
	h.net.mu.Lock()
	delay := h.net.delayLocked()
	if h.net.lostLocked() {
		delay += 200 * time.Millisecond
	}
	h.net.countLocked(c.own.at.Addr()).StreamBytes += int64(len(p))
	h.net.mu.Unlock()

	now := time.Now()
	var err error
	h.update(func() {
		switch {
		case h.refused != nil:
			err = h.refused
		case h.eof:
			err = net.ErrClosed
		case expired(h.deadline.write, now):
			err = os.ErrDeadlineExceeded
		default:
			at := now.Add(delay)
			if k := len(h.chunks); k > 0 && h.chunks[k-1].at.After(at) {
				at = h.chunks[k-1].at
			}
			h.chunks = append(h.chunks, chunk{at, slices.Clone(p)})
		}
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends both directions: the peer reads what was written, then EOF; its
// writes fail.
func (c *conn) Close() error {
	c.abort(false)
	return nil
}

// abort ends this end. After a crash the peer hears nothing of it.
func (c *conn) abort(crash bool) {
	c.read.net.mu.Lock()
	delete(c.own.conns, c)
	c.read.net.mu.Unlock()
	c.read.update(func() {
		c.read.closed = net.ErrClosed
		if !crash && c.read.refused == nil {
			c.read.refused = syscall.EPIPE
		}
	})
	c.write.update(func() {
		if c.write.refused == nil {
			c.write.refused = net.ErrClosed
		}
		if !crash {
			c.write.eof = true
		}
	})
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.own.at) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.peer.at) }

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.read.update(func() { c.read.deadline.read = t })
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.write.update(func() { c.write.deadline.write = t })
	return nil
}
