package control

import (
	"slices"
	"time"

	"murakumo/internal/catalog"
)

// Changes gives what is different in now from was, stamped with the time at:
// members before records, as a member's end is why its records go; within each,
// the order of Members and Table. Aspects of one record that changed together
// are told one by one.
func Changes(was, now *catalog.View, at time.Time) []Event {
	events := memberChanges(was, now, at)
	changes := slices.Collect(now.Diff(was))
	slices.SortFunc(changes, func(a, b catalog.Change) int {
		return compareRecords(shown(now, a), shown(now, b))
	})
	for _, c := range changes {
		events = append(events, recordChanges(now.Self(), c, at)...)
	}
	return events
}

// shown is the record that a change is about: the new one, else the old one.
func shown(v *catalog.View, c catalog.Change) Record {
	if c.New != nil {
		return recordOf(v.Self(), c.Owner, *c.New)
	}
	return recordOf(v.Self(), c.Owner, *c.Old)
}

func recordChanges(self catalog.Owner, c catalog.Change, at time.Time) []Event {
	switch {
	case c.Old == nil:
		r := recordOf(self, c.Owner, *c.New)
		return []Event{{Kind: EventRecordAdded, Time: at, Record: &r}}
	case c.New == nil:
		r := recordOf(self, c.Owner, *c.Old)
		return []Event{{Kind: EventRecordGone, Time: at, Record: &r}}
	}
	old, r := recordOf(self, c.Owner, *c.Old), recordOf(self, c.Owner, *c.New)
	var events []Event
	tell := func(k EventKind) {
		events = append(events, Event{Kind: k, Time: at, Record: &r, Previous: &old})
	}
	if old.TTL != r.TTL || old.Priority != r.Priority || old.Weight != r.Weight ||
		old.Port != r.Port || old.CNAME != r.CNAME || !slices.Equal(old.Text, r.Text) {
		tell(EventChanged)
	}
	if old.Activity != r.Activity {
		tell(EventActivity)
	}
	// The number alone rises when an active node asserts its duty again.
	if old.Duty != r.Duty || old.Transition != r.Transition {
		tell(EventDuty)
	}
	return events
}

// memberChanges tells how members came and went. A member first seen in an end
// state and one that was forgotten are no news: nobody was told that they were
// there, or else their end was told already.
func memberChanges(was, now *catalog.View, at time.Time) []Event {
	var events []Event
	for c := range now.DiffMembers(was) {
		var kind EventKind
		switch c.New.Status {
		case catalog.Alive:
			kind = EventJoined
		case catalog.Dead:
			kind = EventLost
		case catalog.Left:
			kind = EventLeft
		case catalog.Removed:
			kind = EventRemoved
		default:
			continue
		}
		// A member that is dead already can still be removed by an operator;
		// all other ends are told of members that were there.
		removedLate := kind == EventRemoved && c.Old.Status != catalog.Unknown
		if kind != EventJoined && c.Old.Status != catalog.Alive && !removedLate {
			continue
		}
		told := memberOf(now, c.New)
		events = append(events, Event{Kind: kind, Time: at, Member: &told})
	}
	return events
}
