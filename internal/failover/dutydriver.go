package failover

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"murakumo/internal/catalog"
)

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
	// Resume is the duty to go on from, without a hook and with no word about it
	// but a line in the log: that of an earlier run which kept it, in place of
	// Rule.Init. DutyUndefined for none.
	Resume catalog.Duty
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
	changes  chan DutyRule
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

// NewDutyDriver completes a driver, of which the exported fields are given.
func NewDutyDriver(d DutyDriver) *DutyDriver {
	d.releases = make(chan release)
	// Hooks of one alias run one at a time, so that failures are rare and far
	// between; the room is for a driver that is busy.
	d.failures = make(chan uint64, 16)
	d.changes = make(chan DutyRule)
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

// Change gives a driver that runs another rule. Duty, counted rounds and what is
// known of the others stay; the next round comes an Interval after the last one,
// or a StartDelay after the beginning if there was none yet. Rule.Init is for a
// start; a change of it alone does nothing.
func (d *DutyDriver) Change(rule DutyRule) {
	select {
	case d.changes <- rule:
	case <-d.done:
	}
}

// HookFailed tells that the hook of a transition to active ended without
// success. It does not block. It is false when the driver has ended, and so may
// have remembered that hook as one that did what it should.
func (d *DutyDriver) HookFailed(number uint64) bool {
	select {
	case d.failures <- number:
	default:
		d.Log.Error("too many failed hooks at once: "+d.Name, "transition", number)
	}
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// Run makes rounds until ctx is done and then returns nil. It may be called once.
func (d *DutyDriver) Run(ctx context.Context) error {
	rule, state := d.Rule, DutyState{}
	defer func() {
		close(d.done)
		d.heed(state)
	}()
	for ready := d.Ready == nil; !ready; {
		select {
		case <-ctx.Done():
			return nil
		case r := <-d.releases:
			close(r.done) // it never was on duty: there is nothing to let go of
			if r.reason == ReasonShutdown {
				return nil
			}
		case rule = <-d.changes:
		case <-d.Ready:
			ready = true
		}
	}
	state = d.first(rule)
	// A timer and not a ticker, so that the first round comes after the start
	// delay; it is set again from the time it was due, and does not drift.
	last, wait := time.Now(), rule.StartDelay
	round := time.NewTimer(wait)
	defer round.Stop()

	var seen *catalog.Name
	begun := false // there was a round
	for first := true; ; first = false {
		view := d.Catalog.View()
		if name := view.Name(d.Name); first || name != seen {
			// Other names' changes are none of ours: a Name is replaced only
			// when one of its entries is.
			seen = name
			state = d.step(rule, state, TableChanged{Look(view, d.Name)})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-view.Superseded():
		case <-round.C:
			state = d.step(rule, state, Round{Look(d.Catalog.View(), d.Name)})
			if last = last.Add(wait); time.Since(last) > rule.Interval {
				// The host was asleep or stopped: the rounds it missed did
				// not happen and are not made up for.
				last = time.Now()
			}
			begun, wait = true, rule.Interval
			round.Reset(time.Until(last.Add(wait)))
		case rule = <-d.changes:
			if wait = rule.StartDelay; begun {
				wait = rule.Interval
			}
			round.Reset(time.Until(last.Add(wait)))
		case number := <-d.failures:
			state = d.step(rule, state, HookFailed{Facts: Look(d.Catalog.View(), d.Name), Number: number})
		case r := <-d.releases:
			state = d.step(rule, state, Release{Facts: Look(d.Catalog.View(), d.Name), Reason: r.reason})
			close(r.done)
			if r.reason == ReasonShutdown {
				<-ctx.Done()
				return nil
			}
		}
	}
}

// heed remembers failures that were told too late for a step.
func (d *DutyDriver) heed(s DutyState) {
	for {
		select {
		case number := <-d.failures:
			if number == s.Activated {
				s = s.uncover()
				d.Remember(Memory{s.Number, s.Activated, s.covered()})
			}
		default:
			return
		}
	}
}

// first is the state to begin with.
func (d *DutyDriver) first(rule DutyRule) DutyState {
	state := DutyState{Duty: rule.Init, Number: d.Memory.Number, Activated: d.Memory.Activated, Others: map[catalog.Owner]Holder{}}
	for owner, activation := range d.Memory.Covered {
		state.Others[owner] = Holder{Activation: activation, Covered: true}
	}
	what, why := "initial activity", "init-status"
	if d.Resume != catalog.DutyUndefined {
		state.Duty, what, why = d.Resume, "activity resumed", "kept over a restart"
	}
	if state.Duty != catalog.DutyUndefined {
		d.Log.Info(fmt.Sprintf("%s: %s: %s", what, d.Name, state.Duty), "address", d.Addr, "why", why)
		d.Publish(Standing{state.Duty, state.Number, state.Activated}, false)
	}
	return state
}

func (d *DutyDriver) step(rule DutyRule, s DutyState, ev Event) DutyState {
	next, effects := StepDuty(rule, s, ev)
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
