package nameserver

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// secureUpstream is a resolver that is asked over TLS, and closes a connection after
// so many questions (0: 128). It counts the connections.
func secureUpstream(t *testing.T, most int, conns *atomic.Int32, h dns.HandlerFunc) (netip.AddrPort, *x509.CertPool) {
	files := tlsFiles(t)
	roots := issue(t, files, "dns.example")
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	fatal(t, err)
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	fatal(t, err)
	up := make(chan struct{})
	s := &dns.Server{
		Listener: tls.NewListener(&counted{l, conns}, &tls.Config{Certificates: []tls.Certificate{pair}}),
		Net:      "tcp-tls", Handler: knowsNoLoop(h), MaxTCPQueries: most, NotifyStartedFunc: func() { close(up) },
	}
	go s.ActivateAndServe()
	<-up
	t.Cleanup(func() { s.Shutdown() })
	return l.Addr().(*net.TCPAddr).AddrPort(), roots
}

// counted counts connections.
type counted struct {
	net.Listener
	n *atomic.Int32
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}

// TestUpstreamTLS: questions go over one connection that is kept, without waiting for
// each other, and their answers come in any order.
func TestUpstreamTLS(t *testing.T) {
	var conns atomic.Int32
	const n = 20
	files := tlsFiles(t)
	roots := issue(t, files, "dns.example")
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	fatal(t, err)
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	fatal(t, err)
	defer l.Close()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	go func() { // answers when all are there, the last first
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			c := &dns.Conn{Conn: tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})}
			t.Cleanup(func() { c.Close() })
			go func() {
				var open []*dns.Msg
				for {
					r, err := c.ReadMsg()
					if err != nil {
						return
					}
					if strings.Contains(strings.ToLower(r.Question[0].Name), loopLabel) {
						c.WriteMsg(new(dns.Msg).SetRcode(r, dns.RcodeNameError))
						continue
					}
					if open = append(open, r); len(open) == n {
						for _, r := range slices.Backward(open) {
							c.WriteMsg(withA(r, "192.0.2.1"))
						}
					}
				}
			}()
		}
	}()
	s := newServer(t, Config{Bind: []netip.Addr{loopback}, Resolvers: []Resolver{{Addr: at, TLS: true, Name: "dns.example"}}})
	s.forwarder.roots = roots
	start(t, s)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			name := fmt.Sprintf("Host-%d.example.", i)
			if r := ask(t, "udp", s.Addrs()[0], question(name, dns.TypeA)); len(r.Answer) != 1 || r.Question[0].Name != name || r.Answer[0].Header().Name != name {
				t.Errorf("%v", r)
			}
		})
	}
	wg.Wait()
	if c := conns.Load(); c != 1 {
		t.Errorf("%d connections", c)
	}
}

// TestUpstreamTLSCloses: a resolver that closes its connections after some answers is
// asked on over others, and nothing is lost.
func TestUpstreamTLSCloses(t *testing.T) {
	var conns atomic.Int32
	at, roots := secureUpstream(t, 7, &conns, func(w dns.ResponseWriter, r *dns.Msg) { answerA(w, r, "192.0.2.1") })
	s := newServer(t, Config{Bind: []netip.Addr{loopback}, Resolvers: []Resolver{{Addr: at, TLS: true, Name: "dns.example"}}})
	s.forwarder.roots = roots
	start(t, s)
	const n, together = 100, 10 // more would wait for many handshakes, one after the other
	var wg sync.WaitGroup
	for first := range together {
		wg.Go(func() {
			for i := first; i < n; i += together {
				if r := ask(t, "udp", s.Addrs()[0], question(fmt.Sprintf("host-%d.example.", i), dns.TypeA)); len(r.Answer) != 1 {
					t.Errorf("%v", r)
				}
			}
		})
	}
	wg.Wait()
	if c := conns.Load(); c < n/7 || c > n {
		t.Errorf("%d connections for %d questions", c, n)
	}
}

// TestUpstreamTLSVerified: with a name the certificate has to be for it, without one
// it is not looked at; who has another one gets no question.
func TestUpstreamTLSVerified(t *testing.T) {
	for _, tt := range []struct {
		name    string
		trusted bool
		want    int
		log     string
	}{
		{"dns.example", true, dns.RcodeSuccess, ""},
		{"other.example", true, dns.RcodeServerFailure, "certificate is valid for dns.example, not other.example"},
		{"dns.example", false, dns.RcodeServerFailure, "certificate signed by unknown authority"},
		{"", false, dns.RcodeSuccess, ""},
	} {
		t.Run(fmt.Sprintf("%s %v", tt.name, tt.trusted), func(t *testing.T) {
			var conns, asked atomic.Int32
			at, roots := secureUpstream(t, 0, &conns, func(w dns.ResponseWriter, r *dns.Msg) {
				asked.Add(1)
				answerA(w, r, "192.0.2.1")
			})
			log := &logBuffer{}
			s := newServer(t, Config{Bind: []netip.Addr{loopback}, Log: log.logger(), Resolvers: []Resolver{{Addr: at, TLS: true, Name: tt.name}}})
			if s.forwarder.roots = x509.NewCertPool(); tt.trusted {
				s.forwarder.roots = roots
			}
			start(t, s)
			if r := ask(t, "udp", s.Addrs()[0], question("example.org.", dns.TypeA)); r.Rcode != tt.want {
				t.Errorf("%v", r)
			}
			if (asked.Load() > 0) != (tt.want == dns.RcodeSuccess) {
				t.Errorf("asked %d times", asked.Load())
			}
			if !strings.Contains(log.String(), tt.log) || tt.log != "" && !strings.Contains(log.String(), "resolver failed: tls://"+at.String()) {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

// TestUpstreamTLSDead: one that takes connections and says nothing is like any other
// that is silent.
func TestUpstreamTLSDead(t *testing.T) {
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	fatal(t, err)
	defer l.Close()
	good := upstream(t, func(w dns.ResponseWriter, r *dns.Msg) { answerA(w, r, "192.0.2.1") })
	at := serve(t, Config{Resolvers: []Resolver{{Addr: l.Addr().(*net.TCPAddr).AddrPort(), TLS: true}, {Addr: good}}})
	for i := range 5 {
		if r := ask(t, "udp", at, question(fmt.Sprintf("%d.example.", i), dns.TypeA)); len(r.Answer) != 1 {
			t.Errorf("%v", r)
		}
	}
}

// TestUpstreamFolds: a resolver that does not keep the case is asked over TCP, and in
// lower case once that is known.
func TestUpstreamFolds(t *testing.T) {
	var udp, tcp atomic.Int32
	resolver := upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
		r.Question[0].Name = strings.ToLower(r.Question[0].Name)
		if w.LocalAddr().Network() == "udp" {
			udp.Add(1)
		} else {
			tcp.Add(1)
		}
		answerA(w, r, "192.0.2.1")
	})
	log := &logBuffer{}
	at := serve(t, Config{Resolvers: via(resolver), Log: log.logger()})
	for i := range 10 {
		name := fmt.Sprintf("Host-%d.with-many-letters.example.", i)
		if r := ask(t, "udp", at, question(name, dns.TypeA)); len(r.Answer) != 1 || r.Question[0].Name != name {
			t.Errorf("%v", r)
		}
	}
	if udp.Load() != 10 || tcp.Load() != 1 {
		t.Errorf("asked %d times over UDP and %d over TCP", udp.Load(), tcp.Load())
	}
	if !strings.Contains(log.String(), "does not keep the case of questions: "+resolver.String()) {
		t.Errorf("log:\n%s", log)
	}
}
