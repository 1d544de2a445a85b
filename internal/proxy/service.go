package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"murakumo/internal/catalog"
)

// service is one listener: its socket, and the goroutines that tell its pool
// what the table, the resolver and the probes say.
type service struct {
	*front
	opts Options
	eng  engine
	stop context.CancelFunc // of run's context

	after []*service    // that give their sockets back first
	given chan struct{} // closed when this one has given its socket back
	known chan struct{} // closed when the pool has what is known at once
	once  sync.Once     // for known

	changed chan struct{}          // one slot: cfg is another
	problem atomic.Pointer[string] // why it does not listen
	// cutter ends connections to members that match; set once it listens.
	cutter atomic.Pointer[func(func(*Member) bool) int]
	// What follows belongs to whoever follows: the checks that run, and the
	// addresses that the names of a list had last.
	checking map[*Member]*checker
	resolved map[string][]netip.Addr

	mu         sync.Mutex
	unresolved map[string]string // why the last look-up of a host failed
}

// looked notes how looking up a host went.
func (s *service) looked(host string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.unresolved, host)
		return
	}
	if s.unresolved == nil {
		s.unresolved = map[string]string{}
	}
	s.unresolved[host] = err.Error()
}

func (s *service) setCut(fn func(func(*Member) bool) int) { s.cutter.Store(&fn) }

func (s *service) cut(match func(*Member) bool) int {
	if fn := s.cutter.Load(); fn != nil {
		return (*fn)(match)
	}
	return 0
}

const (
	// bindAgain is how long a service waits when its address is in use.
	bindAgain = time.Second
	// resolvePatience is how long a look-up of a backend's name may take.
	resolvePatience = 10 * time.Second
)

func newService(c Config, opts Options, eng engine) *service {
	f := newFront(c, opts.Log)
	f.resume = func() { eng.resume(f) }
	return &service{
		front: f, opts: opts, eng: eng, checking: map[*Member]*checker{},
		given: make(chan struct{}), known: make(chan struct{}), changed: make(chan struct{}, 1),
	}
}

// takes says whether the running service can become this one.
func (s *service) takes(c Config) bool {
	have := s.cfg.Load()
	return have.Listen == c.Listen && have.UDP == c.UDP
}

// change makes c the configuration of the running service.
func (s *service) change(c Config) {
	if same(*s.cfg.Load(), c) {
		return // what follows and checks goes on with what it knows
	}
	s.cfg.Store(&c)
	s.pool.SetAlgorithm(c.Algorithm)
	s.eng.changed(s.front)
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func same(a, b Config) bool {
	a.Check.Probe, b.Check.Probe = nil, nil
	return reflect.DeepEqual(a, b)
}

// run serves until ctx is done, then drains.
func (s *service) run(ctx context.Context) {
	var helpers sync.WaitGroup
	defer helpers.Wait()
	// Connections that drain are cut too when their member loses its duty, and
	// those that still wait for a backend get one that is good.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	helpers.Go(func() { s.follow(life) })
	given := sync.OnceFunc(func() { close(s.given) })
	defer given()
	if !s.ready(ctx) {
		return
	}
	if s.cfg.Load().UDP {
		// There is no asking without a datagram of a client's.
		helpers.Go(func() {
			s.probe(life, func(_ context.Context, m *Member) {
				s.pool.Readmit(m)
				s.log.Info(fmt.Sprintf("proxy %s: backend %s gets clients again", s.name, s.nameOf(m)))
			})
		})
		s.runUDP(ctx)
		return
	}
	helpers.Go(func() { s.probe(life, s.try) })

	s.setCut(func(match func(*Member) bool) int { return s.eng.cut(s.front, match) })
	if unlisten := s.listen(ctx); unlisten != nil {
		s.log.Info(fmt.Sprintf("proxy %s: listens on %s", s.name, s.cfg.Load().Listen))
		<-ctx.Done()
		unlisten()
	}
	given()
	s.drain() // also of what came in a try to listen that failed half-way
}

// ready waits until it makes sense to listen: the first client finds the backends
// that are known, and a listener of before that had the address, under another
// name, has given it back. It gives false when ctx is done.
func (s *service) ready(ctx context.Context) bool {
	waits := []<-chan struct{}{s.known}
	for _, before := range s.after {
		waits = append(waits, before.given)
	}
	s.after = nil
	for _, done := range waits {
		select {
		case <-done:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// trouble tells why there is no listening, once until it is another reason.
func (s *service) trouble(err error) {
	why := err.Error()
	if before := s.problem.Swap(&why); before == nil || *before != why {
		s.log.Warn(fmt.Sprintf("proxy %s: does not listen", s.name), "error", err)
	}
}

// listen accepts clients as soon as the address can be had. It gives nil when ctx was
// done before.
func (s *service) listen(ctx context.Context) (unlisten func()) {
	for {
		unlisten, err := s.eng.listen(ctx, s.front, s.cfg.Load().Listen)
		if err == nil {
			s.problem.Store(nil)
			return unlisten
		}
		if !s.waitToBind(ctx, err) {
			return nil
		}
	}
}

// family keeps 0.0.0.0 from being what it is to the net package: all addresses of
// IPv6, too. [::] is both families, as for other servers.
func family(at netip.AddrPort) string {
	if at.Addr().Is4() {
		return "4"
	}
	return ""
}

// waitToBind tells why the address could not be had and waits before the next
// try. It gives false when ctx is done.
func (s *service) waitToBind(ctx context.Context, err error) bool {
	if ctx.Err() == nil {
		s.trouble(fmt.Errorf("%w; tried again every second", err))
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(bindAgain):
		return true
	}
}

// drain waits until the connections have ended, at most DrainTimeout, and
// resets those that have not.
func (s *service) drain() {
	limit := time.NewTimer(s.cfg.Load().DrainTimeout)
	defer limit.Stop()
	s.draining.Store(true)
	for s.open.Load() > 0 {
		select {
		case <-s.emptied:
		case <-limit.C:
			if n := s.cut(func(*Member) bool { return true }); n > 0 {
				s.log.Warn(fmt.Sprintf("proxy %s: connections did not end within drain-timeout and were reset", s.name), "connections", n)
			}
			return
		}
	}
}

// follow keeps the pool at what the table or the file says.
func (s *service) follow(ctx context.Context) {
	defer func() {
		for _, c := range s.checking {
			<-c.done // their contexts are done
		}
	}()
	for ctx.Err() == nil {
		cfg := s.cfg.Load()
		under, stop := context.WithCancel(ctx)
		var following sync.WaitGroup
		following.Go(func() {
			if cfg.To.Name != "" {
				s.followAlias(under, cfg)
			} else {
				s.followList(under, cfg)
			}
		})
		select {
		case <-s.changed:
		case <-ctx.Done():
		}
		stop()
		following.Wait()
	}
}

func (s *service) followAlias(ctx context.Context, cfg *Config) {
	var seen *catalog.Name
	for first := true; ; first = false {
		view := s.opts.View()
		// A Name is another one only when something of it changed.
		if name := view.Name(cfg.To.Name); first || name != seen {
			seen = name
			s.update(ctx, cfg, Tier(name.Answers(), cfg.To.Port))
		}
		select {
		case <-view.Superseded():
		case <-ctx.Done():
			return
		}
	}
}

// update makes these the backends.
func (s *service) update(ctx context.Context, cfg *Config, targets []Target) {
	left := s.pool.Update(targets)
	s.once.Do(func() { close(s.known) })
	s.checkers(ctx, cfg)
	if cfg.Cut && len(left) > 0 {
		n := s.cut(func(m *Member) bool { return slices.Contains(left, m) })
		if n > 0 {
			s.log.Info(fmt.Sprintf("proxy %s: connections to members that left are cut", s.name), "connections", n)
		}
	}
}

// Tier gives the members of the highest tier with an Active record, of the answers of
// a name: masters, or else secondaries, or else backups, or else the hosts of
// that name themselves. Only the table leads from one tier to another. A tier
// whose records stand for another name has no members.
func Tier(answers []catalog.Entry, port uint16) (targets []Target) {
	for _, tier := range []catalog.Priority{catalog.Master, catalog.Secondary, catalog.Backup, catalog.Origin} {
		here := false
		for _, e := range answers {
			if !e.Active || e.Priority != tier {
				continue
			}
			here = true
			if e.Target() == "" {
				targets = append(targets, Target{Addr: netip.AddrPortFrom(e.Addr, port), Weight: max(1, int(e.Weight))})
			}
		}
		if here {
			return targets
		}
	}
	return nil
}

// followList resolves the names of a fixed list, each by itself, so that one
// whose server is dead holds up no other.
func (s *service) followList(ctx context.Context, cfg *Config) {
	addrs := make([][]netip.Addr, len(cfg.Backends))
	var mu sync.Mutex // guards addrs
	publish := func() {
		var targets []Target
		for i, b := range cfg.Backends {
			for _, a := range addrs[i] {
				targets = append(targets, Target{Addr: netip.AddrPortFrom(a.Unmap(), b.Port), Weight: b.Weight, Name: b.String()})
			}
		}
		s.update(ctx, cfg, targets)
	}
	var resolving sync.WaitGroup
	mu.Lock()
	before := s.resolved
	s.resolved = map[string][]netip.Addr{} // of names that are still there
	for i, b := range cfg.Backends {
		if a, err := netip.ParseAddr(b.Host); err == nil {
			addrs[i] = []netip.Addr{a}
			continue
		}
		// A reload takes nothing away that is found again in a moment, or later
		// when the resolver is dead just now.
		if addrs[i] = before[b.Host]; addrs[i] != nil {
			s.resolved[b.Host] = addrs[i]
		}
		resolving.Go(func() {
			s.resolve(ctx, b.Host, func(found []netip.Addr) {
				mu.Lock()
				defer mu.Unlock()
				s.resolved[b.Host] = found
				if !slices.Equal(addrs[i], found) {
					addrs[i] = found
					publish()
				}
			})
		})
	}
	publish()
	mu.Unlock()
	resolving.Wait()
}

// resolve looks a name up again and again. What was found stays good while
// looking it up fails.
func (s *service) resolve(ctx context.Context, host string, found func([]netip.Addr)) {
	failing := false
	for {
		look, cancel := context.WithTimeout(ctx, resolvePatience)
		addrs, err := s.opts.Resolve(look, host)
		cancel()
		if err == nil && len(addrs) == 0 {
			err = errors.New("the name has no addresses")
		}
		if ctx.Err() != nil {
			return
		}
		s.looked(host, err)
		if err != nil && !failing {
			s.log.Warn(fmt.Sprintf("proxy %s: cannot resolve backend %s; the addresses found before stay in use", s.name, host), "error", err)
		}
		failing = err != nil
		if err == nil {
			slices.SortFunc(addrs, netip.Addr.Compare)
			found(addrs)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.opts.again):
		}
	}
}

// probe tries ejected backends again, so that no client has to. One that does
// not answer keeps no other from being tried.
func (s *service) probe(ctx context.Context, try func(context.Context, *Member)) {
	var probing sync.WaitGroup
	defer probing.Wait()
	asked, answered := map[*Member]bool{}, make(chan *Member)
	for {
		due, next := s.pool.Probes(time.Now())
		for _, m := range due {
			if asked[m] {
				continue
			}
			asked[m] = true
			probing.Go(func() {
				try(ctx, m) // ends with connect-timeout at the latest
				select {
				case answered <- m:
				case <-ctx.Done():
				}
			})
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-timer:
		case m := <-answered:
			delete(asked, m)
		case <-s.ejected:
		}
	}
}

// try opens a connection to a backend and closes it again.
func (s *service) try(ctx context.Context, m *Member) {
	d := net.Dialer{Timeout: s.cfg.Load().ConnectTimeout}
	began := time.Now()
	c, err := d.DialContext(ctx, "tcp", m.Addr.String())
	switch {
	case ctx.Err() != nil && err != nil:
		// It says nothing about the backend.
	case err != nil:
		s.failed(m, began, err)
	default:
		c.Close()
		s.answered(m, began)
	}
}

func (s *service) stats() Stats {
	cfg := s.cfg.Load()
	st := Stats{
		Name: s.name, Listen: cfg.Listen, Algorithm: cfg.Algorithm, UDP: cfg.UDP, To: cfg.To,
		Open: s.open.Load(), Total: s.total.Load(), Rejected: s.rejected.Load(),
	}
	if why := s.problem.Load(); why != nil {
		st.Error = *why
	}
	s.mu.Lock()
	for _, b := range cfg.Backends {
		if why := s.unresolved[b.Host]; why != "" {
			st.Unresolved = append(st.Unresolved, fmt.Sprintf("backend %s: %s", b, why))
		}
	}
	s.mu.Unlock()
	for _, m := range s.pool.Members() {
		b := BackendStats{
			State: s.pool.State(m), Addr: m.Addr,
			Active: m.Active.Load(), Total: m.Total.Load(), Failures: m.Failures.Load(),
			Sent: m.Sent.Load(), Received: m.Received.Load(),
		}
		if b.Total > 0 {
			b.Connect = time.Duration(m.ConnectNs.Load() / b.Total)
		}
		st.Backends = append(st.Backends, b)
	}
	return st
}
