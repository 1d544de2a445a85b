package node

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
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
	cat *catalog.Catalog
	log *slog.Logger

	mu      sync.Mutex // guards what follows, and orders it with the catalog's updates
	host    config.Host
	limit   int // max-records: peers refuse a set with more
	checked map[string]checked
	closing bool
	settled chan struct{} // closed, and replaced, when a hook has ended

	// told is what is said of things that run no daemon, telling how much of it is
	// published. leftOut and noRoom are what the log knows of the rest.
	told    *told
	telling int
	leftOut map[string]bool
	noRoom  int
}

// checked is what the checks of one name settled on. The zero value has none.
type checked struct {
	hasHealth bool // there is a health check: it decides the activity
	health    failover.Health
	hasDuty   bool // there is an activity check
	standing  failover.Standing
	acted     uint64
	leaving   bool // being taken out
	// unsure: the hook of the last activation failed, and no activity check was
	// there any more to be told.
	unsure bool
}

func (c checked) active() bool { return !c.leaving && (!c.hasHealth || c.health == failover.Healthy) }

// fresh is what is known of an activity check that begins with what an earlier
// one remembered: no hook of that one is left to end.
func (c checked) fresh(duty catalog.Duty, m failover.Memory) checked {
	c.hasDuty = true
	c.standing = failover.Standing{Duty: duty, Number: m.Number, Activated: m.Activated}
	c.acted = m.Number
	return c
}

func newRecords(cat *catalog.Catalog, log *slog.Logger) *records {
	return &records{cat: cat, log: log, checked: map[string]checked{}, settled: make(chan struct{}), told: new(told)}
}

// turn is what becomes of the records with another configuration.
type turn struct {
	host   config.Host
	origin bool // the host's own records are to be published anew
	limit  int
	told   *told
	put    []config.Alias // added or changed
	leave  []string       // Inactive from now on, to be taken out
	// checked changes what is known of the checks of a name.
	checked map[string]func(checked) checked
}

// check changes what is known of the checks of a name, after what was asked for
// before.
func (t *turn) check(name string, f func(checked) checked) {
	if t.checked == nil {
		t.checked = map[string]func(checked) checked{}
	}
	if before := t.checked[name]; before != nil {
		t.checked[name] = func(c checked) checked { return f(before(c)) }
	} else {
		t.checked[name] = f
	}
}

// firstTurn is that of a start: kept is what the run before left.
func firstTurn(cfg *config.Config, told *told, s *state, kept *kept) turn {
	t := turn{host: cfg.Host, origin: true, limit: cfg.MaxRecords, told: told, put: cfg.Aliases}
	for _, h := range cfg.HealthChecks {
		t.check(h.Name, func(c checked) checked {
			c.hasHealth, c.health = true, h.Rule.Init
			if was := kept.health(h.Name); was != failover.HealthUnknown {
				c.health = was
			}
			return c
		})
	}
	for _, a := range cfg.ActivityChecks {
		t.check(a.Name, func(c checked) checked { return c.fresh(kept.duty(a.Name), s.duty(a.Name)) })
	}
	return t
}

// turn makes all of it visible at once, or nothing when it cannot be published.
func (r *records) turn(t turn) error {
	var said saying
	defer r.say(&said)
	r.mu.Lock()
	defer r.mu.Unlock()
	next := maps.Clone(r.checked)
	for name, f := range t.checked {
		next[name] = f(next[name])
	}
	for _, name := range t.leave {
		c := next[name]
		c.leaving = true
		next[name] = c
	}
	var recs []catalog.Record
	if t.origin {
		recs = origins(t.host, t.host.TTL)
	}
	for _, a := range t.put {
		c := next[a.Name]
		c.leaving = false
		next[a.Name] = c
		recs = append(recs, r.of(t.host, a, c)...)
	}
	if err := r.fits(recs, t.limit); err != nil {
		return err
	}
	r.host, r.limit, r.checked, r.told = t.host, t.limit, next, t.told
	r.cat.Update(func(own *catalog.Edit) {
		for _, rec := range recs {
			_ = own.Put(rec) // it fits
		}
		for name := range t.checked {
			r.refresh(own, name)
		}
		for _, name := range t.leave {
			r.refresh(own, name)
		}
		said = r.retell(own)
	})
	return nil
}

// origins makes the records of the host's own name.
func origins(host config.Host, ttl uint32) []catalog.Record {
	var recs []catalog.Record
	for _, a := range host.Addrs {
		recs = append(recs, catalog.Record{Name: host.Name, Addr: a, TTL: ttl, Priority: catalog.Origin, Active: true})
	}
	return recs
}

// of makes the records of one alias, one for each address of the host.
// Callers hold mu.
func (r *records) of(host config.Host, a config.Alias, c checked) []catalog.Record {
	own := r.cat.View().Own()
	recs := make([]catalog.Record, 0, len(host.Addrs))
	for _, addr := range host.Addrs {
		rec := catalog.Record{
			Name: a.Name, Addr: addr, TTL: a.TTL, Priority: a.Priority, Weight: a.Weight,
			Port: a.Port,
		}.WithText(a.Text).WithTarget(a.Target)
		if was, there := own.Get(rec.Key()); there {
			rec.Transition, rec.Activated = was.Transition, was.Activated
		}
		recs = append(recs, r.with(rec, c))
	}
	return recs
}

// with puts into a record what its checks settled on. Callers hold mu.
func (r *records) with(rec catalog.Record, c checked) catalog.Record {
	if rec.Static {
		// Nobody hands it over, so it is neither withdrawn nor resigned: what is
		// not said by a check says nothing against what others tell of it.
		rec.Active = !c.hasHealth || c.health == failover.Healthy
		rec.Checked = c.hasHealth && c.health != failover.HealthUnknown
		return rec
	}
	rec.Active = c.active() && !r.closing
	// The record can be ahead of us: a peer told the number of a run whose
	// state was lost. No hook of that run is left to end.
	rec.Duty, rec.Transition, rec.Acted = c.standing.Duty, max(rec.Transition, c.standing.Number), c.acted
	rec.Activated = max(rec.Activated, c.standing.Activated)
	if c.acted >= c.standing.Number {
		rec.Acted = rec.Transition
	}
	return rec
}

// refresh puts what the checks of a name settled on into its records. Callers
// hold mu.
func (r *records) refresh(own *catalog.Edit, name string) {
	for _, rec := range own.ByName(name) {
		if rec.Priority != catalog.Origin {
			_ = own.Put(r.with(rec, r.checked[name])) // it was fit to be published before
		}
	}
}

// fits says why records cannot be published. Callers hold mu.
func (r *records) fits(recs []catalog.Record, limit int) error {
	own := r.cat.View().Own()
	added := 0
	for _, rec := range recs {
		if err := rec.Check(); err != nil {
			return control.Errorf(control.Invalid, "%w", err)
		}
		if was, there := own.Get(rec.Key()); !there || was.Static {
			added++
		}
	}
	// Static names give way to those of this node.
	if n := own.Len() - r.telling + added; n > limit && (added > 0 || limit < r.limit) {
		return control.Errorf(control.Conflict, "this node would have %d records; its peers take max-records: %d", n, limit)
	}
	return nil
}

// add adds or changes aliases by the operator's hand, or the TTL of the host's
// own name, all or none, and gives their records as they are now.
func (r *records) add(aliases []config.Alias) ([]catalog.Record, error) {
	var said saying
	defer r.say(&said)
	r.mu.Lock()
	defer r.mu.Unlock()
	var recs []catalog.Record
	for _, a := range aliases {
		if err := r.notStatic(a.Name); err != nil {
			return nil, err
		}
		if a.Name == r.host.Name {
			recs = append(recs, origins(r.host, a.TTL)...)
			continue
		}
		c := r.checked[a.Name]
		c.leaving = false
		recs = append(recs, r.of(r.host, a, c)...)
	}
	if err := r.fits(recs, r.limit); err != nil {
		return nil, err
	}
	for _, a := range aliases {
		if c := r.checked[a.Name]; c.leaving {
			c.leaving = false
			r.checked[a.Name] = c
		}
	}
	r.cat.Update(func(own *catalog.Edit) {
		for _, rec := range recs {
			_ = own.Put(rec) // it fits
		}
		said = r.retell(own)
	})
	return recs, nil
}

// check says why a name cannot be deleted; nil when it can.
func (r *records) check(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == r.host.Name {
		return control.Errorf(control.Conflict, "original host name cannot be deleted")
	}
	if err := r.notStatic(name); err != nil {
		return err
	}
	if !r.has(name) {
		return control.Errorf(control.NotFound, "no alias %s on this node", name)
	}
	return nil
}

func (r *records) has(name string) bool {
	v := r.cat.View()
	return len(v.Name(name).Of(v.Self())) > 0
}

// shows says whether a name is published and Active.
func (r *records) shows(name string) bool {
	v := r.cat.View()
	for _, e := range v.Name(name).Of(v.Self()) {
		if e.Active {
			return true
		}
	}
	return false
}

// withdraw turns an alias Inactive that is about to be taken out.
func (r *records) withdraw(name string) {
	r.change(name, func(c *checked) { c.leaving = true })
}

// remove takes an alias out of the table that was withdrawn. It is false when it
// was added again since, and so stays.
func (r *records) remove(name string) bool {
	var said saying
	defer r.say(&said)
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.checked[name]
	if !c.leaving {
		return !r.has(name)
	}
	r.cat.Update(func(own *catalog.Edit) {
		for _, rec := range own.ByName(name) {
			own.Delete(rec.Key())
		}
		c.leaving = false
		r.checked[name] = c
		said = r.retell(own) // it may be that of something else from now on
	})
	return true
}

// forgetDuty drops what was known of the activity check of a name.
func (r *records) forgetDuty(name string) {
	r.change(name, func(c *checked) { *c = checked{hasHealth: c.hasHealth, health: c.health} })
}

// forget drops what was known of the checks of a name that has none any more.
func (r *records) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.checked, name)
	r.cat.Update(func(own *catalog.Edit) { r.refresh(own, name) })
}

// setHealth and setDuty take what a check settled on.
func (r *records) setHealth(name string, h failover.Health) {
	r.change(name, func(c *checked) {
		if c.hasHealth {
			c.health = h
		}
	})
}

func (r *records) setDuty(name string, s failover.Standing, begun bool) {
	r.change(name, func(c *checked) {
		if !c.hasDuty {
			return
		}
		c.standing = s
		if !begun {
			c.acted = s.Number
		}
	})
}

// setActed notes that the hook of an activity transition has ended; known says
// that its activity check heard of it if it failed.
func (r *records) setActed(name string, number uint64, known bool) {
	r.change(name, func(c *checked) {
		c.acted = max(c.acted, number)
		c.unsure = !known
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.settled)
	r.settled = make(chan struct{})
}

// hooksEnd waits until every activity hook of an alias has ended.
func (r *records) hooksEnd(ctx context.Context, name string) error {
	for {
		r.mu.Lock()
		c, settled := r.checked[name], r.settled
		r.mu.Unlock()
		if c.acted >= c.standing.Number {
			return nil
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return fmt.Errorf("hook %d of %s has not ended: %w", c.standing.Number, name, context.Cause(ctx))
		}
	}
}

// resign turns every alias Inactive for good: the daemon stops.
func (r *records) resign() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closing = true
	r.cat.Update(func(own *catalog.Edit) {
		for rec := range own.Records() {
			if rec.Priority != catalog.Origin && !rec.Static {
				rec.Active = false
				_ = own.Put(rec) // it was fit to be published before
			}
		}
	})
}

func (r *records) change(name string, f func(*checked)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.checked[name]
	f(&c)
	r.checked[name] = c
	r.cat.Update(func(own *catalog.Edit) { r.refresh(own, name) })
}
