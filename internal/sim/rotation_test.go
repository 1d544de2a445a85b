package sim_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/config"
	"murakumo/internal/sim"
)

// The keys of a rotation.
const (
	oldKey = "a key for the simulation"
	newKey = "another key for the simulation"
)

// rekey makes a host's daemon take other keys in.
func rekey(t *testing.T, h *sim.Host, keys ...string) {
	t.Helper()
	h.Edit(func(cfg *config.Config) { cfg.AuthKeys = keys })
	if err := h.Reload(); err != nil {
		t.Fatal(err)
	}
}

// watch looks at every step of virtual time whether all hosts see all, until it
// is stopped, and says when it was first otherwise.
func watch(c *sim.Cluster) (stop func() string) {
	quit, wrong := make(chan struct{}), make(chan string)
	go func() {
		first := ""
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				wrong <- first
				return
			case now := <-tick.C:
				if first == "" {
					if first = allSeen(c); first != "" {
						first = now.Format("15:04:05.000 ") + first
					}
				}
			}
		}
	}()
	return sync.OnceValue(func() string { close(quit); return <-wrong })
}

// three is a story of three hosts, which is settled on its master.
func three(t *testing.T, f func(t *testing.T, c *sim.Cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := sim.NewCluster(t, 3)
		c.Start()
		defer c.Stop()
		c.World.Place(c.Hosts[0].Addr)
		c.Within(30*time.Second, "all come up", func() string { return c.Settled(c.Hosts[0]) })
		f(t, c)
	})
}

// TestKeyRotation: the new key behind the old one everywhere, then in front of
// it, then alone, one host after the other; between any two steps minutes may
// pass. At no moment is a record missing anywhere, and what changes meanwhile is
// known everywhere at once.
func TestKeyRotation(t *testing.T) {
	three(t, func(t *testing.T, c *sim.Cluster) {
		start := time.Now()
		stop := watch(c)
		defer stop()
		n := 0
		for _, keys := range [][]string{{oldKey, newKey}, {newKey, oldKey}, {newKey}} {
			for _, h := range c.Hosts {
				rekey(t, h, keys...)
				// News from each host to each, while some have gone ahead.
				for _, from := range c.Hosts {
					n++
					name := fmt.Sprintf("news-%d", n)
					add(t, from, name)
					c.Within(2*time.Second, "news are known", func() string { return knows(c, name) })
				}
				time.Sleep(25 * time.Second) // longer than a lifetime
			}
		}
		if wrong := stop(); wrong != "" {
			t.Errorf("a record was missing: %s", wrong)
		}
		if wrong := c.Settled(c.Hosts[0]); wrong != "" {
			t.Error(wrong)
		}
		for _, h := range c.Hosts {
			if at := h.Logged(start, "could decrypt"); len(at) > 0 {
				t.Errorf("%s could not read something at %v", h.Addr, at)
			}
			if log := h.Logged(start, "node lost"); len(log) > 0 {
				t.Errorf("%s lost somebody", h.Addr)
			}
		}
		if len(c.World.Moves()) > 0 {
			t.Errorf("hooks ran: %s", moves(c))
		}
	})
}

// TestKeyRotationMissed: a host that missed it is alone: nobody sees it and it
// sees nobody, its log says why, and the moment that it has the key it is back.
func TestKeyRotationMissed(t *testing.T) {
	three(t, func(t *testing.T, c *sim.Cluster) {
		missed := c.Hosts[2]
		for _, keys := range [][]string{{oldKey, newKey}, {newKey, oldKey}, {newKey}} {
			for _, h := range c.Hosts[:2] {
				rekey(t, h, keys...)
			}
			time.Sleep(5 * time.Second)
		}
		apart := func() string {
			for _, h := range c.Hosts {
				for _, other := range c.Hosts {
					alone := (h == missed) != (other == missed)
					if m, _ := h.View().Member(other.Addr); (m.Status == catalog.Alive) == alone {
						return fmt.Sprintf("%s has %s as %v", h.Addr, other.Addr, m.Status)
					}
				}
			}
			return ""
		}
		c.Within(15*time.Second, "it is alone", apart)
		since := time.Now()
		add(t, missed, "alone")
		add(t, c.Hosts[0], "together")
		c.Holds(time.Minute, "and stays alone", apart)
		if n := missed.View().Name("together"); n != nil {
			t.Error("it took something in that it should not be able to read")
		}
		at := missed.Logged(since, "could decrypt")
		if len(at) < 10 {
			t.Errorf("its log says %d times in a minute why it is alone:\n%s", len(at), missed.Log(since))
		}
		for i := range at[1:] {
			if gap := at[i+1].Sub(at[i]); gap < time.Second {
				t.Errorf("said twice within %v", gap)
			}
		}
		if len(missed.Logged(since, "auth-key")) != len(at) {
			t.Errorf("the hint is missing:\n%s", missed.Log(since))
		}
		rekey(t, missed, newKey)
		c.Within(10*time.Second, "it is back", func() string { return allSeen(c) + knows(c, "alone") + knows(c, "together") })
		c.Within(settling, "and all is well", func() string { return c.Settled(c.Hosts[0]) })
	})
}
