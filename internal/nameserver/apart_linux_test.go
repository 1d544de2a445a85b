package nameserver

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

// What a server costs, and how late it answers beside something else, is measured from
// outside: the server is a process of its own on one CPU, who asks has another.

// apartEnv makes TestApart the server of a benchmark, with these settings.
const apartEnv = "NAMESERVER_APART"

// setting is how the server of a benchmark differs from one that nobody set up.
type setting struct {
	Old       time.Duration    // from which age on packets are taken out unanswered
	Conns     int              // most TCP connections
	Idle      time.Duration    // how long a connection may be idle
	Resolvers []netip.AddrPort // who is asked for the rest
	Cache     bool
}

// TestApart serves until its input ends, for the benchmarks.
func TestApart(t *testing.T) {
	var set setting
	if json.Unmarshal([]byte(os.Getenv(apartEnv)), &set) != nil {
		return // nobody measures us
	}
	v := table(t, eightMasters())
	s := New(Config{
		Bind: []netip.Addr{loopback}, Log: quiet(), Resolvers: via(set.Resolvers...),
		Rules: Rules{Domain: domain, MaxAnswers: 8, NegativeTTL: 5, Cache: set.Cache, Balancing: NewBalancing([]Balance{{
			Match: func(name string) bool { return name == "fixed" }, Label: "fixed", Algorithm: balance.FixBySource, Sources: []string{"server-01"},
		}})},
	}, func() *catalog.View { return v })
	s.prepareFor(v, s.policy.Load())
	s.tellAll()
	if set.Old != 0 {
		s.tooOld = set.Old
	}
	if set.Conns != 0 {
		s.conns = newConnections(set.Conns, maxConnsOfHost)
	}
	if set.Idle != 0 {
		s.idle = set.Idle
	}
	start(t, s)
	fmt.Println("serves", s.Addrs()[0])
	io.Copy(io.Discard, os.Stdin)
}

// apart is a server that is a process of its own.
type apart struct {
	at  netip.AddrPort
	pid int
}

// serveApart starts one on the first CPU, for the length of a benchmark; in a control group
// when its folder is named. The calling goroutine is on the second CPU from then on.
func serveApart(b *testing.B, set setting, group string) *apart {
	b.Helper()
	cpus := twoCPUs(b)
	text, err := json.Marshal(set)
	fatal(b, err)
	cmd := exec.Command(os.Args[0], "-test.run=^TestApart$")
	if group != "" {
		// It is in the group before it is: the runtime looks at the group when it starts.
		cmd = exec.Command("/bin/sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(group, "cgroup.procs"), cmd.Path, cmd.Args[1])
	}
	cmd.Env, cmd.SysProcAttr, cmd.Stderr = append(os.Environ(), apartEnv+"="+string(text)), endsWithUs(), os.Stderr
	in, err := cmd.StdinPipe()
	fatal(b, err)
	out, err := cmd.StdoutPipe()
	fatal(b, err)
	runtime.LockOSThread() // whose CPU the new process has
	fatal(b, unix.SchedSetaffinity(0, &cpus[0]))
	err = cmd.Start()
	fatal(b, unix.SchedSetaffinity(0, &cpus[1]))
	fatal(b, err)
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	fatal(b, err)
	at, err := netip.ParseAddrPort(strings.TrimSpace(strings.TrimPrefix(line, "serves ")))
	fatal(b, err)
	return &apart{at, cmd.Process.Pid}
}

// twoCPUs gives two of the CPUs that this process may have.
func twoCPUs(b *testing.B) (sets [2]unix.CPUSet) {
	n := 0
	for cpu := range runtime.NumCPU() * 8 {
		if n < 2 && usable.IsSet(cpu) {
			sets[n].Set(cpu)
			n++
		}
	}
	if n < 2 {
		b.Skip("server and asker need a CPU each")
	}
	return sets
}

// usable are the CPUs that this process had when it began.
var usable = func() (set unix.CPUSet) {
	unix.SchedGetaffinity(0, &set)
	return set
}()

// cpu gives the CPU time that the server has used.
func (a *apart) cpu(t testing.TB) (used time.Duration) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", a.pid))
	fatal(t, err)
	for _, file := range threads {
		text, err := os.ReadFile(file)
		fatal(t, err)
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		fatal(t, err)
		used += time.Duration(ns)
	}
	return used
}

// tenth makes a control group with a tenth of a CPU.
func tenth(b *testing.B) (group string) {
	b.Helper()
	root, files := "/sys/fs/cgroup/cpu", map[string]string{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "10000"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		root, files = "/sys/fs/cgroup", map[string]string{"cpu.max": "10000 100000"}
	}
	group = filepath.Join(root, "murakumo-overload-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		b.Skip("no control group can be made: ", err)
	}
	b.Cleanup(func() { os.Remove(group) }) // nobody is in it: cleanups go backwards
	for name, value := range files {
		fatal(b, os.WriteFile(filepath.Join(group, name), []byte(value), 0o644))
	}
	return group
}
