package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"murakumo/internal/action"
	"murakumo/internal/catalog"
	"murakumo/internal/check"
	"murakumo/internal/config"
	"murakumo/internal/failover"
	"murakumo/internal/node"
)

// Service is the alias that a cluster keeps alive: the first host is its
// master, the second its secondary, the next two are backups, and each has a
// service that can be broken. Its hooks move the World's address.
const Service = "mysql-server"

// Cluster is a fleet in virtual time: real cores over a network in memory,
// with services, hooks and a disk each. It belongs inside a synctest bubble.
type Cluster struct {
	Net   *Network
	World World
	Hosts []*Host

	t    *testing.T
	seed []string // initial nodes of every host
}

// World is what hooks act upon: one address that is at one host at a time, as
// a cloud's interface is. It can be reached from every host at any time.
type World struct {
	mu     sync.Mutex // guards all below
	holder netip.Addr
	moves  []string // a line for each hook that ended, for messages
}

// Holder is the host that has the address.
func (w *World) Holder() netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.holder
}

// Place puts the address at a host by hand.
func (w *World) Place(at netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holder = at
}

func (w *World) move(at time.Time, h action.Hook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case h.Status == "active":
		w.holder = h.Addr
	case w.holder == h.Addr:
		w.holder = netip.Addr{} // a host lets go of what it has, and of nothing else
	}
	w.moves = append(w.moves, fmt.Sprintf("%s %s %s %s %d", at.Format("15:04:05.000"), h.Addr, h.Status, h.Reason, h.Number))
}

// Moves tells the hooks that ended so far.
func (w *World) Moves() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.moves)
}

// Host is one machine of a cluster.
type Host struct {
	Addr netip.Addr

	c   *Cluster
	cfg *config.Config // its file
	dir string         // its working-dir
	log lines

	mu      sync.Mutex    // guards all below
	broken  bool          // its service does not answer
	slow    time.Duration // how long its service takes to answer, or not to
	running *process
	ended   error // of a daemon that ended by itself
}

// process is one life of a daemon.
type process struct {
	*node.Core
	endpoint *Endpoint
	stop     context.CancelFunc
	done     chan struct{}
	mu       sync.Mutex // guards dead
	dead     bool       // killed: its hooks have no effect any more
}

const hookTakes = 700 * time.Millisecond

// NewCluster makes n hosts, 10.0.0.1 and up; none runs yet.
func NewCluster(t *testing.T, n int) *Cluster {
	c := &Cluster{Net: NewNetwork(uint64(n)), t: t}
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, 0, byte((i + 1) >> 8), byte(i + 1)})
		if i < 3 {
			c.seed = append(c.seed, addr.String())
		}
		c.Hosts = append(c.Hosts, &Host{Addr: addr, c: c})
	}
	for i, h := range c.Hosts {
		h.cfg = c.config(i, h.Addr)
		h.dir = h.cfg.WorkingDir
	}
	return c
}

func (c *Cluster) config(i int, addr netip.Addr) *config.Config {
	cfg := &config.Config{
		AuthKeys:     []string{"a key for the simulation"},
		InitialNodes: c.seed,
		Host:         config.Host{Addrs: []netip.Addr{addr}, Name: fmt.Sprintf("server-%02d", i+1), TTL: 60},
		MaxRecords:   10000,
		MaxIPNum:     8,
		WorkingDir:   c.t.TempDir(),
		HookTimeout:  10 * time.Second,
		Gossip: config.Gossip{
			Port: 10870, NodeLifetime: 10 * time.Second,
			SendInterval: 300 * time.Millisecond, ReceiveTimeout: 3 * time.Second,
		},
	}
	priority := map[int]catalog.Priority{0: catalog.Master, 1: catalog.Secondary, 2: catalog.Backup, 3: catalog.Backup}[i]
	if priority == 0 {
		return cfg
	}
	cfg.Aliases = []config.Alias{{Name: Service, TTL: 60, Priority: priority, Weight: 100}}
	cfg.HealthChecks = []config.HealthCheck{{
		Name: Service,
		Rule: failover.HealthRule{Interval: time.Second, Timeout: time.Second, Rise: 2, Fall: 2},
	}}
	cfg.ActivityChecks = []config.ActivityCheck{{
		Name: Service,
		Rule: failover.DutyRule{StartDelay: 5 * time.Second, Interval: 2 * time.Second, Active: 2, Inactive: 2},
		// Not run as programs: the World does what they stand for.
		OnActivate: config.Command{"attach"}, OnInactivate: config.Command{"detach"},
	}}
	return cfg
}

// Start boots every host that does not run; those with the service some time
// apart, so that their rounds are not in step.
func (c *Cluster) Start() {
	for i, h := range c.Hosts {
		if h.life() != nil {
			continue
		}
		h.Start()
		if i < 4 {
			time.Sleep(430 * time.Millisecond)
		}
	}
}

// Stop kills what runs; a bubble ends only when no goroutine is left.
func (c *Cluster) Stop() {
	for _, h := range c.Hosts {
		if h.life() != nil {
			h.Kill()
		}
	}
	// memberlist's probes are not ended with it but run into their timeouts,
	// and virtual time stands still once the bubble's main goroutine is gone.
	time.Sleep(15 * time.Second)
}

// Start boots the host's daemon with the disk that it has.
func (h *Host) Start() {
	h.c.t.Helper()
	p := h.boot()
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	h.mu.Lock()
	h.running = p
	h.mu.Unlock()
	go func() {
		err := p.Run(ctx, nil)
		h.mu.Lock()
		if err != nil && h.running == p {
			h.ended, h.running = err, nil
		}
		h.mu.Unlock()
		close(p.done)
	}()
}

// New builds the host's core without running it.
func (h *Host) New() *node.Core { return h.boot().Core }

// NewActive builds it with an activity check that takes the host for active
// from the start (init-status).
func (h *Host) NewActive() *node.Core {
	h.cfg.ActivityChecks[0].Rule.Init = catalog.DutyActive
	return h.New()
}

// Ended is the error with which the daemon ended by itself, nil for none.
func (h *Host) Ended() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended
}

func (h *Host) boot() *process {
	h.c.t.Helper()
	p := &process{endpoint: h.c.Net.Listen(netip.AddrPortFrom(h.Addr, 10870)), done: make(chan struct{})}
	core, err := node.NewCore(h.cfg, node.Env{
		Log:       slog.New(slog.NewTextHandler(&h.log, nil)),
		Transport: p.endpoint,
		Probe: func(config.HealthCheck) check.Probe {
			return func(ctx context.Context) error {
				h.mu.Lock()
				slow := h.slow
				h.mu.Unlock()
				select {
				case <-time.After(slow):
				case <-ctx.Done():
					return ctx.Err()
				}
				h.mu.Lock()
				defer h.mu.Unlock()
				if h.broken {
					return errors.New("the service does not answer")
				}
				return nil
			}
		},
		Hook: func(ctx context.Context, hook action.Hook) error {
			select {
			case <-time.After(hookTakes):
			case <-ctx.Done():
				return ctx.Err()
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if !p.dead {
				h.c.World.move(time.Now(), hook)
			}
			return nil
		},
	})
	if err != nil {
		h.c.t.Fatalf("%s: %v", h.Addr, err)
	}
	p.Core = core
	return p
}

// Kill ends the host without a word: no hook, no goodbye. Its disk stays as it
// was at that moment.
func (h *Host) Kill() {
	p := h.life()
	state := h.disk()
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	p.endpoint.Crash()
	p.stop()
	<-p.done
	h.restore(state)
	h.mu.Lock()
	h.running = nil
	h.mu.Unlock()
}

// Shutdown ends the daemon in order.
func (h *Host) Shutdown() {
	p := h.life()
	p.stop()
	<-p.done
	h.mu.Lock()
	h.running = nil
	h.mu.Unlock()
}

// WipeDisk loses the state folder of a host that does not run.
func (h *Host) WipeDisk() {
	if err := os.RemoveAll(filepath.Join(h.dir, "lib")); err != nil {
		h.c.t.Fatal(err)
	}
}

func (h *Host) statePath() string {
	return filepath.Join(h.dir, "lib", "murakumo", "state.json")
}

func (h *Host) disk() []byte {
	b, _ := os.ReadFile(h.statePath())
	return b
}

func (h *Host) restore(state []byte) {
	if state == nil {
		h.WipeDisk()
	} else if err := os.WriteFile(h.statePath(), state, 0o600); err != nil {
		h.c.t.Fatal(err)
	}
}

// Break makes the host's service fail, Mend makes it answer again.
func (h *Host) Break() { h.setBroken(true) }

// Mend makes the host's service answer again.
func (h *Host) Mend() { h.setBroken(false) }

func (h *Host) setBroken(b bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken = b
}

// life is the running daemon, nil for none.
func (h *Host) life() *process {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.running
}

// Core is the running daemon's core.
func (h *Host) Core() *node.Core { return h.life().Core }

// View is the table as the host sees it.
func (h *Host) View() *catalog.View { return h.life().View() }

// Table is the visible table in text, sorted; equal tables give equal texts.
func (h *Host) Table() string {
	var lines []string
	for e := range h.View().Entries() {
		lines = append(lines, fmt.Sprintf("%s %s %d %s %d active=%v duty=%s owner=%s", e.Addr, e.Name, e.TTL, e.Priority, e.Weight, e.Active, e.Duty, e.Owner))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Points says where DNS on this host points for the service: the hosts with an
// Active record in the highest tier, by a reading of the rule that shares no
// code with the daemon's.
func (h *Host) Points() []netip.Addr {
	best, at := catalog.Origin, []netip.Addr(nil)
	n := h.View().Name(Service)
	if n == nil {
		return nil
	}
	for _, e := range n.Entries() {
		switch {
		case !e.Active || e.Priority > best:
		case e.Priority < best:
			best, at = e.Priority, []netip.Addr{e.Addr}
		default:
			at = append(at, e.Addr)
		}
	}
	slices.SortFunc(at, netip.Addr.Compare)
	return at
}

// Settled says what is wrong with the cluster as a whole, "" for nothing: every
// running host has the same table with all running hosts and no other in it,
// DNS points to want everywhere, want alone is on duty, and the moved address is
// there.
func (c *Cluster) Settled(want *Host) string {
	var first *Host
	running := 0
	for _, h := range c.Hosts {
		if h.life() != nil {
			running++
		}
	}
	for _, h := range c.Hosts {
		if h.life() == nil {
			continue
		}
		if first == nil {
			first = h
			hosts := 0
			for e := range h.View().Entries() {
				if e.Priority == catalog.Origin {
					hosts++
				}
			}
			if hosts != running {
				return fmt.Sprintf("%s shows %d hosts, %d run", h.Addr, hosts, running)
			}
		}
		if a, b := first.Table(), h.Table(); a != b {
			return fmt.Sprintf("%s and %s have different tables:\n%s\n--\n%s", first.Addr, h.Addr, a, b)
		}
		if at := h.Points(); !slices.Equal(at, []netip.Addr{want.Addr}) {
			return fmt.Sprintf("DNS on %s points to %v, not to %s", h.Addr, at, want.Addr)
		}
	}
	for _, e := range first.View().Name(Service).Entries() {
		if on := e.Duty == catalog.DutyActive; on != (e.Owner == want.Addr) {
			return fmt.Sprintf("%s has duty %s", e.Owner, e.Duty)
		}
	}
	if at := c.World.Holder(); at != want.Addr {
		return fmt.Sprintf("the address is at %v, not at %s", at, want.Addr)
	}
	return ""
}

// Within waits in virtual time until ok gives "", and fails the test when that
// takes longer than the limit. It returns how long it took.
func (c *Cluster) Within(limit time.Duration, what string, ok func() string) time.Duration {
	c.t.Helper()
	start := time.Now()
	for {
		wrong := ok()
		if wrong == "" {
			return time.Since(start)
		}
		if time.Since(start) >= limit {
			c.t.Fatalf("%s: not within %v: %s\nhooks:\n%s", what, limit, wrong, strings.Join(c.World.Moves(), "\n"))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Holds fails the test when ok gives anything but "" during the time.
func (c *Cluster) Holds(d time.Duration, what string, ok func() string) {
	c.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if wrong := ok(); wrong != "" {
			c.t.Fatalf("%s: no longer so: %s\nhooks:\n%s", what, wrong, strings.Join(c.World.Moves(), "\n"))
		}
	}
}
