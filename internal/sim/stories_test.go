package sim_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/control"
	"murakumo/internal/sim"
)

// settling is what a fleet needs at most after the last fault to be whole and
// still again: a rejoin, the spreading of its news, two rounds of 2 s on either
// side of the handover, a probe and a hook each.
const settling = 30 * time.Second

// story runs f on a fleet that is up and settled on its master, and checks at
// the end that it comes to rest with the address where DNS points.
func story(t *testing.T, f func(c *sim.Cluster) (end *sim.Host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := sim.NewCluster(t, size)
		c.Start()
		defer c.Stop()
		// At the very first start nobody has moved the address yet: the
		// master's first state runs no hook.
		c.World.Place(c.Hosts[0].Addr)
		c.Within(60*time.Second, "the fleet comes up", func() string { return c.Settled(c.Hosts[0]) })
		end := f(c)
		c.Within(settling, "the fleet comes to rest", func() string { return c.Settled(end) })
		c.Holds(15*time.Second, "at rest", func() string { return c.Settled(end) })
		synctest.Wait()
	})
}

// TestServiceFails: the service of the master fails and comes back. Each side's
// hooks run once.
func TestServiceFails(t *testing.T) {
	story(t, func(c *sim.Cluster) *sim.Host {
		master, secondary := c.Hosts[0], c.Hosts[1]
		master.Break()
		// Two bad probes 1 s apart, then two rounds 2 s apart on each side.
		c.Within(12*time.Second, "the secondary takes over", func() string { return c.Settled(secondary) })
		c.Holds(10*time.Second, "and keeps it", func() string { return c.Settled(secondary) })
		if n := count(c, secondary, "active"); n != 1 {
			t.Errorf("the secondary's hook ran %d times at the takeover, want 1:\n%s", n, moves(c))
		}
		master.Mend()
		c.Within(12*time.Second, "the master returns", func() string { return c.Settled(master) })
		c.Holds(10*time.Second, "and keeps it", func() string { return c.Settled(master) })
		if n := count(c, master, "active"); n != 1 {
			t.Errorf("the master's hook ran %d times at the return, want 1:\n%s", n, moves(c))
		}
		return master
	})
}

// TestCrash: the master's host is gone; the secondary takes over; the host comes
// back and with it the duty and the address.
func TestCrash(t *testing.T) {
	story(t, func(c *sim.Cluster) *sim.Host {
		master, secondary := c.Hosts[0], c.Hosts[1]
		master.Kill()
		// The lifetime, two rounds and the hook.
		c.Within(17*time.Second, "the secondary takes over", func() string { return c.Settled(secondary) })
		// The name of the dead host stays ours.
		if secondary.View().Name("server-01") == nil {
			t.Error("server-01 is no longer ours: a query for it would be asked of others")
		}
		master.Start()
		return master
	})
}

// TestBothDown: the secondary, which has the address, loses power as well before
// the master is back. Nobody runs a hook for a first state; but the master
// remembers what it has answered, and this it has not.
func TestBothDown(t *testing.T) {
	story(t, func(c *sim.Cluster) *sim.Host {
		master, secondary := c.Hosts[0], c.Hosts[1]
		master.Kill()
		c.Within(17*time.Second, "the secondary takes over", func() string { return c.Settled(secondary) })
		secondary.Kill()
		time.Sleep(time.Second)
		secondary.Start()
		master.Start()
		return master
	})
}

// TestQuickRestart: back within the lifetime, nobody took over, no hook runs.
func TestQuickRestart(t *testing.T) {
	story(t, func(c *sim.Cluster) *sim.Host {
		master := c.Hosts[0]
		before := len(c.World.Moves())
		master.Kill()
		c.Holds(4*time.Second, "less than half a lifetime is no death", func() string {
			for _, h := range c.Hosts[1:] {
				if at := h.Points(); len(at) != 1 || at[0] != master.Addr {
					return fmt.Sprintf("on %s DNS points to %v", h.Addr, at)
				}
			}
			return ""
		})
		master.Start()
		c.Within(settling, "as before", func() string { return c.Settled(master) })
		for _, m := range c.World.Moves()[before:] {
			if !strings.Contains(m, "reassert") {
				t.Errorf("a hook ran that is no reassert: %s", m)
			}
		}
		return master
	})
}

// TestRestartWithLostState: the disk is new, so version and transition numbers
// would begin anew; the peers know better.
func TestRestartWithLostState(t *testing.T) {
	story(t, func(c *sim.Cluster) *sim.Host {
		master, other := c.Hosts[0], c.Hosts[size-1]
		for i := range 20 { // let the version rise
			add(t, master, fmt.Sprintf("old-%d", i))
		}
		c.Within(10*time.Second, "all know", func() string { return knows(c, "old-19") })
		was, _ := other.View().Member(master.Addr)
		master.Kill()
		master.WipeDisk()
		master.Start()
		add(t, master, "new")
		c.Within(5*time.Second, "the new records win", func() string {
			if other.View().Name("new") == nil {
				return "the new record is missing"
			}
			if n := other.View().Name("old-3"); n != nil && len(n.Entries()) > 0 {
				return "a record of the former life is answered"
			}
			return ""
		})
		if is, _ := other.View().Member(master.Addr); is.Set.Version() <= was.Set.Version() {
			t.Errorf("version %d after %d", is.Set.Version(), was.Set.Version())
		}
		return master
	})
}

// TestPartition: a cut through the middle, with the master on one side and the
// rest of the service on the other, that heals.
func TestPartition(t *testing.T) {
	for _, d := range []time.Duration{10 * time.Second, 5 * time.Minute} {
		t.Run(d.String(), func(t *testing.T) {
			story(t, func(c *sim.Cluster) *sim.Host {
				master, secondary := c.Hosts[0], c.Hosts[1]
				heal := c.Net.Cut(sim.Partition(halves(c)))
				time.Sleep(d)
				if d > time.Minute {
					// Both sides go on: each answers with what it can see.
					if at := secondary.Points(); len(at) != 1 || at[0] != secondary.Addr {
						t.Errorf("on the far side DNS points to %v", at)
					}
					if at := master.Points(); len(at) != 1 || at[0] != master.Addr {
						t.Errorf("on the master's side DNS points to %v", at)
					}
				}
				heal()
				c.Within(10*time.Second, "all hosts are seen again", func() string { return allSeen(c) })
				return master
			})
		})
	}
}

// TestDeaf: one host, the master, hears nothing for a while and is heard by all.
func TestDeaf(t *testing.T) {
	story(t, func(c *sim.Cluster) *sim.Host {
		heal := c.Net.Cut(sim.Deaf(c.Hosts[0].Addr))
		time.Sleep(40 * time.Second)
		heal()
		c.Within(10*time.Second, "all hosts are seen again", func() string { return allSeen(c) })
		return c.Hosts[0]
	})
}

// TestDeletedDuringPartition: what was added and deleted while a part of the
// fleet could not hear it does not come back from there.
func TestDeletedDuringPartition(t *testing.T) {
	story(t, func(c *sim.Cluster) *sim.Host {
		near := c.Hosts[0]
		add(t, near, "kept")
		add(t, near, "deleted")
		c.Within(10*time.Second, "all know both", func() string { return knows(c, "deleted") + knows(c, "kept") })
		heal := c.Net.Cut(sim.Partition(halves(c)))
		time.Sleep(time.Second)
		if err := near.Core().DeleteRecords(t.Context(), []string{"deleted"}); err != nil {
			t.Error(err)
		}
		add(t, near, "brief")
		time.Sleep(time.Minute)
		if err := near.Core().DeleteRecords(t.Context(), []string{"brief"}); err != nil {
			t.Error(err)
		}
		heal()
		c.Within(10*time.Second, "all hosts are seen again", func() string { return allSeen(c) })
		c.Within(10*time.Second, "the deletion is known", func() string { return answered(c, "deleted") + answered(c, "brief") })
		c.Holds(30*time.Second, "and stays known", func() string {
			return answered(c, "deleted") + answered(c, "brief") + knows(c, "kept")
		})
		return near
	})
}

// TestShutdown: a node that is stopped hands over at once; no lifetime passes.
func TestShutdown(t *testing.T) {
	story(t, func(c *sim.Cluster) *sim.Host {
		master, secondary := c.Hosts[0], c.Hosts[1]
		master.Shutdown()
		c.Within(2*time.Second, "the goodbye is heard", func() string {
			for _, h := range c.Hosts[1:] {
				if m, _ := h.View().Member(master.Addr); m.Status != catalog.Left {
					return fmt.Sprintf("%s has it as %v", h.Addr, m.Status)
				}
			}
			return ""
		})
		// Two rounds of 2 s, a hook, and the spreading of a few gossip rounds.
		c.Within(8*time.Second, "the secondary takes over", func() string { return c.Settled(secondary) })
		return secondary
	})
}

// halves puts the master and every other third host on one side and the rest,
// with the secondary and the backups, on the other.
func halves(c *sim.Cluster) (a, b []netip.Addr) {
	for i, h := range c.Hosts {
		if i == 0 || i > 3 && i%2 == 0 {
			a = append(a, h.Addr)
		} else {
			b = append(b, h.Addr)
		}
	}
	return a, b
}

func add(t *testing.T, h *sim.Host, name string) {
	t.Helper()
	_, err := h.Core().AddRecords(context.Background(), []control.RecordSpec{{Name: name, TTL: 60, Priority: catalog.Master, Weight: 100}})
	if err != nil {
		t.Fatal(err)
	}
}

// knows says which host does not answer the name.
func knows(c *sim.Cluster, name string) string {
	for _, h := range c.Hosts {
		if n := h.View().Name(name); n == nil || len(n.Entries()) == 0 {
			return fmt.Sprintf("%s does not answer %s; ", h.Addr, name)
		}
	}
	return ""
}

// answered says which host answers the name.
func answered(c *sim.Cluster, name string) string {
	for _, h := range c.Hosts {
		if n := h.View().Name(name); n != nil && len(n.Entries()) > 0 {
			return fmt.Sprintf("%s answers %s; ", h.Addr, name)
		}
	}
	return ""
}

// allSeen says who misses whom.
func allSeen(c *sim.Cluster) string {
	for _, h := range c.Hosts {
		n := 0
		for e := range h.View().Entries() {
			if e.Priority == catalog.Origin {
				n++
			}
		}
		if n != len(c.Hosts) {
			return fmt.Sprintf("%s sees %d of %d hosts", h.Addr, n, len(c.Hosts))
		}
	}
	return ""
}

// count is how often a host's hook ran with a status.
func count(c *sim.Cluster, h *sim.Host, status string) (n int) {
	for _, m := range c.World.Moves() {
		if strings.Contains(m, " "+h.Addr.String()+" "+status+" ") {
			n++
		}
	}
	return n
}

func moves(c *sim.Cluster) string { return strings.Join(c.World.Moves(), "\n") }
