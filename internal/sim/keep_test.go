package sim_test

import (
	"fmt"
	"testing"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/config"
	"murakumo/internal/sim"
)

// still watches from every other host that nothing changes about a host's
// records: it stays where it was in DNS, with the duty and the transition that
// it had.
func still(c *sim.Cluster, h *sim.Host) func() string {
	look := func(from *sim.Host) string {
		text := ""
		for e := range from.View().Entries() {
			if e.Owner == h.Addr {
				text += fmt.Sprintf("%s active=%v %s %d %d %d\n", e.Name, e.Active, e.Duty, e.Transition, e.Activated, e.Acted)
			}
		}
		m, _ := from.View().Member(h.Addr)
		if m.Status != catalog.Alive {
			text += m.Status.String()
		}
		return text
	}
	was := map[*sim.Host]string{}
	for _, from := range c.Hosts {
		if from != h && from.Running() {
			was[from] = look(from)
		}
	}
	moves := len(c.World.Moves())
	return func() string {
		for from, before := range was {
			if now := look(from); now != before {
				return fmt.Sprintf("%s sees\n%s\nand saw\n%s", from.Addr, now, before)
			}
		}
		if n := len(c.World.Moves()); n != moves {
			return "a hook ran"
		}
		return ""
	}
}

// pause restarts a host with its duties kept, and watches that nobody notices.
func pause(c *sim.Cluster, h *sim.Host, away time.Duration) {
	time.Sleep(2 * time.Second) // the end of a hook is told after it
	unchanged := still(c, h)
	h.Pause()
	c.Holds(away, "while it is away", unchanged)
	h.Start()
	c.Holds(45*time.Second, "when it is back", unchanged)
}

// TestPause: a restart that keeps what the host is on duty for changes nothing
// for anybody: for the master in its duty, for one that took over, for one that
// is in reserve, and for one whose service is broken.
func TestPause(t *testing.T) {
	story(t, func(c *sim.Cluster) *sim.Host {
		master, secondary := c.Hosts[0], c.Hosts[1]
		pause(c, master, 3*time.Second)
		pause(c, secondary, 3*time.Second)
		master.Break()
		c.Within(12*time.Second, "the secondary takes over", func() string { return c.Settled(secondary) })
		pause(c, secondary, 3*time.Second)
		pause(c, master, 3*time.Second)
		if n := count(c, secondary, "active"); n != 1 {
			t.Errorf("the secondary's hook ran %d times, want 1:\n%s", n, moves(c))
		}
		// What was kept is no more than a beginning.
		master.Mend()
		c.Within(12*time.Second, "the master returns", func() string { return c.Settled(master) })
		return master
	})
}

// TestPauseByFile: on-stop: keep does it at any stop.
func TestPauseByFile(t *testing.T) {
	story(t, func(c *sim.Cluster) *sim.Host {
		master := c.Hosts[0]
		master.Edit(func(cfg *config.Config) { cfg.OnStop = config.Keep })
		if err := master.Reload(); err != nil {
			t.Fatal(err)
		}
		unchanged := still(c, master)
		master.Shutdown()
		c.Holds(3*time.Second, "while it is away", unchanged)
		master.Start()
		c.Holds(20*time.Second, "when it is back", unchanged)
		return master
	})
}

// TestPauseTooLong: who keeps its duties and does not come back in time is as
// dead as anybody. One that comes back after the lifetime begins anew; one that
// comes back just before, when the others have acted already, goes on from what
// it had and asserts itself when they let go.
func TestPauseTooLong(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%v", late), func(t *testing.T) {
			story(t, func(c *sim.Cluster) *sim.Host {
				master, secondary := c.Hosts[0], c.Hosts[1]
				away := time.Now()
				master.Pause()
				c.Within(17*time.Second, "the secondary takes over", func() string { return c.Settled(secondary) })
				if late {
					time.Sleep(time.Until(away.Add(12 * time.Second)))
				}
				back := time.Now()
				master.Start()
				c.Within(settling, "the master has it again", func() string { return c.Settled(master) })
				if n := len(master.Logged(back, "activity resumed")); late && n > 0 || !late && back.Sub(away) < 10*time.Second && n == 0 {
					t.Errorf("after %v it went on from its duty %d times", back.Sub(away), n)
				}
				return master
			})
		})
	}
}

// TestPauseInAHook: a hook that runs when the host is told to stop is waited for,
// and the duty that it was for is kept.
func TestPauseInAHook(t *testing.T) {
	story(t, func(c *sim.Cluster) *sim.Host {
		master, secondary := c.Hosts[0], c.Hosts[1]
		master.Break()
		c.Within(12*time.Second, "the secondary's hook begins", func() string {
			for _, e := range secondary.View().Name(sim.Service).Entries() {
				if e.Owner == secondary.Addr && e.Duty == catalog.DutyActive {
					return ""
				}
			}
			return "not active"
		})
		before := count(c, secondary, "active")
		secondary.Pause()
		if n := count(c, secondary, "active"); n != before+1 {
			t.Errorf("the hook was cut short: %d ends, %d before", n, before)
		}
		secondary.Start()
		c.Within(12*time.Second, "and has it", func() string { return c.Settled(secondary) })
		if n := count(c, secondary, "active"); n != before+1 {
			t.Errorf("the hook ran again:\n%s", moves(c))
		}
		return secondary
	})
}
