package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Whoever reads the log may go (`murakumo 2>&1 | logger`): the node stays, hands
// over when it is told to stop, and its hooks are as hooks are elsewhere.
func TestReaderOfTheLogGoes(t *testing.T) {
	manager := supervise(t)
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	path := quickly(t)
	dir := filepath.Dir(path)
	hook := filepath.Join(dir, "hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\ngrep SigIgn /proc/self/status >"+dir+"/$3.new && mv "+dir+"/$3.new "+dir+"/$3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	// What this test itself was told to ignore is handed down, but for the signals that the
	// node takes itself: nohup has SIGHUP ignored, a shell SIGINT in what it runs with &.
	ignored := func(status []byte) uint64 {
		t.Helper()
		_, mask, _ := bytes.Cut(status, []byte("SigIgn:"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(mask)), 16, 64)
		if err != nil {
			t.Fatalf("%q: %v", status, err)
		}
		for _, taken := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
			n &^= 1 << (taken - 1)
		}
		return n
	}
	here, err := exec.Command("grep", "SigIgn", "/proc/self/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := ignored(here)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("alias: web\nactivity-check:\n  web: {on-activate: " + hook + ", on-inactivate: " + hook + ", init-status: inactive, start-delay: 0, interval: 0.05}\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd := exec.Command("murakumo", "-c", path)
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer cmd.Process.Kill()
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		manager.conn.Close() // nothing more is to be heard
	}()
	if got := manager.hears(false); got != "READY=1" {
		t.Errorf("first: %q", got)
	}
	hears := func(status string) {
		t.Helper()
		said, err := os.ReadFile(filepath.Join(dir, status))
		if err != nil {
			t.Error(err)
		} else if got := ignored(said); got != elsewhere {
			t.Errorf("the hook for %s ignores signals %x; want %x", status, got, elsewhere)
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "active")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no hook for active")
		}
	}
	hears("active")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the end: %v", err)
	}
	hears("inactive")
}
