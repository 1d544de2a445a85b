package failover

import (
	"net/netip"
	"time"

	"murakumo/internal/catalog"
)

// HealthRule is how a health check's verdicts become a state.
type HealthRule struct {
	// Interval is the time from the start of one probe to the start of the
	// next, Timeout when a probe that has not answered counts as bad.
	Interval, Timeout time.Duration
	// Rise successes in a row turn the alias healthy, Fall failures in a row
	// turn it unhealthy. Both are at least 1.
	Rise, Fall int
	// Init is the state before the first verdict. With HealthUnknown the
	// record is Inactive until the first verdict, which alone decides.
	Init Health
}

// Health is what a health check last settled on.
type Health uint8

// The states of a health check.
const (
	HealthUnknown Health = iota
	Healthy
	Unhealthy
)

// String gives unknown, healthy or unhealthy.
func (h Health) String() string {
	switch h {
	case Healthy:
		return "healthy"
	case Unhealthy:
		return "unhealthy"
	}
	return "unknown"
}

// DutyRule is how rounds become a duty.
type DutyRule struct {
	// StartDelay is the time before the first round, Interval the time
	// between rounds.
	StartDelay, Interval time.Duration
	// Active rounds of yes in a row turn the node active for the alias,
	// Inactive rounds of no turn it inactive. Both are at least 1.
	Active, Inactive int
	// Init is the duty before the first round; DutyUndefined asks the first
	// rounds.
	Init catalog.Duty
}

// Kind tells the two checkers apart, in hook queues and in notices.
type Kind uint8

// The kinds of a transition.
const (
	KindHealth Kind = iota + 1
	KindActivity
)

// String gives Health or Activity, as in the subject of a notice.
func (k Kind) String() string {
	if k == KindHealth {
		return "Health"
	}
	return "Activity"
}

// Reason is why a transition happened; hooks get it as MURAKUMO_REASON.
type Reason string

// The reasons of a transition.
const (
	ReasonStart    Reason = "start"    // the first state contradicts what the file gives
	ReasonFailover Reason = "failover" // the member before us stopped being healthy or alive, or we did
	ReasonReturn   Reason = "return"   // a higher tier is back, here or elsewhere
	ReasonReassert Reason = "reassert" // still active, but another held the duty meanwhile
	ReasonShutdown Reason = "shutdown" // the daemon stops
	ReasonManual   Reason = "manual"   // an operator took the alias away
)

// Transition is one change of health or duty of one alias of this node: what a
// hook is run for and what a notice tells.
type Transition struct {
	Kind Kind
	Name string
	Addr netip.Addr
	// Status is active, inactive, healthy or unhealthy; Previous likewise,
	// or undefined or unknown.
	Status, Previous string
	Reason           Reason
	// Number rises per alias and kind and survives restarts.
	Number uint64
}
