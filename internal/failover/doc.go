// Package failover decides: from verdicts of a probe whether an alias is
// healthy, and from the table whether this node is on duty for it.
//
// The deciding is pure. [StepHealth] and [StepDuty] take a state and an event
// and return the next state and the effects, which are data; they read no
// clock, take no lock and do no I/O, so a table or a random sequence of events
// tests them whole. [HealthDriver] and [DutyDriver] own the goroutines that
// feed them: the ticks, the probe, the changes of the table.
//
// The health of one alias:
//
//	            Rise good in a row
//	Unhealthy ─────────────────────▶ Healthy
//	    ▲    ◀─────────────────────    ▲
//	    │       Fall bad in a row      │
//	    │                              │
//	    └───────── Unknown ────────────┘
//	       first verdict, no hook
//
// The duty of one alias on this node, where "on duty" means: our record is
// Active and no Active record of another node is in a higher tier.
//
//	           Active rounds on duty
//	Inactive ─────────────────────────▶ Active ◀──┐ another that held the duty
//	    ▲   ◀─────────────────────────    ▲  └────┘ after us let go: reassert
//	    │     Inactive rounds off duty    │
//	    │                                 │
//	    └────────── Undefined ────────────┘
//	     a round that agrees with the configuration: no hook;
//	     rounds in a row that contradict it: a hook
//
// # Reassert
//
// What the hooks move (an interface, an address) can be at one place only,
// while two members can be active at once: on both sides of a cut, or between
// a master's return and the backup's next rounds. Whoever ran its hook last
// has the thing. So a member that stays active runs its hook again when a
// member that may have taken the thing after it lets go or dies. It is spared
// this when its own hook was started after the other's had ended, for then the
// thing is already here: the ordinary handover, in either order, runs each
// hook once.
//
// Gossip is not consensus. During a cut both sides may be on duty; what the
// rule above promises is that the thing ends where DNS points once they meet.
package failover
