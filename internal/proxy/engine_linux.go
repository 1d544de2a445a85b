package proxy

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// loops is the engine of Linux: an event loop a CPU.
type loops struct {
	loops []*loop
	done  chan struct{}
}

func newEngine(cpus int) (engine, error) {
	e, err := newLoops(cpus)
	if err != nil {
		return nil, err // and no engine that is a nil *loops
	}
	return e, nil
}

func newLoops(n int) (*loops, error) {
	e := &loops{done: make(chan struct{})}
	for range n {
		l, err := newLoop()
		if err != nil {
			for _, l := range e.loops {
				l.close()
			}
			return nil, err
		}
		e.loops = append(e.loops, l)
	}
	return e, nil
}

func (e *loops) run(ctx context.Context) {
	defer close(e.done)
	var running sync.WaitGroup
	for _, l := range e.loops {
		running.Go(func() { l.run(ctx) })
	}
	running.Wait()
}

// each has every loop run fn, and waits.
func (e *loops) each(fn func(*loop)) {
	var calls sync.WaitGroup
	for _, l := range e.loops {
		calls.Go(func() { l.call(e.done, func() { fn(l) }) })
	}
	calls.Wait()
}

func (e *loops) listen(ctx context.Context, f *front, at netip.AddrPort) (unlisten func(), err error) {
	ln, err := listenTCP(ctx, at)
	if err != nil {
		return nil, err
	}
	fd, err := take(ln)
	if err != nil {
		return nil, err
	}
	unlisten = func() {
		e.each(func(l *loop) { l.unlisten(fd) })
		closeFD(fd) // what waits in the backlog is refused now and need not hang
	}
	var mu sync.Mutex
	e.each(func(l *loop) {
		if e := l.listen(f, fd); e != nil {
			mu.Lock()
			err = e
			mu.Unlock()
		}
	})
	if err != nil {
		unlisten()
		return nil, err
	}
	return unlisten, nil
}

func (e *loops) resume(f *front) {
	for _, l := range e.loops {
		l.post(func() {
			for _, a := range l.acceptors {
				if a.front == f {
					l.resume(a)
				}
			}
		})
	}
}

func (e *loops) changed(f *front) {
	for _, l := range e.loops {
		l.post(func() { l.changed(f) })
	}
}

func (e *loops) cut(f *front, match func(*Member) bool) int {
	var mu sync.Mutex
	n := 0
	e.each(func(l *loop) {
		m := l.cut(f, match)
		mu.Lock()
		n += m
		mu.Unlock()
	})
	return n
}

// take takes a listening socket from the standard library, whose poller is woken by each
// connection otherwise, though nobody asks it.
func take(ln *net.TCPListener) (fd int32, err error) {
	defer ln.Close()
	raw, err := ln.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(from uintptr) {
		var n int
		n, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0)
		fd = int32(n)
	})
	if cerr != nil {
		return -1, cerr
	}
	return fd, os.NewSyscallError("fcntl", err)
}
