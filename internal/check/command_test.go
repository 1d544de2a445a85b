package check

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func sh(script string, args ...string) Probe {
	return Command(append([]string{"/bin/sh", "-c", script, "sh"}, args...))
}

// noChildren wants every child to have been waited for.
func noChildren(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
			t.Errorf("a child is left: %d, %v", pid, err)
		}
	})
}

func TestCommand(t *testing.T) {
	t.Setenv("LC_ALL", "ja_JP.UTF-8")
	t.Setenv("PATH", "/nowhere")
	leavesNothing(t)
	noChildren(t)
	good(t, sh("exit 0"))
	good(t, sh("echo fine; echo fine >&2"))
	good(t, sh("cat")) // no input: at its end at once
	good(t, Command([]string{"/bin/true"}))
	bad(t, Command([]string{"/bin/false"}), "/bin/false: exit status 1")
	bad(t, sh("exit 1"), "/bin/sh: exit status 1")
	bad(t, sh("exit 255"), "exit status 255")
	bad(t, sh("echo; echo '  DISK CRITICAL - free: 3%  '; echo more; exit 2"), "/bin/sh: exit status 2: DISK CRITICAL - free: 3%")
	bad(t, sh("echo on stderr >&2; exit 3"), "exit status 3: on stderr")
	bad(t, sh(`printf 'a\033[31mb\377c\rd\n'; exit 1`), "exit status 1: a [31mb?c d")
	bad(t, sh("kill -TERM $$"), "signal: terminated")
	bad(t, sh(`echo "$0|$1|$PATH|$LANG|$LC_ALL|$HOME|$(pwd)|"; exit 1`, "a b $(id)"),
		"sh|a b $(id)|/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|C|||/|")
	bad(t, Command([]string{"/nonexistent"}), "fork/exec /nonexistent: no such file or directory")
	bad(t, Command([]string{t.TempDir()}), "permission denied")
	bad(t, Command([]string{"true"}), "absolute path")
	bad(t, Command(nil), "absolute path")
}

// A program that talks without end is read and does not block, and no more
// than the beginning is kept.
func TestCommandTalks(t *testing.T) {
	leavesNothing(t)
	noChildren(t)
	good(t, sh("head -c 10000000 /dev/zero >&2; echo done"))
	p := sh("head -c 10000000 /dev/zero | tr '\\0' x; exit 1")
	bad(t, p, "exit status 1: "+strings.Repeat("x", maxOutput))
	if err := ask(t.Context(), t, p); len(err.Error()) > maxOutput+100 {
		t.Errorf("the error has %d octets", len(err.Error()))
	}
}

// fifo makes a named pipe: a reader and a writer meet at its opening, and the
// reader sees the end when the last writer is gone, however it went.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// watch tells when someone has opened the fifo for writing, and when all who
// did are gone.
func watch(t *testing.T, path string) (opened, gone chan struct{}) {
	t.Helper()
	opened, gone = make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(gone)
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		opened <- struct{}{}
		_, _ = io.Copy(io.Discard, f)
	}()
	return opened, gone
}

func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Error(what)
	}
}

// The program, its child and its grandchild, which all ignore a polite signal,
// are gone when the context ends.
func TestCommandIsKilledWithItsGroup(t *testing.T) {
	leavesNothing(t)
	noChildren(t)
	const family = `trap "" TERM HUP INT
		echo "still at it"
		sh -c 'sleep 60 >"$0" & sleep 60' "$1" &
		sleep 60`

	path := fifo(t)
	opened, gone := watch(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-opened
		cancel()
	}()
	err := ask(ctx, t, sh(family, path))
	if !errors.Is(err, context.Canceled) || err.Error() != "/bin/sh: killed: context canceled: still at it" {
		t.Errorf("%v", err)
	}
	within(t, "a grandchild outlived the context", gone)

	hangs(t, sh("sleep 60"))
	hangs(t, sh("kill -STOP $$"))

	err = ask(ctx, t, sh("exit 0"))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "not started") {
		t.Errorf("%v", err)
	}
}

// A child that is left behind neither delays the verdict nor lives on.
func TestCommandLeavesAChild(t *testing.T) {
	leavesNothing(t)
	noChildren(t)
	for verdict, check := range map[string]func(testing.TB, Probe){
		"0": good,
		"1": func(t testing.TB, p Probe) { t.Helper(); bad(t, p, "exit status 1: left one") },
	} {
		path, ready := fifo(t), fifo(t)
		_, gone := watch(t, path)
		// The child has the pipe of the output, too.
		check(t, sh(`echo left one
			sh -c 'exec 3>"$0"; echo >"$1"; sleep 60' "$1" "$2" & read line <"$2"; exit `+verdict, path, ready))
		within(t, "a child outlived the program", gone)
	}
}

// One that has left the group is out of reach, but it does not hold up the
// verdict by keeping the output open.
func TestCommandWithAFugitive(t *testing.T) {
	leavesNothing(t)
	noChildren(t)
	ready, leave := fifo(t), fifo(t)
	good(t, sh(`setsid sh -c 'echo >"$0"; read line <"$1"' "$1" "$2" & read line <"$1"; exit 0`, ready, leave))
	f, err := os.OpenFile(leave, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
