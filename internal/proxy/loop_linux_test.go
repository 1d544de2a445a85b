package proxy

import (
	"log/slog"
	"os"
	"reflect"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newLoopsHarness gives a harness and the event loops under it.
func newLoopsHarness(t *testing.T, n int) (*harness, func() []*loop) {
	made := make(chan []*loop, 1)
	h := newHarness(t, func() (engine, error) {
		e, err := newLoops(n)
		if err == nil {
			made <- e.loops
		}
		return e, err
	})
	return h, func() []*loop {
		l := <-made
		made <- l
		return l
	}
}

// TestLoops: a CPU has one loop, also when the first listener comes while others in the
// program have processors (in the sense of Go) of their own.
func TestLoops(t *testing.T) {
	cpus := runtime.GOMAXPROCS(0)
	p := New(Options{})
	defer runtime.GOMAXPROCS(cpus)
	runtime.GOMAXPROCS(2 * cpus)
	e, err := p.engine()
	if err != nil {
		t.Fatal(err)
	}
	loops := e.(*loops).loops
	if len(loops) != cpus {
		t.Errorf("%d loops for %d CPUs", len(loops), cpus)
	}
	for _, l := range loops {
		l.close()
	}
}

// TestRecycle: what ended is as new when it is used again, is not used while the loop still
// knows of it, and is kept within bounds.
func TestRecycle(t *testing.T) {
	known := &conn{state: closed, queued: true}
	l := &loop{ready: []*conn{known}, ended: []*conn{known}}
	for range 2 * maxSpare {
		l.ended = append(l.ended, &conn{state: closed, member: new(Member), client: 7, up: half{eof: true}})
	}
	l.recycle()
	if len(l.ended) != 0 || len(l.spare) != maxSpare {
		t.Errorf("%d ended, %d kept, want none and %d", len(l.ended), len(l.spare), maxSpare)
	}
	for len(l.spare) > 0 {
		if c := l.fresh(); c == known || !reflect.DeepEqual(*c, conn{}) {
			t.Fatalf("for a new connection: %+v", *c)
		}
	}
}

// TestListenerEndsWithADeadline: the last connection of a listener that was
// taken out ends by its deadline while other listeners go on.
func TestListenerEndsWithADeadline(t *testing.T) {
	h, loops := newLoopsHarness(t, 1)
	old, stays, third := h.listener(echoes(t)), h.listener(echoes(t)), h.listener(echoes(t))
	old.Name, stays.Name, third.Name = "old", "stays", "third"
	old.IdleTimeout = time.Hour
	h.applyAll(old)
	h.applyAll(old, stays)
	h.applyAll(old, stays, third)
	conn := h.dial(old)
	ping(t, conn)
	h.applyAll(stays, third)
	l := loops()[0]
	h.eventually("not accepting", func() bool { return accepting(l) == 2 })
	l.call(nil, func() {
		for _, c := range l.conns {
			if c != nil {
				c.since = l.now - int64(time.Hour)
			}
		}
	})
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the idle connection got octets")
	}
	for _, c := range []Config{stays, third} {
		ping(t, h.dial(c))
	}
}

// TestTakenOutWhilePaused: a listener that is taken out while descriptors are
// short keeps no loop busy with the end of its pause.
func TestTakenOutWhilePaused(t *testing.T) {
	h, loops := newLoopsHarness(t, 1)
	old, stays := h.listener(echoes(t)), h.listener(echoes(t))
	old.Name, stays.Name = "old", "stays"
	h.applyAll(old)
	h.applyAll(old, stays)
	conn := h.dial(old)
	ping(t, conn)
	l := loops()[0]
	l.call(nil, func() {
		for _, a := range l.acceptors {
			if a.name == "old" {
				l.pause(a)
				a.retry = l.now + int64(time.Hour)
			}
		}
	})
	h.applyAll(stays)
	h.eventually("not accepting", func() bool { return accepting(l) == 1 })
	var next int64
	l.call(nil, func() { next = l.nextDeadline() })
	if next != 0 {
		t.Errorf("a deadline is left of a listener that accepts no more")
	}
	ping(t, conn)
}

// TestNoWordToAnother: a loop that has ended writes nothing to a descriptor, whose number
// may be that of somebody else's connection by then.
func TestNoWordToAnother(t *testing.T) {
	l, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	// A number that nobody gets but who asks for it, for the system gives the lowest.
	number, err := unix.FcntlInt(uintptr(l.wakeup), unix.F_DUPFD_CLOEXEC, 300)
	if err != nil {
		t.Fatal(err)
	}
	closeFD(l.wakeup)
	l.wakeup = int32(number)
	l.close()

	another, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(another)
	if err := unix.Dup3(another, number, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(number)
	l.post(func() {})
	if n, err := unix.Read(another, make([]byte, 8)); err != unix.EAGAIN {
		t.Errorf("another descriptor of its number was written to: %d octets, %v", n, err)
	}
}

// TestResumeTriesAgain: a listener that stopped at max-conns, and could not go on when there
// was room, goes on later, though no connection is left that could end.
func TestResumeTriesAgain(t *testing.T) {
	l, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	file, err := os.Open(t.TempDir()) // no epoll takes a folder
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err := take(listen(t))
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(fd)

	a := &acceptor{front: newFront(Config{MaxConns: 1}, slog.New(slog.DiscardHandler)), fd: int32(file.Fd()), paused: true}
	l.acceptors[a.fd], l.owned, l.now = a, []*acceptor{a}, 1
	l.resume(a)
	if !a.paused {
		t.Fatal("it goes on")
	}
	if err := unix.Dup3(int(fd), int(a.fd), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if l.now = l.nextDeadline(); l.now == 0 {
		t.Fatal("there is no other try")
	}
	l.expire()
	if a.paused {
		t.Error("it does not go on when it can")
	}
}

// accepting gives how many listeners a loop has.
func accepting(l *loop) (n int) {
	l.call(nil, func() { n = len(l.acceptors) })
	return n
}
