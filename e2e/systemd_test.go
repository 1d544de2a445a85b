package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSystemd: the unit as murakumo-install-init-script installs it, under a real
// systemd, which is the first process of namespaces of its own: a host with
// nothing but itself. Its /etc, /var and /usr/bin are layers over those of this
// machine and gone with it.
func TestSystemd(t *testing.T) {
	require(t, "nsenter", "systemctl", "dig")
	s := bootSystemd(t, binaries(t))
	write(t, s.path("/etc/murakumo.key"), "a secret of this test\n", 0o600)
	s.configure(t, "web")
	write(t, s.path("/usr/bin/hook"), "#!/bin/sh\necho \"$2 $3 $MURAKUMO_REASON\" >>/var/lib/murakumo/hooks\n", 0o755)

	s.run(t, "murakumo-install-init-script")
	// Short, for the test has a watchdog to wait for, and not so short that a busy
	// machine wakes it.
	drop := s.path("/etc/systemd/system/murakumo.service.d")
	if err := os.MkdirAll(drop, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, drop+"/test.conf", "[Service]\nRestartSec=100ms\nWatchdogSec=10\nTimeoutAbortSec=2\n", 0o644)
	s.run(t, "systemctl", "daemon-reload")

	t.Run("start", func(t *testing.T) {
		s.run(t, "systemctl", "start", "murakumo") // returns when the daemon says that it is ready
		s.is(t, "ActiveState=active", "SubState=running", "Result=success")
		if got := s.ask(t, "web"); got != "127.0.0.1" {
			t.Errorf("right after the start: %q", got)
		}
		if got := s.run(t, "murakumo", "-d", "status"); got != "Daemon status: running pid="+s.pid(t)+"\n" {
			t.Errorf("-d status: %q", got)
		}
		if got := s.run(t, "mrkmctl", "-L", "web"); !strings.Contains(got, "* 127.0.0.1 ") {
			t.Errorf("mrkmctl: %s", got)
		}
	})
	t.Run("reload", func(t *testing.T) {
		before := s.pid(t)
		s.configure(t, "web", "db")
		s.run(t, "systemctl", "reload", "murakumo")
		s.wait(t, "db is answered", func() string { return want(s.ask(t, "db"), "127.0.0.1") })
		if s.pid(t) != before {
			t.Error("a reload has started another daemon")
		}
	})
	t.Run("restart keeps", func(t *testing.T) {
		s.wait(t, "on duty", func() string { return contains(s.log(), "initial activity: web: active") })
		before := s.pid(t)
		s.run(t, "systemctl", "restart", "murakumo")
		if s.pid(t) == before {
			t.Error("the daemon is the one before")
		}
		if log := s.log(); !strings.Contains(log, "stopping: keeping what this node is on duty for") {
			t.Errorf("no word of keeping:\n%s", log)
		}
		if hooks, err := os.ReadFile(s.path("/var/lib/murakumo/hooks")); err == nil {
			t.Errorf("hooks ran: %s", hooks)
		}
	})
	t.Run("watchdog", func(t *testing.T) {
		before := s.pid(t)
		s.run(t, "kill", "-STOP", before)
		s.wait(t, "systemd replaces a daemon that hangs", func() string {
			if s.show("NRestarts") != "1" || s.show("ActiveState") != "active" {
				return s.run(t, "systemctl", "show", "-p", "NRestarts,ActiveState,SubState,Result", "murakumo")
			}
			return want(s.ask(t, "web"), "127.0.0.1")
		})
		if s.pid(t) == before {
			t.Error("the daemon is the one before")
		}
	})
	t.Run("removed from the cluster", func(t *testing.T) {
		// Another node on the same host, by which an operator removes this one.
		write(t, s.path("/etc/other.yml"), "auth-key: /etc/murakumo.key\nhost: 127.0.0.2, server-02\naddress: 127.0.0.2\nport: 5353\ninitial-nodes: 127.0.0.1\nsocket: /run/other.sock\nworking-dir: /var/lib/other\n", 0o600)
		s.run(t, "murakumo", "-c", "/etc/other.yml", "-d", "start")
		s.wait(t, "the other node knows this one", func() string { return contains(s.run(t, "mrkmctl", "-S", "/run/other.sock", "-L"), "server-01") })
		s.run(t, "mrkmctl", "-S", "/run/other.sock", "-d", "server-01")
		s.wait(t, "it has ended", func() string { return want(s.show("ActiveState"), "failed") })
		s.is(t, "SubState=failed", "ExecMainStatus=5", "NRestarts=1") // the one of the watchdog
		out, _ := s.command("mrkmctl", "-S", "/run/other.sock", "-a", "127.0.0.1").CombinedOutput()
		if !strings.Contains(string(out), "127.0.0.1 is allowed again, but does not answer yet") {
			t.Errorf("mrkmctl -a: %s", out)
		}
		s.run(t, "systemctl", "start", "murakumo")
		s.wait(t, "they know each other again", func() string { return contains(s.run(t, "mrkmctl", "-L"), "server-02") })
		s.run(t, "murakumo", "-c", "/etc/other.yml", "-d", "stop")
		s.run(t, "rm", "-f", "/var/lib/murakumo/hooks") // it let its duty go
	})
	t.Run("stop hands over", func(t *testing.T) {
		s.wait(t, "on duty", func() string { return want(s.duty(t), "active") })
		s.run(t, "systemctl", "stop", "murakumo")
		s.is(t, "ActiveState=inactive", "Result=success")
		hooks, err := os.ReadFile(s.path("/var/lib/murakumo/hooks"))
		if err != nil || string(hooks) != "web inactive shutdown\n" {
			t.Errorf("hooks: %q, %v", hooks, err)
		}
	})
	t.Run("hardened", func(t *testing.T) {
		s.run(t, "useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "murakumo")
		s.run(t, "chgrp", "murakumo", "/etc/murakumo.yml", "/etc/murakumo.key")
		s.run(t, "chmod", "640", "/etc/murakumo.yml", "/etc/murakumo.key")
		conf, err := os.ReadFile(filepath.Join(top(t), "packaging/hardened.conf"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, drop+"/hardened.conf", string(conf), 0o644)
		for _, file := range []string{"/var/lib/murakumo", "/var/log/murakumo"} {
			s.run(t, "rm", "-r", file) // they were root's
		}
		s.run(t, "systemctl", "daemon-reload")
		s.run(t, "systemctl", "start", "murakumo")
		pid := s.pid(t)
		status := s.run(t, "cat", "/proc/"+pid+"/status")
		user := strings.TrimSpace(s.run(t, "id", "-u", "murakumo"))
		for _, line := range []string{"Uid:\t" + user + "\t" + user, "CapEff:\t0000000000000400\n", "CapBnd:\t0000000000000400\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
			if !strings.Contains(status, line) {
				t.Errorf("not %q in:\n%s", line, status)
			}
		}
		if got := s.ask(t, "web"); got != "127.0.0.1" {
			t.Errorf("DNS on port 53: %q", got)
		}
		if got := s.run(t, "mrkmctl", "-L", "web"); !strings.Contains(got, "* 127.0.0.1 ") { // by root
			t.Errorf("mrkmctl: %s", got)
		}
		s.wait(t, "on duty", func() string { return want(s.duty(t), "active") })
		s.run(t, "systemctl", "restart", "murakumo")
		s.wait(t, "on duty again", func() string { return want(s.duty(t), "active") })
		s.run(t, "systemctl", "stop", "murakumo")
		s.is(t, "ActiveState=inactive", "Result=success")
		hooks, err := os.ReadFile(s.path("/var/lib/murakumo/hooks"))
		if err != nil || string(hooks) != "web inactive shutdown\n" {
			t.Errorf("hooks: %q, %v", hooks, err)
		}
		if log := s.log(); strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
			t.Errorf("the log complains:\n%s", log)
		}
	})
}

func want(got, want string) string {
	if got != want {
		return fmt.Sprintf("%q, not %q", got, want)
	}
	return ""
}

func contains(text, part string) string {
	if !strings.Contains(text, part) {
		return fmt.Sprintf("no %q in:\n%s", part, text)
	}
	return ""
}

// systemd is one that the test has started.
type systemd struct{ pid1 *exec.Cmd }

// path is where the test finds a file of the systemd's host.
func (s *systemd) path(file string) string {
	return fmt.Sprintf("/proc/%d/root%s", s.pid1.Process.Pid, file)
}

func (s *systemd) command(argv ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", strconv.Itoa(s.pid1.Process.Pid), "-m", "-p", "-n", "-u"}, argv...)...)
}

// run runs a program on the systemd's host and gives what it printed.
func (s *systemd) run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := s.command(argv...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s\nthe unit: %s\nits log:\n%s", strings.Join(argv, " "), err, out, s.status(), s.log())
	}
	return string(out)
}

func (s *systemd) status() string {
	out, _ := s.command("systemctl", "show", "-p", "ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,NRestarts", "murakumo").CombinedOutput()
	return strings.ReplaceAll(string(out), "\n", " ")
}

func (s *systemd) show(property string) string {
	out, _ := s.command("systemctl", "show", "--value", "-p", property, "murakumo").CombinedOutput()
	return strings.TrimSpace(string(out))
}

func (s *systemd) is(t *testing.T, properties ...string) {
	t.Helper()
	for _, p := range properties {
		name, value, _ := strings.Cut(p, "=")
		if got := s.show(name); got != value {
			t.Errorf("%s is %s: %s\n%s", p, got, s.status(), s.log())
		}
	}
}

// pid is the daemon's, as its own host counts.
func (s *systemd) pid(t *testing.T) string {
	t.Helper()
	pid := s.show("MainPID")
	if pid == "0" {
		t.Fatalf("no daemon: %s\n%s", s.status(), s.log())
	}
	return pid
}

func (s *systemd) log() string {
	b, _ := os.ReadFile(s.path("/var/log/murakumo/log"))
	return string(b)
}

func (s *systemd) wait(t *testing.T, what string, ask func() string) {
	t.Helper()
	wait(t, what, time.Minute, ask)
}

// ask asks the daemon's DNS, on the port where DNS is.
func (s *systemd) ask(t *testing.T, name string) string {
	t.Helper()
	out, _ := s.command("dig", "+short", "+tries=1", "+time=1", "@127.0.0.1", name).CombinedOutput()
	return strings.TrimSpace(string(out))
}

// duty is what the daemon last settled on for web.
func (s *systemd) duty(t *testing.T) string {
	t.Helper()
	out, _ := s.command("mrkmctl", "-L", "web", "--json").CombinedOutput()
	_, rest, _ := strings.Cut(string(out), `"duty": "`)
	duty, _, _ := strings.Cut(rest, `"`)
	return duty
}

// configure writes the daemon's file.
func (s *systemd) configure(t *testing.T, aliases ...string) {
	t.Helper()
	write(t, s.path("/etc/murakumo.yml"), "auth-key: /etc/murakumo.key\nhost: 127.0.0.1, server-01\nlog-path: /var/log/murakumo/log\nalias: ["+strings.Join(aliases, ", ")+
		"]\nactivity-check:\n  web: {start-delay: 0, interval: 0.1, on-inactivate: hook}\n", 0o600)
}

// bootSystemd starts systemd as the first process of namespaces of its own, and
// returns when it has started.
func bootSystemd(t *testing.T, bin string) *systemd {
	t.Helper()
	const program = "/lib/systemd/systemd"
	if _, err := os.Stat(program); err != nil {
		mayskip(t, err.Error())
	}
	group, err := newGroup(t)
	if err != nil {
		unpermitted(t, "no control group", err.Error())
	}
	dir := t.TempDir()
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(dir, "s")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ready.Close() })
	script := filepath.Join(dir, "boot")
	// This host sees the machine's files, but can write none of them, and has
	// units of its own alone: what a systemd does at a start (it cleans /tmp, for
	// one) must never reach the machine that runs the test.
	write(t, script, `#!/bin/sh -e
own="$1" bin="$2"
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/notify /mnt/bin
mount --bind "$own" /mnt/notify
cp "$bin"/murakumo "$bin"/mrkmctl /mnt/bin/
for at in etc var usr/bin; do
	layer=/mnt/$(basename $at)
	mkdir $layer.upper $layer.work
	mount -t overlay overlay -o lowerdir=/$at,upperdir=$layer.upper,workdir=$layer.work /$at
done
for at in /run /tmp /etc/systemd/system; do
	mount -t tmpfs tmpfs $at
done
mount -o remount,bind,ro /
mount -t proc proc /proc
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cp /mnt/bin/* /usr/bin/
ln -s murakumo /usr/bin/murakumo-install-init-script
rm -rf /etc/murakumo* /var/lib/murakumo /var/log/murakumo
mkdir -p /var/lib/murakumo /var/log/murakumo
ip link set lo up
for target in sysinit basic shutdown multi-user network-online nss-lookup test; do
	printf '[Unit]\nDefaultDependencies=no\n' >/etc/systemd/system/$target.target
done
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/etc/systemd/system \
	NOTIFY_SOCKET=/mnt/notify/s `+program+` --system --unit=test.target --log-target=null
`, 0o700)
	cmd := exec.Command(script, dir, bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP,
		UseCgroupFD: true, CgroupFD: group,
		Pdeathsig: syscall.SIGKILL,
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	started := make(chan error)
	starter <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		unpermitted(t, "no namespaces", err.Error())
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		ready.Close()
		close(ended)
	}()
	// With its first process the whole host ends.
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	ready.SetReadDeadline(time.Now().Add(time.Minute))
	for buf := make([]byte, 4096); ; {
		n, err := ready.Read(buf)
		if err != nil {
			cmd.Process.Kill()
			<-ended
			if errors.Is(err, net.ErrClosed) { // it got nowhere
				unpermitted(t, "no host of its own for a systemd", said.String())
			}
			t.Fatalf("systemd does not start: %v: %s", err, said.String())
		}
		if slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
			return &systemd{cmd}
		}
	}
}

// unpermitted ends the test where it cannot be run: as a skip where the machine
// does not let even root have what it needs, as in a container that is not
// privileged, and else as a failure.
func unpermitted(t *testing.T, what, reason string) {
	t.Helper()
	for _, no := range []error{unix.EPERM, unix.EACCES, unix.ENOSYS, unix.ENODEV, unix.EROFS} {
		if strings.Contains(strings.ToLower(reason), no.Error()) {
			t.Skipf("not permitted here: %s: %s", what, reason)
		}
	}
	mayskip(t, what+": "+reason)
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
	path := fmt.Sprintf("/proc/self/fd/%d/murakumo-e2e-%d", root, os.Getpid())
	if err := os.Mkdir(path, 0o700); err != nil {
		return 0, err
	}
	t.Cleanup(func() {
		var groups []string
		err := filepath.WalkDir(path+"/", func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, path)
			}
			return err
		})
		for _, group := range slices.Backward(groups) {
			if e := os.Remove(group); e != nil {
				err = e
			}
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
