package control

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// EventKind says what changed.
type EventKind string

// The kinds of an event.
const (
	EventReady       EventKind = "ready"        // the stream is open; Member is the asked node
	EventEnd         EventKind = "end"          // the stream ends: the daemon is stopping
	EventMissed      EventKind = "missed"       // this reader was too slow: Missed events were not told
	EventJoined      EventKind = "joined"       // a member is there, for the first time or again
	EventLost        EventKind = "lost"         // a member is silent
	EventLeft        EventKind = "left"         // a member said goodbye
	EventRemoved     EventKind = "removed"      // a member was removed by an operator
	EventRecordAdded EventKind = "record-added" // a record is visible
	EventRecordGone  EventKind = "record-gone"  // a record is not visible any more
	EventActivity    EventKind = "activity"     // a record turned Active or Inactive
	EventDuty        EventKind = "duty"         // an activity check settled on another duty, or anew
	EventChanged     EventKind = "changed"      // TTL, priority, weight, port, text or target
	EventHealth      EventKind = "health"       // a health check of the asked node changed its mind
	EventHook        EventKind = "hook"         // a hook of the asked node has ended
)

// Event is one change of the table or of the members.
type Event struct {
	// Kind travels as the event's name and not in its data.
	Kind EventKind `json:"-"`
	// Time is when the asked node told it, by its own clock.
	Time time.Time `json:"time"`
	// Record is the record after the change (for EventRecordGone: before it),
	// Previous the one before it where both exist.
	Record   *Record `json:"record,omitempty"`
	Previous *Record `json:"previous,omitempty"`
	// Member is the member after the change.
	Member *Member `json:"member,omitempty"`
	// Transition is what an EventHealth or EventHook is about.
	Transition *Transition `json:"transition,omitempty"`
	// Missed is how many events of health checks and hooks were not told.
	Missed int `json:"missed,omitempty"`
}

// Transition is a change of health or duty of an alias of the asked node and, in
// an EventHook, how the hook that was run for it has ended.
type Transition struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
	// Kind is health or activity.
	Kind string `json:"kind"`
	// Status is healthy, unhealthy, active or inactive, Previous likewise or
	// unknown or undefined.
	Status   string `json:"status"`
	Previous string `json:"previous"`
	// Reason is what hooks get as MURAKUMO_REASON.
	Reason string `json:"reason"`
	// Number rises per alias and kind.
	Number uint64 `json:"number"`
	// Outcome is ok, failed, timed out or superseded, of a hook.
	Outcome string `json:"outcome,omitempty"`
	// Seconds is how long the hook ran.
	Seconds float64 `json:"duration,omitempty"`
	// Error is why the check is bad or the hook failed.
	Error string `json:"error,omitempty"`
}

// String tells the transition in one line.
func (t Transition) String() string {
	because := ""
	if t.Error != "" {
		because = ": " + t.Error
	}
	if t.Outcome == "" {
		return fmt.Sprintf("%s %s: %s -> %s (transition %d)%s", t.Address, t.Name, t.Previous, t.Status, t.Number, because)
	}
	took := ""
	if t.Seconds > 0 {
		took = fmt.Sprintf(" after %.3g s", t.Seconds)
	}
	return fmt.Sprintf("%s %s: hook for %s: %s%s (transition %d)%s", t.Address, t.Name, t.Status, t.Outcome, took, t.Number, because)
}

// String tells the event in one line without its time, as in
// "10.0.0.133 mysql-server: active -> inactive".
func (e Event) String() string {
	switch {
	case e.Kind == EventMissed:
		return fmt.Sprintf("%d changes of health and ends of hooks were not told: too slow", e.Missed)
	case e.Transition != nil:
		return e.Transition.String()
	case e.Member != nil:
		return fmt.Sprintf("node %s: %s", e.Member.Label(), e.Kind)
	case e.Record == nil:
		return string(e.Kind)
	}
	who := e.Record.Address.String() + " " + e.Record.Name + ": "
	now, was := e.Record, e.Previous
	if was == nil {
		switch e.Kind {
		case EventRecordAdded:
			weight := ""
			if now.Weight != 0 {
				weight = fmt.Sprintf(", weight %d", now.Weight)
			}
			return fmt.Sprintf("%sadded: ttl %d, %s%s%s, %s", who, now.TTL, now.Priority, weight, now.kind(), now.Activity)
		case EventRecordGone:
			return who + "gone"
		}
		return who + string(e.Kind)
	}
	switch e.Kind {
	case EventActivity:
		return who + was.Activity + " -> " + now.Activity
	case EventDuty:
		if was.Duty == now.Duty {
			return fmt.Sprintf("%sduty %s again (transition %d)", who, now.Duty, now.Transition)
		}
		return fmt.Sprintf("%sduty %s -> %s (transition %d)", who, was.Duty, now.Duty, now.Transition)
	}
	sep := ""
	add := func(format string, args ...any) {
		who += sep + fmt.Sprintf(format, args...)
		sep = ", "
	}
	if was.TTL != now.TTL {
		add("ttl %d -> %d", was.TTL, now.TTL)
	}
	if was.Priority != now.Priority {
		add("%s -> %s", was.Priority, now.Priority)
	}
	if was.Weight != now.Weight {
		add("weight %d -> %d", was.Weight, now.Weight)
	}
	if was.Port != now.Port {
		add("port %d -> %d", was.Port, now.Port)
	}
	if was.CNAME != now.CNAME {
		add("cname %s -> %s", cmp.Or(was.CNAME, "none"), cmp.Or(now.CNAME, "none"))
	}
	if !slices.Equal(was.Text, now.Text) {
		add("txt %q -> %q", was.Text, now.Text)
	}
	return who
}

// kind tells what a record has beside its address. Texts are quoted: they come from
// anybody's configuration, and go to a terminal.
func (r *Record) kind() string {
	text := ""
	if r.Port != 0 {
		text += fmt.Sprintf(", port %d", r.Port)
	}
	if r.CNAME != "" {
		text += ", cname " + r.CNAME
	}
	if len(r.Text) > 0 {
		text += fmt.Sprintf(", txt %q", r.Text)
	}
	return text
}
