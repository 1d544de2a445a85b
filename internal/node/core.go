package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"murakumo/internal/action"
	"murakumo/internal/catalog"
	"murakumo/internal/check"
	"murakumo/internal/config"
	"murakumo/internal/control"
	"murakumo/internal/failover"
	"murakumo/internal/gossip"
)

// keepEvery is how often the known peers are written down.
const keepEvery = 30 * time.Second

// ErrRemoved ends a node that an operator removed from the cluster.
var ErrRemoved = errors.New("this node was removed from the cluster (mrkmctl -d); add it again with mrkmctl -a on another node, or wait 24 hours")

// Env is the world as a Core meets it. The zero value is the real one; a
// simulation gives its own.
type Env struct {
	Log *slog.Logger
	// Transport carries the gossip; nil: UDP and TCP.
	Transport gossip.Transport
	// Probe makes the probe of a health check; nil: the real ones.
	Probe func(config.HealthCheck) check.Probe
	// Hook runs a hook; nil: real processes.
	Hook action.Executor
}

// Core is a node without the sockets that resolvers and people use: it
// publishes, gossips, checks, decides and acts.
type Core struct {
	cfg     *config.Config
	log     *slog.Logger
	state   *state
	cat     *catalog.Catalog
	records *records
	gossip  *gossip.Gossip
	hooks   *action.Hooks
	notices *action.Notices
	health  []*failover.HealthDriver
	pushes  pushes
	duties  map[string]*failover.DutyDriver
	removed chan struct{}
	noted   chan struct{} // one slot: keep has something to write
}

// NewCore builds the rooms from the configuration; nothing runs yet, but the
// node's own records are in its table.
func NewCore(cfg *config.Config, env Env) (*Core, error) {
	self := cfg.Host.Addrs[0]
	c := &Core{cfg: cfg, log: env.Log, duties: map[string]*failover.DutyDriver{}, removed: make(chan struct{}, 1), noted: make(chan struct{}, 1)}
	c.state = openState(filepath.Join(cfg.WorkingDir, "lib", "murakumo"), self, c.log)
	c.cat = catalog.New(catalog.Options{Self: self, Version: c.state.version(), Reserve: c.state.reserve})
	c.records = newRecords(cfg, c.cat, c.state.duty)
	if err := c.records.publish(cfg.Aliases); err != nil {
		return nil, fmt.Errorf("this node's own records: %w", err)
	}

	c.hooks = action.NewHooks(action.HookOptions{
		Timeout: cfg.HookTimeout, Exec: c.recorded(env.Hook), Log: c.log, Ended: c.hookEnded,
	})
	var err error
	if c.notices, err = action.NewNotices(cfg.Host.Name, c.log); err != nil {
		return nil, fmt.Errorf("notification: %w", err)
	}
	routes, err := noticeRoutes(cfg)
	if err != nil {
		return nil, fmt.Errorf("notification: %w", err)
	}
	c.notices.Use(routes)
	c.gossip, err = gossip.New(gossip.Config{
		Self: self, Port: cfg.Gossip.Port, Keys: cfg.AuthKeys,
		Peers: cfg.InitialNodes, Known: c.state.peers(),
		Lifetime: cfg.Gossip.NodeLifetime, SendInterval: cfg.Gossip.SendInterval,
		ReceiveTimeout: cfg.Gossip.ReceiveTimeout, StartDelay: cfg.Gossip.StartDelay, PingInit: cfg.Gossip.PingInitNodes,
		MaxRecords: cfg.MaxRecords, Transport: env.Transport, Log: c.log,
		OnRemoved: func() {
			select {
			case c.removed <- struct{}{}:
			default:
			}
		},
	}, c.cat)
	if err != nil {
		return nil, err
	}

	probe := env.Probe
	if probe == nil {
		probe = realProbe
	}
	probe = c.pushes.prober(probe)
	shell := failover.Shell{Act: c.act, Log: c.log}
	for _, h := range cfg.HealthChecks {
		c.health = append(c.health, &failover.HealthDriver{
			Name: h.Name, Addr: self, Rule: h.Rule, Probe: probe(h),
			Number:  c.state.health(h.Name),
			Publish: func(v failover.Health) { c.records.setHealth(h.Name, v) },
			Shell:   shell,
		})
	}
	for _, a := range cfg.ActivityChecks {
		c.duties[a.Name] = failover.NewDutyDriver(failover.DutyDriver{
			Name: a.Name, Addr: self, Rule: a.Rule, Catalog: c.cat,
			Memory:   c.state.duty(a.Name),
			Remember: func(m failover.Memory) { c.state.noteDuty(a.Name, m) },
			Ready:    c.gossip.Ready(),
			Publish:  func(s failover.Standing, begun bool) { c.records.setDuty(a.Name, s, begun) },
			Shell:    shell,
		})
	}
	return c, nil
}

// View gives the present table.
func (c *Core) View() *catalog.View { return c.cat.View() }

// Run runs the node until ctx is done, then hands over in order: its aliases
// turn Inactive, on-inactivate hooks run where it was active, and it says
// goodbye. It returns nil after such an end, and an error when the node could
// not start or was removed. Serve, when not nil, runs beside it from the start
// of gossip to the goodbye.
func (c *Core) Run(ctx context.Context, serve func(context.Context) error) error {
	// Three circles that end one after the other: what decides, what acts,
	// and what the rest of the world sees.
	deciding, stopDeciding := context.WithCancel(context.WithoutCancel(ctx))
	acting, stopActing := context.WithCancel(context.WithoutCancel(ctx))
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	defer stopActing()
	defer stopDeciding()
	probing, stopProbing := context.WithCancel(deciding)
	defer stopProbing()

	all, failed := errgroup.WithContext(serving)
	all.Go(func() error { return c.gossip.Run(serving) })
	if serve != nil {
		all.Go(func() error { return serve(serving) })
	}
	all.Go(func() error { return c.hooks.Run(acting) })
	all.Go(func() error { return c.notices.Run(acting) })
	all.Go(func() error { return c.keep(serving) })

	var deciders errgroup.Group
	for _, h := range c.health {
		deciders.Go(func() error { return h.Run(probing) })
	}
	for _, d := range c.duties {
		deciders.Go(func() error { return d.Run(deciding) })
	}
	if len(c.cfg.OnStart) > 0 {
		all.Go(func() error { return c.onStart(acting) })
	}

	var end error
	select {
	case <-ctx.Done():
	case <-c.removed:
		end = ErrRemoved
	case <-failed.Done(): // a part ended with an error, which Wait gives
	}
	stopProbing()
	select {
	case <-c.gossip.Ready():
		c.log.Info("stopping: handing over the aliases")
		c.records.resign()
		c.release(acting)
	default: // it never took part: it has nothing, and another may be on duty
	}
	stopDeciding()
	_ = deciders.Wait() // drivers end with nil
	stopActing()
	stopServing()
	return errors.Join(end, all.Wait())
}

// release lets every duty go and waits for the hooks, for the time they have.
func (c *Core) release(ctx context.Context) {
	for name, d := range c.duties {
		if err := d.Release(ctx, failover.ReasonShutdown); err != nil {
			c.log.Warn("could not let the duty go", "name", name, "error", err)
		}
	}
	// Each hook has its own hook-timeout; one may run already when the one that
	// the release wants takes its place behind it. The margin is for killing.
	ctx, cancel := context.WithTimeout(ctx, 2*c.cfg.HookTimeout+5*time.Second)
	defer cancel()
	if err := c.hooks.Drain(ctx); err != nil {
		c.log.Error("stopping although hooks have not ended", "error", err)
	}
}

// keep writes down what the next start wants to know.
func (c *Core) keep(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			c.state.setPeers(c.gossip.Peers())
			c.state.end() // whatever decides has ended before
			return nil
		case <-tick.C:
			c.state.setPeers(c.gossip.Peers())
		case <-c.noted:
		}
		c.state.flush()
	}
}

// onStart runs the on-start hook once gossip is up.
func (c *Core) onStart(ctx context.Context) error {
	select {
	case <-c.gossip.Ready():
	case <-ctx.Done():
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.HookTimeout)
	defer cancel()
	if err := action.RunCommand(ctx, c.log, c.cfg.OnStart, c.cfg.Host.Addrs[0].String(), c.cfg.Host.Name); err != nil {
		c.log.Error("on-start failed", "error", err)
	}
	return nil
}

// act runs the hook of a transition and sends its notice.
func (c *Core) act(t failover.Transition) {
	if t.Kind == failover.KindHealth {
		c.state.noteHealth(t.Name, t.Number)
	}
	select {
	case c.noted <- struct{}{}:
	default:
	}
	c.hooks.Enqueue(action.Hook{Transition: t, Command: c.command(t)})
	// A member that asserts itself again did not change.
	if t.Reason != failover.ReasonReassert {
		c.notices.Notify(t)
	}
}

// command is what the configuration says to run for a transition.
func (c *Core) command(t failover.Transition) config.Command {
	if t.Kind == failover.KindHealth {
		for _, h := range c.cfg.HealthChecks {
			if h.Name == t.Name {
				return choose(t.Status == "healthy", h.OnActivate, h.OnInactivate)
			}
		}
		return nil
	}
	for _, a := range c.cfg.ActivityChecks {
		if a.Name == t.Name {
			return choose(t.Status == "active", a.OnActivate, a.OnInactivate)
		}
	}
	return nil
}

func choose(yes bool, a, b config.Command) config.Command {
	if yes {
		return a
	}
	return b
}

// recorded makes an executor that writes the transition number down before it
// runs the hook, so that no later run of the daemon uses the number again.
func (c *Core) recorded(exec action.Executor) action.Executor {
	if exec == nil {
		exec = action.Processes(c.log)
	}
	return func(ctx context.Context, h action.Hook) error {
		c.state.flush()
		return exec(ctx, h)
	}
}

func (c *Core) hookEnded(r action.Result) {
	h := r.Hook
	// One that was superseded ends while an older one still runs; the end of
	// the newer one is the end of both.
	if h.Kind != failover.KindActivity || r.Outcome == action.Superseded {
		return
	}
	c.records.setActed(h.Name, h.Number)
	if h.Status == "active" && r.Outcome != action.OK {
		c.duties[h.Name].HookFailed(h.Number)
	}
}

func realProbe(h config.HealthCheck) check.Probe {
	if h.Script != nil {
		return check.Compile(h.Script)
	}
	return check.Command(h.Command)
}

// AddRecords is `mrkmctl -A`.
func (c *Core) AddRecords(_ context.Context, specs []control.RecordSpec) ([]catalog.Record, error) {
	var aliases []config.Alias
	for _, s := range specs {
		aliases = append(aliases, config.Alias{Name: c.bare(s.Name), TTL: s.TTL, Priority: s.Priority, Weight: s.Weight})
	}
	added, err := c.records.add(aliases)
	if err != nil {
		return nil, err
	}
	for _, a := range aliases {
		c.log.Info("record added or changed by hand: "+a.Name, "ttl", a.TTL, "priority", a.Priority, "weight", a.Weight)
	}
	return added, nil
}

// DeleteRecords is `mrkmctl -D`: the duty of each alias is let go, then its
// records are taken out.
func (c *Core) DeleteRecords(ctx context.Context, names []string) error {
	names = slices.Clone(names)
	for i, name := range names {
		name = c.bare(name)
		names[i] = name
		if err := c.records.check(name); err != nil {
			return err
		}
	}
	for _, name := range names {
		c.records.withdraw(name)
		if d := c.duties[name]; d != nil {
			if err := d.Release(ctx, failover.ReasonManual); err != nil {
				return fmt.Errorf("letting the duty of %s go: %w", name, err)
			}
			// As long as a hook runs the others must be able to see it.
			if err := c.hooksEnd(ctx, name); err != nil {
				return err
			}
		}
		c.records.remove(name)
		c.log.Info("record deleted by hand: " + name)
	}
	return nil
}

// hooksEnd waits until the hooks of an alias have ended.
func (c *Core) hooksEnd(ctx context.Context, name string) error {
	for {
		view := c.cat.View()
		if c.records.hooksEnded(name) {
			return nil
		}
		select {
		case <-view.Superseded():
		case <-ctx.Done():
			return control.Errorf(control.Unavailable, "%s is Inactive, but its hook still runs; delete it again when that has ended", name)
		}
	}
}

// bare is a name without the domain, as the table has it.
func (c *Core) bare(name string) string {
	if c.cfg.Domain == "" {
		return name
	}
	return strings.TrimSuffix(name, "."+c.cfg.Domain)
}

// AddNodes is `mrkmctl -a`.
func (c *Core) AddNodes(ctx context.Context, hosts []string) error {
	var errs []error
	for _, h := range hosts {
		at := h
		if a, err := c.member(h); err == nil {
			at = a.String() // a name of the table, which the system's DNS may not know
		}
		if err := c.gossip.Join(ctx, at); err != nil {
			errs = append(errs, control.Errorf(control.Unavailable, "join %s: %w", h, err))
		}
	}
	return errors.Join(errs...)
}

// DeleteNodes is `mrkmctl -d`.
func (c *Core) DeleteNodes(ctx context.Context, hosts []string) error {
	owners := make([]netip.Addr, 0, len(hosts))
	for _, h := range hosts {
		o, err := c.member(h)
		if err != nil {
			return err
		}
		owners = append(owners, o)
	}
	if slices.Contains(owners, c.cat.View().Self()) {
		return control.Errorf(control.Conflict, "%s is this very node; stop the daemon instead, or ask another node", c.cat.View().Self())
	}
	for _, o := range owners {
		if err := c.gossip.Remove(o); err != nil {
			return fmt.Errorf("remove %s: %w", o, err)
		}
	}
	return nil
}

// member finds a node by its address or by its host's name.
func (c *Core) member(host string) (netip.Addr, error) {
	v := c.cat.View()
	host = c.bare(strings.ToLower(host))
	if a, err := netip.ParseAddr(host); err == nil {
		if _, ok := v.Member(a); ok {
			return a, nil
		}
		return a, control.Errorf(control.NotFound, "no node %s is known here; mrkmctl -L shows the addresses", host)
	}
	for m := range v.Members() {
		if m.Set == nil {
			continue
		}
		for r := range m.Set.Records() {
			if r.Priority == catalog.Origin && r.Name == host {
				return m.Owner, nil
			}
		}
	}
	return netip.Addr{}, control.Errorf(control.NotFound, "no node is named %s; mrkmctl -L shows the names", host)
}
