package nameserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// poolSize is how many sockets, each with a port that the system drew, a
	// resolver is asked from. There is a fresh one for each question as long
	// as there are fewer; then a forger has to hit one of these ports and one
	// of 65536 identifiers before the answer comes.
	poolSize = 1024

	// A port is given up after so many questions or so long, so that nobody
	// has time to find it out.
	socketUses = 100
	socketLife = 10 * time.Second

	// A socket at which so many packets came that are no answer is under
	// attack: what is open at it is asked over TCP.
	mostForeign = 16
)

// ports has the sockets to all resolvers.
type ports struct {
	f *forwarder
	// share is how many sockets there are at most, of all resolvers: a quarter
	// of the descriptors that the system allows.
	share  int
	open   atomic.Int64
	reader reader
	// portable uses the sockets of the standard library; tests set it.
	portable bool

	mu     sync.Mutex // guards what follows
	pools  []*pool
	closed bool
	swept  int64 // of run alone
}

func newPorts(f *forwarder) *ports {
	return &ports{f: f, share: max(1, descriptors()/4), portable: !hasReader}
}

// pool is the sockets over which one resolver is asked.
type pool struct {
	l *ports
	r *resolver

	mu      sync.Mutex  // guards what follows; a socket's and that of ports may be taken after it
	socks   []*upSocket // may be asked
	retired []*upSocket // wait for answers
	listed  bool
	closed  bool
}

// upSocket is a connected socket. It is closed, and thus its port given up, when
// it is retired and nothing is open at it.
type upSocket struct {
	p    *pool
	born int64
	uses int // guarded by the pool's lock
	// leaving: it is retired.
	leaving atomic.Bool

	mu      sync.Mutex // guards what follows; held over system calls, for a descriptor that is closed is soon another's
	wire    wire
	open    []pending
	foreign int
	done    bool
}

// wire is a connected UDP socket that never blocks a writer.
type wire interface {
	send(packet []byte) error
	close()
}

var errClosed = errors.New("the server ends")

func newPool(l *ports, r *resolver) *pool { return &pool{l: l, r: r} }

// ask sends a question. What comes of it is told to the forwarder; an error, that
// nothing will.
func (p *pool) ask(s *sending) error {
	for {
		k, err := p.pick(s.at)
		if err != nil {
			return fmt.Errorf("ask over UDP: %w", err)
		}
		sent, err := k.ask(s)
		if !sent {
			continue // it was given up in between
		}
		if err != nil {
			return fmt.Errorf("ask over UDP: %w", err)
		}
		return nil
	}
}

// pick gives a socket for one question: a new one, or when there are enough one
// of them, drawn.
func (p *pool) pick(now int64) (*upSocket, error) {
	for fresh := true; ; {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, errClosed
		}
		if n := len(p.socks); n > 0 && (!fresh || n >= poolSize || p.l.open.Load() >= int64(p.l.share)) {
			i := int(p.l.f.dice.uint64() % uint64(n))
			k := p.socks[i]
			k.uses++
			old := now-k.born >= int64(socketLife)
			if old || k.uses >= socketUses {
				p.retire(i)
			}
			p.mu.Unlock()
			if old {
				k.closeIdle()
				continue
			}
			return k, nil
		}
		p.mu.Unlock()
		k, err := p.dial(now)
		if err == nil {
			return k, nil
		}
		p.mu.Lock()
		none := len(p.socks) == 0
		p.mu.Unlock()
		if none {
			return nil, err
		}
		fresh = false // short of descriptors: one of those that are there
	}
}

func (p *pool) dial(now int64) (*upSocket, error) {
	k := &upSocket{p: p, born: now, uses: 1}
	// Who reads it waits until it is whole.
	k.mu.Lock()
	defer k.mu.Unlock()
	var err error
	if p.l.portable {
		k.wire, err = dialPortable(k)
	} else {
		k.wire, err = p.l.reader.dial(k)
	}
	if err != nil {
		return nil, err
	}
	p.l.open.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.listed {
		p.l.mu.Lock()
		p.closed = p.l.closed
		p.l.pools = append(p.l.pools, p)
		p.l.mu.Unlock()
		p.listed = true
	}
	if p.closed {
		k.end()
		return nil, errClosed
	}
	p.socks = append(p.socks, k)
	return k, nil
}

// retire takes a socket out of those that are asked. The lock is held.
func (p *pool) retire(i int) {
	k, last := p.socks[i], len(p.socks)-1
	p.socks[i] = p.socks[last]
	p.socks[last] = nil
	p.socks = p.socks[:last]
	p.retired = append(p.retired, k)
	k.leaving.Store(true)
}

// retireAll gives up all sockets, once what is open at them is over.
func (p *pool) retireAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.socks) > 0 {
		p.retire(len(p.socks) - 1)
	}
}

// ask sends a question over the socket; false when it is closed.
func (k *upSocket) ask(s *sending) (bool, error) {
	packet := s.packet[:s.size]
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done {
		return false, nil
	}
	for {
		id := uint16(k.p.l.f.dice.uint64())
		if find(k.open, id) < 0 {
			binary.BigEndian.PutUint16(packet, id)
			break
		}
	}
	k.open = append(k.open, newPending(s.ticket, packet, s.at))
	err := k.wire.send(packet)
	if err != nil {
		k.open = remove(k.open, len(k.open)-1)
	}
	return true, err
}

// received takes a packet that came in. raw is changed. It says whether others are
// waited for.
func (k *upSocket) received(raw []byte) (more bool) {
	k.mu.Lock()
	i, what := -1, foreign
	if len(raw) >= headerSize {
		i = find(k.open, binary.BigEndian.Uint16(raw))
	}
	if i >= 0 {
		what = k.open[i].judge(raw)
	}
	if what == foreign {
		list := k.suspicious()
		more = len(k.open) > 0
		k.mu.Unlock()
		k.overStream(list)
		return more
	}
	t, sent, id := k.open[i].ticket, k.open[i].sent, k.open[i].id
	if what == misspelled {
		k.open = remove(k.open, i)
		more = len(k.open) > 0
	}
	k.mu.Unlock()

	if what == misspelled {
		// A forger who guessed all but the case, or a resolver that does not
		// keep it: a connection will tell.
		k.overStream([]ticket{t})
		return more
	}
	f := k.p.l.f
	o := f.outboxes.Get().(*outbox)
	taken := f.answered(k.p.r, t, sent, raw, o)
	f.flush(o)

	k.mu.Lock()
	var list []ticket
	if !taken {
		list = k.suspicious()
	} else if i := find(k.open, id); i >= 0 && k.open[i].ticket == t {
		k.open = remove(k.open, i)
	}
	idle := len(k.open) == 0
	k.mu.Unlock()
	k.overStream(list)
	if idle && k.leaving.Load() {
		k.closeIdle()
	}
	return !idle
}

// suspicious counts a packet that is no answer. It gives what is to be asked over
// TCP instead, and the socket is not asked any more.
func (k *upSocket) suspicious() (list []ticket) {
	if k.foreign++; k.foreign < mostForeign {
		return nil
	}
	for i := range k.open {
		list = append(list, k.open[i].ticket)
	}
	clear(k.open)
	k.open = k.open[:0]
	return list
}

func (k *upSocket) overStream(list []ticket) {
	if len(list) == 0 {
		return
	}
	f := k.p.l.f
	o := f.outboxes.Get().(*outbox)
	for _, t := range list {
		f.overStream(t, o)
	}
	f.flush(o)
	k.p.retireOne(k)
	k.closeIdle()
}

// refused takes an error of the socket: nothing listens at the resolver's port.
func (k *upSocket) refused(err error) {
	k.mu.Lock()
	list := slices.Clone(k.open)
	clear(k.open)
	k.open = k.open[:0]
	k.mu.Unlock()
	f := k.p.l.f
	o := f.outboxes.Get().(*outbox)
	for i := range list {
		f.unanswered(k.p.r, list[i].ticket, list[i].sent, fmt.Errorf("ask over UDP: %w", err), o)
	}
	f.flush(o)
	k.p.retireOne(k)
	k.closeIdle()
}

func (p *pool) retireOne(k *upSocket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.socks, k); i >= 0 {
		p.retire(i)
	}
}

// closeIdle closes a retired socket at which nothing is open.
func (k *upSocket) closeIdle() {
	k.p.mu.Lock()
	defer k.p.mu.Unlock()
	i := slices.Index(k.p.retired, k)
	if i < 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.open) > 0 {
		return
	}
	k.p.retired = slices.Delete(k.p.retired, i, i+1)
	k.end()
}

// end closes the socket. Its lock is held.
func (k *upSocket) end() {
	if !k.done {
		k.done = true
		k.release()
	}
}

// release closes what is done, which nobody uses any more.
func (k *upSocket) release() {
	k.wire.close()
	k.p.l.open.Add(-1)
}

// sweep gives up what is old. It gives when to be called again, 0 when there is
// nothing to be given up.
func (l *ports) sweep(now int64) int64 {
	if l.swept != 0 && now-l.swept < int64(sweepEvery) {
		return l.swept + int64(sweepEvery)
	}
	l.mu.Lock()
	pools := slices.Clone(l.pools)
	l.mu.Unlock()
	left := 0
	for _, p := range pools {
		left += p.sweep(now)
	}
	if left == 0 {
		l.swept = 0
		return 0
	}
	l.swept = now
	return now + int64(sweepEvery)
}

// sweep closes sockets that are old, and says how many there still are. Whoever has
// a question does not wait until all are closed.
func (p *pool) sweep(now int64) int {
	var over []*upSocket
	defer func() {
		for _, k := range over {
			k.release()
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.socks) - 1; i >= 0; i-- {
		if now-p.socks[i].born >= int64(socketLife) {
			p.retire(i)
		}
	}
	p.retired = slices.DeleteFunc(p.retired, func(k *upSocket) bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		for i := len(k.open) - 1; i >= 0; i-- {
			// No flight waits for it any more.
			if now-k.open[i].sent >= int64(totalTime) {
				k.open = remove(k.open, i)
			}
		}
		if len(k.open) > 0 {
			return false
		}
		if !k.done {
			k.done = true
			over = append(over, k)
		}
		return true
	})
	return len(p.socks) + len(p.retired)
}

// close closes all sockets.
func (l *ports) close() {
	l.mu.Lock()
	pools := slices.Clone(l.pools)
	l.closed = true
	l.mu.Unlock()
	defer l.reader.close()
	for _, p := range pools {
		p.mu.Lock()
		p.closed = true
		for _, k := range append(p.socks, p.retired...) {
			k.mu.Lock()
			k.end()
			k.mu.Unlock()
		}
		p.socks, p.retired = nil, nil
		p.mu.Unlock()
	}
}

// count is how many sockets may be asked.
func (p *pool) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.socks)
}
