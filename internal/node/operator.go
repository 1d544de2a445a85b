package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"murakumo/internal/catalog"
	"murakumo/internal/config"
	"murakumo/internal/control"
	"murakumo/internal/failover"
)

// AddRecords is `mrkmctl -A`.
func (c *Core) AddRecords(_ context.Context, specs []control.RecordSpec) ([]catalog.Record, error) {
	var aliases []config.Alias
	for _, s := range specs {
		a := config.Alias{Name: c.bare(s.Name)}
		// What an operator says nothing of stays as the file has it.
		file := c.config().Aliases
		if i := slices.IndexFunc(file, func(f config.Alias) bool { return f.Name == a.Name }); i >= 0 {
			a = file[i]
		}
		a.TTL, a.Priority, a.Weight = s.TTL, s.Priority, s.Weight
		aliases = append(aliases, a)
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
		if err := c.letGo(ctx, name); err != nil {
			return err
		}
		if c.records.remove(name) {
			c.log.Info("record deleted by hand: " + name)
		} else {
			c.log.Info("record not deleted, since it was added again meanwhile: " + name)
		}
	}
	return nil
}

// letGo lets the duty for a name go that was withdrawn, with the hook where this
// node was active, and waits until its hooks have ended: as long as one runs the
// others must be able to see it.
func (c *Core) letGo(ctx context.Context, name string) error {
	if err := c.checks.release(ctx, name, failover.ReasonManual); err != nil {
		return fmt.Errorf("letting the duty of %s go: %w", name, err)
	}
	if err := c.records.hooksEnd(ctx, name); err != nil {
		return control.Errorf(control.Unavailable, "%s is Inactive, but its hook still runs; delete it again when that has ended", name)
	}
	return nil
}

// bare is a name without the domain, as the table has it.
func (c *Core) bare(name string) string {
	domain := c.config().Domain
	if domain == "" {
		return name
	}
	return strings.TrimSuffix(name, "."+domain)
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
	host = c.bare(catalog.LowerName(host))
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
