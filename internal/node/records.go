package node

import (
	"errors"
	"sync"

	"murakumo/internal/catalog"
	"murakumo/internal/config"
	"murakumo/internal/control"
	"murakumo/internal/failover"
)

// records publishes this node's own records: the host's name, its aliases, and
// what the checks say of them. What the checks settled on is kept here by
// name, so that an alias which is taken away and added again gets it back:
// the verdict belongs to the check.
type records struct {
	host config.Host
	cat  *catalog.Catalog

	mu      sync.Mutex // guards checked, and orders it with the catalog's updates
	checked map[string]checked
	closing bool
}

// checked is what the checks of one name settled on.
type checked struct {
	hasHealth bool // there is a health check: it decides the activity
	health    failover.Health
	duty      catalog.Duty
	number    uint64
	acted     uint64
}

func (c checked) active() bool { return !c.hasHealth || c.health == failover.Healthy }

// newRecords takes the transition numbers of the last run from number.
func newRecords(cfg *config.Config, cat *catalog.Catalog, number func(name string) uint64) *records {
	r := &records{host: cfg.Host, cat: cat, checked: map[string]checked{}}
	for _, h := range cfg.HealthChecks {
		r.checked[h.Name] = checked{hasHealth: true, health: h.Rule.Init}
	}
	for _, a := range cfg.ActivityChecks {
		c := r.checked[a.Name]
		c.number = number(a.Name)
		c.acted = c.number
		r.checked[a.Name] = c
	}
	return r
}

// publish puts the host's own name and its aliases into the table.
func (r *records) publish(aliases []config.Alias) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var recs []catalog.Record
	for _, a := range r.host.Addrs {
		recs = append(recs, catalog.Record{Name: r.host.Name, Addr: a, TTL: r.host.TTL, Priority: catalog.Origin, Active: true})
	}
	for _, a := range aliases {
		recs = append(recs, r.of(a)...)
	}
	return r.put(recs)
}

// of makes the records of one alias, one for each address of the host.
// Callers hold mu.
func (r *records) of(a config.Alias) []catalog.Record {
	c := r.checked[a.Name]
	recs := make([]catalog.Record, 0, len(r.host.Addrs))
	for _, addr := range r.host.Addrs {
		recs = append(recs, catalog.Record{
			Name: a.Name, Addr: addr, TTL: a.TTL, Priority: a.Priority, Weight: a.Weight,
			Active: c.active() && !r.closing, Duty: c.duty, Transition: c.number, Acted: c.acted,
		})
	}
	return recs
}

// put publishes the records in one step, or none of them when one is not fit
// to be published. Callers hold mu.
func (r *records) put(recs []catalog.Record) (err error) {
	for _, rec := range recs {
		if err := rec.Check(); err != nil {
			return err
		}
	}
	r.cat.Update(func(own *catalog.Edit) {
		for _, rec := range recs {
			err = errors.Join(err, own.Put(rec))
		}
	})
	return err
}

// add adds or changes aliases by the operator's hand, or the TTL of the host's
// own name, all or none, and gives their records as they are now.
func (r *records) add(aliases []config.Alias) ([]catalog.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var recs []catalog.Record
	for _, a := range aliases {
		if a.Name != r.host.Name {
			recs = append(recs, r.of(a)...)
			continue
		}
		for _, addr := range r.host.Addrs {
			recs = append(recs, catalog.Record{Name: a.Name, Addr: addr, TTL: a.TTL, Priority: catalog.Origin, Active: true})
		}
	}
	if err := r.put(recs); err != nil {
		return nil, control.Errorf(control.Invalid, "%w", err)
	}
	return recs, nil
}

// check says why a name cannot be deleted; nil when it can.
func (r *records) check(name string) error {
	if name == r.host.Name {
		return control.Errorf(control.Conflict, "original host name cannot be deleted")
	}
	for rec := range r.cat.View().Own().Records() {
		if rec.Name == name {
			return nil
		}
	}
	return control.Errorf(control.NotFound, "no alias %s on this node", name)
}

// remove takes an alias out of the table.
func (r *records) remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cat.Update(func(own *catalog.Edit) {
		for _, rec := range own.ByName(name) {
			own.Delete(rec.Key())
		}
	})
}

// setHealth, setDuty and setActed take what a check settled on.
func (r *records) setHealth(name string, h failover.Health) {
	r.change(name, func(c *checked) { c.health = h })
}

func (r *records) setDuty(name string, d catalog.Duty, number uint64, acted bool) {
	r.change(name, func(c *checked) {
		c.duty, c.number = d, number
		if acted {
			c.acted = number
		}
	})
}

func (r *records) setActed(name string, number uint64) {
	r.change(name, func(c *checked) { c.acted = max(c.acted, number) })
}

// resign turns every alias Inactive for good: the daemon stops.
func (r *records) resign() {
	r.mu.Lock()
	r.closing = true
	r.cat.Update(func(own *catalog.Edit) {
		for rec := range own.Records() {
			if rec.Priority != catalog.Origin {
				rec.Active = false
				_ = own.Put(rec) // it was fit to be published before
			}
		}
	})
	r.mu.Unlock()
}

func (r *records) change(name string, f func(*checked)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.checked[name]
	f(&c)
	r.checked[name] = c
	r.cat.Update(func(own *catalog.Edit) {
		for _, rec := range own.ByName(name) {
			rec.Active = c.active() && !r.closing
			// The record can be ahead of us: a peer told the number of a run
			// whose state was lost. No hook of that run is left to end.
			rec.Duty, rec.Transition, rec.Acted = c.duty, max(rec.Transition, c.number), c.acted
			if c.acted >= c.number {
				rec.Acted = rec.Transition
			}
			_ = own.Put(rec) // it was fit to be published before
		}
	})
}
