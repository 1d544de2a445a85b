package nameserver

import (
	"log/slog"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Resolver is one who is asked for names that are not ours.
type Resolver struct {
	// Suffix is what the names end in that it is asked for, in lower case and
	// without dots at its ends; "" for all. Of the suffixes that fit a name the
	// longest counts, and its resolvers alone are asked, in their order.
	Suffix string
	Addr   netip.AddrPort
}

// routes has a forwarder for each suffix.
type routes map[string]*forwarder

// newRoutes makes forwarders for the resolvers of each suffix. What those of
// before know that ask the same suffix's resolvers is taken over.
func newRoutes(resolvers []Resolver, cached bool, before routes, log *slog.Logger, spawn func(func())) routes {
	addrs := map[string][]netip.AddrPort{}
	for _, r := range resolvers {
		addrs[r.Suffix] = append(addrs[r.Suffix], r.Addr)
	}
	rs := routes{}
	for suffix, list := range addrs {
		f := newForwarder(list, log, spawn)
		if cached {
			f.cache = newCache(cacheOctets / len(addrs))
		}
		f.adopt(before[suffix])
		rs[suffix] = f
	}
	return rs
}

// of gives the forwarder of a name; nil when nobody is asked for it.
func (rs routes) of(name string) *forwarder {
	if len(rs) > 1 || rs[""] == nil {
		name = strings.ToLower(name)
		for at, end := 0, name == "."; !end; at, end = dns.NextLabel(name, at) {
			if f := rs[strings.TrimSuffix(name[at:], ".")]; f != nil {
				return f
			}
		}
	}
	return rs[""]
}
