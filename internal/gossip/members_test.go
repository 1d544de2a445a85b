package gossip_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/gossip"
	"murakumo/internal/sim"
)

// A node with another auth-key changes nothing, on either side, and fills no
// log.
func TestForeignKey(t *testing.T) {
	story(t, 3, func(t *testing.T, c *cluster) {
		c.edit = func(cfg *gossip.Config) { cfg.Keys = []string{"garlic"}; cfg.Lifetime = time.Second }
		foreign := &host{addr: address(4)}
		c.all = append(c.all, foreign)
		c.start(3, 0)
		start := time.Now()
		time.Sleep(30 * time.Second)
		for _, h := range c.all[:3] {
			if m, known := h.cat.View().Member(foreign.addr); known {
				t.Errorf("%v knows the foreign node: %+v", h.addr, m)
			}
			if len(foreign.cat.View().Name("host-4").Entries()) != 1 || foreign.cat.View().Name("host-1") != nil {
				t.Error("the foreign node knows of others")
			}
		}
		if err := agree(c.all[:3]); err != nil {
			t.Error(err)
		}
		for _, h := range c.all {
			n := len(h.log.with("no installed keys could decrypt"))
			if limit := 3 * int(time.Since(start).Seconds()); n > limit {
				t.Errorf("%v logged %d lines in %v", h.addr, n, time.Since(start))
			}
			for _, secret := range []string{"onion", "garlic"} {
				if got := h.log.with(secret); len(got) > 0 {
					t.Errorf("%v tells an auth-key: %q", h.addr, got)
				}
			}
		}
		if len(c.all[0].log.with("no installed keys could decrypt")) == 0 {
			t.Error("the first node says nothing of the foreign one")
		}
	})
}

// Keys are changed without a gap: first all nodes learn the new one, then it
// encrypts on one after the other.
func TestKeysChangeWithoutAGap(t *testing.T) {
	i := 0
	storyWith(t, 6, func(cfg *gossip.Config) {
		cfg.Keys = [][]string{{"old", "new"}, {"new", "old"}}[i%2]
		i++
	}, func(t *testing.T, c *cluster) {
		for _, h := range c.all {
			if got := h.log.with("level=ERROR"); len(got) > 0 {
				t.Errorf("%v: %q", h.addr, got)
			}
		}
	})
}

// mrkmctl -d takes a living node out everywhere, tells it so, and keeps it out
// until -a.
func TestRemoveLivingNode(t *testing.T) {
	var removed chan struct{} // made within the bubble
	storyWith(t, 8, func(cfg *gossip.Config) {
		if cfg.Self == address(6) {
			removed = make(chan struct{}, 1)
			cfg.OnRemoved = func() { removed <- struct{}{} }
		}
	}, func(t *testing.T, c *cluster) {
		target, others := c.all[5], without(c.all, 5)
		out := func() error {
			for _, h := range others {
				if s := h.status(target.addr); s != catalog.Removed {
					return fmt.Errorf("%v sees it %v", h.addr, s)
				}
			}
			return nil
		}
		if err := others[2].g.Remove(target.addr); err != nil {
			t.Fatal(err)
		}
		within(t, 3*time.Second, "the removal", out)
		select {
		case <-removed:
		case <-time.After(3 * time.Second):
			t.Fatal("the node itself was not told")
		}
		if got := target.log.with("this node was removed from the cluster by " + others[2].addr.String()); len(got) != 1 {
			t.Errorf("its log: %q", got)
		}
		// It goes on for a while, and publishes: nobody takes it in.
		version := others[0].set(target.addr).Version()
		target.put(record("insists", target.addr, 60))
		time.Sleep(30 * time.Second)
		target.leave(t)
		if err := out(); err != nil {
			t.Error(err)
		}
		// It comes back, is told again, and nobody takes it in.
		c.start(5, target.cat.View().Own().Version())
		select {
		case <-removed:
		case <-time.After(10 * time.Second):
			t.Error("the node that came back was not told")
		}
		time.Sleep(20 * time.Second)
		if err := out(); err != nil {
			t.Error(err)
		}
		for _, h := range others {
			if got := h.set(target.addr).Version(); got != version {
				t.Errorf("%v took version %d of the removed node, had %d", h.addr, got, version)
			}
			if got := h.log.with("node removed: " + target.addr.String()); len(got) != 1 {
				t.Errorf("%v logged %q", h.addr, got)
			}
			for _, at := range h.g.Peers() {
				if at.Addr() == target.addr {
					t.Errorf("%v would look for the removed node", h.addr)
				}
			}
		}
		if err := agree(others); err != nil {
			t.Error(err)
		}
		// -a lets it in again.
		if err := others[4].g.Join(t.Context(), target.addr.String()); err != nil {
			t.Fatal(err)
		}
		within(t, 10*time.Second, "it is let in", func() error { return agree(c.all) })
	})
}

// mrkmctl -d forgets a dead node, also on nodes that were away meanwhile; -a
// allows it before it runs.
func TestRemoveDeadNode(t *testing.T) {
	story(t, 5, func(t *testing.T, c *cluster) {
		dead, away := c.all[4], c.all[3]
		dead.crash(t)
		time.Sleep(12 * time.Second)
		heal := c.net.Cut(sim.Partition([]netip.Addr{away.addr}, addrs(c.all[:3])))
		if err := c.all[0].g.Remove(dead.addr); err != nil {
			t.Fatal(err)
		}
		out := func(want catalog.Status, hosts ...*host) func() error {
			return func() error {
				for _, h := range hosts {
					if s := h.status(dead.addr); s != want {
						return fmt.Errorf("%v sees it %v", h.addr, s)
					}
				}
				return nil
			}
		}
		within(t, 3*time.Second, "the removal", out(catalog.Removed, c.all[:3]...))
		if s := away.status(dead.addr); s != catalog.Dead {
			t.Errorf("the node that is cut off sees it %v", s)
		}
		time.Sleep(time.Minute)
		heal()
		within(t, 10*time.Second, "the removal reaches the node that was away", out(catalog.Removed, away))

		err := c.all[1].g.Join(t.Context(), dead.addr.String())
		if err == nil || !strings.Contains(err.Error(), "allowed again") {
			t.Errorf("joining a node that does not run: %v", err)
		}
		within(t, 3*time.Second, "it is allowed", out(catalog.Dead, c.all[:4]...))
		c.start(4, dead.cat.View().Own().Version())
		within(t, 5*time.Second, "it is back", func() error { return agree(c.all) })
	})
}

func TestRemoveAndJoinRefuse(t *testing.T) {
	story(t, 2, func(t *testing.T, c *cluster) {
		g := c.all[0].g
		for _, tt := range []struct {
			name string
			err  error
			want string
		}{
			{"remove itself", g.Remove(address(1)), "this very node"},
			{"remove a stranger", g.Remove(address(77)), "no node 10.0.0.77"},
			{"join itself", g.Join(t.Context(), "10.0.0.1"), "this very node"},
			{"join nobody", g.Join(t.Context(), "10.0.0.77"), "10.0.0.77"},
			{"join nonsense", g.Join(t.Context(), "10.0.0.2:x"), "port"},
		} {
			if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) || strings.Contains(tt.err.Error(), "\n") {
				t.Errorf("%s: %q, want %q", tt.name, tt.err, tt.want)
			}
		}
		c.all[1].leave(t)
		if err := c.all[1].g.Join(t.Context(), "10.0.0.1"); err == nil || !strings.Contains(err.Error(), "not running") {
			t.Errorf("join after the end: %v", err)
		}
	})
}

// Two daemons on one address: a line a second says so, all others go on.
func TestTwoDaemonsWithOneAddress(t *testing.T) {
	story(t, 5, func(t *testing.T, c *cluster) {
		second := &host{addr: c.all[3].addr}
		c.all = append(c.all, second)
		c.edit = func(cfg *gossip.Config) {
			cfg.Port = port + 1
			cfg.Transport = c.net.Listen(netip.AddrPortFrom(cfg.Self, cfg.Port))
			cfg.Peers = []string{"10.0.0.1:10870", "10.0.0.2:10870"}
		}
		first := c.all[3].ep
		c.start(5, 100)
		second.put(record("mine", second.addr, 60))
		_ = first
		before := c.net.Sent(c.all[0].addr)
		time.Sleep(60 * time.Second)
		others := []*host{c.all[0], c.all[1], c.all[2], c.all[4]}
		if err := agree(others); err != nil {
			t.Error(err)
		}
		if after := c.net.Sent(c.all[0].addr); after.PacketBytes+after.StreamBytes-before.PacketBytes-before.StreamBytes > 60*10_000 {
			t.Errorf("the other nodes are kept busy: from %+v to %+v", before, after)
		}
		said := 0
		for _, h := range c.all {
			n := len(h.log.with("two daemons have one address"))
			if said += n; n > 61 {
				t.Errorf("%v: %d lines in 60 s", h.addr, n)
			}
		}
		if said == 0 {
			t.Error("nobody says so")
		}
	})
}

// Many nodes come and go while others are suspected: the race detector watches
// the suspicion multiplier, which is changed within memberlist's lock.
func TestSuspicionAdapts(t *testing.T) {
	story(t, 20, func(t *testing.T, c *cluster) {
		for i := 19; i > 14; i-- {
			c.all[i].crash(t)
		}
		time.Sleep(4 * time.Second) // they are suspected now
		for i := range 5 {
			c.all = append(c.all, &host{addr: address(21 + i)})
			c.start(20+i, 0)
		}
		living := append(c.all[:15:15], c.all[20:]...)
		within(t, 6*time.Second, "five deaths are known", func() error {
			for _, h := range living[:15] {
				for _, dead := range c.all[15:20] {
					if s := h.status(dead.addr); s != catalog.Dead {
						return fmt.Errorf("%v sees %v %v", h.addr, dead.addr, s)
					}
				}
			}
			return agree(living)
		})
	})
}
