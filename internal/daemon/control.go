package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// The exit statuses of an init script, as LSB has them.
const (
	StatusRunning = 0
	StatusStopped = 3 // as an answer to status
	StatusUnknown = 4 // as an answer to status
)

// SignalKeep asks the daemon to end without letting go of anything, because a
// new one starts at once. A signal needs nothing of the daemon that could be
// broken, and systemd can send it (RestartKillSignal=).
const SignalKeep = syscall.SIGUSR1

// Control is what -d does. Its lines are those of the original.
type Control struct {
	PIDFile string
	Out     io.Writer
}

func (c Control) say(format string, args ...any) { fmt.Fprintf(c.Out, format+"\n", args...) }

// Status says whether the daemon runs, and gives the exit status that tells it.
func (c Control) Status() (int, error) {
	pid, ok, err := Find(c.PIDFile)
	switch {
	case err != nil:
		return StatusUnknown, err
	case ok:
		c.say("Daemon status: running pid=%d", pid)
		return StatusRunning, nil
	}
	c.say("Daemon status: stopped")
	return StatusStopped, nil
}

// Stop ends the daemon and returns when its process is gone. patience is how
// long that may take; then it gives up, and the daemon goes on ending. When none
// runs there is nothing to do.
func (c Control) Stop(ctx context.Context, patience time.Duration) error {
	if err := c.end(ctx, syscall.SIGTERM, patience); err != nil {
		return err
	}
	c.say("Daemon status: stopped")
	return nil
}

func (c Control) end(ctx context.Context, sig syscall.Signal, patience time.Duration) error {
	c.say("Stopping daemon...")
	p, err := open(c.PIDFile)
	if err != nil || p == nil {
		return err
	}
	defer p.Release()
	if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to pid %d: %w", sig, p.Pid, err)
	}
	limited, cancel := context.WithTimeoutCause(ctx, patience,
		fmt.Errorf("pid %d still runs after %v: its log says what it waits for; kill -9 %d ends it without a hand-over", p.Pid, patience, p.Pid))
	defer cancel()
	err = waitFor(limited, p)
	if err == nil || ctx.Err() == nil {
		return err
	}
	then := ""
	if sig == SignalKeep {
		then = ", and no new one is started"
	}
	return &InterruptedError{fmt.Sprintf("pid %d goes on ending%s; -d status says when it has", p.Pid, then), context.Cause(ctx)}
}

// InterruptedError says how things stand after an interrupted command.
type InterruptedError struct {
	stand string
	cause error
}

// Error tells it.
func (e *InterruptedError) Error() string { return "interrupted: " + e.stand }

// Unwrap gives the cause that the command's context has.
func (e *InterruptedError) Unwrap() error { return e.cause }

// Start runs the command as a daemon: in a session of its own, with nothing to
// read. It returns when the daemon says that it is ready (see [FromParent]), and
// with an error when it ended before; why, it has then said itself on its
// standard error.
func (c Control) Start(ctx context.Context, cmd *exec.Cmd) error {
	c.say("Starting daemon...")
	if pid, ok, err := Find(c.PIDFile); err != nil {
		return err
	} else if ok {
		return &RunningError{c.PIDFile, pid}
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	defer ready.Close()
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", parentVariable, 3+len(cmd.ExtraFiles)))
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	c.say("Waiting for daemon to start...")
	interrupted := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	word, err := io.ReadAll(ready)
	if err == nil && string(word) == readyWord && interrupted() {
		c.say("Daemon status: running pid=%d", cmd.Process.Pid)
		return cmd.Process.Release()
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // usually it has ended
	err = cmd.Wait()
	if ctx.Err() != nil {
		return &InterruptedError{"the daemon that was starting has been ended", context.Cause(ctx)}
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return &StartError{exit}
	}
	return fmt.Errorf("the daemon ended before it was ready: %w", err)
}

// StartError says that the daemon ended before it was ready, having said why.
type StartError struct{ exit *exec.ExitError }

// Error gives how it ended.
func (e *StartError) Error() string {
	return fmt.Sprintf("the daemon has not started (%v)", e.exit)
}

// Unwrap gives the [exec.ExitError].
func (e *StartError) Unwrap() error { return e.exit }

// Restart ends the daemon by SignalKeep, so that it lets go of nothing, and
// starts the command in its place. When none runs it starts.
func (c Control) Restart(ctx context.Context, patience time.Duration, cmd *exec.Cmd) error {
	if err := c.end(ctx, SignalKeep, patience); err != nil {
		return err
	}
	return c.Start(ctx, cmd)
}
