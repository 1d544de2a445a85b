package proxy

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// conn is a client's connection with the one to its backend.
type conn struct {
	queue  *queue // of those that wait like it; nil: none
	before *conn
	after  *conn

	front    *acceptor
	member   *Member
	tried    []*Member // backends that did not take it
	since    int64     // when it began to wait
	began    int64     // when the connect began
	up, down half      // from client to backend, and back
	from     netip.AddrPort
	slot     uint32
	client   int32 // descriptors; -1: none
	backend  int32
	state    state
	queued   bool // in the loop's ready list
}

type state uint8

const (
	greeting state = iota // the client's PROXY header has not come whole
	opening               // the backend has not answered yet
	relaying
	closed
)

// open begins with an accepted connection.
func (l *loop) open(a *acceptor, fd int32, from netip.AddrPort, cfg *Config) {
	c := l.fresh()
	*c = conn{front: a, client: fd, backend: -1, from: from, state: opening}
	l.place(c)
	if e := watch(l.ep, fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET, l.token(c, tokenClient)); e != 0 {
		a.noDescriptors(callError("epoll_ctl", e))
		l.reset(c)
		return
	}
	if cfg.speaksProxy(from.Addr()) {
		c.state = greeting
		l.await(c, &a.opening)
		return
	}
	l.dial(c, cfg)
}

// fresh gives a connection to be filled in.
func (l *loop) fresh() *conn {
	n := len(l.spare)
	if n == 0 {
		return new(conn)
	}
	c := l.spare[n-1]
	l.spare = l.spare[:n-1]
	return c
}

// place gives a connection its slot.
func (l *loop) place(c *conn) {
	c.front.conns++
	if n := len(l.free); n > 0 {
		c.slot = l.free[n-1]
		l.free = l.free[:n-1]
		l.conns[c.slot] = c
		return
	}
	c.slot = uint32(len(l.conns))
	l.conns = append(l.conns, c)
	l.gens = append(l.gens, 0)
}

func (l *loop) token(c *conn, side uint32) uint64 {
	return uint64(c.slot<<2|side) | uint64(l.gens[c.slot])<<32
}

// dial tries the next backend; when there is none the client is reset.
func (l *loop) dial(c *conn, cfg *Config) {
	for {
		m := c.front.pool.Pick(c.from.Addr(), c.tried)
		if m == nil {
			c.front.gaveUp(c.from, len(c.tried))
			l.reset(c)
			return
		}
		fd, e := connect(m.Addr)
		if fd < 0 {
			m.Active.Add(-1)
			if e == unix.EMFILE || e == unix.ENFILE || e == unix.ENOBUFS || e == unix.ENOMEM {
				// No fault of the backend's, and another one would meet the same.
				l.starve(c.front, callError("socket", e))
				l.reset(c)
				return
			}
			c.began = l.now
			l.refused(c, m, callError("connect", e))
			continue
		}
		c.member, c.backend, c.state, c.began = m, fd, opening, l.now
		if e := watch(l.ep, fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET, l.token(c, tokenBackend)); e != 0 {
			c.front.noDescriptors(callError("epoll_ctl", e))
			l.reset(c)
			return
		}
		l.await(c, &c.front.opening)
		return
	}
}

// refused notes that a backend did not take the connection.
func (l *loop) refused(c *conn, m *Member, why error) {
	c.tried = append(c.tried, m)
	c.front.failed(m, instant(c.began), why)
}

// dropBackend lets a backend go that did not answer.
func (l *loop) dropBackend(c *conn, why error) {
	closeFD(c.backend)
	l.refused(c, c.member, why)
	c.member.Active.Add(-1)
	c.member, c.backend = nil, -1
	// Events of that descriptor may be in this very turn.
	l.gens[c.slot]++
	const ev uint32 = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	if e := rewatch(l.ep, c.client, ev, l.token(c, tokenClient)); e != 0 {
		c.front.noDescriptors(callError("epoll_ctl", e))
		l.reset(c)
		return
	}
	l.dial(c, c.front.cfg.Load())
}

// happened takes the events of one of a connection's sockets.
func (l *loop) happened(c *conn, backend bool, events uint32) {
	from, to := &c.up, &c.down // reading from the client, writing to it
	if backend {
		from, to = &c.down, &c.up
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		from.readable = true
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		from.ending = true
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		to.writable = true
	}
	switch c.state {
	case greeting:
		l.greet(c)
	case opening:
		if !backend {
			if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
				l.reset(c) // the client is gone before it was served
			}
			return
		}
		if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			if e := socketError(c.backend); e != 0 {
				l.dropBackend(c, callError("connect", e))
				return
			}
		}
		if events&unix.EPOLLOUT != 0 {
			l.opened(c)
		}
	case relaying:
		l.relay(c)
	}
}

// opened begins to pass octets: the backend has answered.
func (l *loop) opened(c *conn) {
	c.front.connected(c.member, instant(c.began))
	c.state, c.tried = relaying, nil
	l.leave(c)
	cfg := c.front.cfg.Load()
	if cfg.SendProxy != 0 {
		// Before anything of the client's, which may have come already.
		c.up.pend = append(proxyHeader(cfg.SendProxy, c.from, localAddr(c.client)), c.up.pend...)
	}
	l.relay(c)
}

// finish ends a connection of which all octets have been passed.
func (l *loop) finish(c *conn) {
	closeFD(c.client)
	if c.backend >= 0 {
		closeFD(c.backend)
	}
	l.forget(c)
}

// reset ends a connection on both sides so that both notice.
func (l *loop) reset(c *conn) {
	closeReset(c.client)
	if c.backend >= 0 {
		closeReset(c.backend)
	}
	l.forget(c)
}

// forget takes a connection whose sockets are closed out of all lists.
func (l *loop) forget(c *conn) {
	l.leave(c)
	c.up.drop(l)
	c.down.drop(l)
	c.state = closed
	if c.member != nil {
		c.member.Active.Add(-1)
	}
	l.release(c.front)
	l.conns[c.slot] = nil
	l.gens[c.slot]++
	l.free = append(l.free, c.slot)
	l.ended = append(l.ended, c)
	c.front.ended()
}

// cut resets the connections of a front to the members that match.
func (l *loop) cut(f *front, match func(*Member) bool) (n int) {
	for _, c := range l.conns {
		if c != nil && c.front.front == f && match(c.member) {
			l.reset(c)
			n++
		}
	}
	return n
}

func rewatch(ep, fd int32, events uint32, token uint64) syscall.Errno {
	unwatch(ep, fd)
	return watch(ep, fd, events, token)
}
