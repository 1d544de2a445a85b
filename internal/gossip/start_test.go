package gossip_test

import (
	"context"
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

// A goodbye hides the records at once, and is not taken for a loss.
func TestGoodbye(t *testing.T) {
	story(t, 10, func(t *testing.T, c *cluster) {
		leaver, others := c.all[7], without(c.all, 7)
		start := time.Now()
		done := make(chan struct{})
		go func() { leaver.leave(t); close(done) }()
		gone := func() error {
			for _, h := range others {
				if s := h.status(leaver.addr); s != catalog.Left {
					return fmt.Errorf("%v sees it %v", h.addr, s)
				}
			}
			return nil
		}
		within(t, time.Second, "the goodbye", gone)
		<-done
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("leaving took %v", took)
		}
		time.Sleep(30 * time.Second)
		if err := gone(); err != nil {
			t.Error(err)
		}
		for _, h := range others {
			if l, d := h.log.with("node left: "+leaver.addr.String()), h.log.with("node lost"); len(l) != 1 || len(d) != 0 {
				t.Errorf("%v logged %q and %q", h.addr, l, d)
			}
			// memberlist was told as well, and looks for nobody.
			if got := h.log.with("Suspect " + leaver.addr.String()); len(got) > 0 {
				t.Errorf("%v: %q", h.addr, got)
			}
			for _, at := range h.g.Peers() {
				if at.Addr() == leaver.addr {
					t.Errorf("%v would look for the node that left", h.addr)
				}
			}
		}
		// It comes back.
		c.start(7, leaver.cat.View().Own().Version())
		within(t, 5*time.Second, "the return", func() error { return agree(c.all) })
		time.Sleep(20 * time.Second)
		if err := agree(c.all); err != nil {
			t.Error(err)
		}
	})
}

// A quick restart right after the goodbye is not undone by late copies of it.
func TestGoodbyeAndBackAtOnce(t *testing.T) {
	story(t, 20, func(t *testing.T, c *cluster) {
		for range 5 {
			h := c.all[7]
			h.leave(t)
			c.start(7, h.cat.View().Own().Version())
			within(t, 5*time.Second, "the return", func() error { return agree(c.all) })
			for range 50 {
				time.Sleep(100 * time.Millisecond)
				if err := agree(c.all); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// A restart without a goodbye, within half a lifetime, changes nothing for the
// others.
func TestRestartThatStays(t *testing.T) {
	story(t, 5, func(t *testing.T, c *cluster) {
		h := c.all[3]
		h.g.Stay()
		h.leave(t)
		time.Sleep(3 * time.Second)
		c.start(3, h.cat.View().Own().Version())
		within(t, 5*time.Second, "the restart", func() error { return agree(c.all) })
		time.Sleep(20 * time.Second)
		if err := agree(c.all); err != nil {
			t.Error(err)
		}
		for _, o := range without(c.all, 3) {
			if n := len(o.log.with("node joined: "+h.addr.String())) + len(o.log.with("node l")); n != 1 {
				t.Errorf("%v noticed the restart: %q", o.addr, o.log.with("node "))
			}
		}
	})
}

// All nodes start at once, knowing only the first two, of which one is down:
// one cluster soon after. The one that is down is taken in when it comes.
func TestColdStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: sim.NewNetwork(1)}
		defer c.end()
		c.all = append(c.all, &host{addr: address(1)})
		for i := 1; i < 10; i++ {
			c.all = append(c.all, &host{addr: address(i + 1)})
			c.start(i, 0)
		}
		within(t, 10*time.Second, "nine nodes come together", func() error { return agree(c.all[1:]) })
		time.Sleep(time.Minute)
		if n := len(c.all[1].log.with("an initial node does not answer")); n != 1 {
			t.Errorf("%d lines about the initial node that is down, want 1", n)
		}
		c.start(0, 0)
		within(t, 5*time.Second, "ten nodes come together", func() error { return agree(c.all) })
	})
}

// A node without initial nodes is found again by those who lost it, and finds
// those it knew in its last run.
func TestKnownNodes(t *testing.T) {
	for _, known := range []bool{false, true} {
		t.Run(fmt.Sprintf("its own knowledge %v", known), func(t *testing.T) {
			story(t, 3, func(t *testing.T, c *cluster) {
				h := c.all[2]
				peers := h.g.Peers()
				h.crash(t)
				if known { // the others do not look for it
					for _, o := range c.all[:2] {
						if err := o.g.Remove(h.addr); err != nil {
							t.Fatal(err)
						}
					}
				}
				time.Sleep(30 * time.Second)
				c.edit = func(cfg *gossip.Config) {
					cfg.Peers = nil
					if known {
						cfg.Known = peers
					}
				}
				if !known {
					c.start(2, 10)
					within(t, 5*time.Second, "it is found", func() error { return agree(c.all) })
					return
				}
				removed := make(chan struct{})
				edit := c.edit
				c.edit = func(cfg *gossip.Config) { edit(cfg); cfg.OnRemoved = func() { close(removed) } }
				c.start(2, 10)
				select {
				case <-removed: // it found somebody who told it
				case <-time.After(5 * time.Second):
					t.Error("it did not find the nodes that it knew")
				}
			})
		})
	}
}

// Initial nodes are resolved anew each time: a name that moves to another
// address is followed.
func TestInitialNodesAreResolvedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: sim.NewNetwork(1)}
		defer c.end()
		asked := 0
		c.edit = func(cfg *gossip.Config) {
			cfg.Peers = []string{"seed.example:10870"}
			cfg.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
				if host != "seed.example" {
					return nil, fmt.Errorf("asked for %q", host)
				}
				if asked++; asked < 5 {
					return nil, errors.New("no such host")
				}
				return []netip.Addr{address(1)}, nil
			}
		}
		c.all = []*host{{addr: address(2)}}
		c.start(0, 0)
		time.Sleep(5 * time.Second)
		c.all = append(c.all, &host{addr: address(1)})
		c.edit = func(cfg *gossip.Config) { cfg.Peers = nil }
		c.start(1, 0)
		within(t, 15*time.Second, "they meet", func() error { return agree(c.all) })
		if n := len(c.all[0].log.with("cannot be found")); n != 1 {
			t.Errorf("%d lines about the name, want 1", n)
		}
	})
}

// With PingInit a node is silent until an initial node accepts a connection;
// with a start delay it is not even there before.
func TestPingInitAndStartDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: sim.NewNetwork(1)}
		defer c.end()
		c.edit = func(cfg *gossip.Config) { cfg.PingInit = true; cfg.StartDelay = 10 * time.Second }
		c.all = []*host{{addr: address(2)}, {addr: address(1)}}
		c.start(0, 0)
		time.Sleep(10*time.Second - 1)
		if s := c.net.Sent(address(2)); s != (sim.Traffic{}) {
			t.Errorf("it sent %+v before its delay", s)
		}
		time.Sleep(time.Minute)
		select {
		case <-c.all[0].g.Ready():
			t.Error("it started though no initial node answers")
		default:
		}
		if s := c.net.Sent(address(2)); s.Packets != 0 || s.Streams == 0 {
			t.Errorf("it sent %+v while it waited", s)
		}
		c.edit = nil
		c.start(1, 0)
		within(t, 10*time.Second, "they meet", func() error { return agree(c.all) })
		for _, h := range c.all {
			if got := append(h.log.with("level=WARN"), h.log.with("level=ERROR")...); len(got) > 0 {
				t.Errorf("%v: %q", h.addr, got)
			}
		}
	})
}

// A hundred known nodes that hang do not keep a node from the one that answers.
func TestHangingDialsDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: sim.NewNetwork(1)}
		defer c.end()
		c.all = []*host{{addr: address(1)}, {addr: address(2)}}
		c.edit = func(cfg *gossip.Config) {
			cfg.Peers = nil
			for i := range 100 {
				cfg.Known = append(cfg.Known, netip.AddrPortFrom(address(100+i), port))
			}
			if cfg.Self == address(1) {
				cfg.Peers = []string{"10.0.0.250", "10.0.0.251", "10.0.0.252", "10.0.0.253", "10.0.0.2"}
			}
		}
		c.start(1, 0)
		c.start(0, 0)
		// Five initial nodes are two rounds, at most three seconds apart.
		within(t, 4*time.Second, "they meet", func() error { return agree(c.all) })
	})
}
