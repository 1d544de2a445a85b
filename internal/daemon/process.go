package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// open gives the process that holds the pid file, nil for none. What is done
// with it is done to that process, even if it ends and another gets its number.
func open(path string) (*os.Process, error) {
	for {
		pid, ok, err := Find(path)
		if err != nil || !ok {
			return nil, err
		}
		if pid == 0 {
			return nil, &RunningError{path, pid}
		}
		p, err := os.FindProcess(pid) // by a pidfd
		if err != nil {
			return nil, fmt.Errorf("find process %d: %w", pid, err)
		}
		// It held the lock before we had the handle. As long as it does, the
		// number is its own, and so the handle is its.
		again, ok, err := Find(path)
		if err == nil && ok && again == pid {
			return p, nil
		}
		p.Release()
		if err != nil {
			return nil, err
		}
	}
}

// waitFor waits for the end of a process that is not a child.
func waitFor(ctx context.Context, p *os.Process) error {
	var err error
	if e := p.WithHandle(func(pidfd uintptr) { err = poll(ctx, int(pidfd)) }); e == nil {
		return err
	}
	// A kernel without pidfd_open(2).
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !errors.Is(p.Signal(unix.Signal(0)), os.ErrProcessDone) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// poll waits until the descriptor can be read, which a pidfd can once its
// process has ended.
func poll(ctx context.Context, fd int) error {
	// A second descriptor wakes it when the context ends.
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	stop := context.AfterFunc(ctx, func() { w.Close() })
	defer func() {
		if stop() {
			w.Close()
		}
	}()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(r.Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the process: %w", err)
		case fds[0].Revents != 0:
			return nil
		default:
			return context.Cause(ctx)
		}
	}
}
