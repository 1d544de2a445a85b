package ec2

import (
	"errors"
	"fmt"
	"time"
)

// A Phase is how far a holding is.
type Phase uint8

// The phases: EC2's available, attaching, attached and detaching.
const (
	Free Phase = iota
	Coming
	Held
	Going
)

// String gives the word that the stories use.
func (p Phase) String() string { return [...]string{"free", "coming", "held", "going"}[p&3] }

// Seen is one reading of who holds a thing.
type Seen struct {
	// Holder identifies the holding, not only who has it: an attachment's id,
	// an association's id. It is what is let go. "" when Free.
	Holder string
	Who    string // the instance or interface that has it, for people
	Ours   bool   // held where it is wanted
	Phase  Phase
	// Since is when the holding began, zero if EC2 does not tell.
	Since time.Time
	// Fixed is why it cannot be taken from there, "" if it can.
	Fixed string
}

// Expect is the holding that a takeover is conditional on; nil is no condition,
// and "" that nobody holds the thing.
type Expect *string

// Rules are how a takeover goes about it.
type Rules struct {
	Expect Expect
	// ForceAfter is how long a holding may take to end before it is ended by
	// force; negative means never.
	ForceAfter time.Duration
	// LetGo turns the purpose around: end our own holding, if there is one.
	LetGo bool
}

// An Event is what happened since the last step.
type Event interface{ event() }

type (
	// Saw is what a reading showed.
	Saw struct{ Seen }
	// Checked is whether taking would be allowed.
	Checked struct{ Err error }
	// Let is how letting a holding go was answered.
	Let struct {
		Reply Reply
		Err   error
	}
	// Took is how taking was answered; ID is the new holding's, where EC2 gives
	// one.
	Took struct {
		Reply Reply
		ID    string
		Err   error
	}
	// Expired says that there is no more time, or that the caller wants no
	// more. Err says which, or what a reading failed with.
	Expired struct{ Err error }
)

func (Saw) event()     {}
func (Checked) event() {}
func (Let) event()     {}
func (Took) event()    {}
func (Expired) event() {}

// A Next is what to do next.
type Next interface{ next() }

type (
	// Read is to read who holds the thing, after a while.
	Read struct{ After time.Duration }
	// Check is to find out whether taking would be allowed. It comes before
	// anything is let go: what cannot be taken here stays where it is.
	Check struct{}
	// LetHolder is to end this holding and no other.
	LetHolder struct {
		Holder string
		Force  bool
	}
	// Take is to take the thing, which From held when it was read last.
	Take struct{ From string }
	// End is that nothing more is to be done.
	End struct {
		Outcome Outcome
		Err     error // of Lost and Failed: why
	}
)

func (Read) next()      {}
func (Check) next()     {}
func (LetHolder) next() {}
func (Take) next()      {}
func (End) next()       {}

// An Outcome is how it ended.
type Outcome string

// The outcomes.
const (
	Taken    Outcome = "taken"
	Already  Outcome = "already ours"
	Lost     Outcome = "lost"
	Released Outcome = "let go"
	NotOurs  Outcome = "not ours"
	Failed   Outcome = "failed"
	Nothing  Outcome = "nothing to do" // as a hook, for a status that takes nothing
)

const (
	firstPoll = 300 * time.Millisecond // between readings, growing
	lastPoll  = 2 * time.Second
	firstBusy = 500 * time.Millisecond // after a throttled change, doubling
	lastBusy  = 8 * time.Second
	// patience is how many odd answers in a row are an end, and consistent how
	// long they must go on: readings can be old by seconds, and what is asked
	// because of an old one gets odd answers.
	patience   = 3
	consistent = 10 * time.Second
)

// A Takeover is the state of taking one thing, or of letting it go. Its zero
// value with Rules is the beginning, which asks for a reading first.
type Takeover struct {
	Rules
	// Unlocked is for things without a lock: they are taken from their holder
	// directly, and Confirm later they are read again to see whether somebody
	// else did the same.
	Unlocked bool
	Confirm  time.Duration

	First Seen // what the first reading showed: the one holding that may be ended
	Last  Seen // what the last one showed
	read  bool // there was a reading

	checked bool      // taking would be allowed
	letDone bool      // First is ending: EC2 said so, or it was seen
	letAt   time.Time // since when
	forcing bool      // the last request to end it was by force
	Forced  bool      // and EC2 said that it was done

	sent   bool   // taking was sent at least once
	unsure bool   // and once there was no answer
	took   bool   // and once EC2 said that it was done
	ID     string // of the new holding, as EC2 said

	ours    time.Time // when an unlocked thing was seen as ours first
	foreign int       // readings in a row that show a holding neither First nor ours
	polls   int       // readings since the last change
	busy    int       // throttled changes in a row
	refused int       // refusals, in all
	odd     int       // odd answers in a row
	oddAt   time.Time // the first of them
	lastErr error     // the last answer that was not what we wanted
}

// Step decides what to do next. It is pure: now is when the event happened, and
// nothing else is known.
func (t Takeover) Step(ev Event, now time.Time) (Takeover, Next) {
	switch ev := ev.(type) {
	case Saw:
		first := !t.read
		t.Last, t.read = ev.Seen, true
		if first {
			t.First = ev.Seen
			if end, ok := t.refuse(); ok {
				return t, end
			}
		}
		if t.LetGo {
			return t.release(ev.Seen, now)
		}
		return t.saw(ev.Seen, now)
	case Checked:
		switch {
		case ev.Err != nil && t.Last.Phase == Free:
			return t, End{Failed, t.story(ev.Err)}
		case ev.Err != nil:
			return t, End{Failed, fmt.Errorf("left with %s, since it could not be taken: %w", name(t.Last.Holder, t.Last.Who), ev.Err)}
		}
		t.checked = true
		return t.saw(t.Last, now)
	case Let:
		if ev.Reply == Done {
			if !t.letDone {
				t.letDone, t.letAt = true, now
			}
			t.Forced = t.Forced || t.forcing
		}
		t.forcing = false
		return t.answered(ev.Reply, ev.Err, now)
	case Took:
		if ev.Reply == Done {
			t.took, t.ID = true, ev.ID
		}
		t.unsure = t.unsure || ev.Reply == Unsure
		return t.answered(ev.Reply, ev.Err, now)
	case Expired:
		return t, End{Failed, t.expired(ev.Err)}
	}
	return t, End{Failed, fmt.Errorf("unknown event %T", ev)}
}

// refuse looks at the first reading: is it what the caller counts on, and can
// it be changed at all?
func (t Takeover) refuse() (Next, bool) {
	s := t.First
	there := s.Ours && (s.Phase == Held || s.Phase == Coming)
	switch {
	case t.LetGo && !s.Ours:
		return End{Outcome: NotOurs}, true
	case there && !t.LetGo:
		return nil, false
	case t.Expect != nil && *t.Expect != s.Holder:
		return End{Lost, fmt.Errorf("expected %s, found %s", name(*t.Expect, ""), name(s.Holder, s.Who))}, true
	case s.Fixed != "":
		return End{Failed, errors.New(s.Fixed)}, true
	}
	return nil, false
}

// name gives a holding and who has it, for people.
func name(holder, who string) string {
	switch {
	case holder == "":
		return "none"
	case who == "" || who == holder:
		return holder
	}
	return holder + " of " + who
}

// saw decides after a reading.
func (t Takeover) saw(s Seen, now time.Time) (Takeover, Next) {
	switch {
	case s.Ours && s.Phase == Held:
		return t.held(now)
	case s.Ours && s.Phase == Coming:
		return t.wait()
	case s.Phase == Free && !t.took:
		t.foreign = 0
		if t.refused >= patience && !t.checked {
			return t, Check{} // it is free, and refused: the reason may be on our side
		}
		return t.take()
	case s.Phase == Free, s.Holder == t.First.Holder && t.took:
		t.foreign = 0
		return t.wait() // an old reading; or ours was ended, and who did that comes next
	case s.Holder == t.First.Holder && t.Unlocked:
		t.foreign = 0
		return t.take()
	case s.Holder == t.First.Holder:
		t.foreign = 0
		if !t.checked {
			return t, Check{}
		}
		return t.end(s, now)
	case s.Ours:
		return t, End{Lost, fmt.Errorf("it was ours as %s, and is being taken away again", s.Holder)}
	}
	// Some other holding. A reading may be old, so another has to say the same;
	// one that began before the first we read was surely over then, unless
	// EC2's clocks disagree.
	enough := 2
	if !s.Since.IsZero() && s.Since.Before(t.First.Since) {
		enough = 6
	}
	if t.foreign++; t.foreign < enough {
		return t.wait()
	}
	return t, End{Lost, fmt.Errorf("%s has it now, and was left alone", name(s.Holder, s.Who))}
}

// release decides after a reading when our own holding is to end.
func (t Takeover) release(s Seen, now time.Time) (Takeover, Next) {
	if s.Phase == Free || s.Holder != t.First.Holder {
		return t, End{Outcome: Released}
	}
	return t.end(s, now)
}

// held is the end, but for things that somebody else may be taking as well.
func (t Takeover) held(now time.Time) (Takeover, Next) {
	switch {
	case !t.sent:
		return t, End{Outcome: Already}
	case !t.Unlocked:
	case t.ours.IsZero():
		t.ours = now
		return t, Read{t.Confirm}
	case now.Sub(t.ours) < t.Confirm:
		return t, Read{max(t.Confirm-now.Sub(t.ours), firstPoll)} // not shorter and shorter
	}
	return t, End{Outcome: Taken}
}

// end gets the holding of this reading out of the way. That is the first one and
// no other: whoever calls this has compared them. Kindly at first: what is
// detached by force may leave its instance with an index that cannot be used
// and with wrong metadata until it is stopped and started.
func (t Takeover) end(s Seen, now time.Time) (Takeover, Next) {
	if s.Phase == Going && !t.letDone {
		t.letDone, t.letAt = true, now // somebody else did it
	}
	switch {
	case !t.letDone:
		return t, LetHolder{Holder: s.Holder}
	case t.ForceAfter >= 0 && now.Sub(t.letAt) >= t.ForceAfter && !t.Forced:
		t.forcing = true
		return t, LetHolder{Holder: s.Holder, Force: true}
	}
	return t.wait()
}

func (t Takeover) take() (Takeover, Next) {
	t.sent = true
	return t, Take{From: t.Last.Holder}
}

// wait reads again after a while, which grows as long as nothing changes.
func (t Takeover) wait() (Takeover, Next) {
	d := firstPoll
	for range t.polls {
		d += d / 2
	}
	t.polls = min(t.polls+1, 10)
	return t, Read{min(d, lastPoll)}
}

// answered decides after a change was asked for. The next thing is to read
// whatever the answer: one that was lost, or a refusal because an earlier one
// was lost, may well mean that the thing is ours.
func (t Takeover) answered(r Reply, err error, now time.Time) (Takeover, Next) {
	if r == Denied && t.unsure {
		r = Odd
	}
	if r != Busy {
		t.busy = 0
	}
	if r != Odd {
		t.odd = 0
	}
	t.lastErr = err
	switch r {
	case Done, Unsure:
		t.polls = 0
		return t.wait()
	case Busy:
		d := min(firstBusy<<t.busy, lastBusy)
		t.busy = min(t.busy+1, 10)
		return t, Read{d}
	case Refused:
		t.refused++
		return t.wait()
	case Odd:
		if t.odd++; t.odd == 1 {
			t.oddAt = now
		}
		if t.odd < patience || now.Sub(t.oddAt) < consistent {
			return t.wait()
		}
	}
	return t, End{Failed, t.story(err)}
}

// expired says what became of it when there is no more time.
func (t Takeover) expired(err error) error {
	if t.lastErr != nil && !errors.Is(err, t.lastErr) {
		err = fmt.Errorf("%w; the last answer: %w", err, t.lastErr)
	}
	err = t.story(err)
	if (t.Last.Phase == Free || t.letDone) && t.read && !t.took && !t.unsure && !t.LetGo {
		err = fmt.Errorf("%w; run this again", err)
	}
	return err
}

// story puts before an error how far it had come, which the operator has to
// know: a thing that nobody has any more is worse than one in the wrong place.
func (t Takeover) story(err error) error {
	s := t.Last
	var so string
	switch {
	case !t.read:
		return err
	case s.Ours && s.Phase == Coming:
		so = "it is coming to us as " + s.Holder
	case t.took:
		so = "EC2 said that it is ours" + as(t.ID) + ", but it is not seen here yet"
	case t.unsure:
		so = "whether it was taken is not known (`murakumo-ec2 check` tells)"
	case s.Phase == Free:
		so = "nobody has it"
	case s.Phase == Going || t.letDone && s.Holder == t.First.Holder:
		so = name(s.Holder, s.Who) + " was told to let go, and has not yet"
		if t.Forced {
			so = name(s.Holder, s.Who) + " was ended by force, and is still seen"
		}
	default:
		so = "still with " + name(s.Holder, s.Who)
	}
	return fmt.Errorf("%s: %w", so, err)
}

func as(id string) string {
	if id == "" {
		return ""
	}
	return " as " + id
}

// State is the phase as a word: free, coming, held or going.
func (s Seen) State() string { return s.Phase.String() }

// String tells who has it, for people.
func (s Seen) String() string {
	switch s.Phase {
	case Free:
		return "nobody has it"
	case Coming:
		return name(s.Holder, s.Who) + " is on its way"
	case Going:
		return name(s.Holder, s.Who) + " is ending"
	}
	return "held by " + name(s.Holder, s.Who)
}
