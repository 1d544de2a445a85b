package failover

import (
	"fmt"
	"maps"
	"net/netip"

	"murakumo/internal/catalog"
)

// Effect is something the shell has to do because of a step.
type Effect struct {
	Transition
	// Initial marks a first state: published and logged, but no hook and no
	// notice, since nothing changed.
	Initial bool
	// Why is the decision's ground in a few words, for the log.
	Why string
}

// Facts is what the table says about one name, seen from one node.
type Facts struct {
	// Present says whether this node has a record of the name at all, Active
	// whether that record is Active.
	Present, Active bool
	Priority        catalog.Priority
	// Number is the transition number our record carries. It can be ahead of
	// the state's after a restart that lost the state folder.
	Number uint64
	// Rival is an owner with an Active record in a higher tier; the zero Owner
	// when there is none.
	Rival catalog.Owner
	// Members are the other owners of an alias of this name, by owner.
	Members map[catalog.Owner]Member
}

// Member is what another owner publishes about its duty.
type Member struct {
	Alive bool
	Duty  catalog.Duty
	// Activated is the number of its last transition to active, Acted that of
	// the last transition whose hook has ended.
	Activated, Acted uint64
}

// OnDuty says whether the node is on duty by these facts.
func (f Facts) OnDuty() bool { return f.Active && !f.Rival.IsValid() }

// Look reads the facts about a name from a view. Origins are left out: a
// host's own name has no duty. A static record has none either, but while it is
// Active it is before the lower tiers all the same: that is where DNS points.
func Look(v *catalog.View, name string) Facts {
	f := Facts{Members: map[catalog.Owner]Member{}}
	n := v.Name(name)
	if n == nil {
		return f
	}
	self := v.Self()
	entries := n.Answers()
	for _, e := range entries {
		if e.Owner == self && e.Priority != catalog.Origin && !e.Static {
			// All addresses of one alias of one owner agree in these.
			f.Present, f.Active, f.Priority, f.Number = true, e.Active, e.Priority, e.Transition
		}
	}
	for _, e := range entries {
		if e.Owner == self || e.Priority == catalog.Origin {
			continue
		}
		if !e.Static {
			f.Members[e.Owner] = Member{Alive: true, Duty: e.Duty, Activated: e.Activated, Acted: e.Acted}
		}
		if e.Active && e.Priority < f.Priority && !f.Rival.IsValid() {
			f.Rival = e.Owner
		}
	}
	for _, e := range n.Hidden() {
		if e.Owner == self || e.Priority == catalog.Origin || e.Static {
			continue
		}
		// A set can arrive before the word that its owner is alive; nothing
		// is known of that member yet, least of all that it died.
		if m, _ := v.Member(e.Owner); m.Status != catalog.Unknown {
			f.Members[e.Owner] = Member{Duty: e.Duty, Activated: e.Activated, Acted: e.Acted}
		}
	}
	return f
}

// holds says whether the member may have the thing that hooks move, or may yet
// get it: it is on duty, or the hook of its last activation has not ended. A
// hook that lets go does not count: it lets go of what its own host has.
func (m Member) holds() bool {
	return m.Alive && (m.Duty == catalog.DutyActive || m.Acted < m.Activated)
}

// Holder is what a node remembers of another member of an alias.
type Holder struct {
	// Activation is the number under which it last became active, 0 for never.
	Activation uint64
	// Holding says that it may have what the hooks move.
	Holding bool
	// Covered says that our own hook was started after its hook had ended,
	// so that its letting go changes nothing for us.
	Covered bool
	// HeldAtCover says that it was Holding when our hook was started: should
	// that hook fail, the thing is still there.
	HeldAtCover bool
}

// DutyState is what is known of one activity check. The zero value, or one
// with what an earlier run remembered and the configured initial Duty, starts
// it. Steps do not change the maps of the state they were given.
type DutyState struct {
	Duty catalog.Duty
	// Against counts the rounds in a row that contradict Duty; while Duty is
	// undefined, those that contradict the configuration.
	Against int
	// Number is that of the last transition, Activated that of the last one to
	// active.
	Number, Activated uint64
	// Others remembers the other members.
	Others map[catalog.Owner]Holder
	// Owed says that a member which may have taken the thing after our last
	// hook has let it go: if we are active, or become so without a hook, our
	// hook has to run again.
	Owed bool
}

// Event is what a duty step takes: Round, TableChanged, Release or HookFailed.
type Event interface{ facts() Facts }

// Round is a tick of the activity check; it counts.
type Round struct{ Facts Facts }

// TableChanged says that the table changed between rounds; it counts no round.
type TableChanged struct{ Facts Facts }

// Release takes the duty away now: the daemon stops or the alias is taken out.
type Release struct {
	Facts  Facts
	Reason Reason
}

// HookFailed says that the hook of our transition to active of that number
// ended without success, so that it may not have moved anything.
type HookFailed struct {
	Facts  Facts
	Number uint64
}

func (e Round) facts() Facts        { return e.Facts }
func (e TableChanged) facts() Facts { return e.Facts }
func (e Release) facts() Facts      { return e.Facts }
func (e HookFailed) facts() Facts   { return e.Facts }

// StepDuty takes one event. The effects carry all of Transition but Name and
// Addr, which the driver adds.
func StepDuty(rule DutyRule, s DutyState, ev Event) (DutyState, []Effect) {
	f := ev.facts()
	s.Number = max(s.Number, f.Number)
	s = s.observe(f.Members)

	var effects []Effect
	turn := func(to catalog.Duty, reason Reason, why string) {
		previous := s.Duty
		s.Duty, s.Against = to, 0
		s.Number++
		if to == catalog.DutyActive {
			s.Activated = s.Number
			s = s.cover(f.Members)
		}
		effects = append(effects, Effect{Transition: Transition{
			Kind: KindActivity, Status: to.String(), Previous: previous.String(), Reason: reason, Number: s.Number,
		}, Why: why})
	}

	switch ev := ev.(type) {
	case Release:
		if s.Duty == catalog.DutyActive {
			turn(catalog.DutyInactive, ev.Reason, "released")
		}
		return s, effects
	case HookFailed:
		if ev.Number == s.Activated {
			s = s.uncover()
		}
	case Round:
		if !f.Present {
			// The operator took the alias away; there is nothing to be on
			// duty for until it is added again.
			s.Against = 0
			return s, nil
		}
		verdict := catalog.DutyInactive
		if f.OnDuty() {
			verdict = catalog.DutyActive
		}
		given := s.Duty
		if given == catalog.DutyUndefined {
			given = expected(f.Priority)
		}
		if verdict != given {
			s.Against++
			if need := rule.need(verdict); s.Against >= need {
				turn(verdict, reasonFor(s.Duty, verdict, f), why(need, f))
			}
			break
		}
		s.Against = 0
		if s.Duty == catalog.DutyUndefined {
			s.Duty = given
			effects = append(effects, Effect{Initial: true, Transition: Transition{
				Kind: KindActivity, Status: given.String(), Previous: catalog.DutyUndefined.String(),
				Reason: ReasonStart, Number: s.Number,
			}, Why: why(1, f)})
		}
	}
	// Not while off duty, though rounds may not have settled on that yet: the
	// thing belongs to whoever DNS points to.
	if s.Duty == catalog.DutyActive && s.Owed && f.OnDuty() {
		turn(catalog.DutyActive, ReasonReassert, "a member that was active let go")
	}
	return s, effects
}

// observe compares what the other members publish with what we remember of
// them. It sets Owed when one let go that our last hook does not cover.
func (s DutyState) observe(members map[catalog.Owner]Member) DutyState {
	others := maps.Clone(s.Others)
	if others == nil {
		others = make(map[catalog.Owner]Holder, len(members))
	}
	for owner, m := range members {
		h := others[owner] // the zero Holder was never active and is not covered
		holding := m.holds()
		if m.Activated > h.Activation {
			// It became active, or ran its hook again, after our last hook or
			// before we knew it; perhaps it has let go since, between two of
			// our looks, or died.
			h.Activation, h.Covered, h.HeldAtCover = m.Activated, false, false
			s.Owed = s.Owed || !holding
		}
		if h.Holding && !holding && !h.Covered {
			s.Owed = true
		}
		// It died while active without a hook: a master that booted so.
		if _, known := s.Others[owner]; !known && !m.Alive && m.Duty == catalog.DutyActive {
			s.Owed = true
		}
		h.Holding = holding
		others[owner] = h
	}
	for owner, h := range others {
		if _, there := members[owner]; !there && h.Holding {
			s.Owed = s.Owed || !h.Covered // its record is gone
			h.Holding = false
			others[owner] = h
		}
	}
	s.Others = others
	return s
}

// cover notes that our own hook starts now: whatever a member's ended hooks
// did came before.
func (s DutyState) cover(members map[catalog.Owner]Member) DutyState {
	s.Owed = false
	s.Others = maps.Clone(s.Others)
	for owner, h := range s.Others {
		m, there := members[owner]
		h.Covered = !there || m.Acted >= m.Activated
		h.HeldAtCover = h.Holding
		s.Others[owner] = h
	}
	return s
}

// uncover takes back what cover noted: our hook failed. A member that has let
// go since leaves us owing another try; one that holds on will when it lets go.
// There is no further try by itself: a hook that cannot work would run for ever.
func (s DutyState) uncover() DutyState {
	s.Others = maps.Clone(s.Others)
	for owner, h := range s.Others {
		s.Owed = s.Owed || h.HeldAtCover && !h.Holding
		h.HeldAtCover = false
		if h.Holding {
			h.Covered = false
		}
		s.Others[owner] = h
	}
	return s
}

// covered gives the activations that our last hook came after, as an earlier
// run's to be remembered.
func (s DutyState) covered() map[catalog.Owner]uint64 {
	m := make(map[catalog.Owner]uint64)
	for owner, h := range s.Others {
		if h.Covered {
			m[owner] = h.Activation
		}
	}
	return m
}

// need is how many rounds in a row lead to the duty.
func (r DutyRule) need(to catalog.Duty) int {
	if to == catalog.DutyActive {
		return r.Active
	}
	return r.Inactive
}

// expected is the duty that the configuration alone would give.
func expected(p catalog.Priority) catalog.Duty {
	if p == catalog.Master {
		return catalog.DutyActive
	}
	return catalog.DutyInactive
}

// reasonFor names the ground of a transition by rounds.
func reasonFor(from, to catalog.Duty, f Facts) Reason {
	switch {
	case from == catalog.DutyUndefined && !(to == catalog.DutyActive && f.Priority != catalog.Master):
		return ReasonStart
	case to == catalog.DutyActive && f.Priority == catalog.Master:
		return ReasonReturn // our own record is back
	case to == catalog.DutyActive:
		return ReasonFailover // no higher tier is left
	case f.Rival.IsValid():
		return ReasonReturn // the higher tier is back
	}
	return ReasonFailover // our own record is Inactive
}

// why says in words what the rounds saw.
func why(rounds int, f Facts) string {
	what := "on duty"
	switch {
	case !f.Active:
		what = "own record Inactive"
	case f.Rival.IsValid():
		what = fmt.Sprintf("%s is Active in a higher tier", netip.Addr(f.Rival))
	case f.Priority != catalog.Master:
		what = "no higher tier Active"
	}
	return fmt.Sprintf("%s, %s", what, inARow(rounds, "round"))
}

func inARow(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss in a row", n, unit)
}
