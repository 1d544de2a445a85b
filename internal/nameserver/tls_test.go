package nameserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// issue writes a certificate for 127.0.0.1 that signs itself, and its key.
func issue(t *testing.T, files TLS, name string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	fatal(t, err)
	serial, err := crand.Int(crand.Reader, big.NewInt(1<<62))
	fatal(t, err)
	cert := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{name},
	}
	der, err := x509.CreateCertificate(crand.Reader, cert, cert, &key.PublicKey, key)
	fatal(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	fatal(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
	write(t, files.Cert, certPEM)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool
}

// write replaces a file, as those who renew certificates do.
func write(t *testing.T, path string, data []byte) {
	t.Helper()
	fatal(t, os.WriteFile(path+".new", data, 0o600))
	fatal(t, os.Rename(path+".new", path))
}

func tlsFiles(t *testing.T) TLS {
	dir := t.TempDir()
	return TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
}

// serveTLS starts a server with DNS over TLS and gives its address.
func serveTLS(t *testing.T, cfg Config, tweaks ...func(*Server)) netip.AddrPort {
	t.Helper()
	cfg.Bind = []netip.Addr{loopback}
	s := newServer(t, cfg)
	for _, tweak := range tweaks {
		tweak(s)
	}
	start(t, s)
	return s.TLSAddrs()[0]
}

func dialTLS(t *testing.T, at netip.AddrPort, roots *x509.CertPool) (*dns.Conn, *tls.Conn) {
	t.Helper()
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{RootCAs: roots, NextProtos: []string{"dot"}}}
	c, err := d.Dial("tcp", at.String())
	fatal(t, err)
	t.Cleanup(func() { c.Close() })
	fatal(t, c.SetDeadline(time.Now().Add(patience)))
	return &dns.Conn{Conn: c}, c.(*tls.Conn)
}

// TestTLS: the same answers as over TCP, in any order, under the certificate.
func TestTLS(t *testing.T) {
	files := tlsFiles(t)
	roots := issue(t, files, "one")
	release := make(chan struct{})
	at := serveTLS(t, Config{TLS: files, Rules: Rules{Domain: domain, AllowTransfer: everybody}, Resolvers: via(
		upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
			<-release
			answerA(w, r, "192.0.2.1")
		}),
	)})
	c, plain := dialTLS(t, at, roots)
	if p := plain.ConnectionState().NegotiatedProtocol; p != "dot" {
		t.Errorf("protocol %q", p)
	}
	send(t, c, question("example.org.", dns.TypeA), question("web.", dns.TypeA))
	if r := receive(t, c); r.Question[0].Name != "web." || len(r.Answer) != 2 || !r.Authoritative {
		t.Errorf("got %v", r)
	}
	if got, _, _ := fetch(t, c, new(dns.Msg).SetAxfr(domain+".")); len(got) < 10 { // RFC 9103
		t.Errorf("the zone has %d records", len(got))
	}
	fatal(t, plain.CloseWrite())
	close(release)
	if r := receive(t, c); r.Question[0].Name != "example.org." || len(r.Answer) != 1 {
		t.Errorf("got %v", r)
	}
	if _, err := c.ReadMsg(); err != io.EOF { // and not: cut off
		t.Errorf("after the last answer: %v, want EOF", err)
	}
}

// TestTLSPadding: who pads his questions gets padded answers (RFC 7830 §4, RFC 8467
// §4.1), from the table and from elsewhere; others, and others than TLS, do not.
func TestTLSPadding(t *testing.T) {
	files := tlsFiles(t)
	roots := issue(t, files, "one")
	cfg := Config{TLS: files, Rules: Rules{Domain: domain}, Resolvers: via(upstream(t, func(w dns.ResponseWriter, r *dns.Msg) { answerA(w, r, "192.0.2.1") }))}
	cfg.Bind = []netip.Addr{loopback}
	s := newServer(t, cfg)
	start(t, s)
	secure, _ := dialTLS(t, s.TLSAddrs()[0], roots)
	tcp := dial(t, "tcp", s.Addrs()[0])
	for _, name := range []string{"web.", "server-01.corp.example.", "example.org.", "nothing.corp.example."} {
		for _, c := range []*dns.Conn{secure, tcp} {
			for _, pad := range []bool{true, false} {
				m := question(name, dns.TypeA)
				with(cookie(hisCookie))(m)
				if pad {
					m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, 20)})
				}
				send(t, c, m)
				raw, err := c.ReadMsgHeader(nil)
				fatal(t, err)
				checkReply(t, packed(t, m), raw, true)
				var r dns.Msg
				fatal(t, r.Unpack(raw))
				got := 0
				for _, o := range r.IsEdns0().Option {
					if _, ok := o.(*dns.EDNS0_PADDING); ok {
						got++
					}
				}
				if want := pad && c == secure; (got == 1) != want || want != (len(raw)%paddingBlock == 0) {
					t.Errorf("%s, TLS %v, padding wanted %v: %d options of padding, %d octets", name, c == secure, pad, got, len(raw))
				}
			}
		}
	}
}

// TestTLSLimits: who does not finish the handshake is cut off, and the connections
// are of those that TCP has.
func TestTLSLimits(t *testing.T) {
	files := tlsFiles(t)
	roots := issue(t, files, "one")
	t.Run("no handshake", func(t *testing.T) {
		at := serveTLS(t, Config{TLS: files}, func(s *Server) { s.idle = 100 * time.Millisecond })
		c := dial(t, "tcp", at)
		if _, err := c.Conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%v, want EOF", err)
		}
	})
	t.Run("places", func(t *testing.T) {
		at := serveTLS(t, Config{TLS: files}, func(s *Server) { s.conns = newConnections(1, 1) })
		stuck := dial(t, "tcp", at)
		c, _ := dialTLS(t, at, roots)
		send(t, c, question("db.", dns.TypeA))
		if r := receive(t, c); len(r.Answer) != 1 {
			t.Errorf("got %v", r)
		}
		if _, err := stuck.Conn.Read(make([]byte, 1)); err == nil {
			t.Error("one that has not even begun is still there")
		}
	})
	t.Run("too old", func(t *testing.T) {
		at := serveTLS(t, Config{TLS: files})
		_, err := tls.Dial("tcp", at.String(), &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11})
		if err == nil {
			t.Error("TLS 1.1 was taken")
		}
	})
}

// TestTLSRenewed: another certificate in the files is taken into use, but for one
// that is no good.
func TestTLSRenewed(t *testing.T) {
	files := tlsFiles(t)
	issue(t, files, "one")
	log := &logBuffer{}
	at := serveTLS(t, Config{TLS: files, Log: log.logger()})
	name := func() string {
		c, err := tls.Dial("tcp", at.String(), &tls.Config{InsecureSkipVerify: true}) // only who it is
		fatal(t, err)
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	until := func(want string) {
		t.Helper()
		for end := time.Now().Add(patience); name() != want; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the certificate is of %s, want %s\n%s", name(), want, log)
			}
		}
	}
	if got := name(); got != "one" {
		t.Fatalf("the certificate is of %s", got)
	}
	issue(t, files, "two")
	until("two")

	// A certificate whose key is still to come.
	three := tlsFiles(t)
	issue(t, three, "three")
	cert, err := os.ReadFile(three.Cert)
	fatal(t, err)
	write(t, files.Cert, cert)
	for end := time.Now().Add(patience); !strings.Contains(log.String(), "goes on with the certificate that it has"); time.Sleep(50 * time.Millisecond) {
		if got := name(); got != "two" || time.Now().After(end) {
			t.Fatalf("the certificate is of %s\n%s", got, log)
		}
	}
	key, err := os.ReadFile(three.Key)
	fatal(t, err)
	write(t, files.Key, key)
	until("three")

	fatal(t, os.Remove(files.Key))
	for end := time.Now().Add(patience); strings.Count(log.String(), "goes on with") < 2; time.Sleep(50 * time.Millisecond) {
		if got := name(); got != "three" || time.Now().After(end) {
			t.Fatalf("the certificate is of %s\n%s", got, log)
		}
	}
}

func TestTLSListenErrors(t *testing.T) {
	files := tlsFiles(t)
	listening := func(cfg TLS) error {
		s := newServer(t, Config{Bind: []netip.Addr{loopback}, TLS: cfg})
		err := s.Listen()
		if s.Addrs() != nil && err != nil || s.TLSAddrs() != nil {
			t.Error("still open")
		}
		s.Close()
		return err
	}
	if err := listening(files); err == nil || !strings.Contains(err.Error(), files.Cert) {
		t.Errorf("without the files: %v", err)
	}
	issue(t, files, "one")
	k, err := listen(loopback, 0)
	fatal(t, err)
	defer k.udp.Close()
	defer k.tcp.Close()
	files.Port = k.addr.Port()
	if err := listening(files); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("over TLS: address already in use: another program has this port (`ss -lntup 'sport = :%d'`", files.Port)) {
		t.Errorf("in use: %v", err)
	}
}
