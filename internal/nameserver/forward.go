package nameserver

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	// attemptTime is how long one resolver may take before the next is
	// asked, totalTime how long all of them may take together: clients give
	// up after 5 s (resolv.conf(5)), and a SERVFAIL that comes before tells
	// them to try another server while they still can.
	attemptTime = 2 * time.Second
	totalTime   = 4 * time.Second

	// probeEvery is the least time between two probes of a resolver that
	// does not answer.
	probeEvery = time.Second
)

// forwarder asks the resolvers. Identical questions in flight are asked once;
// resolvers are asked in order, those that failed last.
type forwarder struct {
	resolvers []*resolver
	log       *slog.Logger
	// spawn starts a goroutine that the server waits for.
	spawn func(func())
	// exchange is the function of this name, but for tests.
	exchange func(ctx context.Context, addr string, key flightKey) (msg *dns.Msg, alive bool, err error)

	cache *cache // nil: nothing is kept

	mu      sync.Mutex // guards flights
	flights map[flightKey]*flight
}

// flightKey is all that a resolver's answer may depend on.
type flightKey struct {
	name             string // in lower case
	qtype            uint16
	edns, do, ad, cd bool
}

// key is what the question is asked by.
func (q *query) key() flightKey {
	return flightKey{
		name: strings.ToLower(q.question.Name), qtype: q.question.Qtype,
		edns: q.edns, do: q.do, ad: q.ad, cd: q.cd,
	}
}

// flight is one question on its way; msg is read once done is closed. nil:
// nobody answered.
type flight struct {
	done chan struct{}
	msg  *dns.Msg
}

// resolver is one upstream and what we know of it.
type resolver struct {
	addr string
	// failed: it did not answer when it was asked last.
	failed atomic.Bool
	// probing: a goroutine of probe has its turn. probed is when it began,
	// in nanoseconds.
	probing atomic.Bool
	probed  atomic.Int64
	quiet   throttle // of its log lines
}

func newForwarder(addrs []netip.AddrPort, log *slog.Logger, spawn func(func())) *forwarder {
	f := &forwarder{
		log: log, spawn: spawn, exchange: exchange, flights: make(map[flightKey]*flight),
	}
	for _, a := range addrs {
		f.resolvers = append(f.resolvers, &resolver{addr: a.String()})
	}
	return f
}

// adopt takes what another forwarder knows of the resolvers that both have; nil
// for none. What it has kept of their answers holds only among the same ones:
// others may know other names.
func (f *forwarder) adopt(other *forwarder) {
	if other == nil {
		return
	}
	for i, r := range f.resolvers {
		for _, known := range other.resolvers {
			if known.addr == r.addr {
				f.resolvers[i] = known
			}
		}
	}
	if f.cache != nil && other.cache != nil && slices.Equal(f.resolvers, other.resolvers) {
		f.cache = other.cache
	}
}

// resolve asks for q, or waits for who is asking already. It returns within
// the total time, or when ctx is done; nil when no resolver answered. The
// message is shared: it must not be changed.
func (f *forwarder) resolve(ctx context.Context, q *query) *dns.Msg {
	key := q.key()
	f.mu.Lock()
	fl, joined := f.flights[key]
	if !joined {
		fl = &flight{done: make(chan struct{})}
		f.flights[key] = fl
	}
	f.mu.Unlock()
	if joined {
		<-fl.done // as bounded as the flight itself
		return fl.msg
	}

	fl.msg = f.ask(ctx, key)
	if f.cache != nil && fl.msg != nil {
		// Before the flight is over, so that there is no moment in which the
		// question would be asked once more.
		f.cache.put(key, fl.msg, time.Now())
	}
	f.mu.Lock()
	delete(f.flights, key)
	f.mu.Unlock()
	close(fl.done)
	return fl.msg
}

// ask goes through the resolvers until one gives an answer that is of use.
func (f *forwarder) ask(ctx context.Context, key flightKey) *dns.Msg {
	order := f.order(ctx, key)
	limit := min(attemptTime, totalTime/time.Duration(len(order)))
	var unhelpful *dns.Msg
	for _, r := range order {
		msg, err := f.try(ctx, r, key, limit)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
		case !isUnhelpful(msg.Rcode):
			return msg
		case unhelpful == nil:
			unhelpful = msg
		}
	}
	return unhelpful
}

// isUnhelpful reports the codes with which a resolver says that it cannot tell,
// not that there is nothing to tell: another may know.
func isUnhelpful(rcode int) bool {
	return rcode == dns.RcodeServerFailure || rcode == dns.RcodeRefused || rcode == dns.RcodeNotImplemented
}

// order gives the resolvers in the order in which this question asks them. A
// single one is asked twice, for a packet may be lost.
func (f *forwarder) order(ctx context.Context, key flightKey) []*resolver {
	var well, failed []*resolver
	for _, r := range f.resolvers {
		if r.failed.Load() {
			failed = append(failed, r)
		} else {
			well = append(well, r)
		}
	}
	if len(well) > 0 {
		// Asked last means never asked while the others answer. But it was
		// put first for a reason (perhaps it alone knows the internal names),
		// so it is probed beside.
		for _, r := range failed {
			f.probe(ctx, r, key)
		}
	}
	order := append(well, failed...)
	if len(order) == 1 {
		order = append(order, order[0])
	}
	return order
}

// probe asks a resolver that failed the same question beside the others, once
// a second at most. Nobody waits for the answer; it only shows that there is
// one.
func (f *forwarder) probe(ctx context.Context, r *resolver, key flightKey) {
	now := time.Now().UnixNano()
	if now-r.probed.Load() < int64(probeEvery) || !r.probing.CompareAndSwap(false, true) {
		return
	}
	r.probed.Store(now)
	f.spawn(func() {
		defer r.probing.Store(false)
		f.try(ctx, r, key, attemptTime)
	})
}

// try asks one resolver, for limit at most, and remembers whether it answered.
// SERVFAIL is an answer: whoever asks for a broken zone could otherwise turn us
// away from the resolver that knows the internal names.
func (f *forwarder) try(ctx context.Context, r *resolver, key flightKey, limit time.Duration) (*dns.Msg, error) {
	attempt, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	msg, alive, err := f.exchange(attempt, r.addr, key)
	switch {
	case alive:
		if r.failed.CompareAndSwap(true, false) {
			f.log.Info("resolver answers again: " + r.addr)
		}
	case ctx.Err() == nil: // else the server ends, which is no failure
		r.failed.Store(true)
	}
	if err != nil && ctx.Err() == nil && r.quiet.allow() {
		f.log.Warn("resolver failed: "+r.addr, "name", key.name, "type", dns.Type(key.qtype).String(), "error", err)
	}
	return msg, err
}
