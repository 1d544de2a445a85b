package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// secure serves HTTPS on loopback with a certificate.
func secure(t testing.TB, cert tls.Certificate) (port int) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

func TestHTTPSCertificates(t *testing.T) {
	later, earlier := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for _, c := range []struct {
		name string
		cert tls.Certificate
		want string
	}{
		{"good", trusted.sign(t, later, "127.0.0.1"), ""},
		{"several names", trusted.sign(t, later, "www.example.com", "127.0.0.1"), ""},
		{"of an unknown authority", stranger.sign(t, later, "127.0.0.1"), "x509: certificate signed by unknown authority"},
		{"expired", trusted.sign(t, earlier, "127.0.0.1"), "x509: certificate has expired or is not yet valid"},
		{"of tomorrow", trusted.signFrom(t, later, later.Add(time.Hour), "127.0.0.1"), "x509: certificate has expired or is not yet valid"},
		{"for a name", trusted.sign(t, later, "localhost"), "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs"},
		{"for another address", trusted.sign(t, later, "127.0.0.2"), "x509: certificate is valid for 127.0.0.2, not 127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := secure(t, c.cert)
			leavesNothing(t)
			careful := compile(t, "https_get '/', [200], "+itoa(port))
			if c.want == "" {
				good(t, careful)
			} else {
				bad(t, careful, "GET https://127.0.0.1:"+itoa(port)+"/: TLS handshake: tls: failed to verify certificate: ", c.want)
			}
			careless := "https_get '%s', [200], " + itoa(port) + ", '127.0.0.1', true"
			good(t, compile(t, fmt.Sprintf(careless, "/")))
			bad(t, compile(t, fmt.Sprintf(careless, "/down")), "status 503 Service Unavailable, expected 200")
		})
	}
	port := secure(t, trusted.sign(t, later, "localhost"))
	leavesNothing(t)
	good(t, compile(t, "https_get '/', [200], "+itoa(port)+", 'localhost'"))
}

// handshake serves TLS and, when the handshake is done, f.
func handshake(t testing.TB, f func(net.Conn)) (port int) {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{trusted.sign(t, time.Now().Add(time.Hour), "127.0.0.1")}}
	return serve(t, func(c net.Conn) {
		secure := tls.Server(c, config)
		if secure.HandshakeContext(context.Background()) == nil {
			f(secure)
		}
	})
}

func TestHTTPSAnswers(t *testing.T) {
	p := func(port int) Probe { return compile(t, "https_get '/', [200], "+itoa(port)) }
	for _, c := range []struct {
		name string
		port int
		want string
	}{
		{"gone at once", serve(t, func(net.Conn) {}), "TLS handshake: "},
		{"ssh", serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1\r\n"); _, _ = io.Copy(io.Discard, c) }), "TLS handshake: tls: first record does not look like a TLS handshake"},
		{"garbage in records", serve(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "\x16\x03\x03\x00\x05hello")
			_, _ = io.Copy(io.Discard, c)
		}), "TLS handshake: "},
		{"garbage inside", handshake(t, func(c net.Conn) { _ = readHead(c); _, _ = io.WriteString(c, "hello\r\n") }), "malformed HTTP response"},
		{"gone after the handshake", handshake(t, func(c net.Conn) { _ = readHead(c) }), "reading the answer: "},
		{"refused", refused(t), "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			bad(t, p(c.port), c.want)
		})
	}
}

// The server stalls at each place where the probe can wait.
func TestHTTPSHangs(t *testing.T) {
	// Each case has sent what it sends when there is something in reached.
	part := func(send string) func(net.Conn, chan struct{}) {
		return func(c net.Conn, reached chan struct{}) {
			_, _ = io.WriteString(c, send)
			reached <- struct{}{}
			_, _ = io.Copy(io.Discard, c)
		}
	}
	for _, c := range []struct {
		name   string
		secure bool // after the handshake
		f      func(net.Conn, chan struct{})
	}{
		{"handshake", false, part("")},
		{"part of handshake", false, part("\x16\x03\x03\x10")},
		{"answer", true, part("")},
		{"body", true, part("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")},
	} {
		t.Run(c.name, func(t *testing.T) {
			reached, how := make(chan struct{}, 100), serve
			if c.secure {
				how = handshake
			}
			port := how(t, func(conn net.Conn) { c.f(conn, reached) })
			leavesNothing(t)
			p := compile(t, "https_get '/', [200], "+itoa(port))
			cancelled(t, p, reached)
			hangs(t, p)
		})
	}
	full := unanswered(t)
	leavesNothing(t)
	hangs(t, compile(t, "https_get '/', [200], "+itoa(full)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ask(ctx, t, compile(t, "https_get '/', [200], "+itoa(full))); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
