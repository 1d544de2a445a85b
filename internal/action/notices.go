package action

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"murakumo/internal/failover"
)

// lastTry is how long what is still waiting may take when the daemon stops.
const lastTry = 2 * time.Second

// ErrRefused is wrapped by the error of a Sender when another try would be
// refused as well.
var ErrRefused = errors.New("refused for good")

// errTakenOut is why the notices of a destination that is no longer configured
// are dropped.
var errTakenOut = errors.New("its destination was taken out of the configuration")

// Sender tries once to send a message to its one destination. It returns soon
// after ctx is done in any case. Any error that does not wrap ErrRefused means
// that it is worth another try; one that wraps a [RetryAfter] says when.
type Sender func(ctx context.Context, m Message) error

// RetryAfter is how long a destination asks us to leave it alone.
type RetryAfter time.Duration

func (r RetryAfter) Error() string { return "try again after " + time.Duration(r).String() }

// Route is the way to one destination. MailRoutes and WebhookRoute make them.
type Route struct {
	// Key tells destinations apart: a route with the key of an older one takes
	// its place, and its notices. It may hold a secret and is never shown.
	Key string
	// To names the destination to people, in the log.
	To string
	// Send sends a notice; its Message.Recipient is To.
	Send Sender
	// Limit is the longest that one try may take, in which Send's ctx ends.
	Limit time.Duration
}

// Notices tells people of transitions, see doc.go.
type Notices struct {
	host    string
	log     *slog.Logger
	changed chan struct{} // 1 slot: there is a line that nobody serves yet

	mu       sync.Mutex // guards what follows, and what a line says it does
	lines    []*line
	finished bool // Run has returned
}

// line is one destination's queue.
type line struct {
	wake chan struct{}           // 1 slot: there is something to look at
	gone context.CancelCauseFunc // ends what gives ctx; both set before Run serves it
	ctx  context.Context

	// guarded by Notices.mu
	route  Route
	box    outbox
	served bool
	last   error // of the last try, nil when that succeeded
}

// NewNotices makes the queues, none yet; Use says where notices go, Run sends
// them. hostName is this node's name, for texts and identifiers; it fails when
// that cannot stand in a mail's header.
func NewNotices(hostName string, log *slog.Logger) (*Notices, error) {
	if err := checkName(hostName); err != nil {
		return nil, fmt.Errorf("this host's name cannot stand in a notice: %w", err)
	}
	return &Notices{host: hostName, log: log, changed: make(chan struct{}, 1)}, nil
}

// Use says where notices go from now on, before or while Run runs. What waits
// for a destination that stays is tried at once in the new way, since the old
// one may have been what was wrong; what waits for one that is gone is dropped
// with a log line each.
func (n *Notices) Use(routes []Route) {
	n.mu.Lock()
	before := n.lines
	n.lines = nil
	for _, r := range routes {
		same := func(l *line) bool { return l.route.Key == r.Key }
		if slices.ContainsFunc(n.lines, same) {
			continue
		}
		if i := slices.IndexFunc(before, same); i >= 0 {
			l := before[i]
			before = slices.Delete(slices.Clone(before), i, i+1)
			l.route, l.box.notUntil, l.box.failures = r, time.Time{}, 0
			n.lines = append(n.lines, l)
			ring(l.wake)
			continue
		}
		l := &line{route: r, wake: make(chan struct{}, 1)}
		l.ctx, l.gone = context.WithCancelCause(context.Background())
		n.lines = append(n.lines, l)
	}
	var dropped []Message
	for _, l := range before {
		l.gone(errTakenOut)
		if !l.box.sending { // else the try ends now and says so itself
			dropped = append(dropped, l.box.waiting...)
			l.box.waiting = nil
		} else {
			dropped = append(dropped, l.box.waiting[1:]...)
			l.box.waiting = l.box.waiting[:1]
		}
	}
	n.mu.Unlock()
	for _, m := range dropped {
		n.drop(m, errTakenOut)
	}
	ring(n.changed)
}

// Notify hands the notice of a transition over, to every destination; it never
// blocks.
func (n *Notices) Notify(t failover.Transition) {
	msg, err := newMessage(t, n.host, time.Now())
	if err != nil {
		n.log.Error("dropped a notice that must not be sent", "error", err)
		return
	}
	type loss struct {
		msg Message
		why error
	}
	var lost []loss
	n.mu.Lock()
	for _, l := range n.lines {
		msg.Recipient = l.route.To
		if n.finished {
			lost = append(lost, loss{msg, errors.New("the daemon has stopped")})
			continue
		}
		if dropped, full := l.box.add(msg); full {
			lost = append(lost, loss{dropped, fmt.Errorf("%d newer ones wait for this destination", maxNotices)})
		}
		ring(l.wake)
	}
	n.mu.Unlock()
	for _, l := range lost {
		n.drop(l.msg, l.why)
	}
}

// Run sends until ctx is done. Then what is under way or waiting is tried once
// more, for 2 s at most, and one line says how many notices were lost. It
// returns nil and leaves no goroutine. It may be called once.
func (n *Notices) Run(ctx context.Context) error {
	// Tries outlive ctx by lastTry.
	tries, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abandon(nil)
	var serving sync.WaitGroup
	for stopping := false; !stopping; {
		select {
		case <-n.changed:
		case <-ctx.Done():
			stopping = true // what came in last has its last try as well
		}
		n.mu.Lock()
		for _, l := range n.lines {
			if !l.served {
				l.served = true
				serving.Go(func() { n.serve(ctx, tries, l) })
			}
		}
		n.mu.Unlock()
	}
	timer := time.AfterFunc(lastTry, func() {
		abandon(fmt.Errorf("the daemon stops, %s for a last try are over", lastTry))
	})
	defer timer.Stop()
	serving.Wait()

	n.mu.Lock()
	n.finished = true
	lost := 0
	for _, l := range n.lines {
		lost += len(l.box.waiting)
		l.gone(nil)
	}
	n.mu.Unlock()
	if lost > 0 {
		n.log.Error("notices were lost: the daemon stopped before they were taken", "count", lost)
	}
	return nil
}

// serve sends one line's notices until ctx is done, and then what is left; or
// until the line is gone.
func (n *Notices) serve(ctx, tries context.Context, l *line) {
	tries, cancel := context.WithCancelCause(tries)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })()

	for ctx.Err() == nil && l.ctx.Err() == nil {
		n.mu.Lock()
		now := time.Now()
		old, last := l.box.expire(now), l.last
		msg, wait, ok := l.box.next(now)
		n.mu.Unlock()

		for _, o := range old {
			n.drop(o, tooOld(last))
		}
		if ok {
			n.try(tries, l, msg)
			continue
		}
		var timeout <-chan time.Time
		if wait > 0 {
			timeout = time.After(wait)
		}
		select {
		case <-l.wake:
		case <-timeout:
		case <-ctx.Done():
		case <-l.ctx.Done():
		}
	}
	// The last try pays no heed to the wait between tries, and ends with the
	// first notice that is put off: the next one would be as well.
	for tries.Err() == nil {
		n.mu.Lock()
		l.box.notUntil = time.Time{}
		msg, _, ok := l.box.next(time.Now())
		n.mu.Unlock()
		if !ok || n.try(tries, l, msg) == putOff {
			return
		}
	}
}

// try sends one notice once and takes in what came of it.
func (n *Notices) try(ctx context.Context, l *line, msg Message) delivery {
	n.mu.Lock()
	route := l.route
	n.mu.Unlock()
	// Not longer than its life: a limit may be hours.
	deadline := time.Now().Add(min(route.Limit, time.Until(msg.Time.Add(noticeLife))))
	tryCtx, cancel := context.WithDeadline(ctx, deadline)
	err := route.Send(tryCtx, msg)
	cancel()

	now := time.Now()
	d := delivered
	switch {
	case errors.Is(err, ErrRefused):
		d = refused
	case err != nil && errors.Is(context.Cause(ctx), errTakenOut):
		d, err = refused, errTakenOut
	case err != nil && now.Sub(msg.Time) >= noticeLife:
		d, err = refused, tooOld(err)
	case err != nil:
		d = putOff
	}
	atLeast, _ := errors.AsType[RetryAfter](err)
	n.mu.Lock()
	wait := l.box.ended(now, d, rand.Float64(), time.Duration(atLeast))
	failures, waiting := l.box.failures, len(l.box.waiting)
	l.last = err
	n.mu.Unlock()

	status, attrs := msg.Transition.Status, msg.attrs()
	switch d {
	case delivered:
		n.log.Info("sent the notice: "+status, append(attrs, "after", now.Sub(msg.Time))...)
	case refused:
		n.drop(msg, err)
	case putOff:
		// Said once per outage, not once a minute.
		level := slog.LevelWarn
		if failures > 1 {
			level = slog.LevelDebug
		}
		n.log.Log(ctx, level, "could not send the notice, it will be tried again: "+status,
			append(attrs, "error", err, "retry", wait, "tries", failures, "waiting", waiting)...)
	}
	return d
}

// tooOld is the end of a notice that nobody took while it was news.
func tooOld(last error) error {
	if last == nil {
		return fmt.Errorf("not taken within %s", noticeLife)
	}
	return fmt.Errorf("not taken within %s, the last try: %w", noticeLife, last)
}

// drop writes down that a notice will not arrive.
func (n *Notices) drop(msg Message, why error) {
	n.log.Error("dropped the notice: "+msg.Transition.Status, append(msg.attrs(), "error", why)...)
}

// ring wakes whoever waits at a bell of one slot, also if it is about to; a
// ring that nobody has heard yet serves for all.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// attrs gives what every line about the notice carries.
func (m *Message) attrs() []any {
	return append(about(m.Transition), "name", m.Transition.Name, "recipient", m.Recipient)
}
