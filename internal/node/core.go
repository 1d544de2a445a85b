package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
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

// writeEvery is how often the known peers are written down.
const writeEvery = 30 * time.Second

// ErrRemoved ends a node that an operator removed from the cluster.
var ErrRemoved = errors.New("this node was removed from the cluster (mrkmctl -d); add it again with mrkmctl -a on another node, or wait 24 hours")

// Env is the world as a Core meets it. The zero value is the real one; a
// simulation gives its own.
type Env struct {
	Log *slog.Logger
	// Output is what Log writes to, so that a reload can change it; nil when it
	// is somebody else's and stays as it is.
	Output *Log
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
	log     *slog.Logger
	output  *Log // nil: not ours
	state   *state
	cat     *catalog.Catalog
	records *records
	statics *statics
	gossip  *gossip.Gossip
	hooks   *action.Hooks
	notices *action.Notices
	checks  *checks
	pushes  pushes
	feed    control.Feed
	// ask makes a probe that asks and notes nothing.
	ask      func(config.HealthCheck) check.Probe
	verdicts verdicts
	removed  chan struct{}
	noted    chan struct{} // one slot: there is something to write down
	stay     atomic.Bool   // see Keep

	// cfg is the configuration in force. It is replaced whole, by Reload alone,
	// and never changed.
	cfg atomic.Pointer[config.Config]
	// parts take in a new configuration, in this order.
	parts []part

	reloading sync.Mutex // held over a whole Reload
	changing  sync.Mutex // held while aliases and checks come and go; guards what follows
	running   bool
	leaving   sync.WaitGroup // the aliases that a reload took out
	departs   map[string]int // likewise, by name, how often
	departing context.Context
}

// NewCore builds the rooms from the configuration; nothing runs yet, but the
// node's own records are in its table.
func NewCore(cfg *config.Config, env Env) (*Core, error) {
	self := cfg.Host.Addrs[0]
	c := &Core{log: env.Log, output: env.Output, removed: make(chan struct{}, 1), noted: make(chan struct{}, 1), departs: map[string]int{}}
	c.cfg.Store(cfg)
	c.state = openState(filepath.Join(cfg.WorkingDir, "lib", "murakumo"), self, c.log)
	kept := c.state.takeKept(cfg.Gossip.NodeLifetime)
	c.cat = catalog.New(catalog.Options{Self: self, Version: c.state.version(), Reserve: c.state.reserve, Serial: c.state.nextSerial})
	c.records = newRecords(c.cat, c.log)
	c.statics = newStatics(cfg, c.log, c.records)
	if err := c.records.turn(firstTurn(cfg, c.statics.told(), c.state, kept)); err != nil {
		return nil, fmt.Errorf("this node's own records: %w", err)
	}

	c.hooks = action.NewHooks(action.HookOptions{Exec: c.recorded(env.Hook), Log: c.log, Ended: c.hookEnded})
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

	c.checks = &checks{
		self: self, log: c.log, cat: c.cat, state: c.state, records: c.records,
		ready: c.gossip.Ready(), act: c.act,
		health: map[string]*healthCheck{}, duty: map[string]*dutyCheck{},
	}
	probe := env.Probe
	if probe == nil {
		probe = realProbe
	}
	c.ask = probe
	c.checks.probe = c.verdicts.noting(c.pushes.prober(probe))
	for _, h := range cfg.HealthChecks {
		c.checks.addHealth(h, kept.health(h.Name))
	}
	for _, a := range cfg.ActivityChecks {
		c.checks.addDuty(a, kept.duty(a.Name))
	}
	c.parts = []part{c.reloadLog, c.reloadNotices, c.reloadGossip, c.statics.reload}
	return c, nil
}

// config is the configuration in force. It must not be changed.
func (c *Core) config() *config.Config { return c.cfg.Load() }

// View gives the present table.
func (c *Core) View() *catalog.View { return c.cat.View() }

// Run runs the node until ctx is done, then hands over in order: its aliases
// turn Inactive, on-inactivate hooks run where it was active, and it says
// goodbye. With on-stop: keep, or after [Core.Keep], it does none of this and
// leaves what a next run needs to go on. It returns nil after such an end, and
// an error when the node could not start or was removed. Serve, when not nil,
// runs beside it from the start of gossip to the goodbye. It may be called once.
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
	all.Go(func() error { return action.ReapOrphans(serving) })
	all.Go(func() error { return c.notices.Run(acting) })
	all.Go(func() error { return c.write(serving) })
	all.Go(func() error { return c.statics.follow(serving) })
	all.Go(func() error { return c.onStart(acting) })
	c.checks.begin(probing, deciding)
	c.open(deciding)

	var end error
	keep := false
	select {
	case <-ctx.Done():
		keep = c.stay.Load() || c.config().OnStop == config.Keep
	case <-c.removed:
		end = ErrRemoved
	case <-failed.Done(): // a part ended with an error, which Wait gives
	}
	c.close()
	stopProbing()
	select {
	case <-c.gossip.Ready():
		if keep {
			c.log.Info("stopping: keeping what this node is on duty for")
			c.keep(acting, stopDeciding)
			break
		}
		c.log.Info("stopping: handing over the aliases")
		c.records.resign()
		c.release(acting)
	default: // it never took part: it has nothing, and another may be on duty
		if keep {
			c.state.keep(nil)
			c.gossip.Stay()
		}
	}
	stopDeciding()
	c.checks.wait()
	c.leaving.Wait()
	stopActing()
	stopServing()
	return errors.Join(end, all.Wait())
}

// release lets every duty go and waits for the hooks.
func (c *Core) release(ctx context.Context) {
	for name := range c.checks.allDuty() {
		if err := c.checks.release(ctx, name, failover.ReasonShutdown); err != nil {
			c.log.Warn("could not let the duty go", "name", name, "error", err)
		}
	}
	c.drain(ctx)
}

// drain waits for the hooks, for the time they have.
func (c *Core) drain(ctx context.Context) {
	// Each hook has its own hook-timeout; one may run already when the one that
	// the release wants takes its place behind it. The margin is for killing.
	ctx, cancel := context.WithTimeout(ctx, 2*c.config().HookTimeout+5*time.Second)
	defer cancel()
	if err := c.hooks.Drain(ctx); err != nil {
		c.log.Error("stopping although hooks have not ended", "error", err)
	}
}

// write writes down what the next start wants to know.
func (c *Core) write(ctx context.Context) error {
	tick := time.NewTicker(writeEvery)
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
