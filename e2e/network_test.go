package e2e

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// locks holds one file per run, locked while the run lives and naming its
// folder: what tells a crashed run's leftovers from a neighbour's.
const locks = "/run/murakumo-e2e"

const (
	resolverAddr = "10.0.0.2"
	movedAddr    = "10.0.0.200" // what the hooks move
)

// A lab is the network of one run: a switch namespace with a bridge, which is
// also the host 10.0.0.2, and one namespace per server.
type lab struct {
	life   *testing.T // all of it lives as long as this test
	id     string     // of this run, in every name it makes
	dir    string     // everything on disk
	bridge string     // namespace of the bridge
	ports  []string
	hosts  []*host
}

// newLab builds the network. All of it is taken down when the test ends.
func newLab(t *testing.T) *lab {
	t.Helper()
	sweep(t)
	b := make([]byte, 3)
	rand.Read(b)
	l := &lab{life: t, id: "mrk-" + hex.EncodeToString(b)}

	var err error
	// Not t.TempDir: postfix's daemons and the hooks of other users must be
	// able to walk through it, and socket paths are short.
	if l.dir, err = os.MkdirTemp("", "mrk-e2e-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(l.dir) })
	if err := os.Chmod(l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.lock(t)

	l.bridge = l.namespace(t, "lan")
	run(t, "ip", "-n", l.bridge, "link", "add", "br0", "type", "bridge")
	run(t, "ip", "-n", l.bridge, "addr", "add", resolverAddr+"/24", "dev", "br0")
	run(t, "ip", "-n", l.bridge, "link", "set", "br0", "up")
	return l
}

// lock marks the run as alive.
func (l *lab) lock(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(locks, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(locks, l.id)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path); f.Close() })
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("lock %s: %v", path, err)
	}
	if _, err := f.WriteString(l.dir); err != nil {
		t.Fatal(err)
	}
}

// sweep removes what runs that are no more left behind.
func sweep(t *testing.T) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(locks, "mrk-*"))
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			id := filepath.Base(path)
			t.Logf("an earlier run did not clean up: removing %s", id)
			for _, ns := range namespaces() {
				if strings.HasPrefix(ns, id+"-") {
					endNamespace(ns)
				}
			}
			dir, _ := os.ReadFile(path)
			if strings.HasPrefix(string(dir), filepath.Join(os.TempDir(), "mrk-e2e-")) {
				os.RemoveAll(string(dir))
			}
			os.Remove(path)
		}
		f.Close()
	}
}

func namespaces() []string {
	out, _ := exec.Command("ip", "netns", "list").Output()
	var names []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 0 {
			names = append(names, f[0])
		}
	}
	return names
}

// pidsIn gives the processes inside a namespace.
func pidsIn(ns string) []int {
	out, _ := exec.Command("ip", "netns", "pids", ns).Output()
	var pids []int
	for _, f := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// endNamespace kills what still runs inside, id by id, and removes it.
func endNamespace(ns string) {
	for range 50 {
		pids := pidsIn(ns)
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(poll)
	}
	exec.Command("ip", "netns", "del", ns).Run()
}

// namespace makes one and takes it down at the end.
func (l *lab) namespace(t *testing.T, name string) string {
	t.Helper()
	ns := l.id + "-" + name
	run(t, "ip", "netns", "add", ns)
	t.Cleanup(func() { endNamespace(ns) })
	run(t, "ip", "-n", ns, "link", "set", "lo", "up")
	return ns
}

// plug makes a server's namespace and wires its eth0 to the bridge.
func (l *lab) plug(t *testing.T, name, addr string) (ns string) {
	t.Helper()
	ns = l.namespace(t, name)
	port := "to-" + name
	run(t, "ip", "link", "add", "name", "eth0", "netns", ns, "type", "veth", "peer", "name", port, "netns", l.bridge)
	run(t, "ip", "-n", l.bridge, "link", "set", port, "master", "br0", "up")
	run(t, "ip", "-n", ns, "addr", "add", addr+"/24", "dev", "eth0")
	run(t, "ip", "-n", ns, "link", "set", "eth0", "up")
	l.ports = append(l.ports, port)
	return ns
}

// cut lets the bridge drop whatever one server sends to the other, and heal
// ends that. Links stay up and 10.0.0.2 stays in reach: nobody is told, as when
// a switch between two racks dies.
func (l *lab) cut(t *testing.T)  { t.Helper(); l.isolate(t, "on") }
func (l *lab) heal(t *testing.T) { t.Helper(); l.isolate(t, "off") }

func (l *lab) isolate(t *testing.T, onOff string) {
	t.Helper()
	for _, port := range l.ports {
		run(t, "ip", "netns", "exec", l.bridge, "bridge", "link", "set", "dev", port, "isolated", onOff)
	}
}

// in gives the command as run inside a namespace. `ip netns exec` replaces
// itself by the program, so the process id is the program's own.
func in(ns string, argv ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", ns}, argv...)...)
}

// hasMoved says whether the address that the hooks move is in this namespace.
func hasMoved(t *testing.T, ns string) bool {
	t.Helper()
	return strings.Contains(run(t, "ip", "-n", ns, "-o", "addr", "show", "dev", "eth0"), " "+movedAddr+"/")
}
