package ec2

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A Thing is what can be moved. Its methods ask EC2 once each; those that
// change something are not repeated by themselves.
type Thing interface {
	// Name is what an operator calls it.
	Name() string
	// Target is where it is wanted: an instance or an interface.
	Target() string
	// Verbs are the words for taking and letting go in the past tense, and the
	// preposition of the target: attached, detached, to.
	Verbs() (took, let, to string)
	// Read tells who holds it.
	Read(ctx context.Context) (Seen, error)
	// Check gives the reason why taking it would fail, as far as that can be
	// known beforehand; nil otherwise.
	Check(ctx context.Context) error
	// Let ends this holding, and no other.
	Let(ctx context.Context, holder string, force bool) error
	// Take takes it, given that this holding (none: "") was read last. The id
	// is that of the new holding, "" where EC2 gives none.
	Take(ctx context.Context, from string) (id string, err error)
	// Permissions tries, without doing anything, everything that moving it may
	// need. Forced includes ending a holding by force, token writing a tag.
	Permissions(ctx context.Context, token string) []Permission
	// Tagged are the resources that bear the token.
	Tagged() []string
	// Nature is what EC2 makes of it.
	Nature() Nature
}

// Nature is what EC2 makes of a thing.
type Nature struct {
	// Forcible things can be taken from their holder by force.
	Forcible bool
	// Unlocked things have no lock: two hosts that take one at once both
	// succeed, and the last one has it.
	Unlocked bool
}

// A Permission is what a dry run found.
type Permission struct {
	Name string // ec2:AttachNetworkInterface
	// Err is nil if it is there.
	Err error
	// Untested is why it could not be tried, "" if it was.
	Untested string
}

// A Report is how moving a thing ended.
type Report struct {
	Thing   string
	Target  string
	Outcome Outcome
	Holder  string // the holding that there is now: ours after Taken and Already
	First   Seen   // what was there before
	Forced  bool   // First was ended by force
	Took    time.Duration
	Err     error // of Lost and Failed

	line string
}

// String gives the line for an operator, without Err.
func (r Report) String() string { return r.line }

// confirm is how long after the first sight of an unlocked thing as ours it is
// read again: longer than it takes the other of two hosts that read the same to
// act on it.
const confirm = time.Second

// Move takes the thing, or with [Rules.LetGo] lets it go, within the deadline
// of ctx. It is safe to run twice, and from two hosts at once. Trace is told
// each decision and may be nil.
func Move(ctx context.Context, thing Thing, rules Rules, trace func(string)) Report {
	began := time.Now()
	nature := thing.Nature()
	if !nature.Forcible {
		rules.ForceAfter = -1
	}
	t := Takeover{Rules: rules, Unlocked: nature.Unlocked, Confirm: confirm}
	var next Next = Read{}
	for {
		if trace != nil {
			trace(fmt.Sprintf("move: %s: %s", thing.Name(), said(next)))
		}
		end, ok := next.(End)
		if !ok {
			t, next = t.Step(do(ctx, thing, next), time.Now())
			continue
		}
		r := Report{
			Thing: thing.Name(), Target: thing.Target(), Outcome: end.Outcome, Err: end.Err,
			Holder: t.Last.Holder, First: t.First, Forced: t.Forced, Took: time.Since(began),
		}
		r.line = sentence(thing, t, r)
		return r
	}
}

// do carries out what is next and gives what came of it.
func do(ctx context.Context, thing Thing, next Next) Event {
	switch n := next.(type) {
	case Read:
		if n.After > 0 {
			// Hosts that wait for the same thing do not ask at the same moment.
			if err := sleep(ctx, n.After*3/4+rand.N(n.After/2+1)); err != nil {
				return Expired{ended(ctx, err)}
			}
		}
		s, err := thing.Read(ctx)
		if err != nil {
			return Expired{ended(ctx, err)}
		}
		return Saw{s}
	case Check:
		return Checked{thing.Check(ctx)}
	case LetHolder:
		err := thing.Let(ctx, n.Holder, n.Force)
		return Let{reply(err), err}
	case Take:
		id, err := thing.Take(ctx, n.From)
		return Took{reply(err), id, err}
	}
	return Expired{fmt.Errorf("nothing is known of %T", next)}
}

// ended says so when it was the caller's time that ended, and keeps any other
// error.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) && !errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return context.Cause(ctx)
}

// said gives what is next, for --verbose.
func said(next Next) string {
	switch n := next.(type) {
	case Read:
		return fmt.Sprintf("read after %s", n.After.Round(time.Millisecond))
	case Check:
		return "check whether it could be taken"
	case LetHolder:
		if n.Force {
			return "end " + n.Holder + " by force"
		}
		return "end " + n.Holder
	case Take:
		return strings.TrimSuffix("take it from "+n.From, " from ")
	case End:
		return "end: " + string(n.Outcome)
	}
	return fmt.Sprint(next)
}

// sentence is the line of what was done.
func sentence(thing Thing, t Takeover, r Report) string {
	took, let, to := thing.Verbs()
	what := thing.Name() + ": "
	holder := as(t.Last.Holder)
	if t.Last.Holder == thing.Target() {
		holder = ""
	}
	switch r.Outcome {
	case Already:
		return what + "already " + took + " " + to + " " + thing.Target() + holder
	case Taken:
		var b strings.Builder
		fmt.Fprintf(&b, "%s%s %s %s%s", what, took, to, thing.Target(), holder)
		switch f := t.First; {
		case f.Holder == "" && t.Unlocked:
			b.WriteString(", there was none")
		case f.Holder == "":
			b.WriteString(", nobody had it")
		case t.Forced:
			fmt.Fprintf(&b, ", %s by force from %s", let, name(f.Holder, f.Who))
		default:
			fmt.Fprintf(&b, ", %s from %s", let, name(f.Holder, f.Who))
		}
		fmt.Fprintf(&b, ", in %s", r.Took.Round(time.Second/10))
		return b.String()
	case Released:
		how := ""
		if t.Forced {
			how = " by force"
		}
		return fmt.Sprintf("%s%s%s from %s, in %s", what, let, how, thing.Target(), r.Took.Round(time.Second/10))
	case NotOurs:
		return what + "not " + took + " " + to + " " + thing.Target() + ", nothing to let go"
	case Lost:
		return what + "lost to another host"
	}
	return what + "not " + took + " " + to + " " + thing.Target()
}
