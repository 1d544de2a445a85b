package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// supervisor is the socket of a service manager.
type supervisor struct {
	t    *testing.T
	conn *net.UnixConn
}

func supervise(t *testing.T) *supervisor {
	t.Helper()
	dir, err := os.MkdirTemp("", "mrk") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &supervisor{t, conn}
}

// hears gives the next that it is told, WATCHDOG=1 apart unless that is wanted.
func (s *supervisor) hears(watchdog bool) string {
	s.t.Helper()
	s.conn.SetReadDeadline(time.Now().Add(time.Minute)) // nothing that works comes near it
	for buf := make([]byte, 1000); ; {
		n, err := s.conn.Read(buf)
		if err != nil {
			s.t.Fatal(err)
		}
		if text := string(buf[:n]); watchdog || text != "WATCHDOG=1" {
			return text
		}
	}
}

// quickly is a configuration for a node of its own on loopback.
func quickly(t *testing.T) (path string) {
	t.Helper()
	ip, dir := loopback(), t.TempDir()
	socks, err := os.MkdirTemp("", "mrk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(socks) })
	var ports [2]string
	for i := range ports {
		if ports[i], err = freePort(ip); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(dir, "murakumo.yml")
	text := fmt.Sprintf("auth-key: 0123456789abcdef\nhost: %s, server-01\naddress: %s\nport: %s\ngossip-port: %s\nsocket: %s/s\nworking-dir: %s\n",
		ip, ip, ports[0], ports[1], socks, dir)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A service manager is told when the daemon is ready, that it is alive, and that
// it ends.
func TestSupervised(t *testing.T) {
	manager := supervise(t)
	t.Setenv("WATCHDOG_USEC", "400000")
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	cmd := exec.Command("murakumo", "-c", quickly(t))
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if got := manager.hears(true); got != "READY=1" {
		t.Errorf("first: %q", got)
	}
	for range 3 {
		if got := manager.hears(true); got != "WATCHDOG=1" {
			t.Errorf("then: %q", got)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := manager.hears(false); got != "STOPPING=1\nEXTEND_TIMEOUT_USEC=150000000" {
		t.Errorf("at the end: %q", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v; its log:\n%s", err, &log)
	}
}

// A daemon that a start command made has no service manager, also when that of
// the command's own job is in its environment; and an old file's `daemon: start`
// does not take a daemon away from the manager that waits for it.
func TestSupervisedOrNot(t *testing.T) {
	manager := supervise(t)
	path := quickly(t)
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	defer endDaemons(filepath.Dir(path))
	for _, command := range []string{"start", "stop"} {
		if out, err := exec.Command("murakumo", "-c", path, "-d", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	manager.conn.SetReadDeadline(time.Now().Add(-time.Second))
	if n, err := manager.conn.Read(make([]byte, 100)); err == nil {
		t.Errorf("told %d octets", n)
	}

	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("daemon: start\n"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("murakumo", "-c", path)
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if got := manager.hears(true); got != "READY=1" {
		t.Errorf("first: %q", got)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || out.Len() > 0 {
		t.Errorf("%v; it said %s", err, &out)
	}
}
