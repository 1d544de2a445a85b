package action

import "time"

const (
	// maxNotices is how many notices may wait for one destination. More come
	// only from something that flaps, and then the newest are worth most.
	maxNotices = 1000

	// noticeLife is how long a notice is tried. Later than that it tells of a
	// state that is history, to somebody who has heard of it in other ways.
	noticeLife = time.Hour

	// The wait after a failed try doubles from the first to the last. A minute
	// is short enough that mail flows again soon after the server is back.
	firstRetry, lastRetry = time.Second, time.Minute

	// maxAsked is how long we stay away when the other side asks for it. News
	// is worth little after that.
	maxAsked = 10 * time.Minute
)

// delivery is how a try to send a notice ended.
type delivery uint8

const (
	delivered delivery = iota + 1
	refused            // for good: another try would be refused as well
	putOff             // to be tried again
)

// outbox is the state of one destination's line; it reads no clock and sends
// nothing. The zero value is empty.
type outbox struct {
	waiting  []Message // oldest first
	sending  bool      // waiting[0] is on its way
	failures int       // tries in a row that were put off
	notUntil time.Time // of the next try
}

// add puts a notice at the end. When too many wait, the oldest that is not on
// its way is taken out and returned.
func (b *outbox) add(m Message) (dropped Message, full bool) {
	b.waiting = append(b.waiting, m)
	if len(b.waiting) <= maxNotices {
		return Message{}, false
	}
	oldest := 0
	if b.sending {
		oldest = 1
	}
	dropped = b.waiting[oldest]
	b.waiting = append(b.waiting[:oldest:oldest], b.waiting[oldest+1:]...)
	return dropped, true
}

// expire takes out the notices that are too old. Only between tries.
func (b *outbox) expire(now time.Time) []Message {
	n := 0
	for n < len(b.waiting) && now.Sub(b.waiting[n].Time) >= noticeLife {
		n++
	}
	old := b.waiting[:n:n]
	b.waiting = b.waiting[n:]
	return old
}

// next gives the notice to send now; or ok false and how long to wait until
// there is something to do, 0 meaning until a notice is added.
func (b *outbox) next(now time.Time) (m Message, wait time.Duration, ok bool) {
	if len(b.waiting) == 0 {
		return Message{}, 0, false
	}
	if wait := b.notUntil.Sub(now); wait > 0 {
		untilOld := noticeLife - now.Sub(b.waiting[0].Time)
		return Message{}, max(min(wait, untilOld), time.Nanosecond), false
	}
	b.sending = true
	return b.waiting[0], 0, true
}

// ended takes in how the try ended and returns the wait before the next one. A
// jitter of 0 … 1 shortens the wait by up to half, so that the nodes of a fleet
// do not all come back to a server at the moment in which it does. atLeast is
// what the other side asks for, which is obeyed up to maxAsked.
func (b *outbox) ended(now time.Time, d delivery, jitter float64, atLeast time.Duration) time.Duration {
	b.sending = false
	if d != putOff {
		b.waiting = b.waiting[1:]
		b.failures = 0
		b.notUntil = time.Time{}
		return 0
	}
	wait := lastRetry
	if b.failures < 6 { // 1 s << 6 is more than a minute
		wait = firstRetry << b.failures
	}
	b.failures++
	wait -= time.Duration(jitter * float64(wait) / 2)
	wait = max(wait, min(atLeast, maxAsked))
	b.notUntil = now.Add(wait)
	return wait
}
