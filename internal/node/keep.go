package node

import (
	"context"
	"os"
	"strings"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/failover"
)

// Keep makes the end of Run that follows one that keeps what this node is on
// duty for, as on-stop: keep does: no alias turns Inactive, no hook runs, no
// goodbye is said, and the next run goes on with the verdicts and duties of this
// one. When that is back within gossip-node-lifetime, nothing has changed for
// anybody. It is for a restart (`murakumo -d restart`): call it, then end Run's
// context. It may be called at any time and more than once.
func (c *Core) Keep() { c.stay.Store(true) }

// kept is what a run that kept its duties leaves for the next one.
type kept struct {
	// At is when the run ended, by this host's clock, and Boot the kernel's
	// life that it was in: an address that a hook put on a link is gone after a
	// reboot.
	At   time.Time `json:"at"`
	Boot string    `json:"boot"`
	// Health has the aliases that were healthy or not (true or false), Duty those
	// that this node was on duty for or not.
	Health map[string]bool `json:"health,omitempty"`
	Duty   map[string]bool `json:"duty,omitempty"`
}

// health is the verdict to go on from; unknown for a name that has none, and of
// nothing at all.
func (k *kept) health(name string) failover.Health {
	if k == nil {
		return failover.HealthUnknown
	}
	switch healthy, ok := k.Health[name]; {
	case !ok:
		return failover.HealthUnknown
	case healthy:
		return failover.Healthy
	}
	return failover.Unhealthy
}

// duty is the duty to go on from, likewise.
func (k *kept) duty(name string) catalog.Duty {
	if k == nil {
		return catalog.DutyUndefined
	}
	switch active, ok := k.Duty[name]; {
	case !ok:
		return catalog.DutyUndefined
	case active:
		return catalog.DutyActive
	}
	return catalog.DutyInactive
}

// usable says whether to go on from it: the hooks that ran then still hold, and
// nobody can have taken this node for dead and acted on it for long.
func (k *kept) usable(now time.Time, boot string, lifetime time.Duration) bool {
	gone := now.Sub(k.At) // less than nothing when the clock was set back
	return k.Boot == boot && gone >= 0 && gone < lifetime
}

// keep ends what decides, and writes down what the next run goes on from. Hooks
// that were begun are waited for: half of one leaves nothing to go on from.
func (c *Core) keep(ctx context.Context, stopDeciding func()) {
	c.drain(ctx) // while the checks can still hear of a failure
	stopDeciding()
	c.checks.wait()
	c.drain(ctx) // of what they decided last
	c.state.keep(c.records.kept())
	c.gossip.Stay()
}

// kept gives what the checks settled on. What is not sure is left out, and so
// begins anew.
func (r *records) kept() *kept {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &kept{At: time.Now(), Boot: bootID(), Health: map[string]bool{}, Duty: map[string]bool{}}
	for name, c := range r.checked {
		if c.leaving {
			continue
		}
		if c.hasHealth && c.health != failover.HealthUnknown {
			k.Health[name] = c.health == failover.Healthy
		}
		if c.hasDuty && c.standing.Duty != catalog.DutyUndefined && c.acted >= c.standing.Number && !c.unsure {
			k.Duty[name] = c.standing.Duty == catalog.DutyActive
		}
	}
	return k
}

// bootID tells this life of the kernel from others; "" where there is no such
// thing.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
