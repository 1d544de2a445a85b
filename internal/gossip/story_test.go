package gossip_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
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

// A record added and deleted while nodes are cut off does not come back, neither
// from those who saw it nor from those who only saw it before it went.
func TestDeletedRecordStaysDeleted(t *testing.T) {
	story(t, 10, func(t *testing.T, c *cluster) {
		owner := c.all[0]
		before := catalog.Key{Name: "before", Addr: owner.addr}
		during := catalog.Key{Name: "during", Addr: owner.addr}
		owner.put(record(before.Name, owner.addr, 60))
		within(t, 3*time.Second, "the first record is known", func() error { return agree(c.all) })

		heal := c.net.Cut(sim.Partition(addrs(c.all[:5]), addrs(c.all[5:])))
		time.Sleep(15 * time.Second)
		owner.put(record(during.Name, owner.addr, 60))
		time.Sleep(3 * time.Second)
		owner.delete(during)
		owner.delete(before)
		time.Sleep(30 * time.Second)
		heal()
		within(t, 10*time.Second, "the healing", func() error { return agree(c.all) })
		for range 60 {
			for _, h := range c.all {
				for _, k := range []catalog.Key{before, during} {
					if n := h.cat.View().Name(k.Name); n != nil {
						t.Fatalf("%v has %s again: %+v", h.addr, k.Name, n)
					}
				}
			}
			time.Sleep(time.Second)
		}
	})
}

// The set of a dead node is kept, hidden: a late copy from a node that was cut
// off when the owner deleted a record does not bring the record back.
func TestLateCopyOfDeadNode(t *testing.T) {
	story(t, 6, func(t *testing.T, c *cluster) {
		owner, late := c.all[5], c.all[4]
		rest := c.all[:4]
		gone := catalog.Key{Name: "gone", Addr: owner.addr}
		owner.put(record(gone.Name, owner.addr, 60))
		within(t, 3*time.Second, "the record is known", func() error { return agree(c.all) })
		heal := c.net.Cut(sim.Partition([]netip.Addr{late.addr}, addrs(without(c.all, 4))))
		time.Sleep(time.Second)
		owner.delete(gone)
		version := owner.cat.View().Own().Version()
		within(t, 5*time.Second, "the deletion is known", func() error { return agree(append(rest[:4:4], owner)) })
		owner.crash(t)
		time.Sleep(time.Minute)
		for _, h := range rest {
			if got := h.set(owner.addr).Version(); got != version {
				t.Fatalf("%v holds version %d of the dead node, want %d", h.addr, got, version)
			}
		}
		heal()
		within(t, 10*time.Second, "the healing", func() error { return agree(c.all[:5]) })
		for range 40 {
			for _, h := range rest {
				if n := h.cat.View().Name(gone.Name); n != nil {
					t.Fatalf("%v has the record again: %+v", h.addr, n)
				}
			}
			time.Sleep(time.Second)
		}
		// The names of the dead stay ours on every node, also on the late one.
		for _, h := range c.all[:5] {
			if n := h.cat.View().Name("host-6"); n == nil || len(n.Entries) != 0 || len(n.Hidden) != 1 {
				t.Errorf("%v has %+v of the dead node's name", h.addr, n)
			}
			if got := h.set(owner.addr).Version(); got != version {
				t.Errorf("%v holds version %d of the dead node, want %d", h.addr, got, version)
			}
		}
	})
}

// A node that joins later learns the hidden sets of the dead, and forgets them
// when the others do.
func TestHiddenSetsSpreadAndAreForgotten(t *testing.T) {
	storyWith(t, 3, func(cfg *gossip.Config) { // a slow pace, for a day has many seconds
		cfg.Lifetime, cfg.SendInterval = 300*time.Second, 10*time.Second
	}, func(t *testing.T, c *cluster) {
		dead := c.all[2]
		dead.crash(t)
		within(t, 300*time.Second, "the death", func() error {
			if s := c.all[0].status(dead.addr); s != catalog.Dead {
				return fmt.Errorf("it is %v", s)
			}
			return nil
		})
		since := time.Now()
		time.Sleep(time.Hour)
		c.all = append(c.all, &host{addr: address(4)})
		c.start(3, 0)
		knows := func() error {
			n := c.all[3].cat.View().Name("host-3")
			if n == nil {
				return errors.New("the name of the dead node is not ours")
			}
			if len(n.Entries) > 0 {
				t.Fatalf("it is shown: %+v", n)
			}
			return nil
		}
		within(t, 5*time.Second, "the new node learns of the dead one", knows)
		time.Sleep(time.Until(since.Add(24*time.Hour - 2*time.Minute)))
		if err := knows(); err != nil {
			t.Errorf("before a day is over: %v", err)
		}
		time.Sleep(10 * time.Minute)
		for _, h := range []*host{c.all[0], c.all[1], c.all[3]} {
			if n := h.cat.View().Name("host-3"); n != nil {
				t.Errorf("%v still has %+v", h.addr, n)
			}
		}
	})
}

// Gossip carries a small change to all within a few gossip intervals, long
// before the exchange would.
func TestChangeSpreads(t *testing.T) {
	story(t, 30, func(t *testing.T, c *cluster) {
		for i := range 5 {
			c.all[i*3].put(record("changed", c.all[i*3].addr, 1))
			took := within(t, 3*time.Second, "the change is known", func() error { return agree(c.all) })
			t.Logf("known after %v", took)
		}
	})
}

// A set that no packet holds arrives everywhere, and changing one record of it
// ships that record, not the set.
func TestLargeSet(t *testing.T) {
	service := func(i int) string { return fmt.Sprintf("service-%04d.%s", i, strings.Repeat("x", 60)) }
	story(t, 10, func(t *testing.T, c *cluster) {
		owner := c.all[0]
		var many []catalog.Record
		for i := range 2000 {
			many = append(many, record(service(i), owner.addr, 60))
		}
		owner.put(many...)
		size := int64(len(owner.cat.View().Own().Encode()))
		took := within(t, 5*time.Second, "the set arrives", func() error { return agree(c.all) })
		for _, h := range c.all { // 1200, and memberlist's CRC
			if n := c.net.Sent(h.addr).LargestPacket; n > 1205 {
				t.Errorf("%v sent a packet of %d octets", h.addr, n)
			}
		}
		t.Logf("%d octets known after %v", size, took)
		time.Sleep(10 * time.Second)

		sent := func() (all int64) {
			for _, h := range c.all {
				tr := c.net.Sent(h.addr)
				all += tr.PacketBytes + tr.StreamBytes
			}
			return all
		}
		start, before := time.Now(), sent()
		time.Sleep(5 * time.Second)
		idle := (sent() - before) / 5
		t.Logf("idle: %d octets per second and node", idle/10)
		for i := range 3 {
			before, start = sent(), time.Now()
			owner.put(record(service(7), owner.addr, uint32(i+1)))
			within(t, 3*time.Second, "the change arrives", func() error { return agree(c.all) })
			time.Sleep(2 * time.Second)
			cost := (sent() - before - int64(float64(idle)*time.Since(start).Seconds())) / 10
			t.Logf("one record changed: %d octets per node", cost)
			if cost > 5000 {
				t.Errorf("changing one record cost %d octets per node, want less than 5000", cost)
			}
		}

		// A node that missed changes gets them, not the set.
		late := c.all[9]
		heal := c.net.Cut(sim.Partition([]netip.Addr{late.addr}, addrs(c.all[:9])))
		for i := range 20 {
			owner.put(record(service(100+i), owner.addr, 1))
			time.Sleep(time.Second)
		}
		heal()
		before, start = sent(), time.Now()
		within(t, 10*time.Second, "the healing", func() error { return agree(c.all) })
		time.Sleep(5 * time.Second)
		cost := sent() - before - int64(float64(idle)*time.Since(start).Seconds())
		t.Logf("healing cost %d octets", cost)
		if cost > size {
			t.Errorf("bringing one node up to date cost %d octets, the set has %d", cost, size)
		}
	})
}

// Whatever happens, a quiet cluster does nothing but probe and exchange
// versions: no set is asked for that is not needed.
func TestQuietClusterIsQuiet(t *testing.T) {
	story(t, 5, func(t *testing.T, c *cluster) {
		time.Sleep(10 * time.Second)
		var before int64
		for _, h := range c.all {
			before += c.net.Sent(h.addr).Streams
		}
		time.Sleep(100 * time.Second)
		var streams int64
		for _, h := range c.all {
			streams += c.net.Sent(h.addr).Streams
		}
		// Every node starts an exchange each 2.5 s.
		if got := streams - before; got > 220 {
			t.Errorf("%d connections in 100 s of 5 nodes, want about 200", got)
		}
	})
}

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
			if len(foreign.cat.View().Name("host-4").Entries) != 1 || foreign.cat.View().Name("host-1") != nil {
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

// An owner with too many records is refused, with a line; all else goes on, and
// nobody asks for the set again and again.
func TestTooManyRecords(t *testing.T) {
	storyWith(t, 4, func(cfg *gossip.Config) { cfg.MaxRecords = 100 }, func(t *testing.T, c *cluster) {
		owner := c.all[3]
		held := owner.cat.View().Own().Version()
		var many []catalog.Record
		for i := range 2000 {
			many = append(many, record(fmt.Sprintf("service-%04d", i), owner.addr, 60))
		}
		owner.put(many...)
		c.all[1].put(record("other", c.all[1].addr, 60))
		within(t, 3*time.Second, "the others go on", func() error { return agree(c.all[:3]) })
		before := c.net.Sent(owner.addr).StreamBytes
		time.Sleep(100 * time.Second)
		size := int64(len(owner.cat.View().Own().Encode()))
		if sent := c.net.Sent(owner.addr).StreamBytes - before; sent > 5*size {
			t.Errorf("%d octets sent by the owner in 100 s, its set has %d", sent, size)
		}
		for _, h := range c.all[:3] {
			if got := h.set(owner.addr).Version(); got != held {
				t.Errorf("%v holds version %d, want the last one below the limit, %d", h.addr, got, held)
			}
			if got := h.log.with("too many records"); len(got) == 0 || len(got) > 10 || !strings.Contains(got[0], owner.addr.String()) {
				t.Errorf("%v logged %q", h.addr, got)
			}
		}
		owner.cat.Update(func(own *catalog.Edit) {
			for r := range own.Records() {
				if r.Name != "host-4" && r.Name > "service-0050" {
					own.Delete(r.Key())
				}
			}
		})
		within(t, 15*time.Second, "it is accepted again", func() error { return agree(c.all) })
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

// Every fifth packet lost is no reason to lose anybody. Changes still spread, the
// few that gossip loses by way of the exchange.
func TestLossyNetwork(t *testing.T) {
	story(t, 5, func(t *testing.T, c *cluster) {
		c.net.SetLoss(0.2)
		slow := 0
		for i := range 60 {
			h := c.all[i%5]
			h.put(record("changed", h.addr, uint32(i+1)))
			if within(t, 30*time.Second, "the change is known", func() error { return agree(c.all) }) > 3*time.Second {
				slow++
			}
			time.Sleep(5 * time.Second)
		}
		t.Logf("%d of 60 changes needed the exchange", slow)
		if slow > 20 {
			t.Errorf("%d of 60 changes needed the exchange", slow)
		}
		for _, h := range c.all {
			if lost := h.log.with("node lost"); len(lost) > 0 {
				t.Errorf("%v: %q", h.addr, lost)
			}
		}
	})
}
