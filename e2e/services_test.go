package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// settle is how long a neighbour (MariaDB, postfix, unbound) may take to start
// on a loaded machine.
const settle = 60 * time.Second

const (
	domain      = "ap-northeast-1.compute.internal"
	foreignName = "www.example.org"
	foreignAddr = "192.0.2.80"
	cloudName   = "ip-10-0-0-9." + domain // the cloud's own name under our domain
	cloudAddr   = "10.0.0.9"
)

// startResolver runs unbound on 10.0.0.2, with more in its configuration, and returns
// when it answers.
func (l *lab) startResolver(t *testing.T, more string) {
	t.Helper()
	dir := filepath.Join(l.dir, "unbound")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "unbound.conf")
	write(t, conf, fmt.Sprintf(`server:
  interface: %s
  access-control: 10.0.0.0/24 allow
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "%s"
  pidfile: ""
  use-syslog: no
  verbosity: 1
  num-threads: 1
  local-zone: "example.org." static
  local-data: "%s. 300 IN A %s"
  local-zone: "%s." static
  local-data: "%s. 300 IN A %s"
remote-control:
  control-enable: no
%s`, resolverAddr, dir, foreignName, foreignAddr, domain, cloudName, cloudAddr, more), 0o644)
	p := start(t, l.life, "unbound", filepath.Join(dir, "log"), in(l.bridge, "unbound", "-d", "-p", "-c", conf))
	wait(t, "unbound answers", settle, func() string {
		if !p.alive() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("unbound ended: %v\n%s", p.err, log)
		}
		a, err := dig(l.bridge, resolverAddr, foreignName)
		if err != nil {
			return err.Error()
		}
		return a.want("NOERROR", foreignName+". A "+foreignAddr)
	})
}

// prepareDatabase makes the host's empty database; root has no password, as
// the check of the sample file expects.
func (h *host) prepareDatabase(t *testing.T) {
	t.Helper()
	run(t, "mariadb-install-db", "--no-defaults", "--datadir="+filepath.Join(h.dir, "mysql"),
		"--auth-root-authentication-method=normal", "--skip-test-db", "--user=root")
}

// startDatabase runs MariaDB on the host's port 3306 and returns when it
// accepts connections.
func (h *host) startDatabase(t *testing.T) {
	t.Helper()
	socket := filepath.Join(h.dir, "mysqld.sock")
	os.Remove(socket) // one that was killed leaves it
	log := filepath.Join(h.dir, "mysqld.log")
	h.db = start(t, h.lab.life, h.name+": mariadbd", log, in(h.ns, "mariadbd", "--no-defaults", "--user=root",
		"--datadir="+filepath.Join(h.dir, "mysql"), "--socket="+socket, "--pid-file="+filepath.Join(h.dir, "mysqld.pid"),
		"--port=3306", "--bind-address=0.0.0.0", "--innodb-buffer-pool-size=32M", "--skip-log-bin"))
	wait(t, h.name+": MariaDB accepts connections", settle, func() string {
		if !h.db.alive() {
			text, _ := os.ReadFile(log)
			t.Fatalf("mariadbd on %s ended: %v\n%s", h.name, h.db.err, text)
		}
		c, err := net.Dial("unix", socket)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		// The server speaks first: its greeting means that it serves, not
		// only that it listens.
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 5)); err != nil {
			return err.Error()
		}
		return ""
	})
}

// startMail runs a postfix of the host's own on 127.0.0.1:25, with TLS offered
// under the self-signed certificate as Debian sets it up. Mail for
// recipient@mail.to ends as one file each in a Maildir.
func (h *host) startMail(t *testing.T) {
	t.Helper()
	dir := filepath.Join(h.dir, "postfix")
	etc, queue, data := filepath.Join(dir, "etc"), filepath.Join(dir, "queue"), filepath.Join(dir, "data")
	for _, d := range []string{dir, etc, queue, data, h.maildir()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Mail is delivered as nobody, the queue manager keeps its locks as postfix.
	run(t, "chown", "postfix", data)
	run(t, "chown", "nobody", h.maildir())
	write(t, filepath.Join(etc, "main.cf"), fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s
data_directory = %[2]s
maillog_file_prefixes = %[3]s
maillog_file = %[3]s/log
myhostname = %[4]s.mail.to
mydestination = localhost
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
smtpd_tls_security_level = may
smtpd_tls_cert_file = /etc/ssl/certs/ssl-cert-snakeoil.pem
smtpd_tls_key_file = /etc/ssl/private/ssl-cert-snakeoil.key
smtpd_relay_restrictions = permit_mynetworks reject_unauth_destination
virtual_mailbox_domains = mail.to
virtual_mailbox_base = %[5]s
virtual_mailbox_maps = inline:{ {recipient@mail.to = recipient/} }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
`, queue, data, dir, h.name, h.maildir()), 0o644)
	// Debian's master.cf without the chroots, which would need a copy of the
	// machine's /etc in each queue, and without what is never used here.
	write(t, filepath.Join(etc, "master.cf"), `smtp      inet  n - n - - smtpd
pickup    unix  n - n 60 1 pickup
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
`, 0o644)
	// start-fg keeps master under this process; postfix is a script around it,
	// so the end goes by the id that master wrote down.
	out := filepath.Join(dir, "out")
	p := start(t, h.lab.life, h.name+": postfix", out, in(h.ns, "postfix", "-c", etc, "start-fg"))
	h.lab.life.Cleanup(func() {
		if pid := h.postmaster(); pid > 0 {
			syscall.Kill(pid, syscall.SIGTERM)
			select {
			case <-p.done:
			case <-time.After(10 * time.Second):
			}
		}
	})
	wait(t, h.name+": postfix is there", settle, func() string {
		if !p.alive() {
			text, _ := os.ReadFile(out)
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("postfix on %s ended: %v\n%s%s", h.name, p.err, text, log)
		}
		// A socket of this namespace, seen from outside of it.
		sockets, err := in(h.ns, "ss", "-Hltn", "sport = :25").Output()
		if err != nil || !bytes.Contains(sockets, []byte("127.0.0.1:25")) {
			return "port 25 is not open"
		}
		return ""
	})
}

func (h *host) maildir() string { return filepath.Join(h.dir, "mail") }

// postmaster is the process id of the host's postfix, or 0.
func (h *host) postmaster() int {
	text, _ := os.ReadFile(filepath.Join(h.dir, "postfix/queue/pid/master.pid"))
	var pid int
	fmt.Sscan(string(text), &pid)
	if pid > 0 && slices.Contains(pidsIn(h.ns), pid) {
		return pid
	}
	return 0
}

// A letter is what the test reads of a mail.
type letter struct {
	subject, from, to, body string
}

// mails gives what has arrived, in no particular order.
func (h *host) mails(t *testing.T) []letter {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(h.maildir(), "recipient/new/*"))
	var all []letter
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: not a mail: %v\n%s", path, err, text)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil {
			t.Fatalf("%s: subject %q: %v", path, m.Header.Get("Subject"), err)
		}
		body := m.Body
		switch strings.ToLower(m.Header.Get("Content-Transfer-Encoding")) {
		case "quoted-printable":
			body = quotedprintable.NewReader(body)
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, body)
		}
		plain, err := io.ReadAll(body)
		if err != nil {
			t.Fatalf("%s: body: %v\n%s", path, err, text)
		}
		all = append(all, letter{subject, m.Header.Get("From"), m.Header.Get("To"), string(plain)})
	}
	return all
}
