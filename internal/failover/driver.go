package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"murakumo/internal/catalog"
)

// Shell is what the drivers need of the world to carry out effects. None of
// its functions may block: hooks and mail have queues of their own.
type Shell struct {
	// Act runs the hook of a transition and sends its notice.
	Act func(Transition)
	Log *slog.Logger
}

// HealthDriver probes one alias and publishes the verdict.
type HealthDriver struct {
	Name string
	Addr netip.Addr // the address told to hooks and in notices
	Rule HealthRule
	// Probe answers nil for good. It should honour its context; one that does
	// not counts as bad at the timeout, and no second one is started beside it.
	Probe func(context.Context) error
	// Number is the last transition number of an earlier run.
	Number uint64
	// Publish makes the alias's records Active or Inactive.
	Publish func(Health)
	Shell
}

// grace is how much longer than the timeout the driver waits for a probe, so
// that one which honours its context can say what it was doing at the end.
const grace = 50 * time.Millisecond

// Run probes until ctx is done and then returns nil: the first time at once,
// then each Interval from start to start.
func (d *HealthDriver) Run(ctx context.Context) error {
	state := HealthState{Health: d.Rule.Init, Number: d.Number}
	if state.Health != HealthUnknown {
		d.Publish(state.Health)
	}
	tick := time.NewTicker(d.Rule.Interval)
	defer tick.Stop()
	var hung <-chan error // a probe that ignored its deadline
	for {
		var err error
		hung, err = d.probe(ctx, hung)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			d.Log.Debug("bad probe: "+d.Name, "error", err)
		}
		var effects []Effect
		state, effects = StepHealth(d.Rule, state, err == nil)
		for _, e := range effects {
			d.carryOut(e, state.Health, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// probe runs one probe and gives its verdict. The deadline is enforced here as
// well as in the probe's context, so that a probe which ignores contexts holds
// up no verdict; as long as such a one hangs, every verdict is bad and no
// second one is started beside it. Its late answer is thrown away.
func (d *HealthDriver) probe(ctx context.Context, hung <-chan error) (<-chan error, error) {
	if hung != nil {
		select {
		case <-hung:
		default:
			return hung, fmt.Errorf("the probe before has not ended yet")
		}
	}
	pctx, cancel := context.WithTimeout(ctx, d.Rule.Timeout)
	defer cancel()
	verdict := make(chan error, 1)
	go func() { verdict <- d.Probe(pctx) }()
	limit := time.NewTimer(d.Rule.Timeout + grace)
	defer limit.Stop()
	select {
	case err := <-verdict:
		return nil, err
	case <-ctx.Done():
		// The probe's context is done too; one that ignores it is left behind.
		return verdict, ctx.Err()
	case <-limit.C:
		return verdict, fmt.Errorf("no verdict within %v", d.Rule.Timeout)
	}
}

func (d *HealthDriver) carryOut(e Effect, h Health, cause error) {
	e.Name, e.Addr = d.Name, d.Addr
	d.Publish(h)
	what := "health condition changed"
	if e.Initial {
		what = "initial health"
	}
	attrs := []any{"address", d.Addr}
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

// DutyDriver asks the table each round whether this node is on duty for one
// alias, and publishes and acts on the answer.
type DutyDriver struct {
	Name    string
	Addr    netip.Addr // the address told to hooks and in notices
	Rule    DutyRule
	Catalog *catalog.Catalog
	// Memory is what an earlier run remembered, Remember takes what a later run
	// will want to know. It must not block.
	Memory   Memory
	Remember func(Memory)
	// Ready, if not nil, is closed when the node takes part in the cluster: a
	// node that cannot hear the others has no ground to judge by. StartDelay
	// begins then.
	Ready <-chan struct{}
	// Publish puts duty and numbers into the alias's records; begun says that
	// a hook of that number is about to run.
	Publish func(s Standing, begun bool)
	Shell

	releases chan release
	failures chan uint64
	done     chan struct{}
}

// Memory is what has to outlive the process of one activity check.
type Memory struct {
	Number    uint64 `json:"number"`
	Activated uint64 `json:"activated"`
	// Covered holds, by member, the activation that our last hook came after.
	Covered map[catalog.Owner]uint64 `json:"covered,omitempty"`
}

// Standing is what a node publishes of its duty for an alias.
type Standing struct {
	Duty              catalog.Duty
	Number, Activated uint64
}

type release struct {
	reason Reason
	done   chan struct{}
}

// ErrStopped is what Release answers when the driver runs no more.
var ErrStopped = errors.New("the activity check has stopped")

// NewDutyDriver completes a driver, of which the exported fields are given.
func NewDutyDriver(d DutyDriver) *DutyDriver {
	d.releases = make(chan release)
	// Hooks of one alias run one at a time, so that failures are rare and far
	// between; the room is for a driver that is busy.
	d.failures = make(chan uint64, 16)
	d.done = make(chan struct{})
	return &d
}

// Release lets the duty go now, with the hook where this node was active, and
// returns once the transition has been handed to Act. With ReasonShutdown the
// driver stays off duty for good; with ReasonManual rounds go on, for the
// alias may be added again.
func (d *DutyDriver) Release(ctx context.Context, reason Reason) error {
	r := release{reason: reason, done: make(chan struct{})}
	select {
	case d.releases <- r:
		<-r.done
		return nil
	case <-d.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// HookFailed tells that the hook of a transition to active ended without
// success. It does not block.
func (d *DutyDriver) HookFailed(number uint64) {
	select {
	case d.failures <- number:
	default:
		d.Log.Error("too many failed hooks at once: "+d.Name, "transition", number)
	}
}

// Run makes rounds until ctx is done and then returns nil.
func (d *DutyDriver) Run(ctx context.Context) error {
	defer close(d.done)
	for ready := d.Ready == nil; !ready; {
		select {
		case <-ctx.Done():
			return nil
		case r := <-d.releases:
			close(r.done) // it never was on duty: there is nothing to let go of
			if r.reason == ReasonShutdown {
				return nil
			}
		case <-d.Ready:
			ready = true
		}
	}
	state := DutyState{Duty: d.Rule.Init, Number: d.Memory.Number, Activated: d.Memory.Activated, Others: map[catalog.Owner]Holder{}}
	for owner, activation := range d.Memory.Covered {
		state.Others[owner] = Holder{Activation: activation, Covered: true}
	}
	if state.Duty != catalog.DutyUndefined {
		d.Log.Info(fmt.Sprintf("initial activity: %s: %s", d.Name, state.Duty), "address", d.Addr, "why", "init-status")
		d.Publish(Standing{state.Duty, state.Number, state.Activated}, false)
	}
	// A timer and not a ticker, so that the first round comes after the start
	// delay; it is set again from the time it was due, and does not drift.
	due := time.Now().Add(d.Rule.StartDelay)
	round := time.NewTimer(d.Rule.StartDelay)
	defer round.Stop()

	var seen *catalog.Name
	for first := true; ; first = false {
		view := d.Catalog.View()
		if name := view.Name(d.Name); first || name != seen {
			// Other names' changes are none of ours: a Name is replaced only
			// when one of its entries is.
			seen = name
			state = d.step(state, TableChanged{Look(view, d.Name)})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-view.Superseded():
		case <-round.C:
			state = d.step(state, Round{Look(d.Catalog.View(), d.Name)})
			due = due.Add(d.Rule.Interval)
			if late := time.Since(due); late > 0 {
				// The host was asleep or stopped: the rounds it missed did
				// not happen and are not made up for.
				due = time.Now().Add(d.Rule.Interval)
			}
			round.Reset(time.Until(due))
		case number := <-d.failures:
			state = d.step(state, HookFailed{Facts: Look(d.Catalog.View(), d.Name), Number: number})
		case r := <-d.releases:
			state = d.step(state, Release{Facts: Look(d.Catalog.View(), d.Name), Reason: r.reason})
			close(r.done)
			if r.reason == ReasonShutdown {
				<-ctx.Done()
				return nil
			}
		}
	}
}

func (d *DutyDriver) step(s DutyState, ev Event) DutyState {
	next, effects := StepDuty(d.Rule, s, ev)
	if _, failed := ev.(HookFailed); failed || len(effects) > 0 {
		d.Remember(Memory{next.Number, next.Activated, next.covered()})
	}
	for _, e := range effects {
		e.Name, e.Addr = d.Name, d.Addr
		what := "activity condition changed"
		switch {
		case e.Initial:
			what = "initial activity"
		case e.Reason == ReasonReassert:
			what = "activity condition reasserted"
		}
		d.Log.Info(fmt.Sprintf("%s: %s: %s", what, d.Name, e.Status),
			"address", d.Addr, "reason", e.Reason, "why", e.Why, "transition", e.Number)
		d.Publish(Standing{next.Duty, e.Number, next.Activated}, !e.Initial)
		if !e.Initial {
			d.Act(e.Transition)
		}
	}
	return next
}
