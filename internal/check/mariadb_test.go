package check

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mariadb is a private server of the test: a real mariadbd on a free port of
// loopback with a fresh data directory, in which root has no password.
type mariadb struct {
	bin, dir string
	port     int
	socket   string
	cmd      *exec.Cmd
}

// newMariaDB fills a data directory; start starts the server. Whoever may not
// be able to install the package may go without these tests; root and CI may
// not.
func newMariaDB(t *testing.T) *mariadb {
	t.Helper()
	bin, install := find("mariadbd"), find("mariadb-install-db")
	if bin == "" || install == "" {
		const missing = "no mariadbd and mariadb-install-db; install the package mariadb-server"
		if os.Getenv("CI") == "true" || os.Geteuid() == 0 {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	m := &mariadb{bin: bin, dir: t.TempDir()}
	m.socket = filepath.Join(m.dir, "s")
	if len(m.socket) > 100 { // what a unix socket's name can hold
		short, err := os.MkdirTemp("", "m")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(short) })
		m.socket = filepath.Join(short, "s")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, install, m.options("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	m.port = refused(t)
	t.Cleanup(func() { m.kill(t) })
	return m
}

// find looks where Debian puts servers, too: not in every user's PATH.
func find(name string) string {
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/bin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	return ""
}

func (m *mariadb) options(more ...string) []string {
	all := append([]string{"--no-defaults", "--datadir=" + filepath.Join(m.dir, "data")}, more...)
	if os.Geteuid() == 0 {
		all = append(all, "--user=root") // or it insists on a user of its own
	}
	return all
}

// start returns when the server says that it is ready.
func (m *mariadb) start(t *testing.T) {
	t.Helper()
	m.cmd = exec.Command(m.bin, m.options("--bind-address=127.0.0.1", "--port="+itoa(m.port), "--socket="+m.socket,
		"--pid-file="+filepath.Join(m.dir, "pid"), "--skip-name-resolve", "--innodb-buffer-pool-size=8M", "--innodb-flush-log-at-trx-commit=0")...)
	// Without a test there is no server.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := m.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	var log bytes.Buffer
	go func() {
		defer close(ended)
		var once sync.Once
		lines := bufio.NewScanner(io.TeeReader(stderr, &log))
		for lines.Scan() {
			if strings.Contains(lines.Text(), "ready for connections") {
				once.Do(func() { close(ready) })
			}
		}
	}()
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("mariadbd ended:\n%s", log.String())
	case <-time.After(time.Minute):
		m.kill(t)
		<-ended
		t.Fatalf("mariadbd does not get ready:\n%s", log.String())
	}
}

// kill ends the server at once, as a crash does.
func (m *mariadb) kill(t *testing.T) {
	t.Helper()
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
	m.cmd = nil
}

// freeze stops the server where it is and returns when it stands still. Its
// kernel still accepts connections. thaw lets it go on.
func (m *mariadb) freeze(t *testing.T) {
	t.Helper()
	if err := m.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for {
		err := unix.Waitid(unix.P_PID, m.cmd.Process.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if err == nil {
			return
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
}

func (m *mariadb) thaw(t *testing.T) {
	t.Helper()
	if err := m.cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
