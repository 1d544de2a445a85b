package nameserver

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// nsd starts a real NSD that has the zone by transfer from a server, and returns
// when it serves it. It tells it to be as we are where its manual leaves a choice.
func nsd(t *testing.T, primary netip.AddrPort, zone string) netip.AddrPort {
	t.Helper()
	program := ""
	for _, path := range []string{"nsd", "/usr/sbin/nsd"} {
		if found, err := exec.LookPath(path); err == nil {
			program = found
		}
	}
	if program == "" {
		if os.Getenv("CI") == "true" || os.Getuid() == 0 {
			t.Fatal("missing program: as root, make deps, or: apt-get install --no-install-recommends nsd")
		}
		t.Skip("nsd is not installed: as root, make deps")
	}
	k, err := listen(loopback, 0)
	fatal(t, err)
	k.udp.Close()
	k.tcp.Close()
	dir, err := os.MkdirTemp("", "m")
	fatal(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "nsd.conf")
	fatal(t, os.WriteFile(file, fmt.Appendf(nil, `server:
  ip-address: %[1]s@%[2]d
  username: ""
  zonesdir: "%[3]s"
  database: ""
  zonelistfile: "%[3]s/zone.list"
  xfrdfile: "%[3]s/xfrd.state"
  xfrdir: "%[3]s"
  pidfile: "%[3]s/pid"
  server-count: 8
  reuseport: yes
  minimal-responses: yes
  tcp-count: 100
  nsid: "ascii_server-01.corp.example"
  answer-cookie: yes
  ipv4-edns-size: 1232
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: %[4]s
  zonefile: "%[3]s/zone"
  request-xfr: %[5]s@%[6]d NOKEY
`, k.addr.Addr(), k.addr.Port(), dir, zone, primary.Addr(), primary.Port()), 0o600))
	var out bytes.Buffer
	cmd := exec.Command(program, "-d", "-c", file)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = endsWithUs()
	fatal(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("nsd said:\n%s", out.String())
		}
	})
	c := dns.Client{Timeout: time.Second}
	for end := time.Now().Add(3 * patience); ; time.Sleep(50 * time.Millisecond) {
		r, _, err := c.Exchange(question(zone+".", dns.TypeSOA), k.addr.String())
		if err == nil && r.Rcode == dns.RcodeSuccess {
			return k.addr
		}
		if time.Now().After(end) {
			t.Fatalf("nsd does not serve %s: %v, %v", zone, r, err)
		}
	}
}
