package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// Shell is what the drivers need of the world to carry out effects. None of
// its functions may block: hooks and mail have queues of their own.
type Shell struct {
	// Act runs the hook of a transition and sends its notice.
	Act func(Transition)
	Log *slog.Logger
}

// ErrStopped is what a driver answers that runs no more.
var ErrStopped = errors.New("the check has stopped")

// HealthDriver probes one alias and publishes the verdict.
type HealthDriver struct {
	Name string
	// Addr gives the address that is told to hooks and in notices. It must not
	// block.
	Addr func() netip.Addr
	Rule HealthRule
	// Probe answers nil for good. It should honour its context; one that does
	// not counts as bad at the timeout, and no second one is started beside it.
	Probe func(context.Context) error
	// Number is the last transition number of an earlier run.
	Number uint64
	// Resume is the verdict to go on from, with no word about it but a line in
	// the log: that of an earlier run, in place of Rule.Init. HealthUnknown for
	// none.
	Resume Health
	// Publish makes the alias's records Active or Inactive.
	Publish func(Health)
	Shell

	changes chan healthChange
	done    chan struct{}
}

// healthChange is another rule, and another probe unless that is nil.
type healthChange struct {
	rule  HealthRule
	probe func(context.Context) error
}

// NewHealthDriver completes a driver, of which the exported fields are given.
func NewHealthDriver(d HealthDriver) *HealthDriver {
	d.changes = make(chan healthChange)
	d.done = make(chan struct{})
	return &d
}

// Change gives a driver that runs another rule, and another probe unless that is
// nil. The verdict stays as it is until probes contradict it by the new rule:
// what the alias does for others does not change because somebody edited a file.
//
//   - With the rule alone, what was counted stays counted and a probe that is
//     under way goes on, by the timeout that it began with. The next one starts
//     an Interval after the start of the last, at once if that is over.
//   - With another probe the count begins anew, the one under way is given up,
//     and the new one starts at once.
//   - Rule.Init is for a start; a change of it alone does nothing.
func (d *HealthDriver) Change(rule HealthRule, probe func(context.Context) error) {
	select {
	case d.changes <- healthChange{rule, probe}:
	case <-d.done:
	}
}

// grace is how much longer than the timeout the driver waits for a probe, so
// that one which honours its context can say what it was doing at the end.
const grace = 50 * time.Millisecond

// attempt is one probe under way. The deadline is enforced here as well as in
// the probe's context, so that a probe which ignores contexts holds up no
// verdict.
type attempt struct {
	verdict chan error // gets one, also when nobody waits for it any more
	cancel  context.CancelFunc
	limit   *time.Timer
	timeout time.Duration
}

func begin(ctx context.Context, timeout time.Duration, probe func(context.Context) error) *attempt {
	a := &attempt{verdict: make(chan error, 1), limit: time.NewTimer(timeout + grace), timeout: timeout}
	ctx, a.cancel = context.WithTimeout(ctx, timeout)
	go func() { a.verdict <- probe(ctx) }()
	return a
}

// end gives the attempt up, if it has not ended: whoever honours contexts ends
// soon.
func (a *attempt) end() {
	a.cancel()
	a.limit.Stop()
}

// over says whether the probe has returned.
func (a *attempt) over() bool { return len(a.verdict) > 0 }

// Run probes until ctx is done and then returns nil: the first time at once,
// then each Interval from start to start. It may be called once.
func (d *HealthDriver) Run(ctx context.Context) error {
	defer close(d.done)
	rule, probe := d.Rule, d.Probe
	state := HealthState{Health: rule.Init, Number: d.Number}
	if d.Resume != HealthUnknown {
		state.Health = d.Resume
		d.Log.Info(fmt.Sprintf("health resumed: %s: %s", d.Name, state.Health), "address", d.Addr())
	}
	if state.Health != HealthUnknown {
		d.Publish(state.Health)
	}
	settle := func(err error) {
		if err != nil {
			d.Log.Debug("bad probe: "+d.Name, "error", err)
		}
		var effects []Effect
		state, effects = StepHealth(rule, state, err == nil)
		for _, e := range effects {
			d.carryOut(e, state.Health, err)
		}
	}

	var (
		now *attempt // whose verdict is waited for
		// late has had its deadline and not returned: a probe that ignores
		// contexts. As long as it hangs every verdict is bad and no second one
		// is started beside it; its answer is thrown away.
		late *attempt
		due  = time.Now() // when the next one starts
	)
	next := time.NewTimer(0)
	defer next.Stop()
	defer func() {
		if now != nil {
			now.end()
		}
	}()
	for {
		// Only one of these waits: for a verdict, or for the time of the next
		// probe, which may come while the one before still runs.
		var verdict <-chan error
		var limit, start <-chan time.Time
		if now != nil {
			verdict, limit = now.verdict, now.limit.C
		} else {
			start = next.C
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-verdict:
			now.end()
			now = nil
			if ctx.Err() != nil {
				return nil
			}
			settle(err)
		case <-limit:
			late, now = now, nil
			late.end()
			settle(fmt.Errorf("no verdict within %v", late.timeout))
		case <-start:
			if due = due.Add(rule.Interval); time.Since(due) > 0 {
				// The probes took longer than that, or the host was asleep: what
				// was missed is not made up for.
				due = time.Now().Add(rule.Interval)
			}
			next.Reset(time.Until(due))
			if late != nil && !late.over() {
				settle(errors.New("the probe before has not ended yet"))
				continue
			}
			late = nil
			now = begin(ctx, rule.Timeout, probe)
		case c := <-d.changes:
			due = due.Add(c.rule.Interval - rule.Interval)
			rule = c.rule
			if c.probe != nil {
				probe = c.probe
				state.Against = 0
				if now != nil {
					now.end()
				}
				now, late = nil, nil // one that hangs is of another probe
				due = time.Now()
			}
			next.Reset(time.Until(due))
		}
	}
}

func (d *HealthDriver) carryOut(e Effect, h Health, cause error) {
	e.Name, e.Addr = d.Name, d.Addr()
	d.Publish(h)
	what := "health condition changed"
	if e.Initial {
		what = "initial health"
	}
	attrs := []any{"address", e.Addr}
	if !e.Initial {
		attrs = append(attrs, "why", e.Why, "transition", e.Number)
	}
	if cause != nil {
		attrs = append(attrs, "error", cause)
	}
	d.Log.Info(fmt.Sprintf("%s: %s: %s", what, d.Name, e.Status), attrs...)
	if !e.Initial {
		d.Act(e.Transition)
	}
}
