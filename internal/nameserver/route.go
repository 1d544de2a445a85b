package nameserver

import (
	"crypto/tls"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// Resolver is one who is asked for names that are not ours.
type Resolver struct {
	// Suffix is what the names end in that it is asked for, in lower case and
	// without dots at its ends; "" for all. Of the suffixes that fit a name the
	// longest counts, and its resolvers alone are asked, in their order.
	Suffix string
	Addr   netip.AddrPort
	// TLS: it is asked over TLS (RFC 7858). Its certificate has to be for Name, a
	// domain; if that is "", it is not looked at, and who sits on the way is kept
	// from listening only as long as he does not answer himself.
	TLS  bool
	Name string
}

// target is where a resolver is and how it is talked to.
type target struct {
	addr netip.AddrPort
	tls  bool
	name string
}

// String gives the target as the configuration has it.
func (t target) String() string {
	s := t.addr.String()
	if t.tls {
		s = "tls://" + s
	}
	if t.name != "" {
		s += "#" + t.name
	}
	return s
}

func (r Resolver) target() target { return target{r.Addr, r.TLS, r.Name} }

// routes says who is asked for which names, and where the answers are kept. It is
// never changed.
type routes struct {
	groups map[string]*group // by suffix in wire form; without that of all names
	rest   *group            // for all names; nil: nobody is asked
	cache  *cache            // nil: nothing is kept
}

// any says whether anything is forwarded.
func (rs *routes) any() bool { return rs != nil && (rs.rest != nil || len(rs.groups) > 0) }

// of gives the resolvers of a name in wire form and lower case; nil when nobody
// is asked for it.
func (rs *routes) of(name []byte) *group {
	if len(rs.groups) > 0 {
		for at := 0; name[at] != 0; at += int(name[at]) + 1 {
			if g := rs.groups[string(name[at:])]; g != nil {
				return g
			}
		}
	}
	return rs.rest
}

// all gives every group.
func (rs *routes) all() []*group {
	if rs == nil {
		return nil
	}
	var gs []*group
	if rs.rest != nil {
		gs = append(gs, rs.rest)
	}
	for _, g := range rs.groups {
		gs = append(gs, g)
	}
	return gs
}

// route makes routes to these resolvers. What stays as it was in those of before
// keeps its health and its connections, and where a suffix has the same resolvers,
// what is kept of their answers still holds; others may know other names.
func (f *forwarder) route(resolvers []Resolver, cached bool, before *routes) *routes {
	rs := &routes{groups: map[string]*group{}}
	if cached {
		if rs.cache = newCache(cacheOctets); before != nil && before.cache != nil {
			rs.cache = before.cache
		}
	}
	o := f.outboxes.Get().(*outbox)
	defer f.flush(o)
	f.mu.Lock()
	defer f.mu.Unlock()
	targets := map[target]*resolver{}
	lists := map[string][]*resolver{}
	var suffixes []string
	for _, cfg := range resolvers {
		t := cfg.target()
		r := f.targets[t]
		if r == nil {
			if r = targets[t]; r == nil {
				r = f.newResolver(t)
			}
		}
		targets[t] = r
		if lists[cfg.Suffix] == nil {
			suffixes = append(suffixes, cfg.Suffix)
		}
		lists[cfg.Suffix] = append(lists[cfg.Suffix], r)
	}
	for t, r := range f.targets {
		if targets[t] == nil {
			r.leave()
		}
	}
	f.targets = targets
	old := before.all()
	for _, suffix := range suffixes {
		g := &group{suffix: suffix, resolvers: lists[suffix], tokens: mostTokens}
		i := slices.IndexFunc(old, func(was *group) bool {
			return was.suffix == suffix && slices.Equal(was.resolvers, g.resolvers)
		})
		if i >= 0 {
			g = old[i]
		}
		for _, r := range g.resolvers {
			if r.home == nil && f.begun {
				f.probeLoop(r, g, f.now(), o)
			}
			r.home = g
		}
		if suffix == "" {
			rs.rest = g
			continue
		}
		var wire [maxWireName + 1]byte
		if n, err := dns.PackDomainName(suffix+".", wire[:], 0, nil, false); err == nil {
			rs.groups[string(wire[:n])] = g
		}
	}
	return rs
}

// newResolver makes a resolver of which nothing is known.
func (f *forwarder) newResolver(t target) *resolver {
	r := &resolver{target: t}
	if !t.tls {
		r.udp = newPool(f.ports, r)
	}
	r.stream, r.sessions = newStream(f, r), tls.NewLRUClientSessionCache(1)
	return r
}

// leave gives up the sockets of a resolver that is not asked any more, once what
// is under way is over.
func (r *resolver) leave() {
	if r.udp != nil {
		r.udp.retireAll()
	}
	// Its connection ends when it has been idle.
}
