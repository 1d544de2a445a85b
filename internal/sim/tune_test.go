package sim_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"murakumo/internal/sim"
)

// TestTuned: one host after the other gets another lifetime (mrkmctl -s) while the
// service runs. No host loses a record for a moment, no duty changes hands, no hook
// runs; and when the master dies it is the new lifetime that counts.
func TestTuned(t *testing.T) {
	story(t, func(c *sim.Cluster) *sim.Host {
		master, secondary := c.Hosts[0], c.Hosts[1]
		time.Sleep(30 * time.Second) // until every duty is settled
		table, hooks := master.Table(), len(c.World.Moves())
		for round, lifetime := range []string{"4", "20", "3"} {
			for _, h := range c.Hosts {
				if _, err := h.Core().SetAttribute(context.Background(), "node_lifetime", lifetime); err != nil {
					t.Fatal(err)
				}
				for _, o := range c.Hosts {
					if got := o.Table(); got != table {
						t.Fatalf("round %d, %s tuned: %s has another table:\n%s", round, h.Addr, o.Addr, got)
					}
				}
				time.Sleep(300 * time.Millisecond)
			}
			c.Holds(25*time.Second, "tuned to "+lifetime, func() string {
				for _, o := range c.Hosts {
					if got := o.Table(); got != table {
						return fmt.Sprintf("%s has another table:\n%s", o.Addr, got)
					}
				}
				return c.Settled(master)
			})
		}
		if got := c.World.Moves(); len(got) != hooks {
			t.Errorf("hooks ran: %q", got[hooks:])
		}
		master.Kill()
		// The lifetime of 3 s, two rounds of 2 s and the hook.
		c.Within(9*time.Second, "the secondary takes over", func() string { return c.Settled(secondary) })
		master.Start() // with the lifetime of its file
		return master
	})
}
