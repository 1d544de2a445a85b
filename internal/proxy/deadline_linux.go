package proxy

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// queue holds connections by deadline. All that are in one wait equally long,
// so that a new one belongs to the end; a reload that changes a time makes a
// deadline late by the difference, once.
type queue struct{ first, last *conn }

// await gives a connection a deadline.
func (l *loop) await(c *conn, q *queue, d time.Duration) {
	l.leave(c)
	c.queue, c.deadline = q, l.now+int64(d)
	c.before = q.last
	if q.last != nil {
		q.last.after = c
	} else {
		q.first = c
	}
	q.last = c
}

// leave takes a connection's deadline away.
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

// nextDeadline gives the earliest one, 0 for none.
func (l *loop) nextDeadline() int64 {
	var next int64
	earlier := func(d int64) {
		if d != 0 && (next == 0 || d < next) {
			next = d
		}
	}
	for _, a := range l.owned {
		earlier(a.retry)
		if c := a.opening.first; c != nil {
			earlier(c.deadline)
		}
		if c := a.idling.first; c != nil {
			earlier(c.deadline)
		}
	}
	return next
}

// expire ends what took too long.
func (l *loop) expire() {
	// From the end: an acceptor goes out of the list with its last connection.
	for i := len(l.owned) - 1; i >= 0; i-- {
		a := l.owned[i]
		if a.retry != 0 && a.retry <= l.now {
			a.retry = l.now + int64(starvedFor) // if it cannot now
			l.resume(a)
		}
		for c := a.opening.first; c != nil && c.deadline <= l.now; c = a.opening.first {
			if c.state == greeting {
				a.rejected.Add(1)
				l.reset(c) // it never said who it is
				continue
			}
			l.dropBackend(c, callError("connect", syscall.Errno(unix.ETIMEDOUT)))
		}
		for c := a.idling.first; c != nil && c.deadline <= l.now; c = a.idling.first {
			l.finish(c)
		}
	}
}
