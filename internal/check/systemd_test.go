package check

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// insideSystemd is set in a process of this test that runs where systemd does,
// and says what to find there.
const insideSystemd = "MURAKUMO_TEST_SYSTEMD"

// TestUnitsOfSystemd asks a real systemd of units that are up, down and failed,
// and one that has stopped answering. Where it runs already, TestSystemctl asks
// the one that is there; elsewhere this test starts one in namespaces of its own,
// which needs root and a kernel with cgroup2. It is no package's business to
// allow that, and so it skips where it may not.
func TestUnitsOfSystemd(t *testing.T) {
	switch os.Getenv(insideSystemd) {
	case "up":
		leavesNothing(t)
		for _, unit := range []string{"init.scope", "-.slice", "up.service", "up"} {
			good(t, compile(t, "unit_check '"+unit+"'"))
		}
		for unit, want := range map[string]string{
			"down.service":    "exit status 3: inactive",
			"failed.service":  "exit status 3: failed",
			"missing.service": "inactive",
		} {
			bad(t, compile(t, "unit_check '"+unit+"'"), "unit "+unit+": /usr/bin/systemctl: ", want)
		}
		return
	case "hang":
		leavesNothing(t)
		hangs(t, compile(t, "unit_check 'up.service'"))
		hangs(t, compile(t, "not unit_check 'up.service'"))
		return
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		t.Skip("systemd runs here: TestSystemctl asks it")
	}
	pid1, err := bootSystemd(t)
	if err != nil {
		t.Skipf("no systemd can be started in namespaces here: %v", err)
	}
	inside := func(mode string) {
		t.Helper()
		cmd := exec.Command("nsenter", "-t", itoa(pid1.Process.Pid), "-m", "-p", os.Args[0], "-test.run", "^TestUnitsOfSystemd$", "-test.v")
		cmd.Env = append(os.Environ(), insideSystemd+"="+mode)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestUnitsOfSystemd") {
			t.Errorf("%s: %v\n%s", mode, err, out)
		}
	}
	inside("up")
	freeze(t, pid1)
	inside("hang")
	thaw(t, pid1)
	inside("up")
}

// bootSystemd starts systemd as the first process of a namespace, with four
// units, and returns when it has started them.
func bootSystemd(t *testing.T) (*exec.Cmd, error) {
	t.Helper()
	const systemd = "/lib/systemd/systemd"
	if _, err := os.Stat(systemd); err != nil {
		return nil, err
	}
	group, err := newGroup(t)
	if err != nil {
		return nil, err
	}
	dir := t.TempDir()
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(dir, "s")})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { ready.Close() })
	script := filepath.Join(dir, "boot")
	if err := os.WriteFile(script, []byte(`#!/bin/sh -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/systemd/system
cd /run/systemd/system
unit() { printf '[Unit]\nDefaultDependencies=no\n%s\n' "$2" >$1; }
unit up.service '[Service]
ExecStart=/bin/sleep infinity'
unit down.service '[Service]
ExecStart=/bin/sleep infinity'
unit failed.service '[Service]
Type=oneshot
ExecStart=/bin/false'
unit test.target 'Wants=up.service failed.service
After=up.service failed.service'
exec env -i container=test NOTIFY_SOCKET="$1" `+systemd+` --system --unit=test.target --log-target=null
`), 0o700); err != nil {
		return nil, err
	}
	cmd := exec.Command(script, ready.LocalAddr().String())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP,
		UseCgroupFD: true, CgroupFD: group,
		Pdeathsig: syscall.SIGKILL,
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	// With its first process the whole namespace ends.
	t.Cleanup(func() { kill(cmd) })
	if err := ready.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	for buf := make([]byte, 4096); ; {
		n, err := ready.Read(buf)
		if err != nil {
			kill(cmd)
			return nil, fmt.Errorf("%w: %s", err, said.String())
		}
		if slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
			return cmd, nil
		}
	}
}

// newGroup makes a control group for the test, in a hierarchy that is mounted
// nowhere, and takes it away with all below it when the test is over.
func newGroup(t *testing.T) (fd int, err error) {
	t.Helper()
	hierarchy, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("cgroup2: %w", err)
	}
	defer unix.Close(hierarchy)
	if err := unix.FsconfigCreate(hierarchy); err != nil {
		return 0, fmt.Errorf("cgroup2: %w", err)
	}
	root, err := unix.Fsmount(hierarchy, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("cgroup2: %w", err)
	}
	t.Cleanup(func() { unix.Close(root) })
	path := fmt.Sprintf("/proc/self/fd/%d/murakumo-test-%d", root, os.Getpid())
	if err := os.Mkdir(path, 0o700); err != nil {
		return 0, err
	}
	t.Cleanup(func() {
		var groups []string
		walk := func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, path)
			}
			return err
		}
		err := filepath.WalkDir(path+"/", walk)
		for _, group := range slices.Backward(groups) {
			err = errors.Join(err, os.Remove(group))
		}
		if err != nil {
			t.Error(err)
		}
	})
	fd, err = unix.Open(path, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		t.Cleanup(func() { unix.Close(fd) })
	}
	return fd, err
}
