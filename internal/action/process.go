package action

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"murakumo/internal/program"
)

const (
	// grace is the time between SIGTERM and SIGKILL, and the time for which
	// output is still read after the hook itself has ended or should have. A
	// child that holds the pipe open makes us wait no longer than this.
	grace = time.Second

	// groupPoll is how often we look whether a group that was told to end has.
	groupPoll = 10 * time.Millisecond
)

// Processes gives the Executor that runs real processes; see [NewHooks].
func Processes(log *slog.Logger) Executor {
	return func(ctx context.Context, h Hook) error {
		if err := checkTransition(h.Transition); err != nil {
			return fmt.Errorf("refuse to run %s: %w", h.Command[0], err)
		}
		path, err := program.Find(h.Command[0])
		if err != nil {
			return fmt.Errorf("refuse to run a hook: %w", err)
		}
		return runProcess(ctx, log, process{
			path:  path,
			args:  append(h.Command[1:len(h.Command):len(h.Command)], h.Addr.String(), h.Name, h.Status),
			env:   environment(h),
			attrs: append(about(h.Transition), "name", h.Name),
		})
	}
}

// RunCommand runs a hook that belongs to no transition, such as on-start, under
// the rules for hooks: command is its argument vector, to which args are
// appended; it may run for the timeout, 0 meaning DefaultTimeout. Its start and
// its end are logged as those of other hooks are, under the name of what it is
// for. It returns at its end, and within 2 s after ctx is done.
func RunCommand(ctx context.Context, log *slog.Logger, what string, timeout time.Duration, command []string, args ...string) {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	attrs := []any{"command", command[0]} // arguments may hold an access key
	log.Info("hook started: "+what, attrs...)
	outcome, elapsed, err := timed(ctx, timeout, func(ctx context.Context) error {
		path, err := program.Find(command[0])
		if err != nil {
			return fmt.Errorf("refuse to run a hook: %w", err)
		}
		return runProcess(ctx, log, process{
			path:  path,
			args:  append(command[1:len(command):len(command)], args...),
			env:   baseEnvironment(),
			attrs: []any{"name", what},
		})
	})
	logEnd(log, what, outcome, elapsed, err, attrs)
}

// process is what runProcess starts; attrs go with each line of its output.
type process struct {
	path      string
	args, env []string
	attrs     []any
}

// runProcess starts the program and waits for its end, for grace and a little
// more after ctx is done at most.
func runProcess(ctx context.Context, log *slog.Logger, p process) error {
	out := &output{log: log, attrs: p.attrs}
	stdout, stderr := out.stream("stdout", slog.LevelInfo), out.stream("stderr", slog.LevelError)

	cmd := exec.CommandContext(ctx, p.path, p.args...)
	cmd.Dir = "/"
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = stdout, stderr // Stdin nil is /dev/null
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = grace
	var termSent time.Time // set before Wait returns, when it is
	cmd.Cancel = func() error {
		termSent = time.Now()
		return signalGroup(cmd.Process.Pid, syscall.SIGTERM)
	}

	err := cmd.Start()
	if err == nil {
		err = cmd.Wait()
		if !termSent.IsZero() {
			endGroup(cmd.Process.Pid, termSent.Add(grace))
		}
	}
	stdout.flush()
	stderr.flush()
	out.close()

	if errors.Is(err, exec.ErrWaitDelay) {
		// It succeeded and left something running that holds its output, as a
		// script does that starts a daemon. That is its right.
		log.Warn("a process that the hook left behind holds its output open, which is not read any longer: "+
			"redirect the output of what is to stay", p.attrs...)
		return nil
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", p.path, err)
	}
	return nil
}

// endGroup gives what is left of a group until the deadline, then kills it. The
// leader is dead by now; the group's id is not used anew while it has members.
func endGroup(pid int, deadline time.Time) {
	poll := time.NewTicker(groupPoll)
	defer poll.Stop()
	for time.Now().Before(deadline) {
		if errors.Is(signalGroup(pid, 0), os.ErrProcessDone) {
			return
		}
		<-poll.C
	}
	// An error can only mean that nobody is left.
	_ = signalGroup(pid, syscall.SIGKILL)
}

// signalGroup signals a whole process group; os.ErrProcessDone: it is empty.
func signalGroup(pid int, sig syscall.Signal) error {
	err := syscall.Kill(-pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// environment is all that a hook gets: nothing of what the daemon was started
// with, so that a hook does the same under systemd, an init script or a shell.
func environment(h Hook) []string {
	return append(baseEnvironment(),
		"MURAKUMO_ADDRESS="+h.Addr.String(),
		"MURAKUMO_NAME="+h.Name,
		"MURAKUMO_STATUS="+h.Status,
		"MURAKUMO_PREVIOUS="+h.Previous,
		"MURAKUMO_REASON="+string(h.Reason),
		"MURAKUMO_TRANSITION="+strconv.FormatUint(h.Number, 10),
	)
}

func baseEnvironment() []string { return []string{"PATH=" + program.Path, "LANG=C"} }
