package nameserver

import (
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

// Config says where to listen and how to answer.
type Config struct {
	// Bind lists the addresses to listen on, over UDP and TCP.
	Bind []netip.Addr
	// Port 0 lets the system choose one for each address, for tests.
	Port uint16
	// TLS is DNS over TLS.
	TLS TLS
	Rules
	// Resolvers get what is not ours, those of one suffix in this order. None:
	// nothing is forwarded.
	Resolvers []Resolver
	Log       *slog.Logger
}

// Server is the DNS server of a node. Make it with New, then Listen, then Run.
type Server struct {
	bind []netip.Addr
	port uint16
	view func() *catalog.View
	log  *slog.Logger
	// policy is replaced whole: a query is dealt with by the one that was there
	// when it came, and waits for nothing.
	policy atomic.Pointer[policy]
	// ready is what common questions are answered from, as long as it is that of
	// the policy and of the view.
	ready atomic.Pointer[snapshot]
	rng   balance.Rand
	// spare is how many workers more may keep a processor while they wait.
	spare atomic.Int32
	// tooOld is tooOld, but for tests.
	tooOld time.Duration
	// portable: without what there is on one system only, for tests.
	portable bool

	sockets []socket
	tls     TLS
	// Both are nil without DNS over TLS.
	tlsConfig    *tls.Config
	tlsListeners []*net.TCPListener
	forwarder    *forwarder
	inquiries    sync.Pool // of *inquiry
	conns        *connections
	// transfers has one for each zone that is being sent.
	transfers chan struct{}
	past      past
	secret    [32]byte // of the cookies
	memory    memory
	// idle is tcpIdle, but for tests.
	idle time.Duration
	// slow is tcpWrite, but for tests.
	slow time.Duration
	// wg counts every goroutine that Run has started.
	wg sync.WaitGroup

	malformed, overfull, broken, limited, ahead throttle
}

// policy is what can change while the server runs.
type policy struct {
	rules   Rules
	routes  *routes
	limiter *limiter // nil: none
	// superseded is closed when another one has taken its place.
	superseded chan struct{}
}

// New makes a server that answers from the view it is given at the time of
// each question. view is called from many goroutines and must not block.
func New(cfg Config, view func() *catalog.View) *Server {
	s := &Server{
		bind: cfg.Bind, port: cfg.Port, tls: cfg.TLS, view: view, log: cfg.Log,
		conns: newConnections(maxConns, maxConnsOfHost), idle: tcpIdle, slow: tcpWrite,
		transfers: make(chan struct{}, maxTransfers), rng: globalRand{}, tooOld: tooOld,
	}
	crand.Read(s.secret[:]) // never fails
	s.inquiries.New = func() any { return new(inquiry) }
	s.forwarder = newForwarder(cfg.Log, s.wg.Go)
	s.policy.Store(&policy{superseded: make(chan struct{})})
	s.Change(cfg.Rules, cfg.Resolvers)
	return s
}

// Change makes the server answer by other rules and ask other resolvers, from
// the next query on. What is being asked already goes on as it began; a resolver
// that stays is still known to have failed. It is not for many goroutines at
// once.
func (s *Server) Change(rules Rules, resolvers []Resolver) {
	rules.nsid, rules.last = rules.identifier(), &s.memory
	before := s.policy.Load()
	next := &policy{
		rules: rules, superseded: make(chan struct{}),
		routes: s.forwarder.route(resolvers, rules.Cache, before.routes),
	}
	if next.limiter = before.limiter; rules.RateLimit == 0 {
		next.limiter = nil
	} else if l := before.limiter; l == nil || l.rate != rules.RateLimit || l.slip != rules.RateSlip {
		next.limiter = newLimiter(rules.RateLimit, rules.RateSlip)
	}
	s.policy.Store(next)
	close(before.superseded)
}

// Run answers until ctx is done, then closes the sockets and returns nil when
// nothing of it runs any more.
func (s *Server) Run(ctx context.Context) error {
	if len(s.sockets) == 0 {
		return errors.New("dns: not listening on any address")
	}
	workers := runtime.GOMAXPROCS(0)
	defer s.widen()()
	served := slices.Clone(s.sockets)
	for i := range served {
		k := &served[i]
		if !s.portable {
			if err := k.take(); err != nil {
				s.log.Warn("dns: UDP is served as on other systems, which takes more of the CPU", "address", k.addr, "error", err)
			}
		}
		// One socket's readers take turns, but what they do with a packet
		// they do side by side.
		for range workers {
			s.wg.Go(func() { s.serveUDP(ctx, k) })
		}
		s.wg.Go(func() { s.serveTCP(ctx, k.tcp, false) })
	}
	for _, l := range s.tlsListeners {
		s.wg.Go(func() { s.serveTCP(ctx, l, true) })
	}
	s.wg.Go(func() { s.notify(ctx) })
	s.wg.Go(func() { s.remember(ctx) })
	s.wg.Go(func() { s.prepare(ctx) })
	s.wg.Go(func() { s.forwarder.run(ctx) })
	<-ctx.Done()
	for i := range served {
		served[i].interrupt()
	}
	err := s.Close()
	s.wg.Wait()
	for i := range served {
		served[i].raw.close()
	}
	return err
}

// Close closes the sockets of Listen. Run does it at its end; who calls Listen
// and then does not Run closes himself. Closing twice is no error.
func (s *Server) Close() error {
	var errs []error
	for _, k := range s.sockets {
		for _, c := range []io.Closer{k.udp, k.tcp} {
			if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, fmt.Errorf("dns: close %v: %w", k.addr, err))
			}
		}
	}
	for _, l := range s.tlsListeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("dns: close %v: %w", l.Addr(), err))
		}
	}
	return errors.Join(errs...)
}

// forward has the resolvers asked. It does not wait: the caller goes on with the
// next packet, and the reply goes to the replier later, from another goroutine. Or it
// is there already: then the caller has it, in buf when it fits.
func (s *Server) forward(in *inquiry, to replier, buf []byte) []byte {
	if in.to = to; in.behind != nil {
		in.to = &joiner{to, in.behind, in.chain}
	}
	reply := s.forwarder.ask(in, buf)
	if reply != nil {
		reply = in.joined(reply)
	}
	if in.pooled {
		s.inquiries.Put(in)
	}
	return reply
}

// inquiry makes of q what goes to the forwarder, or of the target that names of
// ours lead to by r. Its group is nil when nobody is asked for such names.
func (s *Server) inquiry(q *query, r Reply, to *routes) *inquiry {
	in := s.inquiries.Get().(*inquiry)
	in.group, in.behind, in.chain, in.stale, in.pooled = nil, nil, nil, nil, true
	if r.target != "" {
		q.why = r.why
		in.behind, in.chain = q, r.Answer
		sub := *q
		sub.question.Name = r.target
		sub.limit, sub.options, sub.needed, sub.why = dns.MaxMsgSize, nil, 0, nil
		q = &sub
	}
	var name [maxWireName + 1]byte
	n, err := dns.PackDomainName(q.question.Name, name[:], 0, nil, false)
	if err != nil { // what could be unpacked can be packed
		return in
	}
	in.client = client{
		id: q.id, rd: q.rd, cd: q.cd, edns: q.edns, do: q.do,
		limit: uint16(q.limit), options: q.options, needed: q.needed, from: q.from,
	}
	in.about(name[:n], q.question.Qtype, q.bits(), to)
	return in
}

// globalRand draws from the runtime's generator: seeded by the system, and
// without a lock that the workers would share.
type globalRand struct{}

func (globalRand) Uint64() uint64 { return rand.Uint64() }
