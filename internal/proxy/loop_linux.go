package proxy

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loop is an event loop: one goroutine, which owns its connections and all that is below.
// Others reach it by post.
type loop struct {
	ep, wakeup int32

	mu    sync.Mutex // guards calls, and wakeup from being written to when it is another's
	calls []func()
	woken bool

	now       int64 // nanoseconds on the monotonic clock, once a turn
	buf       []byte
	conns     []*conn // by slot; nil where free
	free      []uint32
	gens      []uint32            // by slot: tells events of a connection before apart
	ready     []*conn             // have more to do than one turn allows
	ended     []*conn             // in this turn, which may still look at them
	spare     []*conn             // zero, for connections to come
	acceptors map[int32]*acceptor // by descriptor
	owned     []*acceptor         // those, and others that still have connections
	pipes     []pipe              // empty, for whoever needs one
	piped     int                 // pipes in use
}

// acceptor is a listening socket as one loop has it.
type acceptor struct {
	*front
	fd      int32
	conns   int // this loop's
	paused  bool
	retry   int64 // when to go on after descriptors ran out; 0: not for that
	opening queue // connections whose connect is under way
	idling  queue // connections that pass nothing, where that ends them
}

// The two low bits of a token say whose event it is; the rest of the low half is
// the slot or the descriptor, the upper half the generation.
const (
	tokenClient = iota
	tokenBackend
	tokenAcceptor
	tokenWakeup
)

const (
	// bufferSize is what one recv may take. Larger ones would gain little and
	// push other things out of the processor's cache.
	bufferSize = 32 << 10
	// events taken in one turn, accepts in one turn, and reads of one
	// connection before the others have theirs.
	maxEvents  = 256
	maxAccepts = 32
	maxReads   = 16
	// maxIdlePipes bounds the pipes that are kept for later: each is two
	// descriptors.
	maxIdlePipes = 64
	// maxSpare bounds the connections that are kept for later: some 56 KiB a loop. Where many
	// come and go they need not be collected.
	maxSpare = 256
	// maxPipes bounds those in use. Beyond it octets are copied, as small
	// messages are.
	maxPipes = 1024
)

func newLoop() (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wakeup, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &loop{ep: int32(ep), wakeup: int32(wakeup), buf: make([]byte, bufferSize), acceptors: map[int32]*acceptor{}}
	if e := watch(l.ep, l.wakeup, unix.EPOLLIN, tokenWakeup); e != 0 {
		l.close()
		return nil, callError("epoll_ctl", e)
	}
	return l, nil
}

// post has the loop call fn between two turns, unless it ends before. It does not wait for it.
func (l *loop) post(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, fn)
	if !l.woken {
		l.woken = true
		one := [8]byte{1}
		syscall.RawSyscall(unix.SYS_WRITE, uintptr(l.wakeup), uintptr(unsafe.Pointer(&one)), 8)
	}
}

// call is post that waits until fn has run or the loop has ended.
func (l *loop) call(done <-chan struct{}, fn func()) {
	ran := make(chan struct{})
	l.post(func() { fn(); close(ran) })
	select {
	case <-ran:
	case <-done:
	}
}

// run turns until ctx is done and closes all that the loop has.
func (l *loop) run(ctx context.Context) {
	defer l.close()
	stopped := false
	stop := context.AfterFunc(ctx, func() { l.post(func() { stopped = true }) })
	defer stop()

	var events [maxEvents]unix.EpollEvent
	l.now = monotonic()
	for !stopped {
		n, e := l.wait(events[:])
		if e != 0 && e != unix.EINTR {
			// It can only be that the descriptor is none; there is no going on.
			panic(fmt.Sprintf("epoll_wait: %v", e))
		}
		l.now = monotonic()
		for i := range n {
			l.event(&events[i])
		}
		again := l.ready
		l.ready = nil
		for _, c := range again {
			c.queued = false
			if c.state == relaying {
				l.relay(c)
			}
		}
		l.expire()
		l.recycle()
	}
}

// recycle keeps the connections that ended in this turn for those to come, but for one that
// the next turn still looks at.
func (l *loop) recycle() {
	for _, c := range l.ended {
		if len(l.spare) < maxSpare && !c.queued {
			*c = conn{}
			l.spare = append(l.spare, c)
		}
	}
	clear(l.ended)
	l.ended = l.ended[:0]
}

func (l *loop) wait(events []unix.EpollEvent) (int, syscall.Errno) {
	timeout := -1
	if len(l.ready) > 0 {
		timeout = 0
	} else if next := l.nextDeadline(); next != 0 {
		// Up to a whole millisecond, or the loop would spin before it.
		timeout = int(max(0, (next-l.now+int64(time.Millisecond)-1)/int64(time.Millisecond)))
	}
	// Not epoll_wait, which younger machines such as arm64 do not have.
	n, _, e := syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.ep), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(timeout), 0, 0)
	if e != 0 {
		n = 0
	}
	return int(n), e
}

func (l *loop) event(ev *unix.EpollEvent) {
	t := token(ev)
	low := uint32(t)
	switch low & 3 {
	case tokenWakeup:
		l.runCalls()
	case tokenAcceptor:
		if a := l.acceptors[int32(low>>2)]; a != nil {
			l.accept(a)
		}
	default:
		slot := low >> 2
		if int(slot) >= len(l.conns) || l.conns[slot] == nil || l.gens[slot] != uint32(t>>32) {
			return // of a connection that ended earlier in this turn
		}
		l.happened(l.conns[slot], low&3 == tokenBackend, ev.Events)
	}
}

func (l *loop) runCalls() {
	var count [8]byte
	syscall.RawSyscall(unix.SYS_READ, uintptr(l.wakeup), uintptr(unsafe.Pointer(&count)), 8)
	l.mu.Lock()
	calls := l.calls
	l.calls, l.woken = nil, false
	l.mu.Unlock()
	for _, fn := range calls {
		fn()
	}
}

// listen begins to accept on a listening socket, which others own.
func (l *loop) listen(f *front, fd int32) error {
	a := &acceptor{front: f, fd: fd}
	if e := l.watchAcceptor(a); e != 0 {
		return callError("epoll_ctl", e)
	}
	l.acceptors[fd] = a
	l.owned = append(l.owned, a)
	return nil
}

func (l *loop) watchAcceptor(a *acceptor) syscall.Errno {
	// Exclusive: a connection wakes one loop and not all of them.
	return watch(l.ep, a.fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, uint64(a.fd)<<2|tokenAcceptor)
}

// unlisten stops accepting; connections go on.
func (l *loop) unlisten(fd int32) {
	if a := l.acceptors[fd]; a != nil {
		if !a.paused {
			unwatch(l.ep, fd)
		}
		delete(l.acceptors, fd)
		a.retry = 0
		a.conns++
		l.release(a)
	}
}

// release counts a connection off; an acceptor that is not listened on any more
// goes with its last one.
func (l *loop) release(a *acceptor) {
	if a.conns--; a.conns == 0 && l.acceptors[a.fd] != a {
		l.owned = slices.DeleteFunc(l.owned, func(o *acceptor) bool { return o == a })
	}
}

func (l *loop) pause(a *acceptor) {
	if !a.paused {
		unwatch(l.ep, a.fd)
		a.paused = true
	}
}

func (l *loop) resume(a *acceptor) {
	if l.acceptors[a.fd] != a || !a.paused {
		return
	}
	if e := l.watchAcceptor(a); e != 0 {
		l.starve(a, callError("epoll_ctl", e)) // or it might never go on: no connection may be left to end
		return
	}
	a.paused, a.retry = false, 0
}

// accept takes the connections that wait.
func (l *loop) accept(a *acceptor) {
	for range maxAccepts {
		cfg := a.cfg.Load()
		// Loops count together, so that none takes a connection beyond the bound.
		if a.open.Add(1) > int64(cfg.MaxConns) {
			a.open.Add(-1)
			a.front.full.Store(true)
			l.pause(a)
			if a.open.Load() < int64(cfg.MaxConns) {
				l.resume(a) // one ended just now, and may not have seen the mark
			}
			return
		}
		fd, from, e := accept(a.fd)
		if e != 0 {
			a.ended()
			switch e {
			case unix.EAGAIN, unix.EBADF:
				return
			case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
				l.starve(a, callError("accept4", e))
				return
			}
			continue // that one client is gone again (ECONNABORTED and its kin)
		}
		a.total.Add(1)
		l.open(a, fd, from, cfg)
		if a.paused {
			return // there was no descriptor left for the backend
		}
	}
}

// starve has the clients that come wait in the backlog for a while: descriptors
// or memory have run out.
func (l *loop) starve(a *acceptor, err error) {
	a.noDescriptors(err)
	if l.acceptors[a.fd] == a {
		l.pause(a)
		a.retry = l.now + int64(starvedFor)
	}
}

func (l *loop) close() {
	for _, c := range l.conns {
		if c != nil {
			l.reset(c)
		}
	}
	for _, p := range l.pipes {
		p.close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.woken = true // the number may be another's from here on
	closeFD(l.wakeup)
	closeFD(l.ep)
}

var epoch = time.Now()

// instant gives the time of a reading of monotonic.
func instant(ns int64) time.Time { return epoch.Add(time.Duration(ns - 1)) }

// monotonic gives nanoseconds on the monotonic clock, never 0.
func monotonic() int64 { return int64(time.Since(epoch)) + 1 }
