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
	Alive  bool
	Duty   catalog.Duty
	Number uint64
	Acted  uint64
}

// OnDuty says whether the node is on duty by these facts.
func (f Facts) OnDuty() bool { return f.Active && !f.Rival.IsValid() }

// Look reads the facts about a name from a view. Origins are left out: a
// host's own name has no duty.
func Look(v *catalog.View, name string) Facts {
	f := Facts{Members: map[catalog.Owner]Member{}}
	n := v.Name(name)
	if n == nil {
		return f
	}
	self := v.Self()
	for _, e := range n.Entries {
		if e.Owner == self && e.Priority != catalog.Origin {
			// All addresses of one alias of one owner agree in these.
			f.Present, f.Active, f.Priority, f.Number = true, e.Active, e.Priority, e.Transition
		}
	}
	for _, e := range n.Entries {
		if e.Owner == self || e.Priority == catalog.Origin {
			continue
		}
		f.Members[e.Owner] = Member{Alive: true, Duty: e.Duty, Number: e.Transition, Acted: e.Acted}
		if e.Active && e.Priority < f.Priority && !f.Rival.IsValid() {
			f.Rival = e.Owner
		}
	}
	for _, e := range n.Hidden {
		if e.Owner != self && e.Priority != catalog.Origin {
			f.Members[e.Owner] = Member{Duty: e.Duty, Number: e.Transition, Acted: e.Acted}
		}
	}
	return f
}

// holds says whether the member may have the thing that hooks move: it is on
// duty, or a hook of its has not ended yet.
func (m Member) holds() bool {
	return m.Alive && (m.Duty == catalog.DutyActive || m.Acted < m.Number)
}

// lastActivation is the highest number under which the member can have become
// active: its own when it is active, else the one before, since it takes a
// transition to stop being active.
func (m Member) lastActivation() uint64 {
	if m.Duty == catalog.DutyActive || m.Number == 0 {
		return m.Number
	}
	return m.Number - 1
}

// Holder is what a node remembers of another member of an alias.
type Holder struct {
	// Activation is the highest number under which it can have become active.
	Activation uint64
	// Holding says that it may have what the hooks move.
	Holding bool
	// Covered says that our own hook was started after its hook had ended,
	// so that its letting go changes nothing for us.
	Covered bool
}

// DutyState is what is known of one activity check. The zero value, or one
// with the persisted Number and the configured initial Duty, starts it.
// Steps do not change the maps of the state they were given.
type DutyState struct {
	Duty catalog.Duty
	// Against counts the rounds in a row that contradict Duty; while Duty is
	// undefined, those that contradict the configuration.
	Against int
	// Number is that of the last transition.
	Number uint64
	// Others remembers the other members.
	Others map[catalog.Owner]Holder
	// Owed says that a member which may have taken the thing after our last
	// hook has let it go: if we are active, or become so without a hook, our
	// hook has to run again.
	Owed bool
}

// Event is what a duty step takes: Round, TableChanged or Release.
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

func (e Round) facts() Facts        { return e.Facts }
func (e TableChanged) facts() Facts { return e.Facts }
func (e Release) facts() Facts      { return e.Facts }

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
	if s.Duty == catalog.DutyActive && s.Owed {
		turn(catalog.DutyActive, ReasonReassert, "a member that was active let go")
	}
	return s, effects
}

// observe compares what the other members publish with what we remember of
// them. It sets Owed when one let go that our last hook does not cover.
func (s DutyState) observe(members map[catalog.Owner]Member) DutyState {
	others := make(map[catalog.Owner]Holder, len(members))
	for owner, m := range members {
		h, known := s.Others[owner]
		holding, last := m.holds(), m.lastActivation()
		switch {
		case !known:
			h.Activation = last
			// It died while active before we ever saw it alive; whether its
			// hook ran before ours cannot be known.
			s.Owed = s.Owed || !m.Alive && m.Duty == catalog.DutyActive
		case last > h.Activation:
			// It became active anew, or ran its hook again; perhaps it has let
			// go since, between two of our looks.
			h.Activation, h.Covered = last, false
			s.Owed = s.Owed || !holding
		}
		if h.Holding && !holding && !h.Covered {
			s.Owed = true
		}
		h.Holding = holding
		others[owner] = h
	}
	for owner, h := range s.Others {
		if _, there := members[owner]; !there && h.Holding && !h.Covered {
			s.Owed = true // its record is gone
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
		m := members[owner]
		h.Covered = m.Acted >= m.Number
		s.Others[owner] = h
	}
	return s
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
