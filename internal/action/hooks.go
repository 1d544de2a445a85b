package action

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"murakumo/internal/failover"
)

// DefaultTimeout is how long a hook may run when nothing else is said. Moving
// an elastic network interface takes 10 to 30 s.
const DefaultTimeout = 60 * time.Second

// Hook is a transition with the command that is to be run for it.
type Hook struct {
	failover.Transition
	// Command is the argument vector, without the address, name and status,
	// which are appended. A first word without a slash is looked up in a fixed
	// PATH each time. Empty means that no hook is configured for this
	// transition: nothing is run and it ends as OK, but it takes its place in
	// the lane, so that an older hook that still waits (an attach, say) is
	// not run after the state that it belongs to has passed.
	Command []string
	// Timeout is how long it may run; 0 means HookOptions.Timeout.
	Timeout time.Duration
}

// Outcome is how a hook ended.
type Outcome uint8

// The outcomes. Every enqueued hook gets exactly one.
const (
	OK         Outcome = iota + 1 // exit status 0, or no command
	Failed                        // another exit status, refused, or the daemon stopped
	TimedOut                      // stopped, with its process group, at its timeout
	Superseded                    // never started: a newer state came while it waited
)

// String gives ok, failed, timed out or superseded.
func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case Failed:
		return "failed"
	case TimedOut:
		return "timed out"
	case Superseded:
		return "superseded"
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// Result is the end of one hook.
type Result struct {
	Hook    Hook
	Outcome Outcome
	Err     error         // why it failed or timed out; nil for OK and Superseded
	Elapsed time.Duration // how long it ran; 0 when it never started
}

// Executor runs one hook to its end. It returns nil when the hook succeeded,
// and within 2 s after ctx is done (its timeout, or the daemon's end) in any
// case.
type Executor func(ctx context.Context, h Hook) error

// HookOptions are the settings and seams of NewHooks.
type HookOptions struct {
	// Timeout is how long a hook may run; 0 means DefaultTimeout.
	Timeout time.Duration
	// Exec runs a hook; nil runs real processes.
	Exec Executor
	Log  *slog.Logger
	// Ended is told of every end, one at a time, from Run's goroutine: it must
	// not wait for anything that Enqueue's callers hold. Ends of one lane come
	// in order, except that a superseded hook ends before the older one that
	// is still running. May be nil.
	Ended func(Result)
}

// Hooks runs the hooks of this node: one lane per alias and kind, see doc.go.
type Hooks struct {
	opts HookOptions
	wake chan struct{} // 1 slot: the inbox has something

	mu       sync.Mutex    // guards what follows
	inbox    []letter      // for Run, oldest first
	open     int           // hooks enqueued whose end is not recorded yet
	emptied  chan struct{} // closed, and replaced, when open falls to 0
	finished bool          // Run has returned
}

// letter is an event for one lane, on its way to Run.
type letter struct {
	key laneKey
	ev  event
}

// NewHooks makes the queue; Run starts it.
//
// A real hook (Exec nil) is started with its arguments and then address, name
// and status, in the directory /, as a process group of its own, with standard
// input at /dev/null and an environment of nothing but PATH, LANG=C,
// MURAKUMO_ADDRESS, MURAKUMO_NAME, MURAKUMO_STATUS, MURAKUMO_PREVIOUS,
// MURAKUMO_REASON and MURAKUMO_TRANSITION. Its umask is the daemon's.
//
// It is refused, and so fails, when package program refuses its file, which is
// asked each time: it is missing, not executable, or somebody besides root and
// the daemon's user could have changed it. Likewise when name, address or status
// could mean something else to a script than they say.
//
// At its timeout the group gets SIGTERM, a second later SIGKILL. A process that
// left the group (setsid) is not pursued, but is not waited for either.
func NewHooks(opts HookOptions) *Hooks {
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.Exec == nil {
		opts.Exec = Processes(opts.Log)
	}
	if opts.Ended == nil {
		opts.Ended = func(Result) {}
	}
	return &Hooks{
		opts:    opts,
		wake:    make(chan struct{}, 1),
		emptied: make(chan struct{}),
	}
}

// Enqueue hands a hook over; it never blocks. After Run has returned the hook
// ends as Failed at once, and Ended is called from the caller's goroutine.
func (q *Hooks) Enqueue(h Hook) {
	q.mu.Lock()
	q.open++
	finished := q.finished
	if !finished {
		q.inbox = append(q.inbox, letter{laneKey{h.Kind, h.Name}, event{enqueue: &h}})
	}
	q.mu.Unlock()
	if finished {
		q.record(Result{Hook: h, Outcome: Failed, Err: errStopped})
		return
	}
	ring(q.wake)
}

// Drain waits until every hook that was enqueued has ended and its end is
// recorded. It returns an error that says how many have not when ctx is done
// first. It needs a Run that goes on.
func (q *Hooks) Drain(ctx context.Context) error {
	for {
		q.mu.Lock()
		open, emptied := q.open, q.emptied
		q.mu.Unlock()
		if open == 0 {
			return nil
		}
		select {
		case <-emptied:
		case <-ctx.Done():
			q.mu.Lock()
			open = q.open
			q.mu.Unlock()
			return fmt.Errorf("wait for the hooks to end: %d have not: %w", open, context.Cause(ctx))
		}
	}
}

// Run runs the hooks until ctx is done, then stops those that are running (with
// their process groups, within 2 s) and ends all that are left as Failed. It
// returns nil and leaves no goroutine. It may be called once.
func (q *Hooks) Run(ctx context.Context) error {
	lanes := make(map[laneKey]lane)
	var running sync.WaitGroup
	defer running.Wait()

	stopping := false
	apply := func(key laneKey, ev event) {
		l, ok := lanes[key]
		if !ok {
			l.stopping = stopping
		}
		l, out := step(l, ev)
		if l.idle() {
			delete(lanes, key)
		} else {
			lanes[key] = l
		}
		for _, r := range out.ends {
			q.record(r)
		}
		if out.start != nil {
			h := *out.start
			running.Go(func() {
				r := q.execute(ctx, h)
				q.post(letter{key, event{ended: &r}})
			})
		}
	}

	stop := ctx.Done()
	for {
		for _, m := range q.take() {
			apply(m.key, m.ev)
		}
		if stopping && len(lanes) == 0 && q.finish() {
			return nil
		}
		select {
		case <-q.wake:
		case <-stop:
			stop, stopping = nil, true
			for key := range lanes {
				apply(key, event{stop: true})
			}
		}
	}
}

// execute runs one hook to its end.
func (q *Hooks) execute(ctx context.Context, h Hook) Result {
	if len(h.Command) == 0 {
		return Result{Hook: h, Outcome: OK}
	}
	timeout := h.Timeout
	if timeout <= 0 {
		timeout = q.opts.Timeout
	}
	// Only the first word: arguments may hold an access key.
	q.opts.Log.Info(fmt.Sprintf("hook started: %s: %s", h.Name, h.Status),
		append(about(h.Transition), "command", h.Command[0])...)
	outcome, elapsed, err := timed(ctx, timeout, func(ctx context.Context) error { return q.opts.Exec(ctx, h) })
	return Result{Hook: h, Outcome: outcome, Err: err, Elapsed: elapsed}
}

// timed runs what runs a hook, for the timeout or until ctx is done, and judges
// how it ended.
func timed(ctx context.Context, timeout time.Duration, run func(context.Context) error) (outcome Outcome, elapsed time.Duration, err error) {
	errTimeout := fmt.Errorf("still running after %s, stopped with its process group", timeout)
	hookCtx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	start := time.Now()
	err = run(hookCtx)
	elapsed = time.Since(start)
	switch {
	case err == nil:
		return OK, elapsed, nil
	case errors.Is(context.Cause(hookCtx), errTimeout):
		return TimedOut, elapsed, errTimeout
	case ctx.Err() != nil:
		return Failed, elapsed, errStopped
	}
	return Failed, elapsed, err
}

// logEnd tells how a hook ended.
func logEnd(log *slog.Logger, what string, outcome Outcome, elapsed time.Duration, err error, attrs []any) {
	level := slog.LevelInfo
	attrs = append(attrs[:len(attrs):len(attrs)], "duration", elapsed)
	if err != nil {
		level = slog.LevelError
		attrs = append(attrs, "error", err)
	}
	log.Log(context.Background(), level, fmt.Sprintf("hook ended: %s: %s", what, outcome), attrs...)
}

// record writes down an end; only then is the hook over for Drain.
func (q *Hooks) record(r Result) {
	if len(r.Hook.Command) > 0 {
		logEnd(q.opts.Log, r.Hook.Name+": "+r.Hook.Status, r.Outcome, r.Elapsed, r.Err, about(r.Hook.Transition))
	}
	q.opts.Ended(r)

	q.mu.Lock()
	defer q.mu.Unlock()
	q.open--
	if q.open == 0 {
		close(q.emptied)
		q.emptied = make(chan struct{})
	}
}

// post puts an event into Run's inbox.
func (q *Hooks) post(m letter) {
	q.mu.Lock()
	q.inbox = append(q.inbox, m)
	q.mu.Unlock()
	ring(q.wake)
}

// take empties the inbox.
func (q *Hooks) take() []letter {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.inbox
	q.inbox = nil
	return all
}

// finish closes the queue unless something has come in meanwhile.
func (q *Hooks) finish() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.finished = len(q.inbox) == 0
	return q.finished
}

// about gives the attributes that every line about a transition carries.
func about(t failover.Transition) []any {
	return []any{
		"kind", strings.ToLower(t.Kind.String()),
		"address", t.Addr.String(),
		"transition", t.Number,
		"reason", string(t.Reason),
	}
}
