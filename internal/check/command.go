package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxOutput is what is kept of a program's output: a plugin's verdict is
	// in its first line. The rest is read and dropped, so that the program
	// never waits for a reader.
	maxOutput = 4 << 10
	// lastWords is how long the output is read after the program ended. Only
	// a process that left the group can still hold the pipe open then.
	lastWords = 250 * time.Millisecond
)

// Command gives the probe that runs a program, as a Nagios plugin is run: exit
// status 0 is good, and of anything else the error has the status and the
// first line of the output. argv[0] is an absolute path; no shell sees argv.
//
// The program gets no input, a small fixed environment (a probe must not
// depend on how the daemon was started) and / as its directory. It runs in a
// process group of its own, which is killed when ctx ends, and when the
// program has ended, so that nothing it started piles up. A process that has
// left the group is not followed; if it holds on to the output, the verdict
// waits a quarter of a second for it and no more.
func Command(argv []string) Probe {
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return func(context.Context) error {
			// Not the arguments: one may be a password.
			return fmt.Errorf("command %q: the program has to be given by an absolute path", argv[:min(1, len(argv))])
		}
	}
	run := func(ctx context.Context) error {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s: not started: %w", argv[0], err)
		}
		var out head
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"}
		cmd.Dir = "/"
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.WaitDelay = lastWords
		if err := cmd.Start(); err != nil {
			return err // has the path
		}
		// When ctx ends, os/exec kills the program; the rest of the group is
		// killed here, in that case and in every other. In this order, because
		// the group's number is ours only as long as its leader has not been
		// waited for; a moment later it could be another's.
		awaitExit(cmd.Process.Pid)
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // mostly nobody is left
		err := cmd.Wait()
		switch {
		case err == nil, errors.Is(err, exec.ErrWaitDelay):
			return nil // exit status 0, and maybe a pipe that stayed open
		case ctx.Err() != nil:
			err = fmt.Errorf("killed: %w", ctx.Err())
		}
		if line := out.firstLine(); line != "" {
			return fmt.Errorf("%s: %w: %s", argv[0], err, line)
		}
		return fmt.Errorf("%s: %w", argv[0], err)
	}
	return func(ctx context.Context) error { return forPeople(run(ctx)) }
}

// awaitExit returns when the process has ended, and leaves it to be waited
// for.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

// head keeps the first octets that are written to it. os/exec writes from one
// goroutine when both streams are the same writer.
type head struct{ buf bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	h.buf.Write(p[:min(len(p), maxOutput-h.buf.Len())])
	return len(p), nil
}

// firstLine gives the first line that is not blank, fit for a log.
func (h *head) firstLine() string {
	for line := range strings.Lines(h.buf.String()) {
		if line = printable(line); line != "" {
			return line
		}
	}
	return ""
}
