package check

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// postfix is a private mail server of the test on an address of its own. User
// app has the password hunter2.
type postfix struct {
	host string
	cmd  *exec.Cmd
}

// The ports of a postfix of the test.
const (
	smtpPlain   = 2525 // logs in with and without TLS
	smtpTLS     = 2526 // logs in over TLS alone
	smtpDigest  = 2527 // logs in by CRAM-MD5 alone
	smtpNoLogin = 2528
	smtpRefuses = 2529 // everybody
	smtpScram   = 2530 // logs in by SCRAM alone
)

// newPostfix starts a server; only root can.
func newPostfix(t *testing.T) *postfix {
	t.Helper()
	need(t, "postfix", "postfix")
	users := need(t, "sasl2-bin", "saslpasswd2")
	if os.Geteuid() != 0 {
		const why = "postfix starts as root alone"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	p := &postfix{host: loopback()}
	dir := tempDir(t)
	etc, queue, data := filepath.Join(dir, "etc"), filepath.Join(dir, "queue"), filepath.Join(dir, "data")
	sasl := filepath.Join(etc, "sasl") // where Debian's looks
	for _, d := range []string{etc, queue, data, sasl} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "chown", "postfix", data)
	write := func(file, text string) {
		if err := os.WriteFile(filepath.Join(etc, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Each process serves one connection, so that a master which stands still
	// serves nobody.
	write("main.cf", fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file_prefixes = %[1]s
maillog_file = %[1]s/log
myhostname = mail.example.com
mydestination = localhost
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
max_use = 1
smtpd_tls_security_level = may
smtpd_tls_cert_file = /etc/ssl/certs/ssl-cert-snakeoil.pem
smtpd_tls_key_file = /etc/ssl/private/ssl-cert-snakeoil.key
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
smtpd_sasl_security_options = noanonymous
smtpd_sasl_local_domain = mail.example.com
smtpd_delay_reject = no
`, dir))
	master := strings.NewReplacer("HOST", p.host).Replace(`HOST:PLAIN inet n - n - - smtpd
HOST:TLS inet n - n - - smtpd -o smtpd_tls_auth_only=yes
HOST:DIGEST inet n - n - - smtpd -o smtpd_sasl_path=digest -o smtpd_tls_security_level=none
HOST:SCRAM inet n - n - - smtpd -o smtpd_sasl_path=scram -o smtpd_tls_security_level=none
HOST:NOLOGIN inet n - n - - smtpd -o smtpd_sasl_auth_enable=no
HOST:REFUSES inet n - n - - smtpd -o smtpd_client_restrictions=reject
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`)
	write("master.cf", strings.NewReplacer("PLAIN", itoa(smtpPlain), "TLS", itoa(smtpTLS), "DIGEST", itoa(smtpDigest),
		"SCRAM", itoa(smtpScram), "NOLOGIN", itoa(smtpNoLogin), "REFUSES", itoa(smtpRefuses)).Replace(master))
	for file, mechanisms := range map[string]string{"smtpd": "PLAIN LOGIN CRAM-MD5", "digest": "CRAM-MD5", "scram": "SCRAM-SHA-1 SCRAM-SHA-256"} {
		write("sasl/"+file+".conf", "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: "+sasl+"/users\nmech_list: "+mechanisms+"\n")
	}
	add := exec.Command(users, "-p", "-c", "-f", filepath.Join(sasl, "users"), "-u", "mail.example.com", "app")
	add.Stdin = strings.NewReader("hunter2")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("saslpasswd2: %v\n%s", err, out)
	}
	run(t, "chmod", "644", filepath.Join(sasl, "users"))
	run(t, find("postfix"), "-c", etc, "check")

	// The master process alone, without the script around it, which would stay
	// behind. Its log is a file of its own making.
	p.cmd = exec.Command("/usr/lib/postfix/sbin/master", "-c", etc, "-d")
	start(t, "", p.cmd)
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(dir, "log")); t.Failed() {
			t.Logf("postfix says: %v\n%s", err, log)
		}
	})
	for _, port := range []int{smtpPlain, smtpTLS, smtpDigest, smtpNoLogin, smtpRefuses, smtpScram} {
		become(t, compile(t, "tcp_check "+itoa(port)+", '"+p.host+"'"), "")
	}
	return p
}

// check compiles a script in which AT stands for the address in quotes and
// PLAIN, TLS and so on for the ports.
func (p *postfix) check(t *testing.T, src string) Probe {
	t.Helper()
	return compile(t, p.names(src))
}

func (p *postfix) names(text string) string {
	return strings.NewReplacer("AT", "'"+p.host+"'", "HOST", p.host, "PLAIN", itoa(smtpPlain), "TLS", itoa(smtpTLS),
		"DIGEST", itoa(smtpDigest), "SCRAM", itoa(smtpScram), "NOLOGIN", itoa(smtpNoLogin), "REFUSES", itoa(smtpRefuses)).Replace(text)
}

// tempDir is a directory that every user may enter, which t.TempDir is not.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "check")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func run(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}
