package gossip_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/gossip"
	"murakumo/internal/sim"
)

// quick is a tuning with a fifth of the usual lifetime.
var quick = gossip.Tuning{Lifetime: 2 * time.Second, SendInterval: 100 * time.Millisecond, ReceiveTimeout: time.Second}

// watchLosses fails the test if any host's view ever shows a host as anything
// but alive, or without its records, until it is stopped.
func watchLosses(t *testing.T, all []*host) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			for _, h := range all {
				v := h.cat.View()
				for _, o := range all {
					if m, _ := v.Member(o.addr); m.Status != catalog.Alive || m.Set == nil || m.Set.Len() == 0 {
						t.Errorf("%v sees %v %v with %v", h.addr, o.addr, m.Status, m.Set)
						return
					}
				}
			}
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() { close(done); <-ended }
}

// Every node in turn is tuned, again and again: nobody ever loses a record or a
// member, what is published in the very moment arrives, and in the end the new
// lifetime is the one that counts.
func TestTune(t *testing.T) {
	for _, n := range []int{2, 10} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			story(t, n, func(t *testing.T, c *cluster) {
				stop := watchLosses(t, c.all)
				for round := range 3 {
					for i, h := range c.all {
						tuning := gossip.Tuning{Lifetime: time.Duration(5+round+i%2) * time.Second, SendInterval: 200 * time.Millisecond, ReceiveTimeout: 2 * time.Second}
						h.put(record("before", h.addr, uint32(round+1)))
						if err := h.g.Tune(t.Context(), tuning); err != nil {
							t.Fatal(err)
						}
						h.put(record("after", h.addr, uint32(round+1)))
						if got := h.g.Tuning(); got != tuning {
							t.Errorf("tuning is %v", got)
						}
						within(t, 3*time.Second, "what was published around it is known", func() error { return agree(c.all) })
						time.Sleep(rand.N(500 * time.Millisecond))
					}
				}
				time.Sleep(20 * time.Second)
				for _, h := range c.all {
					if err := h.g.Tune(t.Context(), quick); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(10 * time.Second)
				stop()
				for _, h := range c.all {
					if got := append(h.log.with("node lost"), h.log.with("node left")...); len(got) > 0 {
						t.Errorf("%v: %q", h.addr, got)
					}
				}
				dead, others := c.all[n-1], c.all[:n-1]
				dead.crash(t)
				took := within(t, quick.Lifetime, "with the new lifetime a death is known sooner", func() error {
					for _, h := range others {
						if s := h.status(dead.addr); s != catalog.Dead {
							return fmt.Errorf("%v sees it %v", h.addr, s)
						}
					}
					return nil
				})
				if took < quick.Lifetime/2 {
					t.Errorf("dead after %v: earlier than half a lifetime", took)
				}
			})
		})
	}
}

// With the shortest lifetime there is no time to lose in finding the others
// again, who are slow to ask.
func TestTuneToTheShortest(t *testing.T) {
	story(t, 2, func(t *testing.T, c *cluster) {
		g := c.all[0].g
		slow := g.Tuning()
		stop := watchLosses(t, c.all)
		for range 8 {
			for _, tuning := range []gossip.Tuning{
				{Lifetime: 500 * time.Millisecond, SendInterval: 10 * time.Millisecond, ReceiveTimeout: time.Second}, slow,
			} {
				if err := g.Tune(t.Context(), tuning); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Second)
			}
		}
		stop()
	})
}

// A node that dies while another one is being tuned is found dead all the same,
// though the new member list never saw it; and one that cannot be reached just
// then is found again.
func TestTuneWhileNodesAreAway(t *testing.T) {
	story(t, 6, func(t *testing.T, c *cluster) {
		tuned, dead, away := c.all[3], c.all[4], c.all[5]
		dead.crash(t)
		heal := c.net.Cut(sim.Partition([]netip.Addr{away.addr}, []netip.Addr{tuned.addr}))
		if err := tuned.g.Tune(t.Context(), quick); err != nil {
			t.Fatal(err)
		}
		if s := tuned.status(dead.addr); s != catalog.Alive {
			t.Errorf("the dead node is %v at once: nobody can know that yet", s)
		}
		within(t, quick.Lifetime+quick.Lifetime/2, "the dead node", func() error {
			if s := tuned.status(dead.addr); s != catalog.Dead {
				return fmt.Errorf("it is %v", s)
			}
			return nil
		})
		if s := tuned.status(away.addr); s != catalog.Alive {
			t.Errorf("the node that others reach is %v", s)
		}
		heal()
		living := append(c.all[:4:4], away)
		within(t, 10*time.Second, "all others are there", func() error { return agree(living) })
	})
}

// All nodes at once, on a network that loses every fifth packet.
func TestTuneAllAtOnce(t *testing.T) {
	story(t, 10, func(t *testing.T, c *cluster) {
		c.net.SetLoss(0.2)
		stop := watchLosses(t, c.all)
		for range 5 {
			for i, h := range c.all {
				if err := h.g.Tune(t.Context(), gossip.Tuning{Lifetime: time.Duration(8+i%3) * time.Second, SendInterval: 300 * time.Millisecond, ReceiveTimeout: 3 * time.Second}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * time.Second)
			for _, h := range c.all {
				if err := h.g.Tune(t.Context(), gossip.Tuning{Lifetime: 10 * time.Second, SendInterval: 300 * time.Millisecond, ReceiveTimeout: 3 * time.Second}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(20 * time.Second)
		}
		stop()
	})
}

// An operator's word that was just said is not lost with the list that was to
// spread it.
func TestTuneKeepsWhatWasJustSaid(t *testing.T) {
	story(t, 5, func(t *testing.T, c *cluster) {
		teller, target, others := c.all[0], c.all[4], c.all[1:4]
		if err := teller.g.Remove(target.addr); err != nil {
			t.Fatal(err)
		}
		// The periodic exchange would take minutes now.
		slow := gossip.Tuning{Lifetime: 300 * time.Second, SendInterval: 300 * time.Millisecond, ReceiveTimeout: 3 * time.Second}
		if err := teller.g.Tune(t.Context(), slow); err != nil {
			t.Fatal(err)
		}
		within(t, 3*time.Second, "the removal is known", func() error {
			for _, h := range others {
				if s := h.status(target.addr); s != catalog.Removed {
					return fmt.Errorf("%v sees it %v", h.addr, s)
				}
			}
			return nil
		})
	})
}

func TestTuneRefuses(t *testing.T) {
	story(t, 2, func(t *testing.T, c *cluster) {
		g := c.all[0].g
		before := g.Tuning()
		for _, bad := range []gossip.Tuning{
			{Lifetime: 499 * time.Millisecond, SendInterval: 1, ReceiveTimeout: 1},
			{Lifetime: 301 * time.Second, SendInterval: 1, ReceiveTimeout: 1},
			{Lifetime: time.Second, SendInterval: 0, ReceiveTimeout: 1},
			{Lifetime: time.Second, SendInterval: 1, ReceiveTimeout: 0},
		} {
			if err := g.Tune(t.Context(), bad); err == nil {
				t.Errorf("%v: no error", bad)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.Tune(ctx, quick); err == nil {
			before = quick // it was taken before the context was looked at
		}
		if g.Tuning() != before {
			t.Errorf("what was refused is in force: %v", g.Tuning())
		}
	})
}

// A tuning before the start is the one that it starts with.
func TestTuneBeforeTheStart(t *testing.T) {
	story(t, 3, func(t *testing.T, c *cluster) {
		c.edit = func(cfg *gossip.Config) { cfg.StartDelay = 2 * time.Second }
		c.all = append(c.all, &host{addr: address(4)})
		c.start(3, 0)
		time.Sleep(time.Second)
		late := c.all[3]
		if err := late.g.Tune(t.Context(), quick); err != nil {
			t.Fatal(err)
		}
		c.settle()
		dead := c.all[2]
		dead.crash(t)
		within(t, quick.Lifetime, "the death", func() error {
			if s := late.status(dead.addr); s != catalog.Dead {
				return fmt.Errorf("it is %v", s)
			}
			return nil
		})
	})
}
