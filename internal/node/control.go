package node

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"murakumo/internal/action"
	"murakumo/internal/catalog"
	"murakumo/internal/check"
	"murakumo/internal/config"
	"murakumo/internal/control"
	"murakumo/internal/failover"
	"murakumo/internal/gossip"
)

// Running gives the configuration as it is now: that of the file, with what
// mrkmctl -s, -A and -D have changed since. A check of an alias that was deleted
// is still in it.
func (c *Core) Running() *config.Config {
	cfg := *c.config()
	t := c.gossip.Tuning()
	cfg.Gossip.NodeLifetime, cfg.Gossip.SendInterval, cfg.Gossip.ReceiveTimeout = t.Lifetime, t.SendInterval, t.ReceiveTimeout
	if c.output != nil {
		cfg.Log.Level = c.output.Level()
	}
	cfg.Host.TTL, cfg.Aliases = c.records.aliases(cfg.Aliases)
	return &cfg
}

// aliases gives the TTL of the host's own name and the aliases as they are
// published: those of the file first, in its order, then those that were added by
// hand, by name.
func (r *records) aliases(file []config.Alias) (ttl uint32, now []config.Alias) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for rec := range r.cat.View().Own().Records() {
		switch {
		case rec.Static, rec.Addr != r.host.Addrs[0]:
			continue // of something else, or another address of the same name
		case rec.Priority == catalog.Origin:
			ttl = rec.TTL
			continue
		}
		a := config.Alias{Name: rec.Name}
		if i := slices.IndexFunc(file, func(a config.Alias) bool { return a.Name == rec.Name }); i >= 0 {
			a = file[i]
		}
		a.TTL, a.Priority, a.Weight = rec.TTL, rec.Priority, rec.Weight
		a.Port, a.Text, a.Target = rec.Port, rec.Text(), rec.Target()
		now = append(now, a)
	}
	place := func(a config.Alias) int {
		if i := slices.IndexFunc(file, func(b config.Alias) bool { return a.Name == b.Name }); i >= 0 {
			return i
		}
		return len(file)
	}
	slices.SortFunc(now, func(a, b config.Alias) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(a.Name, b.Name))
	})
	return ttl, now
}

// Configuration is `mrkmctl -y`.
func (c *Core) Configuration() []byte { return c.Running().YAML() }

// Attributes is `mrkmctl -g`.
func (c *Core) Attributes() []control.Attribute {
	cfg := c.Running()
	var all []control.Attribute
	for _, name := range config.AttributeNames() {
		value, _ := cfg.Attribute(name) // it is one of its names
		all = append(all, control.Attribute{Name: name, Value: value})
	}
	return all
}

// SetAttribute is `mrkmctl -s`.
func (c *Core) SetAttribute(ctx context.Context, name, value string) (control.Attribute, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	cfg := c.Running()
	was, err := cfg.Attribute(name)
	if err != nil {
		return control.Attribute{}, control.Errorf(control.NotFound, "%w", err)
	}
	if err := cfg.SetAttribute(name, value); err != nil {
		return control.Attribute{}, control.Errorf(control.Invalid, "%w", err)
	}
	g := cfg.Gossip
	if g.SendInterval >= g.NodeLifetime {
		return control.Attribute{}, control.Errorf(control.Conflict,
			"send_interval (%v) would not be less than node_lifetime (%v): every node would seem dead; change the other one first", g.SendInterval, g.NodeLifetime)
	}
	if err := c.gossip.Tune(ctx, gossip.Tuning{Lifetime: g.NodeLifetime, SendInterval: g.SendInterval, ReceiveTimeout: g.ReceiveTimeout}); err != nil {
		return control.Attribute{}, err
	}
	if c.output != nil {
		c.output.SetLevel(cfg.Log.Level)
	}
	now, _ := cfg.Attribute(name)
	c.log.Info("attribute set by hand: "+name, "old", was, "new", now)
	return control.Attribute{Name: name, Value: now}, nil
}

// ClearDead is `mrkmctl -c`.
func (c *Core) ClearDead(ctx context.Context) (int, error) {
	n, err := c.gossip.ForgetDead(ctx)
	if err == nil {
		c.log.Info("dead list cleared by hand", "nodes", n)
	}
	return n, err
}

// Feed is where this node tells what is not in its table.
func (c *Core) Feed() *control.Feed { return &c.feed }

// tellHealth tells a change of a health check.
func (c *Core) tellHealth(t failover.Transition) {
	told := transition(t)
	if last, ok := c.verdicts.last(t.Name); ok && t.Status == failover.Unhealthy.String() {
		told.Error = last.Error
	}
	c.feed.Tell(control.Event{Kind: control.EventHealth, Time: time.Now(), Transition: &told})
}

// tellHook tells the end of a hook, if there was one.
func (c *Core) tellHook(r action.Result) {
	if len(r.Hook.Command) == 0 {
		return
	}
	told := transition(r.Hook.Transition)
	told.Outcome, told.Seconds = r.Outcome.String(), r.Elapsed.Seconds()
	if r.Err != nil {
		told.Error = r.Err.Error()
	}
	c.feed.Tell(control.Event{Kind: control.EventHook, Time: time.Now(), Transition: &told})
}

func transition(t failover.Transition) control.Transition {
	return control.Transition{
		Name: t.Name, Address: t.Addr, Kind: strings.ToLower(t.Kind.String()),
		Status: t.Status, Previous: t.Previous, Reason: string(t.Reason), Number: t.Number,
	}
}

// verdicts are what the health checks said last, by alias.
type verdicts struct {
	mu sync.Mutex // guards by
	by map[string]control.Verdict
}

// noting makes probes whose verdicts are noted.
func (v *verdicts) noting(make func(config.HealthCheck) check.Probe) func(config.HealthCheck) check.Probe {
	return func(h config.HealthCheck) check.Probe {
		v.forget(h.Name)
		probe := make(h)
		return func(ctx context.Context) error {
			begin := time.Now()
			err := probe(ctx)
			if errors.Is(ctx.Err(), context.Canceled) {
				return err // the check has ended: this is no verdict
			}
			took := time.Since(begin)
			if h.TTL > 0 { // it was waited for
				begin, took = time.Now(), 0
			}
			v.note(verdict(h.Name, begin, took, err))
			return err
		}
	}
}

func verdict(name string, begin time.Time, took time.Duration, err error) control.Verdict {
	v := control.Verdict{Name: name, Verdict: "good", Time: begin, Seconds: took.Seconds()}
	if err != nil {
		v.Verdict, v.Error = "bad", err.Error()
	}
	return v
}

func (v *verdicts) note(said control.Verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.by == nil {
		v.by = map[string]control.Verdict{}
	}
	v.by[said.Name] = said
}

func (v *verdicts) forget(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.by, name)
}

func (v *verdicts) last(name string) (control.Verdict, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	said, ok := v.by[name]
	return said, ok
}

// Checks tells of the health checks of this node.
func (c *Core) Checks() []control.Check {
	running := c.checks.allHealth()
	all := []control.Check{}
	for _, h := range c.config().HealthChecks {
		r := running[h.Name]
		if r == nil {
			continue // a reload is just taking it in or out
		}
		cfg := *r.cfg.Load()
		told := control.Check{
			Name: h.Name, Health: c.records.healthOf(h.Name).String(),
			Interval: cfg.Rule.Interval.Seconds(), Timeout: cfg.Rule.Timeout.Seconds(), Push: cfg.TTL > 0,
		}
		if last, ok := c.verdicts.last(h.Name); ok {
			told.Last = &last
		}
		all = append(all, told)
	}
	return all
}

func (r *records) healthOf(name string) failover.Health {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checked[name].health
}

// overtime is how much longer than its timeout a probe is waited for, so that one
// which obeys its context can say what it was doing.
const overtime = 50 * time.Millisecond

// RunCheck is `mrkmctl --check`: it asks with a probe of its own, so that the
// check's schedule, verdicts and record are what they would be without it.
func (c *Core) RunCheck(ctx context.Context, name string) (control.Verdict, error) {
	name = c.bare(name)
	h := c.checks.allHealth()[name]
	if h == nil {
		return control.Verdict{}, control.Errorf(control.NotFound, "no health check of %s on this node", name)
	}
	cfg := *h.cfg.Load()
	if cfg.TTL > 0 {
		return control.Verdict{}, control.Errorf(control.Conflict, "the health check of %s takes reports and asks nothing: mrkmctl -L %[1]s shows what they came to, mrkmctl --report %[1]s makes one", name)
	}
	probe := c.ask(cfg)
	begin := time.Now()
	pctx, cancel := context.WithTimeout(ctx, cfg.Rule.Timeout)
	defer cancel()
	said := make(chan error, 1)
	go func() { said <- probe(pctx) }()
	limit := time.NewTimer(cfg.Rule.Timeout + overtime)
	defer limit.Stop()
	var err error
	select {
	case err = <-said:
	case <-limit.C:
		err = errors.New("no verdict within " + cfg.Rule.Timeout.String())
	case <-ctx.Done():
		// The probe's context is done too; one that ignores it is left behind.
	}
	if ctx.Err() != nil {
		return control.Verdict{}, context.Cause(ctx)
	}
	return verdict(name, begin, time.Since(begin), err), nil
}
