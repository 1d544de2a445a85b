package proxy

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
)

// loops is the engine of Linux: an event loop a CPU.
type loops struct {
	loops []*loop
	done  chan struct{}
}

func newEngine() (engine, error) {
	e, err := newLoops(runtime.GOMAXPROCS(0))
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

func (e *loops) listen(f *front, ln *net.TCPListener) error {
	fd, err := descriptor(ln)
	if err != nil {
		return err
	}
	f.resume = func() {
		for _, l := range e.loops {
			l.post(func() {
				if a := l.acceptors[fd]; a != nil && a.front == f {
					l.resume(a)
				}
			})
		}
	}
	var mu sync.Mutex
	e.each(func(l *loop) {
		if e := l.listen(f, fd); e != nil {
			mu.Lock()
			err = e
			mu.Unlock()
		}
	})
	return err
}

func (e *loops) unlisten(_ *front, ln *net.TCPListener) {
	if fd, err := descriptor(ln); err == nil {
		e.each(func(l *loop) { l.unlisten(fd) })
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

// descriptor gives that of a listening socket, which stays the listener's. It
// is valid until the listener is closed, and unlisten comes before that.
func descriptor(ln *net.TCPListener) (fd int32, err error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("the listening socket: %w", err)
	}
	err = raw.Control(func(n uintptr) { fd = int32(n) })
	return fd, err
}
