package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/config"
	"murakumo/internal/failover"
	"murakumo/internal/gossip"
)

// part takes in another configuration. What can fail is done when it is called,
// and changes nothing yet; commit takes it into use and cannot fail. When another
// part cannot take it in, undo gives back what was prepared (nil: nothing was).
type part func(now, next *config.Config) (commit, undo func(), err error)

// errNotRunning is what a reload gets before the node runs and while it stops.
var errNotRunning = errors.New("the node does not run")

// Reload opens the log anew and takes in what load gives: all of it, or, when
// load or a part fails, nothing. What changed is logged key by key, what will
// only change at the next start is named in a warning, and so is each mistake.
//
// Checks that are the same go on as if nothing was, and a check that is another
// keeps its verdict or duty (see [failover.HealthDriver.Change]). An alias that
// is in the file no more is taken out as `mrkmctl -D` does it, after Reload has
// returned. What mrkmctl added or deleted stays so unless the file names it in
// another way than before.
//
// It may be called from many goroutines; reloads come one after the other. It
// is an error before Run and while it ends.
func (c *Core) Reload(load func() (*config.Config, error)) error {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	if c.output != nil {
		if err := c.output.Reopen(); err != nil {
			c.log.Error("the log could not be opened anew and goes on as it was", "error", err)
		}
	}
	next, err := load()
	if err == nil {
		err = c.take(next)
	}
	if mistakes, ok := errors.AsType[config.Errors](err); ok {
		for _, m := range mistakes {
			c.log.Error("reload: " + m.String())
		}
		c.log.Error("not reloaded: nothing was changed", "mistakes", len(mistakes))
	} else if err != nil {
		c.log.Error("not reloaded: nothing was changed", "error", err)
	}
	return err
}

// take takes in another configuration, or nothing of it.
func (c *Core) take(file *config.Config) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if !c.running {
		return errNotRunning
	}
	now := c.config()
	next := config.WhileRunning(now, file)
	if i := slices.IndexFunc(next.Aliases, func(a config.Alias) bool { return a.Name == now.Host.Name }); i >= 0 {
		return fmt.Errorf("%s cannot be an alias as long as it is the name of this host: restart to have another one", now.Host.Name)
	}

	var commits, undos []func()
	undo := func() {
		for _, f := range slices.Backward(undos) {
			f()
		}
	}
	for _, p := range c.parts {
		commit, back, err := p(now, next)
		if err != nil {
			undo()
			return err
		}
		if back != nil {
			undos = append(undos, back)
		}
		commits = append(commits, commit)
	}
	t := c.reloadRecords(now, next)
	if err := c.records.turn(t); err != nil { // the last that can fail
		undo()
		return err
	}
	for _, commit := range commits {
		commit()
	}
	c.cfg.Store(next)
	c.reloadChecks(next, t)
	for _, name := range t.leave {
		c.depart(name)
	}

	for _, w := range next.Warnings {
		c.log.Warn(w)
	}
	changes := config.Diff(now, next)
	for _, d := range changes {
		c.log.Info("changed: "+d.Key, "old", none(d.Old), "new", none(d.New))
	}
	for _, d := range config.Diff(next, file) {
		c.log.Warn("not changed while running, restart to have it: "+d.Key, "now", none(d.Old), "file", none(d.New))
	}
	c.log.Info("reloaded", "changes", len(changes))
	return nil
}

// none is what the log has for a value that is not there.
func none(value string) string {
	if value == "" {
		return "(none)"
	}
	return value
}

func (c *Core) reloadLog(now, next *config.Config) (commit, undo func(), err error) {
	if c.output == nil || now.Log == next.Log {
		return func() {}, nil, nil
	}
	return c.output.prepare(next.Log)
}

func (c *Core) reloadNotices(_, next *config.Config) (commit, undo func(), err error) {
	routes, err := noticeRoutes(next)
	if err != nil {
		return nil, nil, fmt.Errorf("notification: %w", err)
	}
	return func() { c.notices.Use(routes) }, nil, nil
}

func (c *Core) reloadGossip(now, next *config.Config) (commit, undo func(), err error) {
	change, err := c.gossip.Prepare(gossip.Change{
		Keys: next.AuthKeys, Peers: next.InitialNodes, MaxRecords: next.MaxRecords,
	})
	return func() {
		change()
		// mrkmctl -s may have tuned what the file leaves as it was.
		t, was := c.gossip.Tuning(), c.gossip.Tuning()
		follow(&t.Lifetime, now.Gossip.NodeLifetime, next.Gossip.NodeLifetime)
		follow(&t.SendInterval, now.Gossip.SendInterval, next.Gossip.SendInterval)
		follow(&t.ReceiveTimeout, now.Gossip.ReceiveTimeout, next.Gossip.ReceiveTimeout)
		if t == was {
			return
		}
		if err := c.gossip.Tune(c.departing, t); err != nil {
			c.log.Error("gossip goes on as it was tuned before; restart to have the new tuning", "error", err)
		}
	}, nil, err
}

func follow(value *time.Duration, now, next time.Duration) {
	if now != next {
		*value = next
	}
}

// reloadRecords says what becomes of this node's records. An alias is put as the
// file has it where the file has changed; where it has not, what was done by hand
// stays.
func (c *Core) reloadRecords(now, next *config.Config) turn {
	t := turn{host: next.Host, origin: now.Host.TTL != next.Host.TTL, limit: next.MaxRecords, told: c.statics.told()}
	before := map[string]config.Alias{}
	for _, a := range now.Aliases {
		before[a.Name] = a
	}
	named := map[string]bool{}
	for _, a := range next.Aliases {
		named[a.Name] = true
		if was, there := before[a.Name]; !there || a != was {
			t.put = append(t.put, a)
		}
	}
	for _, a := range now.Aliases {
		if !named[a.Name] {
			t.leave = append(t.leave, a.Name)
		}
	}

	wanted := map[string]bool{}
	for _, h := range next.HealthChecks {
		wanted[h.Name] = true
		if c.checks.hasHealth(h.Name) {
			continue // it goes on, perhaps as another one
		}
		begin := h.Rule.Init
		if begin == failover.HealthUnknown && c.records.shows(h.Name) {
			// It was answered until now: it is not hidden until the first verdict
			// because somebody wants to know how it is.
			begin = failover.Healthy
		}
		t.check(h.Name, func(k checked) checked { k.hasHealth, k.health = true, begin; return k })
	}
	for name := range c.checks.allHealth() {
		if !wanted[name] && c.stays(name, t) {
			t.check(name, func(k checked) checked { k.hasHealth = false; return k })
		}
	}
	clear(wanted)
	for _, a := range next.ActivityChecks {
		wanted[a.Name] = true
		if !c.checks.hasDuty(a.Name) {
			t.check(a.Name, func(k checked) checked { return k.fresh(catalog.DutyUndefined, c.state.duty(a.Name)) })
		}
	}
	for name := range c.checks.allDuty() {
		if !wanted[name] && named[name] {
			// The alias stays, and so does what its hooks moved: DNS still points
			// here.
			t.check(name, func(k checked) checked {
				k.hasDuty = false
				k.standing.Duty = catalog.DutyUndefined
				return k
			})
		}
	}
	return t
}

// stays says whether a name with a check is none of an alias that leaves now or
// has not left yet: a check sees its alias off, and ends with it.
func (c *Core) stays(name string, t turn) bool {
	return !slices.Contains(t.leave, name) && c.departs[name] == 0
}

// reloadChecks brings the checks to what the configuration has. Those of aliases
// that leave stay until they have left.
func (c *Core) reloadChecks(next *config.Config, t turn) {
	named := map[string]bool{}
	for _, a := range next.Aliases {
		named[a.Name] = true
	}
	wanted := map[string]bool{}
	for _, h := range next.HealthChecks {
		wanted[h.Name] = true
		if c.checks.hasHealth(h.Name) {
			c.checks.changeHealth(h)
		} else {
			c.checks.addHealth(h, failover.HealthUnknown)
		}
	}
	for name := range c.checks.allHealth() {
		if !wanted[name] && c.stays(name, t) {
			c.endHealth(name)
		}
	}
	clear(wanted)
	for _, a := range next.ActivityChecks {
		wanted[a.Name] = true
		if c.checks.hasDuty(a.Name) {
			c.checks.changeDuty(a)
		} else {
			c.checks.addDuty(a, catalog.DutyUndefined)
		}
	}
	for name := range c.checks.allDuty() {
		if !wanted[name] && named[name] {
			c.checks.endDuty(name)
		}
	}
}

// open lets reloads in, close keeps them out for good.
func (c *Core) open(ctx context.Context) {
	c.changing.Lock()
	defer c.changing.Unlock()
	c.running, c.departing = true, ctx
}

func (c *Core) close() {
	c.changing.Lock()
	defer c.changing.Unlock()
	c.running = false
}

// depart takes an alias out that the file has no more, as `mrkmctl -D` does it,
// and then its checks. It does not wait: a hook may take its time. The caller
// holds changing.
func (c *Core) depart(name string) {
	ctx := c.departing
	c.departs[name]++
	c.leaving.Go(func() {
		err := c.letGo(ctx, name)
		c.changing.Lock()
		defer c.changing.Unlock()
		c.departs[name]--
		if err != nil {
			return // the daemon stops, and lets everything go
		}
		if !c.running || slices.ContainsFunc(c.config().Aliases, func(a config.Alias) bool { return a.Name == name }) {
			return // a later reload has it again
		}
		gone := c.records.remove(name)
		c.checks.endDuty(name)
		if slices.ContainsFunc(c.config().HealthChecks, func(h config.HealthCheck) bool { return h.Name == name }) {
			c.records.forgetDuty(name) // it is a static name now, and checked as such
		} else {
			c.endHealth(name)
			c.records.forget(name)
		}
		if gone {
			c.log.Info("alias taken out: " + name)
		} else {
			c.log.Info("alias not taken out, since it was added by hand meanwhile; it has no checks: " + name)
		}
	})
}
