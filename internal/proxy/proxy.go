package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"murakumo/internal/catalog"
)

// Options are what a Proxy needs of the rest of the daemon.
type Options struct {
	Log *slog.Logger
	// View gives the present table; it is asked for by listeners of an alias.
	View func() *catalog.View
	// Resolve gives the addresses of a backend's name; nil: the system's.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// again is how long its addresses are good for: the system's resolver tells
	// no TTL.
	again time.Duration
}

// Proxy runs the listeners of a configuration.
type Proxy struct {
	opts   Options
	engine func() (engine, error)

	mu       sync.Mutex // guards what follows
	configs  []Config
	changed  chan struct{} // one slot: configs are others
	services map[string]*service
}

// New gives a proxy without listeners; nothing runs yet.
func New(opts Options) *Proxy {
	if opts.Resolve == nil {
		opts.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	opts.again = 10 * time.Second
	// Now, for others in the program may have made it more when the first listener comes.
	cpus := runtime.GOMAXPROCS(0)
	engine := func() (engine, error) { return newEngine(cpus) }
	return &Proxy{opts: opts, engine: engine, changed: make(chan struct{}, 1), services: map[string]*service{}}
}

// Apply makes these the listeners, now or once Run runs. It does not wait.
// Listeners that are there already keep their connections and their counters;
// those that are not there any more drain.
func (p *Proxy) Apply(configs []Config) {
	p.mu.Lock()
	p.configs = configs
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Run accepts and passes on until ctx is done; then it accepts no more, waits
// for the connections, each listener's at most for its DrainTimeout, and returns
// nil. It returns an error when it cannot start.
func (p *Proxy) Run(ctx context.Context) error {
	moving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var eng engine
	var engine, services sync.WaitGroup
	for {
		if eng == nil && p.wanted() {
			// Not before there is a listener: each of its loops holds a thread.
			var err error
			if eng, err = p.engine(); err != nil {
				return fmt.Errorf("the proxy cannot start: %w", err)
			}
			engine.Go(func() { eng.run(moving) })
		}
		p.arrange(ctx, eng, &services)
		select {
		case <-p.changed:
			continue
		case <-ctx.Done():
		}
		services.Wait()
		stop()
		engine.Wait()
		return nil
	}
}

func (p *Proxy) wanted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.configs) > 0
}

// arrange starts, changes and stops services until they are as configured.
func (p *Proxy) arrange(ctx context.Context, eng engine, running *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := map[string]Config{}
	for _, c := range p.configs {
		wanted[c.Name] = c
	}
	var ending []*service
	for name, s := range p.services {
		if c, there := wanted[name]; !there || !s.takes(c) {
			s.stop()
			ending = append(ending, s)
			delete(p.services, name)
		}
	}
	for _, c := range p.configs {
		if s := p.services[c.Name]; s != nil {
			s.change(c)
			continue
		}
		sctx, stop := context.WithCancel(ctx)
		s := newService(c, p.opts, eng)
		s.stop, s.after = stop, ending
		p.services[c.Name] = s
		running.Go(func() { s.run(sctx) })
	}
}

// Stats are the figures of a listener.
type Stats struct {
	Name      string
	Listen    netip.AddrPort
	Algorithm Algorithm
	UDP       bool
	To        Alias // zero for a fixed list
	// Error says why it does not listen, "" when it does.
	Error string
	// Unresolved says which names of the list could not be looked up last, and
	// why. The addresses that were found before stay in use.
	Unresolved []string
	// Open connections, all that were accepted, and those that no backend took.
	Open, Total, Rejected int64
	Backends              []BackendStats
}

// BackendStats are the figures of one backend of a listener.
type BackendStats struct {
	State
	Addr                    netip.AddrPort
	Active, Total, Failures int64
	Sent, Received          int64 // octets
	// Connect is the mean time that opening a connection took.
	Connect time.Duration
}

// Stats gives the figures of all listeners, in the order of the file.
func (p *Proxy) Stats() []Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Stats
	for _, c := range p.configs {
		if s := p.services[c.Name]; s != nil {
			all = append(all, s.stats())
		}
	}
	return all
}
