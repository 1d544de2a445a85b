package check

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
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

// loopback gives an address of the loopback network that nobody else uses, for
// servers that cannot be given port 0: on such an address a port below those
// that the kernel hands out is free.
func loopback() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(255), 1+rand.IntN(254))
}

// startServer runs a real server in the foreground and returns when it says on
// standard error that it is ready. It ends with the test.
func startServer(t *testing.T, ready, pkg, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(need(t, pkg, program), args...)
	start(t, ready, cmd)
	return cmd
}

// need gives the path of a program. Whoever may not be able to install the
// package may go without; root and CI may not.
func need(t *testing.T, pkg, program string) string {
	t.Helper()
	if path := find(program); path != "" {
		return path
	}
	missing := fmt.Sprintf("no %s; install the package %s", program, pkg)
	if os.Getenv("CI") == "true" || os.Geteuid() == 0 {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// start is startServer for a command that may run as another user. With ready
// "" it does not wait.
func start(t *testing.T, ready string, cmd *exec.Cmd) {
	t.Helper()
	program := filepath.Base(cmd.Path)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if cmd.SysProcAttr.Pdeathsig == 0 {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // without a test there is no server
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	up, ended := make(chan struct{}), make(chan struct{})
	var log bytes.Buffer // to be read when ended is closed
	go func() {
		defer close(ended)
		once := sync.OnceFunc(func() { close(up) })
		for lines := bufio.NewScanner(io.TeeReader(stderr, &log)); lines.Scan(); {
			if strings.Contains(lines.Text(), ready) {
				once()
			}
		}
	}()
	t.Cleanup(func() {
		kill(cmd)
		<-ended
		if t.Failed() {
			t.Logf("%s says:\n%s", program, log.String())
		}
	})
	if ready == "" {
		return
	}
	select {
	case <-up:
	case <-ended:
		t.Fatalf("%s ended before it was ready", program)
	case <-time.After(time.Minute):
		t.Fatalf("%s does not get ready", program)
	}
}

// kill ends a server at once, as a crash does; a second time does nothing.
func kill(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// freeze stops a server where it is and returns when it stands still. Its
// kernel still accepts connections. thaw lets it go on.
func freeze(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if err == nil {
			return
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
}

func thaw(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
