package config

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// checkName reads the name that a check is for, "" after reporting that it is
// none.
func (l *loader) checkName(f field, key string, taken map[string]bool) string {
	name, err := readName(f.key.text, l.suffix)
	switch {
	case err != nil:
		l.problem(f.key.place, join(key, f.key.text), "%s", err)
		return ""
	case taken[name]:
		l.problem(f.key.place, join(key, f.key.text), "given twice, in another spelling")
		return ""
	}
	taken[name] = true
	return name
}

// checks reads the entries of health-check or activity-check.
func checks[T any](l *loader, v value, keys []key[T], fresh func(name string) T, check func(at field, path string, there map[string]value, c T)) {
	if v.kind != mapping {
		l.wrong(v, "a mapping from alias to check")
		return
	}
	taken := map[string]bool{}
	for _, f := range v.fields {
		if l.full() {
			return
		}
		path := join(v.key, f.key.text)
		name := l.checkName(f, v.key, taken)
		if name != "" {
			l.checkAt = append(l.checkAt, checkPlace{f.key.place, path, name})
		}
		if f.value.kind != mapping && f.value.kind != null {
			l.wrong(value{f.value, path, f.key.place}, "a mapping")
			continue
		}
		c := fresh(name)
		there := readKeys(l, value{f.value, path, f.key.place}, keys, &c)
		check(f, path, there, c)
	}
}

// checkPlace is where a check stands, for the search of its alias.
type checkPlace struct {
	place
	path, name string
}

// probeKeys are the ways to know whether a service is well; a check has one.
var probeKeys = []string{"script", "command", "ttl"}

func (l *loader) healthChecks(v value, c *Config) {
	if l.describes(func() shape { return named(object(healthKeys).requiringJustOne(probeKeys...)) }) {
		return
	}
	checks(l, v, healthKeys, defaultHealthCheck, func(f field, path string, there map[string]value, h HealthCheck) {
		first := ""
		for _, key := range probeKeys {
			v, ok := there[key]
			switch {
			case !ok:
			case first == "":
				first = key
			default:
				l.problem(v.place, v.key, "there is a %s already: expected one of script, command and ttl", first)
			}
		}
		if first == "" {
			l.problem(f.key.place, path, "script, command or ttl is missing")
		}
		if h.TTL > 0 {
			for _, key := range []string{"interval", "timeout"} {
				if v, ok := there[key]; ok {
					l.warning(v.keyAt, v.key, "means nothing beside ttl: the application decides when it reports")
				}
			}
			h.Rule.Interval, h.Rule.Timeout = pushPause, h.TTL
		}
		l.sharedHook(there, h.OnActivate, h.OnInactivate, "unhealthy")
		c.HealthChecks = append(c.HealthChecks, h)
	})
}

// pushPause is the least time from one wait for a report to the next. It bounds
// what an application that reports without pause can make the daemon do.
const pushPause = time.Millisecond

func (l *loader) activityChecks(v value, c *Config) {
	if l.describes(func() shape { return named(object(activityKeys).requiringOne("on-activate", "on-inactivate")) }) {
		return
	}
	checks(l, v, activityKeys, defaultActivityCheck, func(f field, path string, there map[string]value, a ActivityCheck) {
		_, on := there["on-activate"]
		_, off := there["on-inactivate"]
		if !on && !off {
			l.problem(f.key.place, path, "on-activate or on-inactivate is missing: without one the check would do nothing")
		}
		l.sharedHook(there, a.OnActivate, a.OnInactivate, "inactive")
		c.ActivityChecks = append(c.ActivityChecks, a)
	})
}

// finish asks what can be asked only when everything is read.
func (l *loader) finish(whole place) {
	c := l.cfg
	if !l.partial {
		if _, ok := l.there["auth-key"]; !ok {
			l.problem(whole, "auth-key", "is missing")
		}
		if _, ok := l.there["host"]; !ok {
			l.problem(whole, "host", "is missing: expected %s", hostForm)
		}
	}
	l.oldPlaces(c)
	l.checkNames(c)
	l.checkTargets(c)
	l.checkStatic(c)
	l.checkChecks(c)
	l.checkPorts(c)
	l.checkResolvers(c)
	l.checkTransfer(c)
	l.checkTLS(c)

	if records := len(c.Host.Addrs)*(1+len(c.Aliases)) + c.staticRecords(); records > c.MaxRecords {
		l.problem(l.at("max-records", whole), "max-records", "this node alone has %d records, more than the %d that others would accept",
			records, c.MaxRecords)
	}
	if g := c.Gossip; g.SendInterval >= g.NodeLifetime {
		l.problem(l.at("gossip-send-interval", whole), "gossip-send-interval", "%s s is not less than gossip-node-lifetime (%s s): every node would seem dead",
			inSeconds(g.SendInterval), inSeconds(g.NodeLifetime))
	}
	if v, ok := l.there["ping-init-nodes"]; ok && c.Gossip.PingInitNodes && len(c.InitialNodes) == 0 && !l.partial {
		l.warning(v.place, v.key, "has nobody to ask without initial-nodes")
	}
	if v, ok := l.there["domain-owned"]; ok && c.DomainOwned && c.Domain == "" && !l.partial {
		l.warning(v.place, v.key, "means nothing without domain")
	}
	if c.Log.Path == "" && l.Background {
		c.Log.Path = filepath.Join(c.WorkingDir, "log", "murakumo.log")
	}
	if _, ok := l.there["log-format"]; !ok && strings.HasSuffix(c.Log.Path, ".json") {
		c.Log.JSON = true
	}
}

// at gives the place of a key's value, or another one if it is not there.
func (l *loader) at(key string, otherwise place) place {
	if v, ok := l.there[key]; ok {
		return v.place
	}
	return otherwise
}

// checkNames finds names that host and aliases share.
func (l *loader) checkNames(c *Config) {
	taken := map[string]bool{}
	for i, a := range c.Aliases {
		at := l.aliasAt[i]
		switch {
		case a.Name == "": // reported
		case a.Name == c.Host.Name:
			l.problem(at.place, at.key, "%s is the name of the host already", a.Name)
		case taken[a.Name]:
			l.problem(at.place, at.key, "%s is given twice", a.Name)
		}
		taken[a.Name] = true
	}
}

// checkChecks finds checks of names that this node does not have.
func (l *loader) checkChecks(c *Config) {
	if l.partial && l.aliasKey == "" {
		return // the init-script may supply them
	}
	var aliases []string
	known := map[string]bool{}
	for _, a := range c.Aliases {
		if a.Name == "" {
			return // this one may be meant; its mistake is reported
		}
		aliases = append(aliases, a.Name)
		known[a.Name] = true
	}
	if len(l.checkAt) == 0 {
		return // and the static names, of which there may be many, are of no interest
	}
	static := map[string]bool{}
	for name := range c.staticNames() {
		static[name] = true
	}
	for _, p := range l.checkAt {
		duty := strings.HasPrefix(p.path, "activity-check.")
		switch {
		case l.full():
			return
		case known[p.name], static[p.name] && !duty:
		case p.name == c.Host.Name:
			l.problem(p.place, p.path, "is the host's own name: only aliases have checks")
		case static[p.name]:
			l.problem(p.place, p.path, "is a static name, for which nobody has a duty")
		case len(c.Static.Files) > 0 && !duty:
			l.warning(p.place, p.path, "no alias and no static name of this node is called so yet%s", meant(p.name, slices.AppendSeq(aliases, c.staticNames())))
		case len(static) > 0 && !duty:
			l.problem(p.place, p.path, "no alias and no static name of this node is called so%s", meant(p.name, slices.AppendSeq(aliases, c.staticNames())))
		default:
			l.problem(p.place, p.path, "no alias of this node has this name%s", meant(p.name, aliases))
		}
	}
}

// checkPorts finds DNS and gossip on one port: both use UDP and TCP.
func (l *loader) checkPorts(c *Config) {
	if c.Port != c.Gossip.Port {
		return
	}
	key := "gossip-port"
	if _, ok := l.there[key]; !ok {
		key = "port"
	}
	v := l.there[key]
	l.problem(v.place, key, "port and gossip-port are both %d", c.Port)
}

// checkResolvers finds resolvers that are this daemon: a question would go
// round in it until it times out.
func (l *loader) checkResolvers(c *Config) {
	everywhere := slices.ContainsFunc(c.Bind, netip.Addr.IsUnspecified)
	for i, r := range c.Resolvers {
		a := r.Addr.Addr()
		own := slices.Contains(c.Bind, a) ||
			everywhere && (slices.Contains(c.Host.Addrs, a) || a == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || a == netip.IPv6Loopback())
		port := c.Port
		if r.TLS {
			port = c.TLS.Port
		}
		if own && r.Addr.Port() == port && (!r.TLS || c.TLS.Cert != "") {
			at := l.resolverAt[i]
			l.problem(at.in(0), at.key, "%s is this daemon itself: it would ask itself for ever", r.address())
		}
	}
}
