package node

import (
	"context"
	"errors"
	"sync"

	"murakumo/internal/check"
	"murakumo/internal/config"
	"murakumo/internal/control"
)

// pushes are the checks that applications make themselves, by alias.
type pushes struct {
	mu sync.Mutex // guards by
	by map[string]*check.Push
}

// prober makes the probe of a health check, by make where it is one that asks.
// The latest probe of an alias is the one that reports go to.
func (p *pushes) prober(make func(config.HealthCheck) check.Probe) func(config.HealthCheck) check.Probe {
	return func(h config.HealthCheck) check.Probe {
		if h.TTL == 0 {
			p.set(h.Name, nil)
			return make(h)
		}
		push := check.NewPush(h.TTL)
		p.set(h.Name, push)
		return push.Probe
	}
}

// set makes reports of a name go to push, nil for nobody.
func (p *pushes) set(name string, push *check.Push) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by == nil {
		p.by = map[string]*check.Push{}
	}
	if old := p.by[name]; old != nil {
		old.Retire()
	}
	if push == nil {
		delete(p.by, name)
		return
	}
	p.by[name] = push
}

func (p *pushes) of(name string) *check.Push {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.by[name]
}

// endHealth ends the health check of a name, if there is one.
func (c *Core) endHealth(name string) {
	c.checks.endHealth(name)
	c.pushes.set(name, nil)
	c.verdicts.forget(name)
}

// Report is `mrkmctl --report`: what an application says of the service behind
// an alias of this node.
func (c *Core) Report(ctx context.Context, name string, good bool) error {
	name = c.bare(name)
	for push := c.pushes.of(name); push != nil; push = c.pushes.of(name) {
		switch err := push.Report(ctx, good); {
		case err == nil:
			return nil
		case !errors.Is(err, check.ErrRetired): // else a reload has made it another one
			return control.Errorf(control.Unavailable, "the health check of %s takes no report now: %w; is murakumo stopping?", name, err)
		}
	}
	if c.checks.hasHealth(name) {
		return control.Errorf(control.Conflict, "the health check of %s asks by itself and takes no reports; for reports the file has ttl in place of its script or command", name)
	}
	return control.Errorf(control.NotFound, "no health check of %s on this node", name)
}
