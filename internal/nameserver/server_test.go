package nameserver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

// patience bounds every wait of these tests; nothing that works comes near it.
const patience = 10 * time.Second

var loopback = netip.MustParseAddr("127.0.0.1")

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// newServer makes a server that does not listen, over the house table.
func newServer(t testing.TB, cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	if cfg.MaxAnswers == 0 {
		cfg.MaxAnswers = 8
	}
	cfg.NegativeTTL = 5
	view := table(t, house)
	return New(cfg, func() *catalog.View { return view })
}

// start lets a server run for the length of the test.
func start(t testing.TB, s *Server) {
	t.Helper()
	fatal(t, s.Listen())
	run(t, s)
}

// run runs a server that listens until the test ends.
func run(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run did not return")
		}
	})
}

// serve starts a server on loopback and gives its address.
func serve(t testing.TB, cfg Config, tweaks ...func(*Server)) netip.AddrPort {
	t.Helper()
	if cfg.Bind == nil {
		cfg.Bind = []netip.Addr{loopback}
	}
	s := newServer(t, cfg)
	for _, tweak := range tweaks {
		tweak(s)
	}
	start(t, s)
	return s.Addrs()[0]
}

func question(name string, qtype uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, qtype) }

// ask sends a question as a client does and gives the reply.
func ask(t testing.TB, network string, server netip.AddrPort, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: patience}
	r, _, err := c.Exchange(m, server.String())
	fatal(t, err)
	return r
}

// dial opens a connection on which every wait is bounded.
func dial(t testing.TB, network string, server netip.AddrPort) *dns.Conn {
	t.Helper()
	c, err := net.Dial(network, server.String())
	fatal(t, err)
	t.Cleanup(func() { c.Close() })
	fatal(t, c.SetDeadline(time.Now().Add(patience)))
	return &dns.Conn{Conn: c, UDPSize: dns.MaxMsgSize}
}

func send(t testing.TB, c *dns.Conn, ms ...*dns.Msg) {
	t.Helper()
	for _, m := range ms {
		fatal(t, c.WriteMsg(m))
	}
}

func receive(t testing.TB, c *dns.Conn) *dns.Msg {
	t.Helper()
	m, err := c.ReadMsg()
	fatal(t, err)
	return m
}

// upstream is a resolver that answers with h, over UDP and TCP.
func upstream(t testing.TB, h dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	return upstreamAt(t, loopback, h)
}

func upstreamAt(t testing.TB, at netip.Addr, h dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	// The pair of sockets is made as the server makes its own.
	k, err := listen(at, 0)
	fatal(t, err)
	for _, s := range []*dns.Server{{PacketConn: k.udp}, {Listener: k.tcp}} {
		up := make(chan struct{})
		s.Handler, s.NotifyStartedFunc = knowsNoLoop(h), func() { close(up) }
		go s.ActivateAndServe()
		<-up
		t.Cleanup(func() {
			// A test that failed may have left h waiting.
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			s.ShutdownContext(ctx)
		})
	}
	return k.addr
}

// knowsNoLoop answers what the forwarder asks because the resolver of a test has
// its client's address, and leaves the rest to h.
func knowsNoLoop(h dns.HandlerFunc) dns.HandlerFunc {
	return func(w dns.ResponseWriter, r *dns.Msg) {
		if strings.Contains(strings.ToLower(r.Question[0].Name), "."+loopLabel+".") {
			w.WriteMsg(new(dns.Msg).SetRcode(r, dns.RcodeNameError))
			return
		}
		h(w, r)
	}
}

// answerA replies with one A record.
func answerA(w dns.ResponseWriter, r *dns.Msg, addr string) {
	w.WriteMsg(withA(r, addr))
}

func withA(r *dns.Msg, addr string) *dns.Msg {
	m := new(dns.Msg).SetReply(r)
	m.Answer = []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 77},
		A:   net.ParseIP(addr),
	}}
	return m
}

func TestServe(t *testing.T) {
	addr := serve(t, Config{Rules: Rules{Domain: domain}})
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			r := ask(t, network, addr, question("WEB.corp.example.", dns.TypeA))
			if want := text("WEB.corp.example. 30 IN A 10.0.0.1", "WEB.corp.example. 30 IN A 10.0.0.2"); lines(r.Answer) != want {
				t.Errorf("answer:\n%s", lines(r.Answer))
			}
			if !r.Authoritative || !r.Response || !r.RecursionDesired || r.RecursionAvailable || r.AuthenticatedData {
				t.Errorf("header: %v", r.MsgHdr.String())
			}
			if q := r.Question; len(q) != 1 || q[0].Name != "WEB.corp.example." {
				t.Errorf("question: %v", q)
			}
		})
	}
}

// TestServeManyBinds: every address has UDP and TCP, also one address of each
// family at once.
func TestServeManyBinds(t *testing.T) {
	binds := []netip.Addr{loopback, netip.MustParseAddr("127.0.0.2"), netip.IPv4Unspecified()}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		l.Close()
		binds = append(binds, netip.IPv6Unspecified())
	} else {
		t.Logf("this machine has no IPv6: %v", err)
	}
	s := newServer(t, Config{Bind: binds})
	start(t, s)
	addrs := s.Addrs()
	if len(addrs) != len(binds) {
		t.Fatalf("%v, want %v", addrs, binds)
	}
	for i, a := range addrs {
		if a.Addr() != binds[i] || a.Port() == 0 {
			t.Errorf("address %d is %v", i, a)
		}
		switch a.Addr() {
		case netip.IPv4Unspecified():
			a = netip.AddrPortFrom(loopback, a.Port())
		case netip.IPv6Unspecified():
			a = netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
		}
		for _, network := range []string{"udp", "tcp"} {
			if r := ask(t, network, a, question("db.", dns.TypeA)); len(r.Answer) != 1 {
				t.Errorf("%v over %s: %v", a, network, r)
			}
		}
	}
}

// TestServeFromAskedAddress: a connected client takes a reply from no other
// address than the one it asked, and a wildcard must know which that was.
func TestServeFromAskedAddress(t *testing.T) {
	addr := serve(t, Config{Bind: []netip.Addr{netip.IPv4Unspecified()}, Resolvers: via(
		upstream(t, func(w dns.ResponseWriter, r *dns.Msg) { answerA(w, r, "192.0.2.1") }),
	)})
	for _, host := range []string{"127.0.0.1", "127.0.0.7", "127.8.9.10"} {
		a := netip.AddrPortFrom(netip.MustParseAddr(host), addr.Port())
		for _, name := range []string{"db.", "forwarded.example."} {
			if r := ask(t, "udp", a, question(name, dns.TypeA)); len(r.Answer) != 1 {
				t.Errorf("%s: %v", host, r)
			}
		}
	}
}

// TestLocalNeverWaits: with every place taken by questions to a resolver that
// is silent, answers from the table come as if nothing were, and what finds no
// place is refused at once.
func TestLocalNeverWaits(t *testing.T) {
	release := make(chan struct{})
	addr := serve(t, Config{Resolvers: via(
		upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
			<-release
			answerA(w, r, "192.0.2.1")
		}),
	)}, func(s *Server) { s.forwarder.most = 20 })
	c := dial(t, "udp", addr)
	for i := range 21 {
		send(t, c, question(fmt.Sprintf("%d.example.", i), dns.TypeA))
	}
	if r := receive(t, c); r.Rcode != dns.RcodeServerFailure {
		t.Fatalf("one too many: %v", r)
	}
	for range 100 {
		send(t, c, question("db.", dns.TypeA))
		if r := receive(t, c); len(r.Answer) != 1 || r.Question[0].Name != "db." {
			t.Fatalf("local: %v", r)
		}
	}
	close(release)
	for range 20 {
		if r := receive(t, c); len(r.Answer) != 1 || r.Answer[0].Header().Ttl != 77 {
			t.Errorf("forwarded: %v", r)
		}
	}
}

// TestRunEnds: with questions waiting and connections open.
func TestRunEnds(t *testing.T) {
	asked, release := make(chan struct{}, 10), make(chan struct{})
	up := upstream(t, func(dns.ResponseWriter, *dns.Msg) {
		asked <- struct{}{}
		<-release
	})
	defer close(release)
	s := newServer(t, Config{Bind: []netip.Addr{loopback}, Resolvers: via(up)})
	fatal(t, s.Listen())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	for _, network := range []string{"udp", "tcp"} {
		send(t, dial(t, network, s.Addrs()[0]), question(network+".example.", dns.TypeA))
		<-asked
	}
	cancel()
	// Before the resolver would have been given up.
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(totalTime * 3 / 4):
		t.Fatal("Run did not return")
	}
	again := newServer(t, Config{Bind: []netip.Addr{loopback}, Rules: Rules{}})
	again.port = s.Addrs()[0].Port()
	fatal(t, again.Listen()) // the sockets are free again
	fatal(t, again.Close())
}

func TestRunNotListening(t *testing.T) {
	if err := newServer(t, Config{}).Run(t.Context()); err == nil {
		t.Error("no error")
	}
}

func TestListenErrors(t *testing.T) {
	k, err := listen(loopback, 0)
	fatal(t, err)
	defer k.udp.Close()
	defer k.tcp.Close()

	t.Run("in use", func(t *testing.T) {
		// The first address is free; it must not stay open.
		s := newServer(t, Config{Bind: []netip.Addr{netip.MustParseAddr("127.0.0.3"), loopback}, Port: k.addr.Port()})
		want := fmt.Sprintf("dns: listen on %v over UDP: address already in use: another program has this port (`ss -lntup 'sport = :%d'` shows which)", k.addr, k.addr.Port())
		if err := s.Listen(); err == nil || err.Error() != want {
			t.Errorf("error %v\nwant  %s", err, want)
		}
		if s.Addrs() != nil {
			t.Errorf("still open: %v", s.Addrs())
		}
		free, err := listen(netip.MustParseAddr("127.0.0.3"), k.addr.Port())
		fatal(t, err)
		free.udp.Close()
		free.tcp.Close()
	})
	t.Run("in use over TCP only", func(t *testing.T) {
		k.udp.Close()
		_, err := listen(loopback, k.addr.Port())
		if err == nil || !strings.Contains(err.Error(), "over TCP: address already in use") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("not our address", func(t *testing.T) {
		_, err := listen(netip.MustParseAddr("192.0.2.1"), 0)
		if err == nil || !strings.Contains(err.Error(), "this host does not have that address") {
			t.Errorf("error %v", err)
		}
	})
}

// TestListenHints: what cannot be had in every test environment, from the
// system's error on.
func TestListenHints(t *testing.T) {
	at := netip.MustParseAddrPort("0.0.0.0:53")
	for _, tt := range []struct {
		err  error
		want []string
	}{
		{&net.OpError{Op: "listen", Err: syscall.EADDRINUSE}, []string{"0.0.0.0:53 over UDP", "systemd-resolved", "DNSStubListener=no"}},
		{&net.OpError{Op: "listen", Err: syscall.EACCES}, []string{"permission denied", "CAP_NET_BIND_SERVICE"}},
	} {
		got := listenError("UDP", at, tt.err).Error()
		for _, w := range tt.want {
			if !strings.Contains(got, w) {
				t.Errorf("%q does not say %q", got, w)
			}
		}
	}
}

// TestViewOfTheMoment: the server asks for the view at each question.
func TestViewOfTheMoment(t *testing.T) {
	c := catalog.New(catalog.Options{Self: netip.MustParseAddr("10.0.0.1")})
	s := New(Config{Bind: []netip.Addr{loopback}, Rules: Rules{MaxAnswers: 8}, Log: quiet()}, c.View)
	start(t, s)
	put := func(active bool) {
		c.Update(func(own *catalog.Edit) {
			fatal(t, own.Put(catalog.Record{Name: "web", Addr: netip.MustParseAddr("10.0.0.1"), TTL: 60, Priority: catalog.Master, Weight: 1, Active: active}))
		})
	}
	for _, active := range []bool{true, false, true} {
		put(active)
		r := ask(t, "udp", s.Addrs()[0], question("web.", dns.TypeA))
		if got := len(r.Answer) == 1; got != active {
			t.Errorf("active %v: %v", active, r)
		}
	}
}
