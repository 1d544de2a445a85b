package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"murakumo/internal/catalog"
)

// Resolver is who is asked for names that are not ours.
type Resolver struct {
	// Suffix is what the names end in that it is asked for, in lower case and
	// without dots at its ends; "" for all. The longest that fits a name counts.
	Suffix string
	Addr   netip.AddrPort
	// TLS: it is asked over TLS (RFC 7858). Its certificate has to be for Name; if
	// that is "", nobody looks at it.
	TLS  bool
	Name string
}

// String gives the suffix, if there is one, and the address.
func (r Resolver) String() string {
	if r.Suffix == "" {
		return r.address()
	}
	return r.Suffix + " " + r.address()
}

// address is the resolver as the file has it.
func (r Resolver) address() string {
	s := r.Addr.String()
	if r.TLS {
		s = overTLS + s
	}
	if r.Name != "" {
		s += "#" + r.Name
	}
	return s
}

// overTLS is what the address of a resolver begins with that is asked so.
const overTLS = "tls://"

// aResolver is what a list of resolvers has.
const aResolver = "an IP address, with :port if it is not 53, or tls://address:port#name"

// resolver reads a list, or a mapping from suffix to list.
func (l *loader) resolver(v value, c *Config) {
	if l.describes(func() shape { return either(listShape(), named(orNothing(listShape()))) }) {
		return
	}
	if v.kind != mapping {
		l.resolvers(v, "", c)
		return
	}
	seen := map[string]bool{}
	for _, f := range v.fields {
		if l.full() {
			return
		}
		path := join(v.key, f.key.text)
		suffix := domainOf(f.key.text)
		if err := catalog.ValidName(suffix); err != nil && f.key.text != "." {
			l.problem(f.key.place, path, "expected a domain, or . for all other names: %s", err)
			continue
		}
		if seen[suffix] {
			l.problem(f.key.place, path, "stands here twice: write its resolvers as one list")
			continue
		}
		seen[suffix] = true
		before, mistakes := len(c.Resolvers), len(l.problems)
		inner := value{f.value, path, f.key.place}
		if f.value.kind != null {
			l.resolvers(inner, suffix, c)
		}
		// Without this, names under the suffix would silently go to nobody.
		if len(c.Resolvers) == before && len(l.problems) == mistakes {
			l.problem(inner.place, path, "expected at least one resolver")
		}
	}
}

// resolvers reads those of one suffix.
func (l *loader) resolvers(v value, suffix string, c *Config) {
	for _, i := range l.list(v, aResolver) {
		r, err := readResolver(i.text)
		if err != nil {
			l.problem(i.in(0), i.key, "expected %s, found %s", aResolver, quote(i.text))
			continue
		}
		if r.Suffix = suffix; !slices.Contains(c.Resolvers, r) {
			c.Resolvers = append(c.Resolvers, r)
			l.resolverAt = append(l.resolverAt, i)
		}
	}
}

func readResolver(text string) (Resolver, error) {
	rest, ok := strings.CutPrefix(text, overTLS)
	if !ok {
		at, err := serverAddr(text, 53)
		return Resolver{Addr: at}, err
	}
	addr, name, named := strings.Cut(rest, "#")
	if name = domainOf(name); named {
		if err := catalog.ValidName(name); err != nil {
			return Resolver{}, err
		}
	}
	if strings.HasSuffix(addr, "]") { // as in a URL, without a port
		addr = strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
	}
	at, err := serverAddr(addr, 853)
	return Resolver{Addr: at, TLS: true, Name: name}, err
}

// serverAddr reads the address of a DNS server; n is a port that is missing.
func serverAddr(text string, n uint16) (netip.AddrPort, error) {
	host, port, err := splitPort(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	a = a.Unmap() // ::ffff:0.0.0.0 is 0.0.0.0
	if a.IsUnspecified() || a.IsMulticast() {
		return netip.AddrPort{}, fmt.Errorf("%v is no address of a server", a)
	}
	if port != "" {
		if n, err = parsePort(port); err != nil {
			return netip.AddrPort{}, err
		}
	}
	return netip.AddrPortFrom(a, n), nil
}

// resolverNode writes what resolver reads.
func resolverNode(c *Config) *node {
	address := func(r Resolver) *node { return text(r.address()) }
	if !slices.ContainsFunc(c.Resolvers, func(r Resolver) bool { return r.Suffix != "" }) {
		return listOf(c.Resolvers, address)
	}
	m := &node{kind: mapping}
	for _, r := range c.Resolvers {
		suffix := r.Suffix
		if suffix == "" {
			suffix = "."
		}
		i := slices.IndexFunc(m.fields, func(f field) bool { return f.key.text == suffix })
		if i < 0 {
			i = len(m.fields)
			m.fields = append(m.fields, field{text(suffix), &node{kind: sequence}})
		}
		m.fields[i].value.items = append(m.fields[i].value.items, address(r))
	}
	return m
}
