package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests' daemons are this test binary, told by DAEMON_TEST what to do and by
// DAEMON_DIR where.
func TestMain(m *testing.M) {
	switch how := os.Getenv("DAEMON_TEST"); how {
	case "":
		os.Exit(m.Run())
	case "reader": // somebody who locks the file without being a daemon
		f, err := os.Open(pidPath(os.Getenv("DAEMON_DIR")))
		if err == nil {
			err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
		}
		fmt.Println(err)
		os.Stdin.Read(make([]byte, 1))
	default:
		if err := testDaemon(how, os.Getenv("DAEMON_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, "daemon:", err)
			os.Exit(3)
		}
	}
	os.Exit(0)
}

func pidPath(dir string) string { return filepath.Join(dir, "run", "test.pid") }

func testDaemon(how, dir string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	parent, err := FromParent()
	if err != nil {
		return err
	}
	if _, there := os.LookupEnv(parentVariable); there {
		return errors.New("the environment still says who started it")
	}
	file, err := Take(pidPath(dir))
	if err != nil {
		return err
	}
	if how == "fails" {
		return errors.Join(errors.New("no luck today"), file.Remove())
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if how != "slow" {
		if err := errors.Join(Stderr(log), parent.Ready()); err != nil {
			return err
		}
	}
	for {
		got := <-signals
		fmt.Fprintln(os.Stderr, "got", got)
		if how != "deaf" {
			return file.Remove()
		}
	}
}

// place is a folder for one daemon.
type place struct {
	t   *testing.T
	dir string
	out bytes.Buffer // what Control said
	err bytes.Buffer // what daemons said before they were ready
}

func newPlace(t *testing.T) *place {
	p := &place{t: t, dir: t.TempDir()}
	t.Cleanup(func() {
		if pid, ok, _ := Find(pidPath(p.dir)); ok && pid > 0 {
			syscall.Kill(pid, syscall.SIGKILL)
			p.reap(pid)
		}
	})
	return p
}

func (p *place) control() Control { return Control{PIDFile: pidPath(p.dir), Out: &p.out} }

func (p *place) command(how string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	p.t.Setenv("DAEMON_TEST", how)
	p.t.Setenv("DAEMON_DIR", p.dir)
	p.t.Setenv("GORACE", "atexit_sleep_ms=0")
	stderr, err := os.OpenFile(filepath.Join(p.dir, "stderr"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { stderr.Close() })
	cmd.Stderr = stderr
	return cmd
}

// holder gives the pid of the daemon that runs here.
func (p *place) holder() int {
	p.t.Helper()
	pid, ok, err := Find(pidPath(p.dir))
	if err != nil || !ok {
		p.t.Fatalf("no daemon: %v", err)
	}
	return pid
}

func (p *place) file(name string) string {
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Error(err)
	}
	return string(b)
}

// said compares what Control said since the last time. PID stands for the pid.
func (p *place) said(pid int, want ...string) {
	p.t.Helper()
	got := strings.ReplaceAll(p.out.String(), fmt.Sprintf("pid=%d\n", pid), "pid=PID\n")
	p.out.Reset()
	if text := strings.Join(want, "\n") + "\n"; got != text {
		p.t.Errorf("said:\n%swant:\n%s", got, text)
	}
}

// reap waits for a daemon that has ended; here it is a child of the test.
func (p *place) reap(pid int) {
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		p.t.Errorf("wait for %d: %v", pid, err)
	}
}

const patience = time.Minute

func TestStartStop(t *testing.T) {
	p := newPlace(t)
	c := p.control()
	if status, err := c.Status(); status != StatusStopped || err != nil {
		t.Errorf("status before: %d, %v", status, err)
	}
	p.said(0, "Daemon status: stopped")
	if err := c.Stop(t.Context(), patience); err != nil {
		t.Errorf("stop without a daemon: %v", err)
	}
	p.said(0, "Stopping daemon...", "Daemon status: stopped")

	if err := c.Start(t.Context(), p.command("good")); err != nil {
		t.Fatal(err)
	}
	first := p.holder()
	p.said(first, "Starting daemon...", "Waiting for daemon to start...", "Daemon status: running pid=PID")
	if got := strings.TrimSpace(p.file("run/test.pid")); got != strconv.Itoa(first) {
		t.Errorf("the file says %s, the kernel %d", got, first)
	}
	if info, err := os.Stat(pidPath(p.dir)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if sid, err := unix.Getsid(first); err != nil || sid != first {
		t.Errorf("the daemon is in session %d, %v", sid, err)
	}
	if status, err := c.Status(); status != StatusRunning || err != nil {
		t.Errorf("status: %d, %v", status, err)
	}
	p.said(first, "Daemon status: running pid=PID")

	err := c.Start(t.Context(), p.command("good"))
	want := fmt.Sprintf("another murakumo is running: pid %d holds %s; stop it first, or give this one a working-dir of its own", first, pidPath(p.dir))
	if err == nil || err.Error() != want {
		t.Errorf("second start: %v", err)
	}
	p.said(0, "Starting daemon...")
	if p.holder() != first {
		t.Error("the second start has changed the daemon")
	}

	if err := c.Restart(t.Context(), patience, p.command("good")); err != nil {
		t.Fatal(err)
	}
	p.reap(first)
	second := p.holder()
	p.said(second, "Stopping daemon...", "Starting daemon...", "Waiting for daemon to start...", "Daemon status: running pid=PID")

	if err := c.Stop(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	p.reap(second)
	p.said(0, "Stopping daemon...", "Daemon status: stopped")
	if _, err := os.Stat(pidPath(p.dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pid file is left: %v", err)
	}
	// A restart keeps, a stop lets go; both were said where a daemon speaks once
	// it is ready.
	if got := p.file("log"); got != "got user defined signal 1\ngot terminated\n" {
		t.Errorf("the daemons got: %q", got)
	}
	if got := p.file("stderr"); got != "" {
		t.Errorf("on the standard error of start: %q", got)
	}
	// Where none runs, a restart starts.
	if err := c.Restart(t.Context(), patience, p.command("good")); err != nil {
		t.Error(err)
	}
}

func TestStartFails(t *testing.T) {
	p := newPlace(t)
	c := p.control()
	err := c.Start(t.Context(), p.command("fails"))
	if _, ok := errors.AsType[*StartError](err); !ok || err.Error() != "the daemon has not started (exit status 3)" {
		t.Errorf("got %v", err)
	}
	if got := p.file("stderr"); got != "daemon: no luck today\n" {
		t.Errorf("said %q", got)
	}
	p.said(0, "Starting daemon...", "Waiting for daemon to start...")
	if status, _ := c.Status(); status != StatusStopped {
		t.Errorf("status %d", status)
	}
}

// Who interrupts start has no daemon then.
func TestStartInterrupted(t *testing.T) {
	p := newPlace(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	err := p.control().Start(ctx, p.command("slow"))
	if !errors.Is(err, context.Canceled) || err.Error() != "interrupted: the daemon that was starting has been ended" {
		t.Errorf("got %v", err)
	}
	if _, ok, err := Find(pidPath(p.dir)); ok || err != nil {
		t.Errorf("a daemon runs: %v, %v", ok, err)
	}
}

// A daemon that does not end in time is told of, and is not killed.
func TestStopGivesUp(t *testing.T) {
	p := newPlace(t)
	c := p.control()
	if err := c.Start(t.Context(), p.command("deaf")); err != nil {
		t.Fatal(err)
	}
	pid := p.holder()
	err := c.Stop(t.Context(), 50*time.Millisecond)
	if want := fmt.Sprintf("pid %d still runs after 50ms: its log says what it waits for; kill -9 %d ends it without a hand-over", pid, pid); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want := fmt.Sprintf("interrupted: pid %d goes on ending; -d status says when it has", pid)
	if err := c.Stop(ctx, patience); !errors.Is(err, context.Canceled) || err.Error() != want {
		t.Errorf("interrupted: %v", err)
	}
	want = fmt.Sprintf("interrupted: pid %d goes on ending, and no new one is started; -d status says when it has", pid)
	if err := c.Restart(ctx, patience, p.command("good")); !errors.Is(err, context.Canceled) || err.Error() != want {
		t.Errorf("restart interrupted: %v", err)
	}
	if p.holder() != pid {
		t.Error("the daemon is gone")
	}
}

// What a crash leaves behind is nobody's, whoever has its number now.
func TestStalePIDFile(t *testing.T) {
	p := newPlace(t)
	c := p.control()
	if err := c.Start(t.Context(), p.command("good")); err != nil {
		t.Fatal(err)
	}
	pid := p.holder()
	syscall.Kill(pid, syscall.SIGKILL)
	p.reap(pid)
	if got := strings.TrimSpace(p.file("run/test.pid")); got != strconv.Itoa(pid) {
		t.Fatalf("nothing was left behind: %q", got)
	}
	// Another program gets the number.
	other := exec.Command("sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		other.Process.Kill()
		other.Wait()
	}()
	if err := os.WriteFile(pidPath(p.dir), fmt.Appendln(nil, other.Process.Pid), 0o644); err != nil {
		t.Fatal(err)
	}
	p.out.Reset()
	if status, err := c.Status(); status != StatusStopped || err != nil {
		t.Errorf("status: %d, %v", status, err)
	}
	if err := c.Stop(t.Context(), patience); err != nil {
		t.Errorf("stop: %v", err)
	}
	p.said(0, "Daemon status: stopped", "Stopping daemon...", "Daemon status: stopped")
	if err := c.Restart(t.Context(), patience, p.command("good")); err != nil {
		t.Fatal(err)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other program: %v", err)
	}
	if ps, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", other.Process.Pid)); err != nil || !strings.Contains(string(ps), " S ") {
		t.Errorf("the other program does not sleep: %s, %v", ps, err)
	}
	if info, err := os.Stat(pidPath(p.dir)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// Whoever can read a file can lock it, and is no daemon for that.
func TestReadLock(t *testing.T) {
	p := newPlace(t)
	if err := os.MkdirAll(filepath.Dir(pidPath(p.dir)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pidPath(p.dir), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	reader := p.command("reader")
	stdin, _ := reader.StdinPipe()
	stdout, _ := reader.StdoutPipe()
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		reader.Wait()
	}()
	buf := make([]byte, 100)
	if n, err := stdout.Read(buf); string(buf[:n]) != "<nil>\n" {
		t.Fatalf("the reader says %q, %v", buf[:n], err)
	}
	if status, err := p.control().Status(); status != StatusStopped || err != nil {
		t.Errorf("status: %d, %v", status, err)
	}
	if _, err := Take(pidPath(p.dir)); err == nil || !strings.Contains(err.Error(), "somebody has it locked who is no murakumo") {
		t.Errorf("take: %v", err)
	}
}

func TestTakeRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("target"), []byte("precious\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("target"), at("link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"link":     "too many levels of symbolic links",
		"fifo":     "no regular file",
		".":        "is a directory",
		"target/x": "make its folder",
	} {
		if _, err := Take(at(name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	if b, _ := os.ReadFile(at("target")); string(b) != "precious\n" {
		t.Errorf("the link's target was written: %q", b)
	}
	if _, _, err := Find(at("link")); err == nil {
		t.Error("a link is looked through")
	}

	// A file that its owner removes while we wait for it is nobody's.
	f, err := os.OpenFile(at("gone"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	os.Remove(at("gone"))
	if p, err := lock(at("gone"), f); p != nil || err != nil {
		t.Errorf("a removed file: %v, %v", p, err)
	}
	// What was put in our file's place is not ours to remove.
	p, err := Take(at("ours"))
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(at("ours"))
	os.WriteFile(at("ours"), nil, 0o600)
	if err := p.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(at("ours")); err != nil {
		t.Errorf("removed: %v", err)
	}
}

func TestFromParentRefuses(t *testing.T) {
	for _, text := range []string{"x", "-1", "1", "999"} {
		t.Setenv(parentVariable, text)
		if _, err := FromParent(); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
	if p, err := FromParent(); p != nil || err != nil {
		t.Errorf("without: %v, %v", p, err)
	}
}
