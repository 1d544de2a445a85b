package gossip_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/gossip"
	"murakumo/internal/sim"
)

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
			if n := h.cat.View().Name("host-6"); n == nil || len(n.Entries()) != 0 || len(n.Hidden()) != 1 {
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
			if len(n.Entries()) > 0 {
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
