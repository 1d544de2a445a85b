package action

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestStep(t *testing.T) {
	h1, h2, h3 := hook(activity("active", 1)), hook(activity("inactive", 2)), hook(activity("active", 3))
	ok1 := Result{Hook: h1, Outcome: OK}
	for _, tc := range []struct {
		name  string
		state lane
		event event
		want  lane
		ends  []Result
		start *Hook
	}{
		{"an idle lane starts at once", lane{}, event{enqueue: &h1}, lane{running: &h1}, nil, &h1},
		{"a second one waits", lane{running: &h1}, event{enqueue: &h2}, lane{running: &h1, waiting: &h2}, nil, nil},
		{"a third one takes the second's place", lane{running: &h1, waiting: &h2}, event{enqueue: &h3},
			lane{running: &h1, waiting: &h3}, []Result{{Hook: h2, Outcome: Superseded}}, nil},
		{"the waiting one starts when the running one ended", lane{running: &h1, waiting: &h3}, event{ended: &ok1},
			lane{running: &h3}, []Result{ok1}, &h3},
		{"nothing waits: idle", lane{running: &h1}, event{ended: &ok1}, lane{}, []Result{ok1}, nil},
		{"a stop ends what waits", lane{running: &h1, waiting: &h2}, event{stop: true},
			lane{running: &h1, stopping: true}, []Result{{Hook: h2, Outcome: Failed, Err: errStopped}}, nil},
		{"after a stop nothing starts", lane{running: &h1, stopping: true}, event{enqueue: &h2},
			lane{running: &h1, stopping: true}, []Result{{Hook: h2, Outcome: Failed, Err: errStopped}}, nil},
		{"after a stop the running one still ends", lane{running: &h1, stopping: true}, event{ended: &ok1},
			lane{stopping: true}, []Result{ok1}, nil},
		{"a stop of an idle lane", lane{}, event{stop: true}, lane{stopping: true}, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, out := step(tc.state, tc.event)
			if got != tc.want {
				t.Errorf("state %+v, want %+v", got, tc.want)
			}
			if !reflect.DeepEqual(out.ends, tc.ends) {
				t.Errorf("ends %+v, want %+v", out.ends, tc.ends)
			}
			if out.start != tc.start {
				t.Errorf("starts %v, want %v", out.start, tc.start)
			}
		})
	}
}

// ledger checks the laws of one lane while starts and ends come in.
type ledger struct {
	enqueued, started []uint64 // transition numbers, in order
	running           uint64   // 0: none
	ends              map[uint64]Outcome
}

func (l *ledger) start(n uint64) error {
	if l.running != 0 {
		return fmt.Errorf("%d starts while %d runs", n, l.running)
	}
	if len(l.started) > 0 && l.started[len(l.started)-1] >= n {
		return fmt.Errorf("%d starts after %v", n, l.started)
	}
	if _, over := l.ends[n]; over {
		return fmt.Errorf("%d starts after its end", n)
	}
	l.running = n
	l.started = append(l.started, n)
	return nil
}

func (l *ledger) end(n uint64, o Outcome) error {
	if was, over := l.ends[n]; over {
		return fmt.Errorf("%d ends as %s, and has ended as %s before", n, o, was)
	}
	if l.ends == nil {
		l.ends = make(map[uint64]Outcome)
	}
	l.ends[n] = o
	switch {
	case o == Superseded && l.running == n:
		return fmt.Errorf("%d is superseded while it runs", n)
	case o == Superseded && n == l.enqueued[len(l.enqueued)-1]:
		return fmt.Errorf("%d is superseded and nothing newer was enqueued", n)
	case l.running == n:
		l.running = 0
	}
	return nil
}

// closed checks what must hold when nothing runs or waits any more.
func (l *ledger) closed() error {
	for _, n := range l.enqueued {
		if _, over := l.ends[n]; !over {
			return fmt.Errorf("%d has no end", n)
		}
	}
	if len(l.ends) != len(l.enqueued) {
		return fmt.Errorf("%d ends of %d hooks", len(l.ends), len(l.enqueued))
	}
	if n := len(l.enqueued); n > 0 && l.started[len(l.started)-1] != l.enqueued[n-1] {
		return fmt.Errorf("the last one enqueued, %d, did not run; started: %v", l.enqueued[n-1], l.started)
	}
	return nil
}

// TestStepLaws: whatever comes in whatever order, a lane never runs two hooks
// at once, keeps their order, ends each exactly once and runs the last one.
func TestStepLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l lane
		var book ledger
		check := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		apply := func(ev event) {
			var out effects
			l, out = step(l, ev)
			for _, r := range out.ends {
				check(book.end(r.Hook.Number, r.Outcome))
			}
			if out.start != nil {
				check(book.start(out.start.Number))
			}
		}
		endRunning := func() { apply(event{ended: &Result{Hook: *l.running, Outcome: OK}}) }

		for _, enqueue := range rapid.SliceOf(rapid.Bool()).Draw(t, "enqueue, or else end the running one") {
			switch {
			case enqueue:
				n := uint64(len(book.enqueued) + 1)
				book.enqueued = append(book.enqueued, n)
				h := hook(activity("active", n))
				apply(event{enqueue: &h})
			case l.running != nil:
				endRunning()
			}
		}
		for l.running != nil {
			endRunning()
		}
		if l != (lane{}) {
			t.Fatalf("nothing runs and the lane is %+v", l)
		}
		check(book.closed())
	})
}

func TestOutcomeString(t *testing.T) {
	for o, want := range map[Outcome]string{
		OK: "ok", Failed: "failed", TimedOut: "timed out", Superseded: "superseded", 0: "Outcome(0)",
	} {
		if o.String() != want {
			t.Errorf("%q, want %q", o.String(), want)
		}
	}
}

var errBoom = errors.New("boom")
