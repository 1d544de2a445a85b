package node

import (
	"context"
	"fmt"
	"slices"

	"murakumo/internal/check"
	"murakumo/internal/config"
	"murakumo/internal/control"
	"murakumo/internal/proxy"
)

// Proxies is `mrkmctl --proxies`.
func (n *Node) Proxies() []control.Proxy {
	var all []control.Proxy
	for _, s := range n.proxy.Stats() {
		p := control.Proxy{
			Name: s.Name, Network: "tcp", Listen: s.Listen, Algorithm: s.Algorithm.String(), Error: s.Error, Unresolved: s.Unresolved,
			Open: s.Open, Total: s.Total, Rejected: s.Rejected, Backends: []control.ProxyBackend{},
		}
		if s.UDP {
			p.Network = "udp"
		}
		if s.To.Name != "" {
			p.To = fmt.Sprintf("%s:%d", s.To.Name, s.To.Port)
		}
		for _, b := range s.Backends {
			p.Backends = append(p.Backends, control.ProxyBackend{
				Address: b.Addr, Name: b.Name, Weight: b.Weight, Status: b.Status, Retry: b.Retry, Error: b.Why,
				Open: b.Active, Total: b.Total, Failures: b.Failures, Sent: b.Sent, Received: b.Received, Connect: b.Connect.Seconds(),
			})
		}
		all = append(all, p)
	}
	return all
}

// proxyConfigs gives the listeners of a configuration as the proxy takes them.
func proxyConfigs(listeners []config.Proxy) []proxy.Config {
	all := make([]proxy.Config, 0, len(listeners))
	for _, p := range listeners {
		c := proxy.Config{
			Name: p.Name, UDP: p.Network == "udp", Listen: p.Listen,
			To:        proxy.Alias{Name: p.To.Name, Port: p.To.Port},
			Algorithm: proxy.Algorithm(slices.Index(proxy.Algorithms(), p.Algorithm)),
			Cut:       p.OnInactive == "cut", MaxConns: p.MaxConns,
			ConnectTimeout: p.ConnectTimeout, IdleTimeout: p.IdleTimeout, DrainTimeout: p.DrainTimeout,
			SendProxy: slices.Index([]string{"none", "v1", "v2"}, p.SendProxy), AcceptProxyFrom: p.AcceptProxyFrom,
		}
		for _, b := range p.Backends {
			c.Backends = append(c.Backends, proxy.Backend{Host: b.Host, Port: b.Port, Weight: b.Weight})
		}
		if p.Check != nil {
			c.Check = proxy.Check{
				What: p.Check.String(), Interval: p.CheckInterval, Timeout: p.CheckTimeout,
				Probe: func(t proxy.Target) func(context.Context) error {
					return check.CompileAt(p.Check, t.Addr.Addr().String())
				},
			}
		}
		all = append(all, c)
	}
	return all
}
