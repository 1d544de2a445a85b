package node

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"murakumo/internal/config"
	"murakumo/internal/control"
	"murakumo/internal/nameserver"
	"murakumo/internal/proxy"
)

// Node is a whole node.
type Node struct {
	*Core
	version string
	dns     *nameserver.Server
	proxy   *proxy.Proxy
	socket  *control.Listener
	// balancing is what was made last, of balances.
	balancing *nameserver.Balancing
	balances  []config.Balance
}

// New builds a node and takes its sockets, so that what is in use already is
// told before anything runs. Run, or Close when it is not run, gives them back.
func New(cfg *config.Config, env Env, version string) (*Node, error) {
	// The socket comes first: it is what two daemons of one host share.
	socket, err := control.Listen(cfg.Socket, env.Log)
	if err != nil {
		return nil, err
	}
	core, err := NewCore(cfg, env)
	if err != nil {
		socket.Close()
		return nil, err
	}
	n := &Node{Core: core, version: version, socket: socket}
	n.dns = nameserver.New(nameserver.Config{
		Bind: cfg.Bind, Port: cfg.Port, Resolvers: resolvers(cfg), Log: env.Log, Rules: n.rules(cfg),
		TLS: nameserver.TLS(cfg.TLS),
	}, core.View)
	core.parts = append(core.parts, func(now, next *config.Config) (commit, undo func(), err error) {
		return func() {
			n.dns.Change(n.rules(next), resolvers(next))
			if zoneDiffers(now, next) {
				core.cat.Touch()
			}
			n.proxy.Apply(proxyConfigs(next.Proxies))
		}, nil, nil
	})
	n.proxy = proxy.New(proxy.Options{Log: env.Log, View: core.View})
	n.proxy.Apply(proxyConfigs(cfg.Proxies))
	if err := n.dns.Listen(); err != nil {
		socket.Close()
		return nil, fmt.Errorf("cannot serve DNS: %w", err)
	}
	if err := core.gossip.Listen(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// rules are those of the configuration for answers.
func (n *Node) rules(cfg *config.Config) nameserver.Rules {
	return nameserver.Rules{
		Domain: cfg.Domain, Host: cfg.Host.Name, DomainOwned: cfg.DomainOwned,
		MaxAnswers:     cfg.MaxIPNum,
		Balancing:      n.balanced(cfg.Balancing),
		WhenEmpty:      whenEmpty(cfg.WhenEmpty),
		Cache:          cfg.Cache,
		NegativeTTL:    uint32(min(math.MaxInt32, cfg.NegativeTTL/time.Second)),
		Names:          cfg.Names.Match,
		Addrs:          func(a netip.Addr) bool { return cfg.Addrs.Match(a.String()) },
		AllowQuery:     cfg.AllowQuery,
		AllowRecursion: cfg.AllowRecursion,
		AllowTransfer:  cfg.AllowTransfer,
		Notify:         cfg.Notify,
		RateLimit:      cfg.RateLimit,
		RateSlip:       cfg.RateSlip,
	}
}

// Close gives back the sockets of a node that will not be run.
func (n *Node) Close() {
	n.gossip.Close()
	n.dns.Close()
	n.socket.Close()
}

// Version is the daemon's version.
func (n *Node) Version() string { return n.version }

// Run runs the node until ctx is done and it has handed over. See [Core.Run].
func (n *Node) Run(ctx context.Context) error {
	stopping := ctx
	return n.Core.Run(ctx, func(ctx context.Context) error {
		var serving errgroup.Group
		serving.Go(func() error { return n.dns.Run(ctx) })
		serving.Go(func() error {
			// Without it nobody can ask, but names are answered and the duty
			// is kept; that is worth more than a clean end.
			if err := control.NewServer(n.socket, n, n.log).Run(ctx); err != nil {
				n.log.Error("the control socket has failed; mrkmctl works again after a restart", "error", err)
			}
			return nil
		})
		serving.Go(func() error {
			// It drains beside the handing-over and not after it.
			draining, stop := context.WithCancel(stopping)
			defer stop()
			defer context.AfterFunc(ctx, stop)()
			if err := n.proxy.Run(draining); err != nil {
				n.log.Error("the listeners of the proxy do not work; the rest goes on", "error", err)
			}
			return nil
		})
		return serving.Wait()
	})
}

// resolvers are those of the configuration.
func resolvers(cfg *config.Config) []nameserver.Resolver {
	var rs []nameserver.Resolver
	for _, r := range cfg.Resolvers {
		rs = append(rs, nameserver.Resolver{Suffix: r.Suffix, Addr: r.Addr, TLS: r.TLS, Name: r.Name})
	}
	return rs
}
