package config

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"murakumo/internal/check/expr"
)

// Proxy is one listener of the load balancer. Exactly one of To.Name and
// Backends is set.
type Proxy struct {
	Name           string
	Network        string // tcp or udp
	Listen         netip.AddrPort
	To             ProxyAlias
	Backends       []ProxyBackend
	Algorithm      string // one of ProxyAlgorithms
	OnInactive     string // keep or cut
	ConnectTimeout time.Duration
	IdleTimeout    time.Duration // 0: none
	DrainTimeout   time.Duration
	MaxConns       int
	SendProxy      string // none, v1 or v2
	// AcceptProxyFrom are the clients that begin with a PROXY header.
	AcceptProxyFrom []netip.Prefix
	Check           *expr.Script // nil: backends are not checked
	CheckInterval   time.Duration
	CheckTimeout    time.Duration
}

// ProxyAlias is a name of the table and the port on its members.
type ProxyAlias struct {
	Name string
	Port uint16
}

// ProxyBackend is one of a fixed list.
type ProxyBackend struct {
	Host   string // an address or a name
	Port   uint16
	Weight int
}

// ProxyAlgorithms are the ways to choose a backend, the default first.
func ProxyAlgorithms() []string {
	return []string{"round_robin", "random", "least_conn", "source"}
}

func defaultProxy(name string) Proxy {
	return Proxy{
		Name: name, Network: "tcp", Algorithm: ProxyAlgorithms()[0], OnInactive: "keep", SendProxy: "none",
		ConnectTimeout: 3 * time.Second, DrainTimeout: 10 * time.Second, MaxConns: 10000,
		CheckInterval: 5 * time.Second, CheckTimeout: 5 * time.Second,
	}
}

const (
	listenForm = "an address and a port, such as 127.0.0.1:3306"
	toForm     = "an alias and a port, such as mysql-server:3306"
)

// proxyKeys are the keys of one listener.
var proxyKeys = []key[Proxy]{
	{"network", func(l *loader, v value, p *Proxy) { l.word1(v, &p.Network, "tcp", "udp") }},
	{"listen", (*loader).proxyListen},
	{"to", (*loader).proxyTo},
	{"backends", (*loader).proxyBackends},
	{"algorithm", func(l *loader, v value, p *Proxy) { l.word1(v, &p.Algorithm, ProxyAlgorithms()...) }},
	{"on-inactive", func(l *loader, v value, p *Proxy) { l.word1(v, &p.OnInactive, "keep", "cut") }},
	{"connect-timeout", func(l *loader, v value, p *Proxy) {
		l.duration(v, 10*time.Millisecond, 300*time.Second, &p.ConnectTimeout)
	}},
	{"idle-timeout", func(l *loader, v value, p *Proxy) { l.duration(v, 0, 7*24*time.Hour, &p.IdleTimeout) }},
	{"drain-timeout", func(l *loader, v value, p *Proxy) { l.duration(v, 0, time.Hour, &p.DrainTimeout) }},
	{"max-conns", func(l *loader, v value, p *Proxy) { integer(l, v, 1, 1_000_000, &p.MaxConns) }},
	{"send-proxy", func(l *loader, v value, p *Proxy) { l.word1(v, &p.SendProxy, "none", "v1", "v2") }},
	{"accept-proxy-from", func(l *loader, v value, p *Proxy) { l.prefixes(v, &p.AcceptProxyFrom) }},
	{"check", func(l *loader, v value, p *Proxy) { l.script(v, &p.Check) }},
	{"check-interval", func(l *loader, v value, p *Proxy) { l.duration(v, minTime, maxTime, &p.CheckInterval) }},
	{"check-timeout", func(l *loader, v value, p *Proxy) { l.duration(v, minTime, maxTime, &p.CheckTimeout) }},
}

// proxyBackendKeys are the keys of a backend that is a mapping.
var proxyBackendKeys = []key[ProxyBackend]{
	{"address", func(l *loader, v value, b *ProxyBackend) {
		if text, ok := l.textOf(v, backendForm); ok {
			l.proxyBackend(item{v.node, v.key, text, 0}, b)
		}
	}},
	{"weight", func(l *loader, v value, b *ProxyBackend) { integer(l, v, 1, math.MaxUint16, &b.Weight) }},
}

const backendForm = "host:port"

// word1 reads one of some words.
func (l *loader) word1(v value, into *string, words ...string) {
	if i := l.choice(v, words...); i >= 0 {
		*into = words[i]
	}
}

var listenerName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,63}$`)

func (l *loader) proxies(v value, c *Config) {
	if l.describes(func() shape { return named(object(proxyKeys).requiring("listen").requiringJustOne("to", "backends")) }) {
		return
	}
	if v.kind != mapping {
		l.wrong(v, "a mapping from a listener's name to what it does")
		return
	}
	for _, f := range v.fields {
		if l.full() {
			return
		}
		path := join(v.key, f.key.text)
		if !listenerName.MatchString(f.key.text) {
			l.problem(f.key.place, path, "expected a name of letters, digits, -, _ and ., at most 63")
			continue
		}
		if f.value.kind != mapping {
			l.wrong(value{f.value, path, f.key.place}, "a mapping")
			continue
		}
		p := defaultProxy(f.key.text)
		there := readKeys(l, value{f.value, path, f.key.place}, proxyKeys, &p)
		l.checkProxy(f, path, there, &p, c.Proxies)
		c.Proxies = append(c.Proxies, p)
	}
}

// checkProxy asks what can be asked only when a listener is read whole.
func (l *loader) checkProxy(f field, path string, there map[string]value, p *Proxy, others []Proxy) {
	if _, ok := there["listen"]; !ok {
		l.problem(f.key.place, path, "listen is missing: expected %s", listenForm)
	}
	_, to := there["to"]
	list, backends := there["backends"]
	switch {
	case to && backends:
		l.problem(list.place, list.key, "there is a to already: expected one of to and backends")
	case !to && !backends:
		l.problem(f.key.place, path, "to or backends is missing")
	}
	if v, ok := there["check"]; ok && to {
		l.problem(v.keyAt, v.key, "means nothing beside to: the members of an alias are checked by their own hosts (health-check)")
	}
	if p.Network == "udp" && (p.SendProxy != "none" || len(p.AcceptProxyFrom) > 0) {
		l.problem(there["network"].place, join(path, "network"), "send-proxy and accept-proxy-from are for tcp")
	}
	for _, o := range others {
		if v, ok := there["listen"]; ok && p.Listen.IsValid() && o.Listen == p.Listen && o.Network == p.Network {
			l.problem(v.place, v.key, "%v is where %s listens already", p.Listen, o.Name)
		}
	}
}

func (l *loader) proxyListen(v value, p *Proxy) {
	text, ok := l.textOf(v, listenForm)
	if !ok {
		return
	}
	ap, err := netip.ParseAddrPort(text)
	if err != nil || ap.Port() == 0 || ap.Addr().Zone() != "" {
		l.wrong(v, listenForm)
		return
	}
	p.Listen = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func (l *loader) proxyTo(v value, p *Proxy) {
	text, ok := l.textOf(v, toForm)
	if !ok {
		return
	}
	name, port, found := strings.Cut(text, ":")
	n, err := parsePort(port)
	if !found || err != nil {
		l.wrong(v, toForm)
		return
	}
	bare, err := readName(name, l.suffix)
	if err != nil {
		l.problem(v.place, v.key, "expected %s: %s", toForm, err)
		return
	}
	p.To = ProxyAlias{bare, n}
}

func (l *loader) proxyBackends(v value, p *Proxy) {
	if l.describes(func() shape {
		entry := either(textShape(), object(proxyBackendKeys).requiring("address"))
		return either(textShape(), shape{"type": "array", "items": entry, "minItems": 1, "maxItems": maxEntries})
	}) {
		return
	}
	add := func(at place, b ProxyBackend) {
		if slices.ContainsFunc(p.Backends, func(o ProxyBackend) bool { return o.Host == b.Host && o.Port == b.Port }) {
			l.problem(at, v.key, "%s:%d is given twice", b.Host, b.Port)
			return
		}
		p.Backends = append(p.Backends, b)
	}
	if v.kind != sequence {
		for _, i := range l.list(v, backendForm) {
			if b := (ProxyBackend{Weight: 1}); l.proxyBackend(i, &b) {
				add(i.in(0), b)
			}
		}
	} else if len(v.items) > maxEntries {
		l.problem(v.place, v.key, "more than %d entries", maxEntries)
		return
	}
	for _, n := range v.items {
		b := ProxyBackend{Weight: 1}
		if n.kind != mapping {
			if text, ok := l.textOf(v.entry(n), backendForm+", or a mapping with address and weight"); ok && l.proxyBackend(item{n, v.key, text, 0}, &b) {
				add(n.place, b)
			}
			continue
		}
		there := readKeys(l, v.entry(n), proxyBackendKeys, &b)
		if _, ok := there["address"]; !ok {
			l.problem(n.place, v.key, "address is missing: expected %s", backendForm)
		} else if b.Host != "" {
			add(n.place, b)
		}
	}
	if len(p.Backends) == 0 && len(v.items) == 0 && strings.Trim(v.text, ", \t") == "" && v.kind != mapping {
		l.wrong(v, backendForm+", or several")
	}
}

func (l *loader) proxyBackend(i item, b *ProxyBackend) bool {
	host, port, err := splitPort(i.text)
	if err == nil && port == "" {
		err = fmt.Errorf("%s has no port", quote(i.text))
	}
	var n uint16
	if err == nil {
		n, err = parsePort(port)
	}
	if err == nil {
		_, err = parseHost(host)
	}
	if err != nil {
		l.problem(i.in(0), i.key, "expected %s: %s", backendForm, err)
		return false
	}
	if a, err := netip.ParseAddr(host); err == nil {
		mapped := a.Unmap() // ::ffff:0.0.0.0 is 0.0.0.0
		if mapped.IsUnspecified() || mapped.IsMulticast() || a.Zone() != "" {
			l.problem(i.in(0), i.key, "expected %s: %v is no address of a server", backendForm, a)
			return false
		}
		host = mapped.String()
	}
	b.Host, b.Port = host, n
	return true
}

// proxyForms has a form for each of proxyKeys.
var proxyForms = map[string]form[Proxy]{
	"network": func(p *Proxy) *node { return text(p.Network) },
	"listen":  func(p *Proxy) *node { return text(p.Listen.String()) },
	"to": func(p *Proxy) *node {
		if p.To == (ProxyAlias{}) {
			return nil
		}
		return text(fmt.Sprintf("%s:%d", p.To.Name, p.To.Port))
	},
	"backends": func(p *Proxy) *node {
		return some(listOf(p.Backends, func(b ProxyBackend) *node {
			m := write(proxyBackendKeys, proxyBackendForms, &b)
			if b.Weight == 1 {
				return m.fields[0].value
			}
			return m
		}))
	},
	"algorithm":       func(p *Proxy) *node { return text(p.Algorithm) },
	"on-inactive":     func(p *Proxy) *node { return text(p.OnInactive) },
	"connect-timeout": func(p *Proxy) *node { return duration(p.ConnectTimeout) },
	"idle-timeout":    func(p *Proxy) *node { return duration(p.IdleTimeout) },
	"drain-timeout":   func(p *Proxy) *node { return duration(p.DrainTimeout) },
	"max-conns":       func(p *Proxy) *node { return number(p.MaxConns) },
	"send-proxy":      func(p *Proxy) *node { return text(p.SendProxy) },
	"accept-proxy-from": func(p *Proxy) *node {
		return some(listOf(p.AcceptProxyFrom, textOf))
	},
	"check":          func(p *Proxy) *node { return script(p.Check) },
	"check-interval": func(p *Proxy) *node { return duration(p.CheckInterval) },
	"check-timeout":  func(p *Proxy) *node { return duration(p.CheckTimeout) },
}

var proxyBackendForms = map[string]form[ProxyBackend]{
	"address": func(b *ProxyBackend) *node {
		if a, err := netip.ParseAddr(b.Host); err == nil {
			return text(netip.AddrPortFrom(a, b.Port).String())
		}
		return text(fmt.Sprintf("%s:%d", b.Host, b.Port))
	},
	"weight": func(b *ProxyBackend) *node { return number(b.Weight) },
}
