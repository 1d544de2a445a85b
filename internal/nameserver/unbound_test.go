package nameserver

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// unbound starts a real unbound that knows some names, over UDP, TCP and TLS, and
// asks nobody.
func unbound(t *testing.T) (plain, secure netip.AddrPort, roots *x509.CertPool) {
	t.Helper()
	program := ""
	for _, path := range []string{"unbound", "/usr/sbin/unbound"} {
		if found, err := exec.LookPath(path); err == nil {
			program = found
		}
	}
	if program == "" {
		if os.Getenv("CI") == "true" || os.Getuid() == 0 {
			t.Fatal("missing program: as root, make deps, or: apt-get install --no-install-recommends unbound")
		}
		t.Skip("unbound is not installed: as root, make deps")
	}
	free := func() netip.AddrPort {
		k, err := listen(loopback, 0)
		fatal(t, err)
		k.udp.Close()
		k.tcp.Close()
		return k.addr
	}
	plain, secure = free(), free()
	files := tlsFiles(t)
	roots = issue(t, files, "dns.example")
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "  local-data: \"many.example.org. 300 IN A 192.0.2.%d\"\n", i+1)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "unbound.conf")
	fatal(t, os.WriteFile(file, fmt.Appendf(nil, `server:
  interface: %[1]s@%[2]d
  interface: %[1]s@%[3]d
  tls-port: %[3]d
  tls-service-key: "%[4]s"
  tls-service-pem: "%[5]s"
  username: ""
  chroot: ""
  directory: "%[6]s"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  module-config: "iterator"
  local-zone: "." static
  local-data: ". 3600 IN SOA ns. mail. 1 3600 600 86400 60"
  local-data: "www.example.org. 300 IN A 192.0.2.1"
  local-data: "www.example.org. 300 IN AAAA 2001:db8::1"
  local-data: 'txt.example.org. 300 IN TXT "a text"'
%[7]sremote-control:
  control-enable: no
`, plain.Addr(), plain.Port(), secure.Port(), files.Key, files.Cert, dir, many.String()), 0o600))
	var said bytes.Buffer
	cmd := exec.Command(program, "-d", "-c", file)
	cmd.Stdout, cmd.Stderr = &said, &said
	fatal(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("unbound said:\n%s", &said)
		}
	})
	for until := time.Now().Add(patience); ; {
		c := dns.Client{Timeout: time.Second}
		if r, _, err := c.Exchange(question("www.example.org.", dns.TypeA), plain.String()); err == nil && len(r.Answer) == 1 {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("unbound does not answer:\n%s", &said)
		}
	}
	if c, err := net.DialTimeout("tcp", secure.String(), patience); err == nil {
		c.Close()
	}
	return plain, secure, roots
}

// TestRealUnbound: what a real resolver says comes out as it says it, whichever way
// it was asked, from the cache, too, under the client's spelling.
func TestRealUnbound(t *testing.T) {
	plain, secure, roots := unbound(t)
	for _, way := range []Resolver{{Addr: plain}, {Addr: secure, TLS: true}, {Addr: secure, TLS: true, Name: "dns.example"}} {
		for _, cached := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v cached %v", way.target(), cached), func(t *testing.T) {
				s := newServer(t, Config{Bind: []netip.Addr{loopback}, Resolvers: []Resolver{way}, Rules: Rules{Cache: cached}})
				s.forwarder.roots = roots
				start(t, s)
				for _, name := range []string{"Www.eXample.org.", "TXT.example.org.", "Many.Example.Org.", "none.example.org."} {
					for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT} {
						for _, how := range []struct {
							network string
							size    uint16
						}{{"udp", 0}, {"udp", 1232}, {"tcp", 0}, {"tcp", 1232}} {
							q := question(name, qtype)
							if how.size > 0 {
								q.SetEdns0(how.size, true)
							}
							got := ask(t, how.network, s.Addrs()[0], q)
							straight := *q
							want := ask(t, "tcp", plain, &straight)
							if got.Truncated {
								if how.network != "udp" || len(got.Answer) == 0 || len(got.Answer) > len(want.Answer) {
									t.Errorf("%v: cut to %d of %d", q.Question[0], len(got.Answer), len(want.Answer))
								}
								continue
							}
							if got.Rcode != want.Rcode || got.Authoritative || !got.RecursionAvailable {
								t.Errorf("%v: %v, want %v", q.Question[0], got.MsgHdr.String(), want.MsgHdr.String())
							}
							if got.Question[0].Name != name {
								t.Errorf("asked %s, got %s", name, got.Question[0].Name)
							}
							for i, rrs := range [][2][]dns.RR{{got.Answer, want.Answer}, {got.Ns, want.Ns}} {
								if got, want := inOrder(rrs[0]), inOrder(rrs[1]); got != want {
									t.Errorf("%v over %s, section %d:\n%s\nwant:\n%s", q.Question[0], how.network, i, got, want)
								}
							}
						}
					}
				}
			})
		}
	}
}

// inOrder writes records without their TTLs, in an order of their own.
func inOrder(rrs []dns.RR) string {
	var list []string
	for _, rr := range rrs {
		rr = dns.Copy(rr)
		rr.Header().Ttl = 0
		list = append(list, rr.String())
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}
