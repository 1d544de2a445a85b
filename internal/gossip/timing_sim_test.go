package gossip_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/gossip"
)

// A silent node is dead everywhere in 0.5 to 1.0 lifetimes, whatever the size
// of the cluster (product: gossip-node-lifetime).
func TestDeathIsKnownInTime(t *testing.T) {
	for _, c := range []struct {
		nodes    int
		lifetime time.Duration
		deaths   int
	}{
		{2, 10 * time.Second, 1},
		{5, 10 * time.Second, 3},
		{20, 10 * time.Second, 4},
		{60, 10 * time.Second, 3},
		{5, 500 * time.Millisecond, 3},
		{20, 500 * time.Millisecond, 3},
	} {
		t.Run(fmt.Sprintf("%d nodes, lifetime %v", c.nodes, c.lifetime), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := newCluster(t, c.nodes, func(cfg *gossip.Config) { cfg.Lifetime = c.lifetime })
				defer cl.end()
				t.Logf("together after %v", cl.settle())
				time.Sleep(c.lifetime)
				living := cl.all
				for range c.deaths {
					time.Sleep(c.lifetime/3 + 37*time.Millisecond)
					last := len(living) - 1
					victim := living[last]
					living = living[:last]
					died := time.Now()
					victim.crash(t)
					first := time.Duration(0)
					all := within(t, 2*c.lifetime, "the death is known", func() error {
						unaware := 0
						for _, h := range living {
							if h.status(victim.addr) == catalog.Alive {
								unaware++
							} else if first == 0 {
								first = time.Since(died)
							}
						}
						if unaware > 0 {
							return fmt.Errorf("%d of %d do not know", unaware, len(living))
						}
						return nil
					})
					t.Logf("first after %.2f L, all after %.2f L", first.Seconds()/c.lifetime.Seconds(), all.Seconds()/c.lifetime.Seconds())
					if first < c.lifetime/2 || all > c.lifetime {
						t.Errorf("dead at first after %v, everywhere after %v; want %v to %v", first, all, c.lifetime/2, c.lifetime)
					}
				}
				for _, h := range living {
					for _, o := range living {
						if h.status(o.addr) != catalog.Alive {
							t.Errorf("%v sees %v %v, which lives", h.addr, o.addr, h.status(o.addr))
						}
					}
				}
			})
		})
	}
}
