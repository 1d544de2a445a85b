package nameserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxWaiting is how many questions wait for resolvers at a time; one more
	// gets SERVFAIL at once. At 100 ms a question this is 40,000 a second, and
	// when all resolvers are silent it bounds what a flood can hold: a kilobyte
	// each, and what is pending at its socket.
	maxWaiting = 4096

	// scanEvery is the least time between two looks at all that waits.
	scanEvery = 5 * time.Millisecond

	// lowerFor is how long a resolver that does not keep the case of questions
	// is asked in lower case.
	lowerFor = time.Hour

	// mostSpare is how many askers there is room for in advance.
	mostSpare = 16

	// sweepEvery is the time between two looks at the sockets.
	sweepEvery = time.Second
)

// forwarder asks the resolvers. Identical questions in flight are asked once. It
// lives as long as the server; what a reload changes is the routes.
//
// Who asks never waits: ask notes the question and sends it on. The answer is
// taken by whoever reads the resolver's socket, and sent to the askers by him.
type forwarder struct {
	log    *slog.Logger
	spawn  func(func()) // starts a goroutine that the server waits for
	epoch  time.Time
	ctx    context.Context // of what outlives a question; done with close
	cancel context.CancelFunc
	seed   maphash.Seed
	most   int // maxWaiting, but for tests
	// roots are whom certificates of resolvers may be signed by; nil: whom the
	// system trusts.
	roots *x509.CertPool
	// send is nil, but for tests: it takes what would go to a resolver.
	send  func(*sending) error
	ports *ports // the sockets
	dice  dice

	mu      sync.Mutex // guards what follows, and all flights, groups and resolvers' health
	flights map[uint64]*flight
	live    []*flight
	free    []*flight
	waiting int
	begun   bool
	closed  bool
	armed   int64 // when the timer of run goes off; 0: it is not set
	targets map[target]*resolver
	probes  map[string]*flight // questions that look for loops, by name

	kick     chan struct{} // the timer is to be set anew
	outboxes sync.Pool
	crowded  throttle
}

// resolver is one whom we ask.
type resolver struct {
	target
	health health
	stands condition // when it was last put in order
	home   *group    // one that it is in
	knows  askKey    // the last question that it had an answer to; of no octets: none
	udp    *pool     // nil: over streams only
	stream *stream
	// sessions are those that TLS goes on with.
	sessions tls.ClientSessionCache
	loop     loopWatch
	lower    int64    // until when it is asked in lower case, for it folds
	quiet    throttle // of its log lines
}

func newForwarder(log *slog.Logger, spawn func(func())) *forwarder {
	f := &forwarder{
		log: log, spawn: spawn, epoch: time.Now().Add(-time.Second), seed: maphash.MakeSeed(), most: maxWaiting,
		flights: map[uint64]*flight{}, targets: map[target]*resolver{}, probes: map[string]*flight{},
		kick: make(chan struct{}, 1),
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.outboxes.New = func() any { return new(outbox) }
	f.ports = newPorts(f)
	return f
}

// now is the time since a second before the forwarder began, so never 0.
func (f *forwarder) now() int64 { return int64(time.Since(f.epoch)) }

// recall gives the reply to a question from what is kept, in buf when it fits; nil
// when ask has to.
func (f *forwarder) recall(in *inquiry, buf []byte) []byte {
	if in.cache == nil {
		return nil
	}
	now := f.now()
	key := in.key.forCache()
	v, age := in.cache.get(&key, in.group, now)
	switch {
	case v == nil:
		return nil
	case age >= v.life:
		in.stale = v
		return nil
	}
	reply := in.compose(buf, &v.message, uint32(age/int64(time.Second)), false, nil)
	if v.wantsRefresh(age) {
		f.refresh(in, now)
	}
	return reply
}

// ask takes on a question. It gives the reply if there is one already, in buf
// when it fits; nil when the client gets it later. It never waits, and keeps
// nothing of in but the client.
func (f *forwarder) ask(in *inquiry, buf []byte) []byte {
	o := f.outboxes.Get().(*outbox)
	why := f.take(in, f.now(), o)
	f.flush(o)
	switch {
	case why == nil:
		return nil
	case in.stale != nil && why != loops:
		return in.compose(buf, &in.stale.message, 0, true, in.stale.excuse())
	}
	var m message
	m.bare(&in.key, dns.RcodeServerFailure)
	return in.compose(buf, &m, 0, false, why)
}

// take puts a question into a flight; or it says why not.
func (f *forwarder) take(in *inquiry, now int64, o *outbox) *reason {
	g := in.group
	hash := maphash.Bytes(f.seed, in.key.bytes())
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return noResolver
	}
	if len(f.probes) > 0 {
		if fl := f.probes[string(in.key.name())]; fl != nil {
			f.loopFound(fl, now, o)
			return loops
		}
	}
	if f.waiting >= f.most {
		if f.crowded.allow() {
			most := f.most
			o.note(func() {
				f.log.Warn("too many questions wait for the resolvers: answering SERVFAIL", "waiting", most)
			})
		}
		return resolversFull
	}
	f.suspect(in, g, now, o)
	if fl := f.flights[hash]; fl != nil && fl.group == g && bytes.Equal(fl.key.bytes(), in.key.bytes()) {
		fl.askers = append(fl.askers, in.client)
		fl.places++
		f.waiting++
		if fl.told { // he need not wait either
			if stale := fl.stale; stale != nil {
				askers := []client{fl.askers[len(fl.askers)-1]}
				fl.askers = fl.askers[:len(fl.askers)-1]
				o.deliveries = append(o.deliveries, delivery{askers: askers, m: &stale.message, stale: true, why: stale.excuse()})
			}
		}
		return nil
	}
	fl := f.begin(&in.key, hash, g, in.cache, now, 1)
	f.flights[hash] = fl
	fl.stale = in.stale
	var probes []*resolver
	fl.order, probes = g.order(fl.order, nil, now)
	for _, r := range g.resolvers {
		if r.stands == failed && !r.health.down {
			f.silent(fl, r, r.health.since, attemptTime, now, o)
		}
	}
	for _, r := range fl.order {
		if r.health.down && !bytes.Equal(fl.key.bytes(), r.knows.bytes()) {
			f.examine(r, g, now, o)
		}
	}
	if len(fl.order) == 0 {
		f.end(fl)
		if g.allLoop() {
			return loops
		}
		return noResolver
	}
	fl.askers = append(fl.askers, in.client)
	f.advance(fl, now, o)
	for _, r := range probes { // nobody waits for it; it only shows that it answers
		beside := f.begin(&in.key, hash, g, in.cache, now, 0)
		beside.order = append(beside.order, r)
		f.advance(beside, now, o)
	}
	return nil
}

// begin makes a flight, with a place of its own.
func (f *forwarder) begin(key *askKey, hash uint64, g *group, c *cache, now int64, places int) *flight {
	var fl *flight
	if n := len(f.free); n > 0 {
		fl, f.free = f.free[n-1], f.free[:n-1]
	} else {
		fl = new(flight)
	}
	fl.key.n = copy(fl.key.b[:], key.bytes())
	fl.hash, fl.group, fl.cache, fl.start, fl.places = hash, g, c, now, places
	fl.place = len(f.live)
	f.live = append(f.live, fl)
	f.waiting += places
	g.tokens = min(g.tokens+hedgeShare, mostTokens)
	return fl
}

// end takes a flight out and gives who waits for it. Its memory is used again.
func (f *forwarder) end(fl *flight) []client {
	if f.flights[fl.hash] == fl {
		delete(f.flights, fl.hash)
	}
	if fl.probing != nil {
		delete(f.probes, string(fl.key.name()))
	}
	last := len(f.live) - 1
	f.live[fl.place] = f.live[last]
	f.live[fl.place].place = fl.place
	f.live[last] = nil
	f.live = f.live[:last]
	f.waiting -= fl.places
	askers := fl.askers
	clear(fl.order)
	clear(fl.tries)
	*fl = flight{key: fl.key, gen: fl.gen + 1, order: fl.order[:0], tries: fl.tries[:0]}
	f.free = append(f.free, fl)
	return askers
}

// advance does what is next for a flight, and ends one that has no answer.
func (f *forwarder) advance(fl *flight, now int64, o *outbox) {
	for {
		ask, over := fl.move(now, func(y *try) {
			f.silent(fl, y.to, y.sent, time.Duration(fl.limit()), now, o)
		})
		if over {
			f.fail(fl, now, o)
			return
		}
		if ask == nil {
			break
		}
		f.try(fl, ask, now, o)
	}
	if fl.stale != nil && !fl.told && now-fl.start >= int64(staleAfter) {
		fl.told = true
		o.deliveries = append(o.deliveries, delivery{askers: fl.askers, m: &fl.stale.message, stale: true, why: fl.stale.excuse()})
		fl.askers = nil
	}
	if f.armed == 0 || fl.due < f.armed {
		select {
		case f.kick <- struct{}{}:
		default:
		}
	}
}

// fail ends a flight that nobody has answered in a way that is of use.
func (f *forwarder) fail(fl *flight, now int64, o *outbox) {
	d := delivery{m: fl.unhelpful}
	switch {
	case fl.stale != nil:
		d.m, d.stale, d.why = &fl.stale.message, true, fl.stale.excuse()
	case d.m == nil:
		d.m, d.why = new(message), noResolver
		if fl.group.allLoop() {
			d.why = loops
		}
		d.m.bare(&fl.key, dns.RcodeServerFailure)
	}
	if len(fl.askers) > 1 && fl.unhelpful == nil {
		for _, r := range fl.group.resolvers { // it may be one's own question that he waits for
			f.probeLoop(r, fl.group, now, o)
		}
	}
	d.askers = f.end(fl)
	o.deliveries = append(o.deliveries, d)
}

// try sends a flight's question to a resolver.
func (f *forwarder) try(fl *flight, r *resolver, now int64, o *outbox) {
	if len(fl.tries) == maxTries {
		return
	}
	var random uint64
	if r.lower <= now {
		random = f.dice.uint64()
	}
	fl.tries = append(fl.tries, try{to: r, sent: now, random: random, stream: r.udp == nil})
	r.health.asked(now)
	f.pack(fl, len(fl.tries)-1, now, o)
}

// pack puts the packet of a try into the outbox.
func (f *forwarder) pack(fl *flight, i int, now int64, o *outbox) {
	y := &fl.tries[i]
	if n := len(o.sends); n < cap(o.sends) {
		o.sends = o.sends[:n+1]
	} else {
		o.sends = append(o.sends, sending{})
	}
	s := &o.sends[len(o.sends)-1]
	s.ticket, s.to, s.stream, s.at = ticket{fl, fl.gen, uint8(i)}, y.to, y.stream, now
	s.size = len(appendQuestion(s.packet[:0], &fl.key, mixed(fl.key.name(), y.random)))
}

// missed notes that a resolver did not answer, and reports whether that is news.
func (f *forwarder) missed(fl *flight, r *resolver, sent int64, err error, now int64, o *outbox) (news bool) {
	news = r.health.misses(sent, now)
	f.tell(fl, r, err, o)
	return news
}

// silent notes that a resolver has not answered within limit. It may be the name:
// those who know it are dead, and the resolver waits for them in turn.
func (f *forwarder) silent(fl *flight, r *resolver, sent int64, limit time.Duration, now int64, o *outbox) {
	if f.missed(fl, r, sent, silence(limit), now, o) {
		f.examine(r, fl.group, now, o)
	}
}

// examine asks a resolver that counts as down what it had an answer to before: who
// asks again and again for a name that nobody answers would otherwise turn everybody
// away from it.
func (f *forwarder) examine(r *resolver, g *group, now int64, o *outbox) {
	if r.knows.n == 0 || f.closed {
		return
	}
	fl := f.begin(&r.knows, maphash.Bytes(f.seed, r.knows.bytes()), g, nil, now, 0)
	fl.order = append(fl.order, r)
	f.advance(fl, now, o)
}

// tell logs that a resolver has failed, once a second at most.
func (f *forwarder) tell(fl *flight, r *resolver, err error, o *outbox) {
	if !r.quiet.allow() {
		return
	}
	about := []any{"name", fl.key.text(), "type", dns.Type(fl.key.qtype()).String(), "error", err}
	if fl.probing != nil { // a name of our making
		about = about[4:]
	}
	o.note(func() { f.log.Warn("resolver failed: "+r.String(), about...) })
}

// unanswered notes that a try has come to nothing, as errors of sockets tell.
func (f *forwarder) unanswered(r *resolver, t ticket, sent int64, err error, o *outbox) {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := t.fl
	if fl.gen != t.gen || fl.tries[t.try].over {
		return
	}
	y := &fl.tries[t.try]
	y.over = true
	if !y.stream || r.udp == nil {
		f.missed(fl, r, sent, err, now, o)
	} else {
		f.tell(fl, r, err, o) // it is there, over UDP it has answered
	}
	f.advance(fl, now, o)
}

// answered takes a reply that belongs to a question. It says whether it is one:
// false for what is malformed behind the question, which could as well be of
// another's making. raw is changed.
func (f *forwarder) answered(r *resolver, t ticket, sent int64, raw []byte, o *outbox) bool {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := t.fl
	if fl.gen != t.gen || fl.tries[t.try].over {
		f.heard(r, sent, now, o) // it is late, but it is there
		return true
	}
	y := &fl.tries[t.try]
	if raw[2]&(flagTC>>8) != 0 && !y.stream {
		f.heard(r, sent, now, o)
		f.again(fl, int(t.try), now, o)
		return true
	}
	if !o.m.read(raw, &fl.key) {
		return false
	}
	f.heard(r, sent, now, o)
	y.over = true
	if fl.probing != nil {
		f.noLoop(fl)
		return true
	}
	if isUnhelpful(o.m.rcode) {
		if fl.unhelpful == nil {
			m := o.m.clone()
			fl.unhelpful = &m
		}
		f.advance(fl, now, o)
		return true
	}
	r.knows.n = copy(r.knows.b[:], fl.key.bytes())
	if fl.cache != nil {
		// Before the flight is over, so that there is no moment in which the
		// question would be asked once more.
		key := fl.key.forCache()
		fl.cache.put(&key, fl.group, &o.m, now)
	}
	spare := o.askers[:0]
	o.askers = f.end(fl)
	fl.askers = spare
	o.deliveries = append(o.deliveries, delivery{askers: o.askers, m: &o.m})
	return true
}

// heard notes that a resolver has answered.
func (f *forwarder) heard(r *resolver, sent, now int64, o *outbox) {
	if r.health.hears(sent, now) {
		o.note(func() { f.log.Info("resolver answers again: " + r.String()) })
	}
}

// overStream asks a question again over TCP that had an answer over UDP with
// which nothing can be done.
func (f *forwarder) overStream(t ticket, o *outbox) {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := t.fl; fl.gen == t.gen && !fl.tries[t.try].over && !fl.tries[t.try].stream {
		f.again(fl, int(t.try), now, o)
	}
}

// folds notes that a resolver does not keep the case of questions. Over UDP it is
// asked in lower case, which it has no reason to change, for a while.
func (f *forwarder) folds(r *resolver, o *outbox) {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.lower <= now {
		o.note(func() { f.log.Info("resolver does not keep the case of questions: " + r.String()) })
	}
	r.lower = now + int64(lowerFor)
}

func (f *forwarder) again(fl *flight, i int, now int64, o *outbox) {
	y := &fl.tries[i]
	y.stream, y.sent, y.late = true, now, false
	f.pack(fl, i, now, o)
	fl.due = min(fl.due, now+fl.limit())
}

// refresh asks anew for what is kept and soon over.
func (f *forwarder) refresh(in *inquiry, now int64) {
	g := in.group
	hash := maphash.Bytes(f.seed, in.key.bytes())
	o := f.outboxes.Get().(*outbox)
	f.mu.Lock()
	if f.flights[hash] == nil && !f.closed && f.waiting < f.most {
		fl := f.begin(&in.key, hash, g, in.cache, now, 1)
		f.flights[hash] = fl
		if fl.order, _ = g.order(fl.order, nil, now); len(fl.order) == 0 {
			f.end(fl)
		} else {
			f.advance(fl, now, o)
		}
	}
	f.mu.Unlock()
	f.flush(o)
}
