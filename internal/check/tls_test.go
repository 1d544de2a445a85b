package check

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestTLSAgainstNginx(t *testing.T) {
	n := newNginx(t) // its certificate lasts for 20 days and a half
	leavesNothing(t)
	good(t, n.check(t, "tls_check 8443, 'HOST'"))
	good(t, n.check(t, "tls_check 8443, 'HOST', 20"))
	bad(t, n.check(t, "tls_check 8443, 'HOST', 21"), n.names("tls_check 8443, 'HOST', 21: tls HOST:8443: the certificate expires on "), ", in 20 days, expected 21 or more")
	bad(t, n.check(t, "tls_check 8080, 'HOST'"), n.names("tls HOST:8080: handshake: tls: first record does not look like a TLS handshake"))
	freeze(t, n.cmd)
	hangs(t, n.check(t, "tls_check 8443, 'HOST'"))
	thaw(t, n.cmd)
	good(t, n.check(t, "tls_check 8443, 'HOST'"))
	kill(n.cmd)
	bad(t, n.check(t, "tls_check 8443, 'HOST'"), "connection refused")
}

func TestTLSCertificates(t *testing.T) {
	later, earlier := time.Now().Add(36*time.Hour), time.Now().Add(-time.Hour)
	for _, c := range []struct {
		name string
		cert tls.Certificate
		args string
		want string
	}{
		{"for the name", trusted.sign(t, later, "localhost"), "'localhost', 1", ""},
		{"of an unknown authority", stranger.sign(t, later, "localhost"), "'localhost'", ""},
		{"at an address", stranger.sign(t, later, "www.example.com"), "'127.0.0.1'", ""},
		{"for another name", trusted.sign(t, later, "www.example.com"), "'localhost'", "x509: certificate is valid for www.example.com, not localhost"},
		{"for no name", trusted.sign(t, later), "'localhost'", "x509: certificate is not valid for any names, but wanted to match localhost"},
		{"too old soon", trusted.sign(t, later, "localhost"), "'localhost', 2", ", in 1 days, expected 2 or more"},
		{"expired", trusted.sign(t, earlier, "localhost"), "'localhost'", "the certificate expired on "},
		{"expired, at an address", trusted.sign(t, earlier, "localhost"), "'127.0.0.1'", "the certificate expired on "},
		{"of tomorrow", trusted.signFrom(t, later, later.Add(time.Hour), "localhost"), "'localhost'", "the certificate is not valid before "},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := secure(t, c.cert)
			leavesNothing(t)
			if p := compile(t, fmt.Sprintf("tls_check %d, %s", port, c.args)); c.want == "" {
				good(t, p)
			} else {
				bad(t, p, "tls "+strings.Split(c.args, "'")[1]+":"+itoa(port)+": ", c.want)
			}
		})
	}
	// Whoever shows a certificate without its key is nobody.
	thief := trusted.sign(t, later, "localhost")
	thief.PrivateKey = trusted.sign(t, later, "localhost").PrivateKey
	port := secure(t, thief)
	leavesNothing(t)
	bad(t, compile(t, fmt.Sprintf("tls_check %d, 'localhost'", port)), "handshake: tls: invalid signature by the server certificate")
}

// Both sides of each edge.
func TestLasts(t *testing.T) {
	from, until := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	cert := &x509.Certificate{NotBefore: from, NotAfter: until}
	for _, c := range []struct {
		now  time.Time
		days int
		want string
	}{
		{from, 0, ""},
		{from.Add(-time.Second), 0, "the certificate is not valid before 2026-01-01 00:00 UTC"},
		{until, 0, ""},
		{until.Add(time.Second), 0, "the certificate expired on 2026-03-01 00:00 UTC"},
		{until.Add(-14 * 24 * time.Hour), 14, ""},
		{until.Add(-14*24*time.Hour + time.Second), 14, "the certificate expires on 2026-03-01 00:00 UTC, in 13 days, expected 14 or more"},
	} {
		got := ""
		if err := lasts(cert, c.now, c.days); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v, %d days: got %q, want %q", c.now, c.days, got, c.want)
		}
	}
}

func TestTLSAnswers(t *testing.T) {
	for _, c := range []struct {
		name string
		port int
		want string
	}{
		{"gone at once", serve(t, func(net.Conn) {}), "handshake: "},
		{"ssh", serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1\r\n"); _, _ = io.Copy(io.Discard, c) }), "handshake: tls: first record does not look like a TLS handshake"},
		{"refused", refused(t), "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			bad(t, compile(t, "tls_check "+itoa(c.port)), c.want)
		})
	}
	for name, send := range map[string]string{"hangs": "", "hangs within": "\x16\x03\x03\x10"} {
		t.Run(name, func(t *testing.T) {
			port, reached := stalls(t, send)
			leavesNothing(t)
			p := compile(t, "tls_check "+itoa(port))
			cancelled(t, p, reached)
			hangs(t, p)
		})
	}
	full := unanswered(t)
	leavesNothing(t)
	hangs(t, compile(t, "tls_check "+itoa(full)))
}
