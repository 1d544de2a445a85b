package e2e

import (
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

// aSecondary is a server that has the zone from us.
type aSecondary struct {
	program string
	// file is its configuration: where it keeps things, its port, our port, and that
	// of TLS.
	file string
	args []string // behind them the path of the configuration
}

var secondaries = map[string]aSecondary{
	"NSD": {"nsd", `server:
  ip-address: 127.0.0.2@%[2]d
  username: ""
  zonesdir: "%[1]s"
  database: ""
  zonelistfile: "%[1]s/zone.list"
  xfrdfile: "%[1]s/xfrd.state"
  xfrdir: "%[1]s"
  pidfile: "%[1]s/pid"
  server-count: 1
  verbosity: 2
remote-control:
  control-enable: no
zone:
  name: corp.example
  zonefile: "%[1]s/corp.example.zone"
  request-xfr: 127.0.0.1@%[3]d NOKEY
  allow-notify: 127.0.0.1 NOKEY
  outgoing-interface: 127.0.0.2
`, []string{"-d", "-c"}},
	"NSD over TLS": {"nsd", `server:
  ip-address: 127.0.0.2@%[2]d
  username: ""
  zonesdir: "%[1]s"
  database: ""
  zonelistfile: "%[1]s/zone.list"
  xfrdfile: "%[1]s/xfrd.state"
  xfrdir: "%[1]s"
  pidfile: "%[1]s/pid"
  tls-cert-bundle: "%[1]s/../cert.pem"
  server-count: 1
  verbosity: 2
remote-control:
  control-enable: no
tls-auth:
  name: primary
  auth-domain-name: dns.corp.example
zone:
  name: corp.example
  zonefile: "%[1]s/corp.example.zone"
  request-xfr: AXFR 127.0.0.1@%[4]d NOKEY primary
  allow-notify: 127.0.0.1 NOKEY
  outgoing-interface: 127.0.0.2
`, []string{"-d", "-c"}},
	"Knot": {"knotd", `server:
  listen: 127.0.0.2@%[2]d
  rundir: "%[1]s"
database:
  storage: "%[1]s"
log:
  - target: stderr
    any: info
remote:
  - id: primary
    address: 127.0.0.1@%[3]d
    via: 127.0.0.2
acl:
  - id: told
    address: 127.0.0.1
    action: notify
zone:
  - domain: corp.example
    storage: "%[1]s"
    master: primary
    acl: told
`, []string{"-c"}},
}

// freePort gives a port that nothing on loopback listens to.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestSecondary: a real secondary transfers the table, is told of what changes by
// hand, by a reload and while it was away, and serves it.
func TestSecondary(t *testing.T) {
	require(t, "dig", "nsd", "knotd")
	bin := binaries(t)
	for name, x := range secondaries {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "mrk-e2e-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			port, tlsPort, secondaryPort := freePort(t), freePort(t), freePort(t)
			issue(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), "dns.corp.example")
			config, logs := filepath.Join(dir, "murakumo.yml"), filepath.Join(dir, "log")
			base := fmt.Sprintf(`auth-key: 0123456789abcdef0123456789abcdef
host: 127.0.0.1, server-01
alias: ['web,30', 'db.east,60,backup', secret]
static: ['10.9.0.1 app', '10.9.0.2 app', '10.9.0.3 app', 'fd00::9 app']
address: 127.0.0.1
port: %d
max-ip-num: 1
gossip-port: %d
domain: corp.example
domain-owned: true
allow-transfer: 127.0.0.2
notify: 127.0.0.2:%d
socket: %s
working-dir: %[5]s
tls-port: %[6]d
tls-cert: %[5]s/cert.pem
tls-key: %[5]s/key.pem
`, port, freePort(t), secondaryPort, filepath.Join(dir, "socket"), dir, tlsPort)
			write(t, config, base, 0o600)
			daemon := start(t, t, "murakumo", logs, exec.Command(filepath.Join(bin, "murakumo"), "-c", config))
			mrkmctl := func(args ...string) {
				t.Helper()
				run(t, append([]string{filepath.Join(bin, "mrkmctl"), "-S", filepath.Join(dir, "socket")}, args...)...)
			}

			state := filepath.Join(dir, "secondary")
			if err := os.Mkdir(state, 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(state, "conf")
			write(t, file, fmt.Sprintf(x.file, state, secondaryPort, port, tlsPort), 0o600)
			begin := func() *process {
				return start(t, t, name, logs, exec.Command(x.program, append(x.args, file)...))
			}
			second := begin()
			t.Cleanup(func() {
				if t.Failed() {
					b, _ := os.ReadFile(logs)
					t.Logf("==== murakumo and %s ====\n%s", name, b)
				}
			})
			serves := func(what, qname, qtype, status string, records ...string) {
				t.Helper()
				wait(t, what, 20*time.Second, func() string {
					a, err := dig("", "127.0.0.2", "-p", fmt.Sprint(secondaryPort), "+norec", qname+".corp.example", qtype)
					if err != nil {
						return err.Error()
					}
					return a.want(status, records...)
				})
			}

			serves("it has the table, with all addresses of a name", "app", "A", "NOERROR",
				"app.corp.example. A 10.9.0.1", "app.corp.example. A 10.9.0.2", "app.corp.example. A 10.9.0.3")
			serves("of both families", "app", "AAAA", "NOERROR", "app.corp.example. AAAA fd00::9")
			serves("a name of labels", "db.east", "A", "NOERROR", "db.east.corp.example. A 127.0.0.1")
			serves("and nothing else", "new", "A", "NXDOMAIN")

			mrkmctl("-A", "new,60,master,100")
			serves("what is added by hand", "new", "A", "NOERROR", "new.corp.example. A 127.0.0.1")
			mrkmctl("-D", "new")
			serves("and taken out again", "new", "A", "NXDOMAIN")

			write(t, config, base+"name-excludes: secret\n", 0o600)
			if err := daemon.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			serves("what a reload hides", "secret", "A", "NXDOMAIN")

			silences := func() int {
				b, _ := os.ReadFile(logs)
				return strings.Count(string(b), "the secondary does not acknowledge NOTIFY")
			}
			before := silences()
			if err := second.stop(syscall.SIGTERM, 20*time.Second); err != nil {
				t.Fatal(err)
			}
			mrkmctl("-A", "meanwhile,60,master,100")
			wait(t, "nobody acknowledges", 20*time.Second, func() string {
				if silences() == before {
					return "no such line in the log"
				}
				return ""
			})
			if b, _ := os.ReadFile(logs); name != "NSD over TLS" && !strings.Contains(string(b), "changes=true") { // which asks for all
				t.Error("it was never sent the changes alone")
			}
			begin()
			serves("what changed while it was away", "meanwhile", "A", "NOERROR", "meanwhile.corp.example. A 127.0.0.1")
		})
	}
}
