package gossip_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/gossip"
	"murakumo/internal/sim"
)

// story runs n nodes that have come together.
func story(t *testing.T, n int, fn func(t *testing.T, c *cluster)) {
	t.Helper()
	storyWith(t, n, nil, fn)
}

func storyWith(t *testing.T, n int, edit func(*gossip.Config), fn func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, n, edit)
		defer c.end()
		c.settle()
		time.Sleep(3 * time.Second) // so that nothing of the beginning is under way
		fn(t, c)
	})
}

// A partition of any length heals by itself, within seconds of the network;
// both sides have hidden the other's records meanwhile, and what changed during
// the cut is known afterwards.
func TestPartitionHeals(t *testing.T) {
	for _, cut := range []time.Duration{10 * time.Second, 40 * time.Second, 5 * time.Minute} {
		t.Run(cut.String(), func(t *testing.T) {
			story(t, 10, func(t *testing.T, c *cluster) {
				left, right := c.all[:5], c.all[5:]
				heal := c.net.Cut(sim.Partition(addrs(left), addrs(right)))
				time.Sleep(cut)
				for _, h := range left {
					for _, o := range right {
						// Five nodes have to find five deaths, so a lifetime may not do.
						if cut > 10*time.Second && (h.status(o.addr) != catalog.Dead || o.status(h.addr) != catalog.Dead) {
							t.Errorf("after %v: %v sees %v %v, which sees it %v", cut, h.addr, o.addr, h.status(o.addr), o.status(h.addr))
						}
					}
				}
				left[2].put(record("changed", left[2].addr, 1))
				right[2].put(record("changed", right[2].addr, 2))
				within(t, 5*time.Second, "the changes are known within a side", func() error {
					return errors.Join(agree(left), agree(right))
				})
				heal()
				took := within(t, 10*time.Second, "the healing", func() error { return agree(c.all) })
				t.Logf("healed after %v", took)
			})
		})
	}
}

// A node that hears nothing, but is heard, loses all others, is lost by them,
// and disturbs nobody else. It is back within seconds of its hearing.
func TestDeafNode(t *testing.T) {
	story(t, 10, func(t *testing.T, c *cluster) {
		deaf, others := c.all[4], without(c.all, 4)
		heal := c.net.Cut(sim.Deaf(deaf.addr))
		start := time.Now()
		within(t, 10*time.Second, "the deaf node is lost", func() error {
			for _, h := range others {
				if h.status(deaf.addr) == catalog.Alive {
					return fmt.Errorf("%v sees it alive", h.addr)
				}
			}
			return nil
		})
		// It probes nine nodes in vain, one after the other (see awareness).
		within(t, 8*time.Second, "the deaf node loses the others", func() error {
			for _, h := range others {
				if deaf.status(h.addr) == catalog.Alive {
					return fmt.Errorf("it sees %v alive", h.addr)
				}
			}
			return nil
		})
		for time.Since(start) < time.Minute {
			if err := agree(others); err != nil {
				t.Fatalf("after %v: %v", time.Since(start), err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		for _, h := range others {
			if n := len(h.log.with("node lost")); n != 1 {
				t.Errorf("%v lost %d nodes, want 1: %q", h.addr, n, h.log.with("node lost"))
			}
		}
		heal()
		within(t, 10*time.Second, "the healing", func() error { return agree(c.all) })
	})
}

// One pair of nodes that cannot hear each other is no reason to lose anybody.
func TestOnePairCut(t *testing.T) {
	story(t, 5, func(t *testing.T, c *cluster) {
		c.net.Cut(sim.Partition([]netip.Addr{c.all[0].addr}, []netip.Addr{c.all[1].addr}))
		for range 600 {
			if err := agree(c.all); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// A restart whose state file is lost begins with version 1 while peers hold
// version 51: the new content wins everywhere within 5 s.
func TestRestartWithStateLost(t *testing.T) {
	story(t, 10, func(t *testing.T, c *cluster) {
		h := c.all[3]
		for i := range 50 {
			h.put(record("old", h.addr, uint32(i+1)))
		}
		within(t, 3*time.Second, "the old content is known", func() error { return agree(c.all) })
		h.crash(t)
		time.Sleep(20 * time.Second)
		c.start(3, 0)
		h.put(record("new", h.addr, 1))
		within(t, 5*time.Second, "the new content wins", func() error { return agree(c.all) })
		for _, o := range c.all {
			if _, ok := o.set(h.addr).Get(catalog.Key{Name: "old", Addr: h.addr}); ok {
				t.Errorf("%v still has the old record", o.addr)
			}
		}
		if got := h.log.with("went past it"); len(got) != 1 {
			t.Errorf("the log of the restarted node: %q", got)
		}
	})
}
