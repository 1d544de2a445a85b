package gossip_test

import (
	"fmt"
	"testing"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/gossip"
)

// change makes a change of node h.
func (h *host) change(t *testing.T, c gossip.Change) {
	t.Helper()
	commit, err := h.g.Prepare(c)
	if err != nil {
		t.Fatal(err)
	}
	commit()
}

// Nodes that know nobody meet when one of them is told of the other, and stay
// together when that is taken back.
func TestChangeInitialNodes(t *testing.T) {
	story(t, 0, func(t *testing.T, c *cluster) {
		c.edit = func(cfg *gossip.Config) { cfg.Peers = nil }
		for i := range 2 {
			c.all = append(c.all, &host{addr: address(i + 1)})
			c.start(i, 0)
		}
		time.Sleep(10 * time.Second)
		if s := c.all[0].status(c.all[1].addr); s != catalog.Unknown {
			t.Fatalf("they met by themselves: %v", s)
		}
		keys := []string{"onion"}
		c.all[0].change(t, gossip.Change{Keys: keys, Peers: []string{c.all[1].addr.String(), "10.0.0.77"}})
		within(t, 5*time.Second, "they meet", func() error { return agree(c.all) })
		c.all[0].change(t, gossip.Change{Keys: keys})
		time.Sleep(30 * time.Second)
		if err := agree(c.all); err != nil {
			t.Error(err)
		}
	})
}

// Whoever has more records than a node takes is refused by it, and taken in when
// it takes more.
func TestChangeMaxRecords(t *testing.T) {
	story(t, 2, func(t *testing.T, c *cluster) {
		taker, giver := c.all[0], c.all[1]
		c.all[0].change(t, gossip.Change{Keys: []string{"onion"}, Peers: []string{address(2).String()}, MaxRecords: 10})
		for i := range 20 {
			giver.put(record(fmt.Sprintf("more-%d", i), giver.addr, 60))
		}
		time.Sleep(10 * time.Second)
		if n := taker.view(giver); n > 10 {
			t.Fatalf("%d records were taken in, 10 are allowed", n)
		}
		c.all[0].change(t, gossip.Change{Keys: []string{"onion"}, Peers: []string{address(2).String()}, MaxRecords: 100})
		within(t, 20*time.Second, "all are taken in", func() error { return agree(c.all) })
	})
}

// view is how many records of another node this one holds.
func (h *host) view(other *host) int {
	m, _ := h.cat.View().Member(other.addr)
	if m.Set == nil {
		return 0
	}
	return m.Set.Len()
}

// What cannot be used changes nothing.
func TestChangeRefused(t *testing.T) {
	story(t, 2, func(t *testing.T, c *cluster) {
		for _, bad := range []gossip.Change{
			{}, {Keys: []string{""}}, {Keys: []string{"onion", ""}}, {Keys: []string{"other"}, Peers: []string{"a b"}},
		} {
			if _, err := c.all[0].g.Prepare(bad); err == nil {
				t.Errorf("%+v: no error", bad)
			}
		}
		if _, err := c.all[0].g.Prepare(gossip.Change{Keys: []string{"prepared and not made"}}); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		if err := agree(c.all); err != nil {
			t.Error(err)
		}
	})
}
