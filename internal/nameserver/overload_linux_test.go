package nameserver

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// overloadEnv makes TestOverloadServer the server of BenchmarkOverload, which takes out
// packets of this age.
const overloadEnv = "NAMESERVER_OVERLOAD"

// TestOverloadServer serves until its input ends, for BenchmarkOverload.
func TestOverloadServer(t *testing.T) {
	age, err := time.ParseDuration(os.Getenv(overloadEnv))
	if err != nil {
		return // nobody overloads us
	}
	s := prepared(t, nil, loopback)
	s.tooOld = age
	start(t, s)
	fmt.Println("serves", s.Addrs()[0])
	io.Copy(io.Discard, os.Stdin)
}

// BenchmarkOverload is a server with a tenth of a CPU that is asked as much as another
// one can ask: how many questions a second are answered, and the 99th percentile of how
// long that takes as the clients see it. Without and with taking out what is old. It
// needs root and a control group.
func BenchmarkOverload(b *testing.B) {
	for _, age := range []time.Duration{time.Hour, tooOld} {
		b.Run("old="+age.String(), func(b *testing.B) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestOverloadServer$")
			cmd.Env = append(os.Environ(), overloadEnv+"="+age.String())
			in, err := cmd.StdinPipe()
			fatal(b, err)
			out, err := cmd.StdoutPipe()
			fatal(b, err)
			fatal(b, cmd.Start())
			defer func() {
				in.Close()
				cmd.Wait()
			}()
			line, err := bufio.NewReader(out).ReadString('\n')
			fatal(b, err)
			at := netip.MustParseAddrPort(strings.Fields(line)[1])
			defer tenth(b, cmd.Process.Pid)()

			b.ResetTimer()
			var answered int
			var took []time.Duration
			began := time.Now()
			for b.Loop() {
				n, d := flood(b, at, 3*time.Second)
				answered, took = answered+n, append(took, d...)
			}
			slices.Sort(took)
			b.ReportMetric(float64(answered)/time.Since(began).Seconds(), "answers/s")
			if len(took) > 0 {
				b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
			}
		})
	}
}

// tenth puts a process into a control group with a tenth of a CPU.
func tenth(b *testing.B, pid int) (remove func()) {
	root, files := "/sys/fs/cgroup/cpu", map[string]string{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "10000"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		root, files = "/sys/fs/cgroup", map[string]string{"cpu.max": "10000 100000"}
	}
	dir := filepath.Join(root, "murakumo-overload-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Skip("no control group can be made: ", err)
	}
	for name, value := range files {
		fatal(b, os.WriteFile(filepath.Join(dir, name), []byte(value), 0o644))
	}
	fatal(b, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644))
	return func() {
		os.WriteFile(filepath.Join(root, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
		os.Remove(dir)
	}
}

// flood asks for a time, and gives how many answers there were and how long each took.
func flood(b *testing.B, at netip.AddrPort, length time.Duration) (answered int, took []time.Duration) {
	var wg sync.WaitGroup
	raw := packed(b, question("one.corp.example.", dns.TypeA))
	began := time.Now()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	fatal(b, err)
	var mu sync.Mutex // guards sent
	var sent [1 << 16]time.Duration
	wg.Go(func() {
		buf := make([]byte, readSize)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			id := binary.BigEndian.Uint16(buf)
			mu.Lock()
			took = append(took, time.Since(began)-sent[id])
			mu.Unlock()
		}
	})
	for id := uint16(0); time.Since(began) < length; id++ {
		binary.BigEndian.PutUint16(raw, id)
		mu.Lock()
		sent[id] = time.Since(began)
		mu.Unlock()
		if _, err := c.Write(raw); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
	wg.Wait()
	return len(took), took
}
