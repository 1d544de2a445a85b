package gossip_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/gossip"
	"murakumo/internal/sim"
)

// lines collects a node's log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// with gives the lines that contain a text.
func (l *lines) with(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// host is one node of a cluster: its record table outlives nothing but what the
// test carries over, as a state file would.
type host struct {
	addr netip.Addr
	cat  *catalog.Catalog
	g    *gossip.Gossip
	log  *lines
	ep   *sim.Endpoint
	stop context.CancelFunc
	done chan error // Run's result
}

// cluster is a number of nodes on one network in memory, within a bubble.
type cluster struct {
	t    *testing.T
	net  *sim.Network
	all  []*host
	edit func(*gossip.Config) // nil: as it is
}

const port = 10870

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

func newCluster(t *testing.T, n int, edit func(*gossip.Config)) *cluster {
	c := &cluster{t: t, net: sim.NewNetwork(1), edit: edit}
	for i := range n {
		c.all = append(c.all, &host{addr: address(i + 1)})
		c.start(i, 0)
	}
	return c
}

// start runs node i, whose state file holds this version, with the first two
// nodes as initial nodes.
func (c *cluster) start(i int, version uint64) {
	h := c.all[i]
	h.cat = catalog.New(catalog.Options{Self: h.addr, Version: version})
	h.put(record(fmt.Sprintf("host-%d", i+1), h.addr, 60))
	h.log = new(lines)
	h.ep = c.net.Listen(netip.AddrPortFrom(h.addr, port))
	cfg := gossip.Config{
		Self: h.addr, Port: port, Keys: []string{"onion"},
		Peers:    []string{address(1).String(), address(2).String()},
		Lifetime: 10 * time.Second, SendInterval: 300 * time.Millisecond, ReceiveTimeout: 3 * time.Second,
		Transport: h.ep,
		Log:       slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	if c.edit != nil {
		c.edit(&cfg)
	}
	g, err := gossip.New(cfg, h.cat)
	if err != nil {
		c.t.Fatal(err)
	}
	h.run(g)
}

func (h *host) run(g *gossip.Gossip) {
	ctx, stop := context.WithCancel(context.Background())
	h.g, h.stop, h.done = g, stop, make(chan error, 1)
	done := h.done
	go func() { done <- g.Run(ctx) }()
}

// leave ends the node with a goodbye.
func (h *host) leave(t *testing.T) {
	t.Helper()
	h.stop()
	if err := <-h.done; err != nil {
		t.Errorf("%v: Run: %v", h.addr, err)
	}
	h.done = nil
}

// crash takes the host away.
func (h *host) crash(t *testing.T) {
	t.Helper()
	h.ep.Crash()
	h.g.Stay()
	h.leave(t)
}

func (c *cluster) end() {
	for _, h := range c.all {
		h.ep.Crash() // so that nobody waits for goodbyes
		h.g.Stay()
		h.stop()
	}
	for _, h := range c.all {
		if h.done != nil {
			<-h.done
		}
	}
	// A probe of memberlist's that is under way outlasts its shutdown by some
	// probe intervals; time stands still when a bubble's test returns.
	time.Sleep(10 * time.Second)
}

func record(name string, addr netip.Addr, ttl uint32) catalog.Record {
	return catalog.Record{Name: name, Addr: addr, TTL: ttl, Priority: catalog.Master, Weight: 100, Active: true}
}

func (h *host) put(records ...catalog.Record) {
	h.cat.Update(func(own *catalog.Edit) {
		for _, r := range records {
			if err := own.Put(r); err != nil {
				panic(err)
			}
		}
	})
}

func (h *host) delete(k catalog.Key) {
	h.cat.Update(func(own *catalog.Edit) { own.Delete(k) })
}

func (h *host) status(o catalog.Owner) catalog.Status {
	m, _ := h.cat.View().Member(o)
	return m.Status
}

func (h *host) set(o catalog.Owner) *catalog.Set {
	m, _ := h.cat.View().Member(o)
	if m.Set == nil {
		return catalog.NewSet(o)
	}
	return m.Set
}

// shows tells whether all of those see one another alive, with each other's
// present records.
func agree(all []*host) error {
	for _, h := range all {
		for _, o := range all {
			if s := h.status(o.addr); s != catalog.Alive {
				return fmt.Errorf("%v sees %v %v", h.addr, o.addr, s)
			}
			got, want := h.set(o.addr), o.cat.View().Own()
			if got.Version() != want.Version() || got.Hash() != want.Hash() {
				return fmt.Errorf("%v holds version %d of %v, which has %d", h.addr, got.Version(), o.addr, want.Version())
			}
		}
	}
	return nil
}

// within waits until a condition is nil, and gives the time that it took.
func within(t *testing.T, limit time.Duration, what string, cond func() error) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		err := cond()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) >= limit {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (c *cluster) settle() time.Duration {
	c.t.Helper()
	return within(c.t, 15*time.Second, "the cluster comes together", func() error { return agree(c.all) })
}

func addrs(all []*host) []netip.Addr {
	var list []netip.Addr
	for _, h := range all {
		list = append(list, h.addr)
	}
	return list
}

func without(all []*host, i int) []*host {
	return slices.Delete(slices.Clone(all), i, i+1)
}
