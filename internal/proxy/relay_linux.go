package proxy

import (
	"slices"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// half is one direction of a connection.
type half struct {
	pend  []byte // read and not written yet, at most one buffer
	pipe  *pipe  // held while octets go by splice
	piped int    // octets in the pipe

	readable bool  // the source may have something
	ending   bool  // the source's end or an error is behind what it has
	writable bool  // the destination may take something
	eof      bool  // the source has ended
	shut     bool  // and the destination was told
	full     uint8 // reads in a row that filled the buffer
}

// spliceAfter is how many full buffers in a row make a sender one that splicing
// is worth while for: two system calls more to begin and end with, against the
// copying of all that follows.
const spliceAfter = 2

// drop gives back what a half holds.
func (h *half) drop(l *loop) {
	if h.pipe != nil {
		l.returnPipe(h)
	}
	h.pend = nil
}

// outcome is what passing octets came to.
type outcome uint8

const (
	waits  outcome = iota // until one of the sockets is ready
	more                  // there may be more to do at once
	broken                // one of the sockets has failed
)

// relay passes octets both ways as far as it goes.
func (l *loop) relay(c *conn) {
	up := l.pass(&c.up, c.client, c.backend, &c.member.Sent)
	down := l.pass(&c.down, c.backend, c.client, &c.member.Received)
	switch {
	case up == broken || down == broken:
		// What the other side has said before it broke off is still worth
		// passing on; a last answer often comes just before the reset.
		if up == broken && down != broken {
			l.pass(&c.down, c.backend, c.client, &c.member.Received)
		} else if down == broken && up != broken {
			l.pass(&c.up, c.client, c.backend, &c.member.Sent)
		}
		l.reset(c)
		return
	case c.up.shut && c.down.shut:
		l.finish(c)
		return
	case up == more || down == more:
		if !c.queued {
			c.queued = true
			l.ready = append(l.ready, c)
		}
	}
	if c.front.cfg.Load().IdleTimeout > 0 {
		l.await(c, &c.front.idling)
	} else {
		l.leave(c)
	}
}

// pass passes octets one way.
func (l *loop) pass(h *half, from, to int32, count *atomic.Int64) outcome {
	passed := 0
	defer func() { // one addition a turn: others read the counter
		if passed > 0 {
			count.Add(int64(passed))
		}
	}()
	for range maxReads {
		switch {
		case h.piped > 0:
			if !h.writable {
				return waits
			}
			n, e := splice(h.pipe.r, to, h.piped)
			if e != 0 {
				if e == unix.EAGAIN {
					h.writable = false
					return waits
				}
				return broken
			}
			h.piped -= n
			passed += n
		case len(h.pend) > 0:
			if !h.writable {
				return waits
			}
			n, e := send(to, h.pend)
			if e != 0 {
				if e == unix.EAGAIN {
					h.writable = false
					return waits
				}
				return broken
			}
			passed += n
			if h.pend = h.pend[n:]; len(h.pend) == 0 {
				h.pend = nil
			}
		case h.eof:
			if h.pipe != nil {
				l.returnPipe(h)
			}
			if !h.shut {
				h.shut = true
				shutdownWrite(to)
			}
			return waits
		case !h.readable:
			if h.pipe != nil {
				l.returnPipe(h) // the sender pauses
			}
			return waits
		case h.pipe != nil || h.full >= spliceAfter && l.takePipe(h):
			n, e := splice(from, h.pipe.w, pipeSize)
			switch {
			case e == unix.EAGAIN:
				h.readable = false
			case e == unix.EINVAL:
				// A socket that cannot: copied from here on.
				l.returnPipe(h)
			case e != 0:
				return broken
			case n == 0:
				h.eof = true
			default:
				h.piped = n
				if n < bufferSize {
					h.full = 0
				}
			}
		default:
			n, e := recv(from, l.buf)
			switch {
			case e == unix.EAGAIN:
				h.readable = false
				return waits
			case e != 0:
				return broken
			case n == 0:
				h.eof = true
				continue
			case n == len(l.buf):
				h.full++
			default:
				h.full = 0
				// There was no more, and what comes makes a new event; only an
				// end that was announced already makes none.
				h.readable = h.ending
			}
			sent := 0
			if h.writable {
				var e syscall.Errno
				if sent, e = send(to, l.buf[:n]); e != 0 {
					if e != unix.EAGAIN {
						return broken
					}
					sent = 0
				}
				passed += sent
			}
			if sent < n {
				h.writable = false
				h.pend = slices.Clone(l.buf[sent:n])
				return waits
			}
		}
	}
	return more
}

// takePipe gives a half a pipe, if there is one to be had.
func (l *loop) takePipe(h *half) bool {
	if n := len(l.pipes); n > 0 {
		p := l.pipes[n-1]
		l.pipes = l.pipes[:n-1]
		h.pipe = &p
		l.piped++
		return true
	}
	if l.piped >= maxPipes {
		return false
	}
	p, e := newPipe()
	if e != 0 {
		h.full = 0 // tried again after as many full buffers
		return false
	}
	h.pipe = &p
	l.piped++
	return true
}

// returnPipe takes it back; one with octets in it is of no use to others.
func (l *loop) returnPipe(h *half) {
	p := *h.pipe
	h.pipe = nil
	h.full = 0
	l.piped--
	if h.piped > 0 || len(l.pipes) >= maxIdlePipes {
		h.piped = 0
		p.close()
		return
	}
	l.pipes = append(l.pipes, p)
}
