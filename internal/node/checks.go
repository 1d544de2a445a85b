package node

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"

	"murakumo/internal/catalog"
	"murakumo/internal/check"
	"murakumo/internal/config"
	"murakumo/internal/failover"
)

// checks are the drivers of this node's checks. Each lives by itself: it is
// started, changed and ended while the others go on as if nothing was.
type checks struct {
	self    netip.Addr
	log     *slog.Logger
	cat     *catalog.Catalog
	state   *state
	records *records
	ready   <-chan struct{}
	probe   func(config.HealthCheck) check.Probe
	act     func(failover.Transition, config.Command)

	mu sync.Mutex // guards what follows
	// probing and deciding are the contexts that health and activity checks run
	// in; nil before begin.
	probing, deciding context.Context
	health            map[string]*healthCheck
	duty              map[string]*dutyCheck
}

// life is what ends one driver.
type life struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// live runs a driver in a life of its own.
func live(ctx context.Context, run func(context.Context) error) life {
	ctx, cancel := context.WithCancel(ctx)
	l := life{cancel, make(chan struct{})}
	go func() {
		defer close(l.done)
		_ = run(ctx) // drivers end with nil
	}()
	return l
}

// end ends the driver, if it was started, and waits until it has.
func (l life) end() {
	if l.cancel == nil {
		return
	}
	l.cancel()
	<-l.done
}

type healthCheck struct {
	life
	cfg    atomic.Pointer[config.HealthCheck] // as it is now
	driver *failover.HealthDriver
}

type dutyCheck struct {
	life
	cfg    atomic.Pointer[config.ActivityCheck] // as it is now
	driver *failover.DutyDriver
}

// addHealth adds a health check, which starts now if the others have started.
// resume is the verdict to go on from.
func (c *checks) addHealth(cfg config.HealthCheck, resume failover.Health) {
	h := new(healthCheck)
	h.cfg.Store(&cfg)
	h.driver = failover.NewHealthDriver(failover.HealthDriver{
		Name: cfg.Name, Rule: cfg.Rule, Probe: c.probe(cfg),
		Addr:   func() netip.Addr { return c.records.address(cfg.Name, c.self) },
		Number: c.state.health(cfg.Name), Resume: resume,
		Publish: func(v failover.Health) { c.records.setHealth(cfg.Name, v) },
		Shell: failover.Shell{Log: c.log, Act: func(t failover.Transition) {
			now := h.cfg.Load()
			c.act(t, choose(t.Status == "healthy", now.OnActivate, now.OnInactivate))
		}},
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.health[cfg.Name] = h
	if c.probing != nil {
		h.life = live(c.probing, h.driver.Run)
	}
}

// addDuty adds an activity check, likewise.
func (c *checks) addDuty(cfg config.ActivityCheck, resume catalog.Duty) {
	d := new(dutyCheck)
	d.cfg.Store(&cfg)
	d.driver = failover.NewDutyDriver(failover.DutyDriver{
		Name: cfg.Name, Addr: c.self, Rule: cfg.Rule, Catalog: c.cat,
		Memory: c.state.duty(cfg.Name), Resume: resume,
		Remember: func(m failover.Memory) { c.state.noteDuty(cfg.Name, m) },
		Ready:    c.ready,
		Publish:  func(s failover.Standing, begun bool) { c.records.setDuty(cfg.Name, s, begun) },
		Shell: failover.Shell{Log: c.log, Act: func(t failover.Transition) {
			now := d.cfg.Load()
			c.act(t, choose(t.Status == "active", now.OnActivate, now.OnInactivate))
		}},
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.duty[cfg.Name] = d
	if c.deciding != nil {
		d.life = live(c.deciding, d.driver.Run)
	}
}

func choose(yes bool, a, b config.Command) config.Command {
	if yes {
		return a
	}
	return b
}

// begin starts all that were added so far.
func (c *checks) begin(probing, deciding context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probing, c.deciding = probing, deciding
	for _, h := range c.health {
		h.life = live(probing, h.driver.Run)
	}
	for _, d := range c.duty {
		d.life = live(deciding, d.driver.Run)
	}
}

// wait waits until all have ended, which their contexts make them do.
func (c *checks) wait() {
	for _, h := range c.allHealth() {
		<-h.done
	}
	for _, d := range c.allDuty() {
		<-d.done
	}
}

// hasHealth and hasDuty say whether a name has a check that was not ended.
func (c *checks) hasHealth(name string) bool { return c.allHealth()[name] != nil }
func (c *checks) hasDuty(name string) bool   { return c.allDuty()[name] != nil }

// changeHealth makes a check another one. Its probe is replaced only when the
// new one asks something else.
func (c *checks) changeHealth(cfg config.HealthCheck) {
	h := c.allHealth()[cfg.Name]
	was := h.cfg.Swap(&cfg)
	switch {
	case !sameProbe(*was, cfg):
		h.driver.Change(cfg.Rule, c.probe(cfg))
	case was.Rule != cfg.Rule:
		h.driver.Change(cfg.Rule, nil)
	}
}

func (c *checks) changeDuty(cfg config.ActivityCheck) {
	d := c.allDuty()[cfg.Name]
	if was := d.cfg.Swap(&cfg); was.Rule != cfg.Rule {
		d.driver.Change(cfg.Rule)
	}
}

// sameProbe says whether two checks ask the same: whether they differ in nothing
// but how answers are counted and what is done then.
func sameProbe(a, b config.HealthCheck) bool {
	text := func(h config.HealthCheck) string {
		if h.Script == nil {
			return ""
		}
		return h.Script.String()
	}
	if text(a) != text(b) {
		return false
	}
	for _, h := range []*config.HealthCheck{&a, &b} {
		h.Script, h.OnActivate, h.OnInactivate = nil, nil, nil
		h.Rule = failover.HealthRule{}
	}
	return reflect.DeepEqual(a, b)
}

// endHealth and endDuty end a check, if there is one, and forget it.
func (c *checks) endHealth(name string) {
	c.mu.Lock()
	h := c.health[name]
	delete(c.health, name)
	c.mu.Unlock()
	if h != nil {
		h.end()
	}
}

func (c *checks) endDuty(name string) {
	c.mu.Lock()
	d := c.duty[name]
	delete(c.duty, name)
	c.mu.Unlock()
	if d != nil {
		d.end()
	}
}

// release lets the duty for a name go, if there is an activity check.
func (c *checks) release(ctx context.Context, name string, reason failover.Reason) error {
	if d := c.allDuty()[name]; d != nil {
		return d.driver.Release(ctx, reason)
	}
	return nil
}

// hookFailed tells the activity check of a name that its hook failed; false when
// there is none that runs.
func (c *checks) hookFailed(name string, number uint64) bool {
	d := c.allDuty()[name]
	return d != nil && d.driver.HookFailed(number)
}

// allHealth and allDuty give the checks as they are now.
func (c *checks) allHealth() map[string]*healthCheck {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.health)
}

func (c *checks) allDuty() map[string]*dutyCheck {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.duty)
}

func realProbe(h config.HealthCheck) check.Probe {
	if h.Script != nil {
		return check.Compile(h.Script)
	}
	return check.Command(h.Command)
}
