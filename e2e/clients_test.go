package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// resolverVariable makes the test binary a client of Go's own resolver, which asks
// for what the variable holds.
const resolverVariable = "MURAKUMO_E2E_RESOLVE"

const (
	clientsServer  = "10.0.0.133"
	clientsServer6 = "fd00:1::133"
	clientsAddr    = "10.0.0.50"
	clientsAddr6   = "fd00:1::50"
	clientsName    = "server-01.corp.example" // of the certificate
)

// many are the addresses of a name that fit into no packet.
func many() (addrs []string) {
	for i := range 100 {
		addrs = append(addrs, fmt.Sprintf("10.8.0.%d", i+1))
	}
	return addrs
}

// clientsConfig is the file of the daemon that the clients ask.
func clientsConfig(dir string) string {
	var static strings.Builder
	for _, a := range many() {
		fmt.Fprintf(&static, "  - %s many\n", a)
	}
	return fmt.Sprintf(`auth-key: 0123456789abcdef0123456789abcdef
host: ['%s, server-01', '%s, server-01']
address: [0.0.0.0, '::']
domain: corp.example
domain-owned: true
resolver: %s
max-ip-num: 200
tls-port: 853
tls-cert: %s/cert.pem
tls-key: %s/key.pem
allow-transfer: ['%s', '%s']
alias:
  - {name: web, port: 8080, txt: [path=/app, version=2]}
  - {name: www, cname: web}
  - {name: ext, cname: %s}
  - asleep
  - open
when-empty: {^open$: all}
static:
  - 10.9.0.1 app
  - 10.9.0.2 app
  - fd00::9 app
%shealth-check:
  asleep: {script: tcp_check 1, init-status: inactive}
  open: {script: tcp_check 1, init-status: inactive}
socket: %s/socket
working-dir: %s
`, clientsServer, clientsServer6, resolverAddr, dir, dir, clientsAddr, clientsAddr6, foreignName, static.String(), dir, dir)
}

// clientsAsk is what the resolvers of C libraries, of Go and of Java are asked for,
// and what they have to make of the answers: "!" for no such name or address.
var clientsAsk = map[string]string{
	"web.corp.example.":    clientsServer + " " + clientsServer6,
	"WEB.Corp.Example.":    clientsServer + " " + clientsServer6,
	"web":                  clientsServer + " " + clientsServer6, // by the search list
	"www":                  clientsServer + " " + clientsServer6, // behind a CNAME
	"server-01":            clientsServer + " " + clientsServer6,
	"ext.corp.example.":    foreignAddr, // behind a CNAME that leads to a resolver
	foreignName + ".":      foreignAddr,
	"open.corp.example.":   clientsServer + " " + clientsServer6, // though it is not well
	"app.corp.example.":    "10.9.0.1 10.9.0.2 fd00::9",
	"many.corp.example.":   strings.Join(many(), " "), // over TCP
	"asleep.corp.example.": "!",
	"nobody.corp.example.": "!",
	clientsServer:          "server-01.corp.example",
	clientsServer6:         "server-01.corp.example",
}

// clients is the network of this test: the daemon, a resolver behind it, and a
// host that asks.
type clients struct {
	*lab
	ns, dir string
	cert    string // the daemon's, for kdig and others to trust
}

// TestClients: what people resolve names with does so through the daemon, on port
// 53 of another host.
func TestClients(t *testing.T) {
	if os.Getuid() != 0 {
		mayskip(t, "needs root for network namespaces")
	}
	require(t, "ip", "dig", "unbound", "getent", "gcc", "musl-gcc", "java", "ecj", "kdig", "drill", "/usr/bin/python3")
	if out, err := exec.Command("/usr/bin/python3", "-c", "import dns").CombinedOutput(); err != nil {
		mayskip(t, "python3-dnspython is missing (as root, make deps): "+string(out))
	}
	bin := binaries(t)
	l := newLab(t)
	l.startResolver(t, oddZone(t, l.dir))
	server := l.plug(t, "server-01", clientsServer)
	c := &clients{lab: l, ns: l.plug(t, "client", clientsAddr), dir: l.dir}
	run(t, "ip", "-n", server, "addr", "add", clientsServer6+"/64", "dev", "eth0", "nodad")
	run(t, "ip", "-n", c.ns, "addr", "add", clientsAddr6+"/64", "dev", "eth0", "nodad")
	dir := filepath.Join(l.dir, "server-01")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config, log := filepath.Join(dir, "murakumo.yml"), filepath.Join(dir, "log")
	c.cert = filepath.Join(dir, "cert.pem")
	issue(t, c.cert, filepath.Join(dir, "key.pem"), clientsName)
	write(t, config, clientsConfig(dir), 0o600)
	daemon := start(t, t, "murakumo", log, in(server, filepath.Join(bin, "murakumo"), "-c", config))
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(log)
			t.Logf("==== murakumo ====\n%s", b)
		}
	})
	wait(t, "the daemon answers", settle, func() string {
		if !daemon.alive() {
			t.Fatalf("murakumo ended: %v", daemon.err)
		}
		a, err := dig(c.ns, clientsServer, "many.corp.example", "+tcp")
		if err != nil {
			return err.Error()
		}
		if len(a.records) != len(many()) {
			return a.text
		}
		return ""
	})
	write(t, filepath.Join(c.dir, "nsswitch.conf"), "hosts: dns\nnetworks: dns\n", 0o644)

	t.Run("glibc, getent", c.getent)
	t.Run("glibc, getaddrinfo", func(t *testing.T) { c.resolves(t, c.compile(t, "gcc"), len(many())) })
	// musl asks again over TCP since 1.2.4 only; before, it takes what fits.
	t.Run("musl, getaddrinfo", func(t *testing.T) { c.resolves(t, c.compile(t, "musl-gcc", "-static"), 20) })
	t.Run("Go", c.golang)
	t.Run("Java", c.java)
	t.Run("dnspython", c.dnspython)
	t.Run("unbound in front", c.behindUnbound)
	t.Run("systemd-resolved in front", c.behindResolved)
	t.Run("dig", c.dig)
	t.Run("kdig", c.kdig)
	t.Run("drill", c.drill)
	t.Run("odd names", c.odd)
}

// configured gives a command as run on the client, with a resolv.conf of its own.
func (c *clients) configured(t *testing.T, options string, argv ...string) *exec.Cmd {
	t.Helper()
	return c.configuredAt(t, clientsServer, options, argv...)
}

// configuredAt is configured with another server. What ip has made the command's is no
// mount of anybody else's.
func (c *clients) configuredAt(t *testing.T, server, options string, argv ...string) *exec.Cmd {
	t.Helper()
	path := filepath.Join(c.dir, "resolv.conf")
	text := "nameserver " + server + "\nsearch corp.example\noptions timeout:20 attempts:2\n"
	if options != "" {
		text += "options " + options + "\n"
	}
	write(t, path, text, 0o644)
	const script = `mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@"`
	return in(c.ns, append([]string{"sh", "-c", script, "sh", path, filepath.Join(c.dir, "nsswitch.conf")}, argv...)...)
}

// said reads lines "WHAT = WORD …" and "WHAT ! …". Addresses are written in one way,
// and words are in order and once each.
func said(text string) map[string]string {
	lines := map[string]string{}
	for line := range strings.Lines(text) {
		what, words, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if !ok {
			what, words, _ = strings.Cut(strings.TrimSpace(line), " ! ")
			lines[what] = strings.TrimSpace("! " + words)
			continue
		}
		lines[what] = inOrder(strings.Fields(words))
	}
	return lines
}

func inOrder(words []string) string {
	for i, w := range words {
		if a, err := netip.ParseAddr(w); err == nil {
			words[i] = a.String()
		}
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), " ")
}

// wants compares what a client said with clientsAsk. least is how many of the many
// addresses it has to have.
func wants(t *testing.T, who string, got map[string]string, least int) {
	t.Helper()
	for name, want := range clientsAsk {
		is := got[name]
		switch want = inOrder(strings.Fields(want)); {
		case strings.HasPrefix(name, "many"):
			if n := len(strings.Fields(is)); n < least || n > len(many()) || n == len(many()) && is != want {
				t.Errorf("%s: %s: %d addresses, want at least %d: %s", who, name, n, least, is)
			}
		case want == "!":
			if !strings.HasPrefix(is, "!") {
				t.Errorf("%s: %s: %s, want none", who, name, is)
			}
		case strings.TrimSuffix(is, ".") != want:
			t.Errorf("%s: %s: %s, want %s", who, name, is, want)
		}
	}
}

// names are those of clientsAsk.
func names() []string {
	var all []string
	for name := range clientsAsk {
		all = append(all, name)
	}
	return all
}

func (c *clients) getent(t *testing.T) {
	// Each of resolv.conf's options that changes what goes out, resolv.conf(5).
	for _, options := range []string{"", "edns0", "use-vc", "single-request", "single-request-reopen", "edns0 trust-ad", "no-tld-query ndots:3", "rotate", "no-aaaa"} {
		got := c.getentAt(t, clientsServer, options)
		if options == "no-aaaa" && got["web"] == clientsServer {
			continue // a glibc that knows it (2.36) has no IPv6 address; the others have all
		}
		wants(t, "options "+options, got, len(many()))
	}
}

// getentAt is what getent makes of the answers of a server.
func (c *clients) getentAt(t *testing.T, server, options string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, name := range names() {
		database := "ahosts"
		_, err := netip.ParseAddr(name)
		if err == nil {
			database = "hosts"
		}
		out, failed := c.configuredAt(t, server, options, "getent", database, name).Output()
		var words []string
		for line := range strings.Lines(string(out)) {
			if f := strings.Fields(line); database == "ahosts" && len(f) > 0 {
				words = append(words, f[0])
			} else if len(f) > 1 {
				words = append(words, f[1])
			}
		}
		got[name] = inOrder(words)
		var exit *exec.ExitError
		if errors.As(failed, &exit) && exit.ExitCode() == 2 && len(words) == 0 { // not found, getent(1)
			got[name] = "!"
		} else if failed != nil {
			t.Errorf("getent %s %s: %v", database, name, failed)
		}
	}
	return got
}

// compile makes resolve.c a program.
func (c *clients) compile(t *testing.T, compiler string, args ...string) string {
	t.Helper()
	program := filepath.Join(c.dir, "resolve-"+compiler)
	run(t, slices.Concat([]string{compiler, "-Wall", "-o", program, "testdata/clients/resolve.c"}, args, []string{"-lresolv"})...)
	return program
}

func (c *clients) resolves(t *testing.T, program string, least int) {
	argv := append([]string{program, "srv:_web._tcp.corp.example", "txt:web.corp.example", "srv:web.corp.example"}, names()...)
	out, err := c.configured(t, "", argv...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := said(string(out))
	wants(t, program, got, least)
	for what, want := range map[string]string{"srv:_web._tcp.corp.example": "0 1", "txt:web.corp.example": "0 1"} {
		if got[what] != want {
			t.Errorf("%s: code and count %s, want %s", what, got[what], want)
		}
	}
}

// resolve is what the test binary does as a client: names and addresses by Go's own
// resolver, then services, texts and the end of a CNAME.
func resolve(args string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := &net.Resolver{PreferGo: true, StrictErrors: true}
	tell := func(what string, words []string, err error) {
		var failed *net.DNSError
		switch {
		case err == nil:
			fmt.Println(what, "=", strings.Join(words, " "))
		case errors.As(err, &failed) && failed.IsNotFound:
			fmt.Println(what, "! none")
		default:
			fmt.Println(what, "!!", err)
		}
	}
	for name := range strings.FieldsSeq(args) {
		if _, err := netip.ParseAddr(name); err == nil {
			words, err := r.LookupAddr(ctx, name)
			tell(name, words, err)
			continue
		}
		words, err := r.LookupHost(ctx, name)
		tell(name, words, err)
	}
	_, services, err := r.LookupSRV(ctx, "web", "tcp", "corp.example")
	var words []string
	for _, s := range services {
		words = append(words, fmt.Sprintf("%s:%d", s.Target, s.Port))
	}
	tell("srv", words, err)
	words, err = r.LookupTXT(ctx, "web.corp.example")
	tell("txt", words, err)
	name, err := r.LookupCNAME(ctx, "www.corp.example")
	tell("cname", []string{name}, err)
}

func (c *clients) golang(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, options := range []string{"", "use-vc", "single-request", "edns0 trust-ad"} {
		cmd := c.configured(t, options, binary)
		cmd.Env = append(os.Environ(), resolverVariable+"="+strings.Join(names(), " "))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		got := said(string(out))
		wants(t, "options "+options, got, len(many()))
		for what, want := range map[string]string{
			"srv": "server-01.corp.example.:8080", "txt": "path=/appversion=2", "cname": "web.corp.example.",
		} {
			if got[what] != want {
				t.Errorf("%s: %s, want %s", what, got[what], want)
			}
		}
		if strings.Contains(string(out), "!!") {
			t.Errorf("errors that are not of the names:\n%s", out)
		}
	}
}

func (c *clients) java(t *testing.T) {
	run(t, "ecj", "-proc:none", "--release", "11", "-d", c.dir, "testdata/clients/Resolve.java")
	argv := append([]string{"java", "-Xint", "-cp", c.dir, "Resolve", clientsServer,
		"A:www.corp.example", "AAAA:app.corp.example", "CNAME:www.corp.example", "SRV:_web._tcp.corp.example",
		"TXT:web.corp.example", "MX:web.corp.example", "SOA:corp.example", "A:many.corp.example", "A:nobody.corp.example",
		"PTR:133.0.0.10.in-addr.arpa", "A:" + foreignName}, names()...)
	out, err := c.configured(t, "", argv...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := said(string(out))
	wants(t, "InetAddress", got, len(many()))
	for what, want := range map[string]string{
		"A:www.corp.example": clientsServer, "AAAA:app.corp.example": "fd00::9",
		"CNAME:www.corp.example": "web.corp.example.", "SRV:_web._tcp.corp.example": "1_100_8080_server-01.corp.example.",
		"MX:web.corp.example": "! nodata", "A:nobody.corp.example": "! none",
		"TXT:web.corp.example": `path=/app_version=2`, "A:many.corp.example": inOrder(many()),
		"PTR:133.0.0.10.in-addr.arpa": "server-01.corp.example.", "A:" + foreignName: foreignAddr,
	} {
		if got[what] != want {
			t.Errorf("JNDI: %s: %q, want %q", what, got[what], want)
		}
	}
	if soa := got["SOA:corp.example"]; !strings.HasPrefix(soa, "server-01.corp.example._hostmaster.corp.example._") {
		t.Errorf("JNDI: SOA %s", soa)
	}
}

func (c *clients) dnspython(t *testing.T) {
	for _, server := range []string{clientsServer, clientsServer6} {
		out, err := in(c.ns, "/usr/bin/python3", "testdata/clients/resolve.py", server,
			"A:web.corp.example.", "AAAA:web.corp.example.", "A:www.corp.example.", "SRV:_web._tcp.corp.example.", "TXT:web.corp.example.",
			"A:many.corp.example.", "MX:web.corp.example.", "A:asleep.corp.example.", "A:nobody.corp.example.",
			"A:ext.corp.example.", "PTR:"+clientsServer, "PTR:"+clientsServer6, "NS:corp.example.").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		got := said(string(out))
		for what, want := range map[string]string{
			"A:web.corp.example.": clientsServer, "AAAA:web.corp.example.": clientsServer6, "A:www.corp.example.": clientsServer,
			"SRV:_web._tcp.corp.example.": "1_100_8080_server-01.corp.example.", "TXT:web.corp.example.": `"path=/app"_"version=2"`,
			"A:many.corp.example.": inOrder(many()), "MX:web.corp.example.": "! nodata", "A:asleep.corp.example.": "! nodata",
			"A:nobody.corp.example.": "! none", "A:ext.corp.example.": foreignAddr,
			"PTR:" + clientsServer: "server-01.corp.example.", "PTR:" + clientsServer6: "server-01.corp.example.",
			"NS:corp.example.": "server-01.corp.example.",
			"plain":            inOrder(strings.Fields("NOERROR 1 edns -1 options")),
			"tcp":              inOrder(strings.Fields("NOERROR 1 edns -1 options")),
			"do":               inOrder(strings.Fields("NOERROR 1 edns 0 options")),
			"edns1":            inOrder(strings.Fields("BADVERS 0 edns 0 options")),
			"nsid":             inOrder(strings.Fields("NOERROR 1 edns 0 options 3")),
			"cookie":           inOrder(strings.Fields("NOERROR 1 edns 0 options 10")),
			"subnet":           inOrder(strings.Fields("NOERROR 1 edns 0 options")),
			"padded":           inOrder(strings.Fields("NOERROR 1 edns 0 options")),
			"asleep":           inOrder(strings.Fields("NOERROR 0 edns 0 options 15")),
			"many":             "100 tcp",
		} {
			if got[what] != want {
				t.Errorf("@%s %s: %q, want %q", server, what, got[what], want)
			}
		}
	}
}
