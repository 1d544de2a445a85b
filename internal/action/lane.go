package action

import (
	"errors"

	"murakumo/internal/failover"
)

// errStopped is the end of a hook that the daemon's own end cut short.
var errStopped = errors.New("the daemon stopped before the hook had ended")

// laneKey names a lane: hooks of one alias and kind run one at a time.
type laneKey struct {
	kind failover.Kind
	name string
}

// lane is the state of one lane. The zero value is idle. See the drawing in
// doc.go.
type lane struct {
	running *Hook
	waiting *Hook // set only while another one is running
	// stopping: nothing starts any more.
	stopping bool
}

// idle reports whether the lane can be forgotten.
func (l lane) idle() bool { return l.running == nil && l.waiting == nil }

// event is what happens to a lane: exactly one of the fields is set.
type event struct {
	enqueue *Hook   // a transition wants its hook
	ended   *Result // the running hook has ended
	stop    bool    // the daemon stops; the shell ends the running hook itself
}

// effects is what the shell has to do, ends first.
type effects struct {
	ends  []Result // to be recorded, in this order
	start *Hook    // to be started
}

// step decides what an event means for a lane. It neither reads a clock nor
// starts anything.
func step(l lane, ev event) (lane, effects) {
	var out effects
	switch {
	case ev.enqueue != nil && l.stopping:
		out.ends = append(out.ends, Result{Hook: *ev.enqueue, Outcome: Failed, Err: errStopped})

	case ev.enqueue != nil && l.running == nil:
		l.running = ev.enqueue
		out.start = ev.enqueue

	case ev.enqueue != nil:
		if l.waiting != nil {
			out.ends = append(out.ends, Result{Hook: *l.waiting, Outcome: Superseded})
		}
		l.waiting = ev.enqueue

	case ev.ended != nil:
		out.ends = append(out.ends, *ev.ended)
		l.running, l.waiting = l.waiting, nil
		out.start = l.running

	case ev.stop:
		l.stopping = true
		if l.waiting != nil {
			out.ends = append(out.ends, Result{Hook: *l.waiting, Outcome: Failed, Err: errStopped})
			l.waiting = nil
		}
	}
	return l, out
}
