package proxy

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// queue holds connections by the time since when they wait. All that are in one
// wait equally long, so that a new one belongs to the end. How long is looked up
// when it matters: a reload may change it under them.
type queue struct{ first, last *conn }

// await has a connection wait from now on.
func (l *loop) await(c *conn, q *queue) {
	l.leave(c)
	c.queue, c.since = q, l.now
	c.before = q.last
	if q.last != nil {
		q.last.after = c
	} else {
		q.first = c
	}
	q.last = c
}

// leave ends a connection's waiting.
func (l *loop) leave(c *conn) {
	q := c.queue
	if q == nil {
		return
	}
	if c.before != nil {
		c.before.after = c.after
	} else {
		q.first = c.after
	}
	if c.after != nil {
		c.after.before = c.before
	} else {
		q.last = c.before
	}
	c.queue, c.before, c.after = nil, nil, nil
}

// deadline says when the first of the queue has waited for so long, 0 for never.
func (q *queue) deadline(d time.Duration) int64 {
	if q.first == nil || d <= 0 {
		return 0
	}
	return q.first.since + int64(d)
}

// late gives the first of the queue if it has waited for so long.
func (q *queue) late(now int64, d time.Duration) *conn {
	if at := q.deadline(d); at == 0 || at > now {
		return nil
	}
	return q.first
}

// nextDeadline gives the earliest one, 0 for none.
func (l *loop) nextDeadline() int64 {
	var next int64
	for _, a := range l.owned {
		cfg := a.cfg.Load()
		for _, d := range [...]int64{a.retry, a.opening.deadline(cfg.ConnectTimeout), a.idling.deadline(cfg.IdleTimeout)} {
			if d != 0 && (next == 0 || d < next) {
				next = d
			}
		}
	}
	return next
}

// changed takes that a front has another configuration.
func (l *loop) changed(f *front) {
	for _, a := range l.owned {
		if a.front != f {
			continue
		}
		l.resume(a) // max-conns may be larger
		if f.cfg.Load().IdleTimeout == 0 {
			continue
		}
		for _, c := range l.conns {
			if c != nil && c.front == a && c.state == relaying && c.queue == nil {
				l.await(c, &a.idling) // no time was set until now
			}
		}
	}
}

// expire ends what took too long.
func (l *loop) expire() {
	// From the end: an acceptor goes out of the list with its last connection.
	for i := len(l.owned) - 1; i >= 0; i-- {
		a := l.owned[i]
		if a.retry != 0 && a.retry <= l.now {
			l.resume(a)
		}
		cfg := a.cfg.Load()
		for c := a.opening.late(l.now, cfg.ConnectTimeout); c != nil; c = a.opening.late(l.now, cfg.ConnectTimeout) {
			if c.state == greeting {
				a.rejected.Add(1)
				l.reset(c) // it never said who it is
				continue
			}
			l.dropBackend(c, callError("connect", syscall.Errno(unix.ETIMEDOUT)))
		}
		for c := a.idling.late(l.now, cfg.IdleTimeout); c != nil; c = a.idling.late(l.now, cfg.IdleTimeout) {
			l.finish(c)
		}
	}
}
