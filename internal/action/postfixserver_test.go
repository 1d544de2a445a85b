package action

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// postfix is a private mail server of the test: a real postfix on free ports of
// loopback, whose accounts a real dovecot knows. Mail for ops@example.org ends
// as one file each in a Maildir.
type postfix struct {
	life  *testing.T // the servers end with it
	dir   string
	ports map[string]uint16
	roots *x509.CertPool // with the CA that signed its certificate
}

// services are the ways in: what each has beside main.cf.
var services = []struct{ name, options string }{
	{"relay", "-o smtpd_sasl_auth_enable=no -o smtpd_relay_restrictions=permit_mynetworks,reject"},
	{"bare relay", "-o smtpd_sasl_auth_enable=no -o smtpd_tls_security_level=none -o smtpd_relay_restrictions=permit_mynetworks,reject"},
	{"plain", "-o smtpd_sasl_mechanism_filter=plain"},
	{"login", "-o smtpd_sasl_mechanism_filter=login"},
	{"cram-md5", "-o smtpd_sasl_mechanism_filter=cram-md5"},
	{"scram-sha-256", "-o smtpd_sasl_mechanism_filter=scram-sha-256"},
	{"scram-sha-1", "-o smtpd_sasl_mechanism_filter=scram-sha-1"},
	{"bare plain", "-o smtpd_tls_security_level=none -o smtpd_sasl_mechanism_filter=plain,login"},
	{"bare cram-md5", "-o smtpd_tls_security_level=none -o smtpd_sasl_mechanism_filter=plain,cram-md5"},
	{"smtps", "-o smtpd_tls_wrappermode=yes"},
}

// startPostfix runs both. Whoever may not be able to install the packages, or is
// not root, may go without these tests; CI may not.
func startPostfix(t *testing.T) *postfix {
	t.Helper()
	missing := ""
	for _, program := range []string{"postfix", "dovecot"} {
		if server(program) == "" {
			missing = "no " + program + "; e2e/deps installs it"
		}
	}
	switch {
	case missing == "" && os.Geteuid() == 0:
	case missing == "" && os.Getenv("CI") != "true":
		t.Skip("needs root: postfix runs its parts as users of their own")
	case os.Getenv("CI") == "true", os.Geteuid() == 0:
		t.Fatal("cannot run a mail server: ", missing)
	default:
		t.Skip(missing)
	}
	// Not t.TempDir(), whose name is too long for a unix socket in it.
	dir, err := os.MkdirTemp("", "m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &postfix{life: t, dir: dir, ports: map[string]uint16{}}
	p.certify(t)
	p.startDovecot(t)
	p.configure(t)
	return p
}

// server finds a program also where not every user's PATH leads to.
func server(name string) string {
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	return ""
}

func (p *postfix) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// certify makes a CA and a certificate of it for mail.example and 127.0.0.1.
func (p *postfix) certify(t *testing.T) {
	t.Helper()
	if err := os.Chmod(p.dir, 0o755); err != nil { // its parts run as other users
		t.Fatal(err)
	}
	sign := func(cert, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) string {
		der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the test's CA"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "mail.example"}, NotBefore: from, NotAfter: to,
		DNSNames: []string{"mail.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caKey, key := newKey(), newKey()
	caFile := p.write(t, "ca.pem", sign(ca, ca, caKey, caKey))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "cert.pem", sign(cert, ca, key, caKey))
	p.write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	if p.roots, err = Roots(caFile); err != nil {
		t.Fatal(err)
	}
}

// spawn runs a server in the foreground until the test ends, and returns when
// ready gives "".
func (p *postfix) spawn(t *testing.T, ready func() string, program string, args ...string) {
	t.Helper()
	out := new(bytes.Buffer)
	cmd := exec.Command(server(program), args...)
	cmd.Stdout, cmd.Stderr = out, out
	// Both end everything they started when they are told to.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	p.life.Cleanup(func() {
		pid := cmd.Process.Pid
		if master, err := os.ReadFile(filepath.Join(p.dir, "queue/pid/master.pid")); program == "postfix" && err == nil {
			fmt.Sscan(string(master), &pid) // postfix is a script around it
		}
		_ = syscall.Kill(pid, syscall.SIGCONT)
		_ = syscall.Kill(pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	// What it waits for is another program's doing: asking again is all one can.
	deadline := time.After(time.Minute)
	for {
		why := ready()
		if why == "" {
			return
		}
		select {
		case <-ended:
		case <-deadline:
		case <-time.After(20 * time.Millisecond):
			continue
		}
		log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
		t.Fatalf("%s did not get ready: %s\n%s%s", program, why, out, log)
	}
}

func (p *postfix) startDovecot(t *testing.T) {
	t.Helper()
	p.write(t, "users", "murakumo:{PLAIN}"+onion+"::::::\n")
	conf := p.write(t, "dovecot.conf", fmt.Sprintf(`protocols =
base_dir = %[1]s/dovecot
state_dir = %[1]s/dovecot
log_path = %[1]s/log
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/users
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}
service auth {
  unix_listener %[1]s/auth {
    mode = 0666
  }
}
`, p.dir))
	p.spawn(t, func() string {
		c, err := net.Dial("unix", filepath.Join(p.dir, "auth"))
		if err != nil {
			return err.Error()
		}
		c.Close()
		return ""
	}, "dovecot", "-F", "-c", conf)
}

// configure writes postfix's files; run starts it.
func (p *postfix) configure(t *testing.T) {
	t.Helper()
	for _, d := range []string{"queue", "data", "mail"} {
		if err := os.Mkdir(filepath.Join(p.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Mail is delivered as nobody, the queue manager keeps its locks as postfix.
	for d, user := range map[string]string{"data": "postfix", "mail": "nobody"} {
		if out, err := exec.Command("chown", user, filepath.Join(p.dir, d)).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v\n%s", err, out)
		}
	}
	p.write(t, "etc/main.cf", fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file_prefixes = %[1]s
maillog_file = %[1]s/log
myhostname = mail.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
smtpd_tls_security_level = may
smtpd_tls_cert_file = %[1]s/cert.pem
smtpd_tls_key_file = %[1]s/key.pem
smtpd_tls_loglevel = 1
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = %[1]s/auth
smtpd_sasl_security_options = noanonymous
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions =
virtual_mailbox_domains = example.org
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = inline:{ {ops@example.org = ops/} }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
`, p.dir))
	// Debian's master.cf without the chroots, which would need a copy of the
	// machine's /etc in the queue, and without what is never used here.
	master := `pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
`
	var taken []net.Listener
	for _, s := range services {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, ln)
		p.ports[s.name] = uint16(ln.Addr().(*net.TCPAddr).Port)
		master += fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd %s\n", p.ports[s.name], s.options)
	}
	for _, ln := range taken {
		ln.Close()
	}
	p.write(t, "etc/master.cf", master)
}

// run starts postfix and returns when its ports are open.
func (p *postfix) run(t *testing.T) {
	t.Helper()
	p.spawn(t, func() string {
		for _, port := range p.ports {
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				return err.Error()
			}
			c.Close()
		}
		return ""
	}, "postfix", "-c", filepath.Join(p.dir, "etc"), "start-fg")
}

// mails gives what has arrived once that are n mails.
func (p *postfix) mails(t *testing.T, n int) (all []*netmail.Message) {
	t.Helper()
	for deadline := time.After(time.Minute); ; {
		files, err := filepath.Glob(filepath.Join(p.dir, "mail/ops/new/*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) >= n {
			for _, f := range files {
				m, err := netmail.ReadMessage(strings.NewReader(file(t, f)))
				if err != nil {
					t.Fatalf("%s: %v", f, err)
				}
				all = append(all, m)
			}
			return all
		}
		select {
		case <-time.After(20 * time.Millisecond): // postfix delivers when it likes to
		case <-deadline:
			t.Fatalf("%d of %d mails after a minute; the server's log:\n%s", len(files), n, file(t, filepath.Join(p.dir, "log")))
		}
	}
}

// config is for the service of that name.
func (p *postfix) config(service string) MailConfig {
	return MailConfig{
		Host: "127.0.0.1", Port: p.ports[service], Helo: "server-02.example",
		Sender: "murakumo@localhost.localdomain", Recipients: []string{ops},
		OpenTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
	}
}
