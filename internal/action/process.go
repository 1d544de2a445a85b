package action

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// hookPath is where a command without a slash is looked up, and the PATH
	// that it gets: what an administrator's shell has, whatever started us.
	hookPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

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
		path, err := findCommand(h.Command[0])
		if err != nil {
			return err
		}
		return runProcess(ctx, log, process{
			path:  path,
			args:  append(h.Command[1:len(h.Command):len(h.Command)], h.Addr.String(), h.Name, h.Status),
			env:   environment(h),
			attrs: append(about(h.Transition), "name", h.Name),
		})
	}
}

// RunCommand runs a command that belongs to no transition (on-start), under the
// rules for hooks: command is its argument vector, to which args are appended.
// It returns nil at exit status 0, and within 2 s after ctx is done.
func RunCommand(ctx context.Context, log *slog.Logger, command []string, args ...string) error {
	path, err := findCommand(command[0])
	if err != nil {
		return err
	}
	return runProcess(ctx, log, process{
		path:  path,
		args:  append(command[1:len(command):len(command)], args...),
		env:   baseEnvironment(),
		attrs: []any{"command", path},
	})
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

func baseEnvironment() []string { return []string{"PATH=" + hookPath, "LANG=C"} }

// findCommand gives the path of a command's first word, if it may be run.
func findCommand(word string) (string, error) {
	if !strings.Contains(word, "/") {
		path, err := lookPath(word)
		if err != nil {
			return "", err
		}
		word = path
	}
	if !filepath.IsAbs(word) {
		return "", fmt.Errorf("hook %s is not a full path: write it from / on", word)
	}
	info, err := os.Stat(word)
	if err != nil {
		return "", fmt.Errorf("hook cannot be run, install it or change the configuration: %w", err)
	}
	owner := uint32(0)
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = sys.Uid
	}
	return word, checkFile(word, info.Mode(), owner, uint32(os.Geteuid()))
}

// lookPath finds a word in hookPath; os/exec would use our own PATH.
func lookPath(word string) (string, error) {
	for dir := range strings.SplitSeq(hookPath, ":") {
		path := filepath.Join(dir, word)
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("hook %q is in none of %s: install it there or write its full path", word, hookPath)
}

// checkFile refuses a file that is no program, or that somebody besides root
// and the daemon's own user could have written: the daemon often is root, and
// would run whatever they put there.
func checkFile(path string, mode fs.FileMode, owner, self uint32) error {
	switch {
	case !mode.IsRegular():
		return fmt.Errorf("hook %s is not a regular file: name the program itself", path)
	case mode.Perm()&0o111 == 0:
		return fmt.Errorf("hook %s is not executable: chmod +x %s", path, path)
	case mode.Perm()&0o022 != 0:
		return fmt.Errorf("hook %s is writable by its group or by others: chmod go-w %s", path, path)
	case owner != 0 && owner != self:
		return fmt.Errorf("hook %s belongs to user %d, who could change it: chown root %s", path, owner, path)
	}
	return nil
}
