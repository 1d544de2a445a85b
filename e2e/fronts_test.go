package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// throughFront asks a resolver on the client itself, which has us as its forwarder, for
// what it has to make of our answers.
func (c *clients) throughFront(t *testing.T, front *process, server string) {
	t.Helper()
	expect := func(want string, args ...string) {
		t.Helper()
		status, records, _ := strings.Cut(want, " ")
		wait(t, strings.Join(args, " "), settle, func() string {
			if !front.alive() {
				t.Fatalf("%s ended: %v", front.name, front.err)
			}
			a, err := dig(c.ns, server, args...)
			if err != nil {
				return err.Error()
			}
			var all []string
			if records != "" {
				all = strings.Split(records, ", ")
			}
			return a.want(status, all...)
		})
	}
	expect("NOERROR web.corp.example. A "+clientsServer, "web.corp.example", "A")
	expect("NOERROR www.corp.example. CNAME web.corp.example., web.corp.example. A "+clientsServer, "www.corp.example", "A")
	expect("NOERROR ext.corp.example. CNAME www.example.org., www.example.org. A "+foreignAddr, "ext.corp.example", "A")
	expect("NOERROR "+foreignName+". A "+foreignAddr, foreignName, "A")
	expect("NOERROR web.corp.example. AAAA "+clientsServer6, "web.corp.example", "AAAA", "+dnssec")
	expect("NOERROR _web._tcp.corp.example. SRV 1 100 8080 server-01.corp.example.", "_web._tcp.corp.example", "SRV")
	expect(`NOERROR web.corp.example. TXT "path=/app" "version=2"`, "web.corp.example", "TXT")
	expect("NOERROR", "asleep.corp.example", "A")
	expect("NOERROR", "web.corp.example", "MX")
	expect("NXDOMAIN", "nobody.corp.example", "A")
	expect("NXDOMAIN", "x.nobody.corp.example", "A")
	expect("NXDOMAIN", "nobody.example.org", "A")
	expect("NOERROR 133.0.0.10.in-addr.arpa. PTR "+clientsName+".", "-x", clientsServer)
	a, err := dig(c.ns, server, "-x", clientsServer6)
	if err != nil || len(a.records) != 1 || !strings.HasSuffix(a.records[0], " PTR "+clientsName+".") {
		t.Errorf("-x %s: %q, %v", clientsServer6, a.records, err)
	}
	a, err = dig(c.ns, server, "many.corp.example")
	if err != nil || len(a.records) != len(many()) {
		t.Errorf("many: %d records, %v", len(a.records), err)
	}
}

// behindUnbound: with the checks of answers that it is known for.
func (c *clients) behindUnbound(t *testing.T) {
	conf := filepath.Join(c.dir, "front.conf")
	write(t, conf, fmt.Sprintf(`server:
  interface: 127.0.0.1
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "%s"
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  use-caps-for-id: yes
  qname-minimisation: yes
  harden-below-nxdomain: yes
  harden-short-bufsize: yes
  do-not-query-localhost: no
  local-zone: "10.in-addr.arpa." nodefault
  local-zone: "d.f.ip6.arpa." nodefault
  num-threads: 1
forward-zone:
  name: "."
  forward-addr: %s
  forward-addr: %s
remote-control:
  control-enable: no
`, c.dir, clientsServer, clientsServer6), 0o644)
	front := start(t, t, "unbound in front", filepath.Join(c.dir, "front.log"), in(c.ns, "unbound", "-d", "-c", conf))
	c.throughFront(t, front, "127.0.0.1")
}

const (
	// resolvedStub is where systemd-resolved listens for those of its own host.
	resolvedStub = "127.0.0.53"
	// resolvedFolder is where e2e/deps unpacks systemd-resolved.
	resolvedFolder = "/var/cache/murakumo-e2e/systemd-resolved"
)

// resolvedProgram gives systemd-resolved with the variables that it needs: this
// machine's own, or that of e2e/deps, with the library that it was built with.
func resolvedProgram(t *testing.T) []string {
	t.Helper()
	for _, dir := range []string{"/usr/lib", "/lib"} {
		if own := dir + "/systemd/systemd-resolved"; executable(own) {
			return []string{own}
		}
		if unpacked := resolvedFolder + dir + "/systemd/systemd-resolved"; executable(unpacked) {
			libraries, _ := filepath.Glob(resolvedFolder + "/usr/lib/*/systemd")
			return []string{"env", "LD_LIBRARY_PATH=" + strings.Join(libraries, ":"), unpacked}
		}
	}
	mayskip(t, "systemd-resolved is missing (as root, make deps)")
	return nil
}

func executable(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil
}

// behindResolved: the resolver of hosts with systemd, as it is on them but for D-Bus,
// which it does without. It has a /run, a file of its settings and an account of its
// own, which this machine does not see.
func (c *clients) behindResolved(t *testing.T) {
	program := resolvedProgram(t)
	for _, tt := range []struct{ name, server, settings, unsigned string }{
		{"DNSSEC=no", clientsServer, "DNSSEC=no", ""},
		{"DNSSEC=allow-downgrade", clientsServer6, "DNSSEC=allow-downgrade", ""},
		// As docs/manual.md says; nothing of this network is signed, so example.org, too.
		{"DNSSEC=yes", clientsServer, "DNSSEC=yes", "corp.example\n10.in-addr.arpa\nd.f.ip6.arpa\nexample.org\n"},
		{"DNSOverTLS=yes", clientsServer + "#" + clientsName, "DNSSEC=no\nDNSOverTLS=yes", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, err := os.MkdirTemp(c.dir, "resolved-")
			if err != nil {
				t.Fatal(err)
			}
			// Everybody may read it, also the account that it changes to.
			for _, d := range []string{dir, filepath.Join(dir, "systemd")} {
				os.Mkdir(d, 0o755)
				if err := os.Chmod(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(dir, "systemd/resolved.conf"), "[Resolve]\nDNS="+tt.server+"\nFallbackDNS=\n"+tt.settings+
				"\nDNSStubListener=yes\nReadEtcHosts=no\nLLMNR=no\nMulticastDNS=no\n", 0o644)
			write(t, filepath.Join(dir, "anchors"), tt.unsigned, 0o644)
			for file, line := range map[string]string{"passwd": "systemd-resolve:x:65533:65533::/:/usr/sbin/nologin\n", "group": "systemd-resolve:x:65533:\n"} {
				own, err := os.ReadFile("/etc/" + file)
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, file), line+string(own), 0o644)
			}
			const script = `mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/systemd /run/dnssec-trust-anchors.d &&
{ ! test -s "$1/anchors" || cp "$1/anchors" /run/dnssec-trust-anchors.d/test.negative; } &&
mount --bind "$1/systemd" /etc/systemd && mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group &&
export SSL_CERT_FILE="$2" && shift 2 && exec "$@"`
			log := filepath.Join(dir, "log")
			front := start(t, t, "systemd-resolved", log, in(c.ns, append([]string{"sh", "-c", script, "sh", dir, c.cert}, program...)...))
			t.Cleanup(func() {
				if t.Failed() {
					b, _ := os.ReadFile(log)
					t.Logf("==== systemd-resolved ====\n%s", b)
				}
			})
			c.throughFront(t, front, resolvedStub)
			// As its own resolv.conf tells the C library.
			wants(t, tt.name, c.getentAt(t, resolvedStub, "edns0 trust-ad"), len(many()))
		})
	}
}
