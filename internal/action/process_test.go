package action

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// slack is what a loaded machine may add to a time that is promised. What the
// tests guard against would take childLife.
const (
	slack     = 3 * time.Second
	childLife = 60 // seconds, for scripts
)

// script writes an executable shell script and returns its path.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	// While we hold the file open for writing no other test may fork: the child
	// would hold it open too, and running it would fail with "text file busy".
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs one hook through a whole queue and returns its end.
func run(t *testing.T, log *logbook, h Hook) Result {
	t.Helper()
	ended := make(chan Result, 1)
	q := NewHooks(HookOptions{Log: log.logger(), Ended: func(r Result) { ended <- r }})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	q.Enqueue(h)
	r := receive(t, ended, "the end of the hook")
	stop()
	if err := receive(t, done, "the end of Run"); err != nil {
		t.Errorf("Run: %v", err)
	}
	return r
}

// receive fails the test when nothing comes in 15 s.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(15 * time.Second):
		t.Fatalf("waited 15 s for %s", what)
		panic("unreachable")
	}
}

// file reads what a script wrote.
func file(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pidIn reads a process id that a script wrote.
func pidIn(t *testing.T, path string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(file(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// gone reports whether the process ends within the time; it may be a zombie of
// somebody else's then.
func gone(t *testing.T, pid int, within time.Duration) bool {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(within)
	for {
		left := max(0, time.Until(deadline))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
}

// killLater ends a process that a test leaves behind on purpose.
func killLater(t *testing.T, pid int) {
	t.Cleanup(func() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("kill what the test left behind: %v", err)
		}
	})
}

func TestProcessSeesItsContract(t *testing.T) {
	t.Setenv("SECRET_OF_THE_DAEMON", "1")
	dir := t.TempDir()
	h := hook(activity("active", 42))
	h.Command = []string{script(t, `
exec >`+dir+`/seen
for a in "$@"; do echo "arg $a"; done
echo "cwd $(pwd)"
echo "stdin $(readlink /proc/$$/fd/0)"
echo "group $(cut -d' ' -f5 /proc/$$/stat) $$"
tr '\0' '\n' </proc/$$/environ | sort
`), "-x", "two words", "$(touch " + dir + "/shell)"}
	var log logbook
	if r := run(t, &log, h); r.Outcome != OK || r.Err != nil || r.Elapsed <= 0 {
		t.Fatalf("%+v", r)
	}
	seen := file(t, filepath.Join(dir, "seen"))
	group := ""
	for line := range strings.Lines(seen) {
		if strings.HasPrefix(line, "group ") {
			group = line
		}
	}
	if f := strings.Fields(group); len(f) != 3 || f[1] != f[2] {
		t.Errorf("not the leader of a group of its own: %q", group)
	}
	want := `arg -x
arg two words
arg $(touch ` + dir + `/shell)
arg 10.0.0.55
arg web
arg active
cwd /
stdin /dev/null
` + group + `LANG=C
MURAKUMO_ADDRESS=10.0.0.55
MURAKUMO_NAME=web
MURAKUMO_PREVIOUS=inactive
MURAKUMO_REASON=failover
MURAKUMO_STATUS=active
MURAKUMO_TRANSITION=42
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
`
	if seen != want {
		t.Errorf("the hook saw:\n%s\nwant:\n%s", seen, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "shell")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("an argument went through a shell")
	}
	log.want(t, 0, "two words") // arguments may be secrets
}

func TestProcessExitStatus(t *testing.T) {
	t.Parallel()
	h := hook(activity("active", 1))
	h.Command = []string{script(t, "exit 3\n")}
	r := run(t, new(logbook), h)
	if r.Outcome != Failed || r.Err == nil || r.Err.Error() != "run "+h.Command[0]+": exit status 3" {
		t.Errorf("%+v", r)
	}
}

func TestProcessLookedUpInFixedPath(t *testing.T) {
	// A PATH of ours must not matter.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "only-in-our-path"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	h := hook(activity("active", 1))
	h.Command = []string{"true"}
	if r := run(t, new(logbook), h); r.Outcome != OK {
		t.Errorf("true: %+v", r)
	}
	h.Command = []string{"only-in-our-path"}
	r := run(t, new(logbook), h)
	if r.Outcome != Failed || !strings.Contains(r.Err.Error(), `"only-in-our-path": no such program in /usr/local/sbin:`) {
		t.Errorf("%+v", r)
	}
}

func TestProcessOutput(t *testing.T) {
	t.Parallel()
	h := hook(activity("active", 7))
	h.Command = []string{script(t, `echo attached eth1; echo; echo no route >&2; printf 'no end'`)}
	var log logbook
	if r := run(t, &log, h); r.Outcome != OK {
		t.Fatalf("%+v", r)
	}
	log.want(t, 1, "level=INFO", `msg="hook output: attached eth1"`, "name=web", "stream=stdout", "transition=7")
	log.want(t, 1, "level=ERROR", `msg="hook output: no route"`, "name=web", "stream=stderr")
	log.want(t, 1, "level=INFO", `msg="hook output: no end"`)
	log.want(t, 3, "hook output")
}

func TestProcessOutputIsCapped(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text    string
		lines   int
		leftOut string
	}{
		// 10 MiB in lines of 1 KiB: 64 of them fit.
		"by bytes": {
			`yes "$(printf '%01023d' 7)" | head -c 10485760 >&2`, 64, "10420224 bytes"},
		"by lines":    {`yes x | head -n 1500`, 1000, "500 bytes"},
		"long lines":  {`head -c 10000 /dev/zero | tr '\0' x`, 3, ""},
		"blank lines": {`yes '' | head -n 5000; echo x`, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hook(activity("active", 1))
			h.Command = []string{script(t, tc.text)}
			var log logbook
			if r := run(t, &log, h); r.Outcome != OK {
				t.Fatalf("%+v", r)
			}
			if n := len(log.with("hook output: ")); n != tc.lines {
				t.Errorf("%d lines, want %d", n, tc.lines)
			}
			if tc.leftOut == "" {
				log.want(t, 0, "hook output left out")
			} else {
				log.want(t, 1, "level=WARN", "hook output left out: "+tc.leftOut)
			}
		})
	}
}

// TestProcessHasToEnd: whatever a hook does, its end comes by its timeout and
// 2 s, and nobody of its group is left.
func TestProcessHasToEnd(t *testing.T) {
	t.Parallel()
	life := strconv.Itoa(childLife)
	for name, tc := range map[string]struct {
		text    string
		timeout time.Duration
		outcome Outcome
		within  time.Duration // of the start
		stays   bool          // the process in the file pid is none of the group's
	}{
		"ignores SIGTERM": {
			text:    `trap '' TERM; echo $$ >pid; while :; do sleep ` + life + `; done`,
			timeout: 2 * time.Second, outcome: TimedOut, within: 4 * time.Second},
		"ends on SIGTERM, with a success": {
			text:    `trap 'exit 0' TERM; echo $$ >pid; sleep ` + life + ` & wait`,
			timeout: 2 * time.Second, outcome: TimedOut, within: 4 * time.Second},
		"has a child that ignores SIGTERM and holds no pipe": {
			text:    `(trap '' TERM; exec sleep ` + life + ` >/dev/null 2>&1) & echo $! >pid; wait`,
			timeout: 2 * time.Second, outcome: TimedOut, within: 4 * time.Second},
		"has a child in a session of its own that holds the pipe": {
			text:    `setsid sh -c 'echo $$ >pid; exec sleep ` + life + `' & wait`,
			timeout: 2 * time.Second, outcome: TimedOut, within: 4 * time.Second, stays: true},
		"succeeds and leaves a child that holds the pipe": {
			text:    `sleep ` + life + ` & echo $! >pid`,
			timeout: 30 * time.Second, outcome: OK, within: 2 * time.Second, stays: true},
		"fails and leaves a child that holds the pipe": {
			text:    `sleep ` + life + ` & echo $! >pid; exit 1`,
			timeout: 30 * time.Second, outcome: Failed, within: 2 * time.Second, stays: true},
		"leaves a daemon that holds nothing": {
			text:    `sleep ` + life + ` >/dev/null 2>&1 & echo $! >pid`,
			timeout: 30 * time.Second, outcome: OK, within: time.Second, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pid := filepath.Join(t.TempDir(), "pid")
			h := hook(activity("active", 1))
			h.Timeout = tc.timeout
			h.Command = []string{script(t, strings.ReplaceAll(tc.text, ">pid", ">"+pid))}
			var log logbook
			r := run(t, &log, h)
			left := pidIn(t, pid)
			if tc.stays {
				killLater(t, left)
			} else if !gone(t, left, slack) {
				killLater(t, left)
				t.Error("a process of the group is left")
			}
			if r.Outcome != tc.outcome {
				t.Errorf("ended as %s: %v, want %s", r.Outcome, r.Err, tc.outcome)
			}
			if r.Elapsed > tc.within+slack {
				t.Errorf("took %s, want %s at most", r.Elapsed, tc.within)
			}
			if tc.stays && gone(t, left, 0) {
				t.Error("what was left behind is dead")
			}
		})
	}
}

// startAndStop runs a script that writes into the pipe PIPE when it is ready, and
// ends the daemon at that moment. It returns what was written.
func startAndStop(t *testing.T, text string) (said string) {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "ready")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	h := hook(activity("active", 1))
	h.Command = []string{script(t, strings.ReplaceAll(text, "PIPE", pipe))}
	ended := make(chan Result, 1)
	q := NewHooks(HookOptions{Log: new(logbook).logger(), Ended: func(r Result) { ended <- r }})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	q.Enqueue(h)

	ready := make(chan string, 1)
	go func() {
		b, _ := os.ReadFile(pipe)
		ready <- string(b)
	}()
	select {
	case said = <-ready:
	case r := <-ended:
		t.Fatalf("the hook ended before it was ready: %+v", r)
	}
	start := time.Now()
	stop()
	if err := receive(t, done, "the end of Run"); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(start); took > 2*time.Second+slack {
		t.Errorf("stopping took %s", took)
	}
	if r := receive(t, ended, "the end of the hook"); r.Outcome != Failed || !errors.Is(r.Err, errStopped) {
		t.Errorf("%+v", r)
	}
	return said
}

// TestStopKillsTheGroup: the daemon's end does not wait for a hook.
func TestStopKillsTheGroup(t *testing.T) {
	t.Parallel()
	said := startAndStop(t, fmt.Sprintf(
		`trap '' TERM; sleep %d & echo $! >PIPE; wait; sleep %[1]d`, childLife))
	child, err := strconv.Atoi(strings.TrimSpace(said))
	if err != nil {
		t.Fatal(err)
	}
	if !gone(t, child, slack) {
		killLater(t, child)
		t.Error("a process of the group is left")
	}
}

// TestGroupGetsItsGrace: a child that tidies up after SIGTERM has a second for
// it, also when the hook itself is gone at once.
func TestGroupGetsItsGrace(t *testing.T) {
	t.Parallel()
	tidy := filepath.Join(t.TempDir(), "tidy")
	startAndStop(t, `
sh -c 'trap "sleep 0.3; echo tidy >`+tidy+`; exit" TERM; echo ready >PIPE; while :; do sleep 0.02; done' >/dev/null 2>&1 &
wait`)
	if got := file(t, tidy); got != "tidy\n" {
		t.Errorf("the child wrote %q", got)
	}
}

// TestRunCommand: a hook of no transition is started, watched and told of like
// the others.
func TestRunCommand(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text    string
		mode    fs.FileMode
		timeout time.Duration
		log     string
	}{
		"good":    {`echo "$@ $(env | sort | tr '\n' ' ')"`, 0o755, time.Minute, `level=INFO msg="hook ended: on-start: ok"`},
		"bad":     {"exit 3", 0o755, time.Minute, `level=ERROR msg="hook ended: on-start: failed"`},
		"hangs":   {"exec sleep 60", 0o755, 50 * time.Millisecond, `level=ERROR msg="hook ended: on-start: timed out"`},
		"anybody": {"true", 0o757, time.Minute, `level=ERROR msg="hook ended: on-start: failed"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := script(t, tc.text+"\n")
			if err := os.Chmod(path, tc.mode); err != nil {
				t.Fatal(err)
			}
			var log logbook
			RunCommand(t.Context(), log.logger(), "on-start", tc.timeout, []string{path, "secret"}, "10.0.0.1", "web-01")
			log.want(t, 1, `level=INFO msg="hook started: on-start"`, "command="+path)
			log.want(t, 1, tc.log, "command="+path, "duration=")
			if name == "good" {
				log.want(t, 1, `msg="hook output: secret 10.0.0.1 web-01 LANG=C PATH=/usr/local/sbin`, "name=on-start", "stream=stdout")
			} else {
				log.want(t, 0, "secret")
			}
		})
	}
}
