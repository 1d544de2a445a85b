package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process is a program that the test started and will end, by its id.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; read it after done
}

// starter starts programs on a thread that lives as long as the test binary:
// the kernel sends the parent-death signal when the starting *thread* ends, and
// Go's threads come and go.
var starter = func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
}()

// start starts the program with its output going to a file. It ends at the
// latest with the test life (which may be a parent of t), or with the test
// binary.
func start(t, life *testing.T, name, output string, cmd *exec.Cmd) *process {
	t.Helper()
	out, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	starter <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	life.Cleanup(p.kill)
	return p
}

// alive says whether the program runs.
func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends it the hard way and waits for its end.
func (p *process) kill() {
	if p.alive() {
		p.cmd.Process.Kill()
	}
	<-p.done
}

// stop asks it to end and gives how it ended: nil for exit status 0.
func (p *process) stop(sig os.Signal, within time.Duration) error {
	if !p.alive() {
		return fmt.Errorf("%s had ended before: %w", p.name, errors.Join(p.err, errors.New("asked to stop")))
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s after %s: %w", p.name, sig, p.err)
		}
		return nil
	case <-time.After(within):
		return fmt.Errorf("%s still runs %s after %s", p.name, within, sig)
	}
}

// marked gives the ids of the processes that carry this variable in their
// environment: all that descends from a program that was started with it.
func marked(variable string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range dirs {
		env, err := os.ReadFile(path) // gone or not ours: not marked
		if err == nil && strings.Contains("\x00"+string(env), "\x00"+variable+"\x00") {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// describe gives the command lines of processes, for a failure.
func describe(pids []int) string {
	var all []string
	for _, pid := range pids {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		all = append(all, fmt.Sprintf("%d (%s)", pid, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))))
	}
	return strings.Join(all, ", ")
}
