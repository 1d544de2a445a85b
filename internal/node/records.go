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
	host  config.Host
	cat   *catalog.Catalog
	limit int // max-records: peers refuse a set with more

	mu      sync.Mutex // guards checked, and orders it with the catalog's updates
	checked map[string]checked
	closing bool
}

// checked is what the checks of one name settled on.
type checked struct {
	hasHealth bool // there is a health check: it decides the activity
	health    failover.Health
	standing  failover.Standing
	acted     uint64
	leaving   bool // being taken out by the operator
}

func (c checked) active() bool { return !c.leaving && (!c.hasHealth || c.health == failover.Healthy) }

// newRecords takes what the last run remembered from memory.
func newRecords(cfg *config.Config, cat *catalog.Catalog, memory func(name string) failover.Memory) *records {
	r := &records{host: cfg.Host, cat: cat, limit: cfg.MaxRecords, checked: map[string]checked{}}
	for _, h := range cfg.HealthChecks {
		r.checked[h.Name] = checked{hasHealth: true, health: h.Rule.Init}
	}
	for _, a := range cfg.ActivityChecks {
		c := r.checked[a.Name]
		m := memory(a.Name)
		c.standing = failover.Standing{Number: m.Number, Activated: m.Activated}
		c.acted = m.Number
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
			Active: c.active() && !r.closing,
			Duty:   c.standing.Duty, Transition: c.standing.Number, Activated: c.standing.Activated, Acted: c.acted,
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
			if c := r.checked[a.Name]; c.leaving {
				c.leaving = false
				r.checked[a.Name] = c
			}
			recs = append(recs, r.of(a)...)
			continue
		}
		for _, addr := range r.host.Addrs {
			recs = append(recs, catalog.Record{Name: a.Name, Addr: addr, TTL: a.TTL, Priority: catalog.Origin, Active: true})
		}
	}
	added := 0
	own := r.cat.View().Own()
	for _, rec := range recs {
		if _, there := own.Get(rec.Key()); !there {
			added++
		}
	}
	if n := own.Len() + added; n > r.limit {
		return nil, control.Errorf(control.Conflict, "this node would have %d records; its peers take max-records: %d", n, r.limit)
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
	c := r.checked[name]
	c.leaving = false
	r.checked[name] = c
}

// setHealth, setDuty and setActed take what a check settled on.
func (r *records) setHealth(name string, h failover.Health) {
	r.change(name, func(c *checked) { c.health = h })
}

func (r *records) setDuty(name string, s failover.Standing, begun bool) {
	r.change(name, func(c *checked) {
		c.standing = s
		if !begun {
			c.acted = s.Number
		}
	})
}

// withdraw turns an alias Inactive that is about to be taken out.
func (r *records) withdraw(name string) {
	r.change(name, func(c *checked) { c.leaving = true })
}

// hooksEnded says whether every hook of an alias has ended.
func (r *records) hooksEnded(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.checked[name]
	return c.acted >= c.standing.Number
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
			rec.Duty, rec.Transition, rec.Acted = c.standing.Duty, max(rec.Transition, c.standing.Number), c.acted
			rec.Activated = max(rec.Activated, c.standing.Activated)
			if c.acted >= c.standing.Number {
				rec.Acted = rec.Transition
			}
			_ = own.Put(rec) // it was fit to be published before
		}
	})
}
