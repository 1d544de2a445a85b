package gossip_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/sim"
)

// mrkmctl -c: what the dead, the left and the removed published is forgotten on
// all nodes, also on one that was away, and for good; the living keep theirs. One
// that comes back is there with all it has.
func TestForgetDead(t *testing.T) {
	story(t, 7, func(t *testing.T, c *cluster) {
		asked, away := c.all[0], c.all[3]
		dead, left, removed := c.all[4], c.all[5], c.all[6]
		living := c.all[:4]
		dead.crash(t)
		left.leave(t)
		if err := asked.g.Remove(removed.addr); err != nil {
			t.Fatal(err)
		}
		removed.leave(t)
		time.Sleep(15 * time.Second)
		heal := c.net.Cut(sim.Partition([]netip.Addr{away.addr}, addrs(c.all[:3])))
		time.Sleep(15 * time.Second)

		n, err := asked.g.ForgetDead(t.Context())
		if n != 4 || err != nil { // the one that is away is dead, too, as far as anybody knows
			t.Errorf("%d nodes, %v; want 4", n, err)
		}
		gone := func(hosts []*host) error {
			for _, h := range hosts {
				for i, o := range []*host{dead, left, removed} {
					if h.cat.View().Name(fmt.Sprintf("host-%d", i+5)) != nil {
						return fmt.Errorf("on %v host-%d is ours", h.addr, i+5)
					}
					if m, known := h.cat.View().Member(o.addr); known && m.Status != catalog.Removed {
						return fmt.Errorf("%v knows %v %v", h.addr, o.addr, m.Status)
					}
				}
			}
			return nil
		}
		within(t, 3*time.Second, "they are forgotten", func() error { return gone(c.all[:3]) })
		heal()
		within(t, 10*time.Second, "the one that was away is back, and heard of it", func() error {
			if err := agree(living); err != nil {
				return err
			}
			return gone(living)
		})
		for range 60 {
			if err := gone(living); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		for _, h := range living {
			if s := h.status(removed.addr); s != catalog.Removed {
				t.Errorf("%v sees the removed node %v", h.addr, s)
			}
		}
		if n, err := asked.g.ForgetDead(t.Context()); n != 0 || err != nil {
			t.Errorf("again: %d nodes, %v", n, err)
		}

		c.start(4, dead.cat.View().Own().Version())
		within(t, 10*time.Second, "the dead one is back", func() error { return agree(c.all[:5]) })
		// Its next death is an ordinary one: its name stays ours.
		c.all[4].crash(t)
		time.Sleep(30 * time.Second)
		for _, h := range living {
			if h.cat.View().Name("host-5") == nil {
				t.Errorf("on %v host-5 is not ours any more", h.addr)
			}
		}
	})
}

// Those who find a death a little later forget it as well.
func TestForgetDeadBeforeAllKnowOfTheDeath(t *testing.T) {
	story(t, 6, func(t *testing.T, c *cluster) {
		dead, living := c.all[5], c.all[:5]
		dead.crash(t)
		within(t, 10*time.Second, "the first one finds it dead", func() error {
			for _, h := range living {
				if h.status(dead.addr) == catalog.Dead {
					n, err := h.g.ForgetDead(t.Context())
					if n != 1 || err != nil {
						t.Errorf("%d, %v", n, err)
					}
					return nil
				}
			}
			return fmt.Errorf("nobody")
		})
		time.Sleep(10 * time.Second)
		for _, h := range living {
			if h.cat.View().Name("host-6") != nil {
				t.Errorf("on %v host-6 is still ours", h.addr)
			}
		}
	})
}
