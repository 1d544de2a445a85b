package nameserver

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/miekg/dns"
)

// forwarding starts a server in front of the given resolvers.
func forwarding(t testing.TB, resolvers ...netip.AddrPort) netip.AddrPort {
	t.Helper()
	return serve(t, Config{Resolvers: via(resolvers...)})
}

// TestForwardTransparent: what the client asked arrives upstream, under another
// id and spelling; what the resolver said arrives at the client, under the
// client's id and spelling.
func TestForwardTransparent(t *testing.T) {
	const name = "WWW.Example.ORG."
	tests := []struct {
		why   string
		query func(*dns.Msg)
		// seen is the question as the resolver must see it.
		seen string
		// says changes a plain reply with one A record.
		says func(*dns.Msg)
		want string
	}{
		{"plain", func(*dns.Msg) {}, "rd", func(*dns.Msg) {}, "NOERROR qr rd ra | 1 1 0 0"},
		{"AA is the resolver's", func(*dns.Msg) {}, "rd", func(m *dns.Msg) { m.Authoritative = true }, "NOERROR qr rd ra | 1 1 0 0"},
		{"RFC 6840 §5.7 AD there and back", func(m *dns.Msg) { m.AuthenticatedData = true }, "rd ad",
			func(m *dns.Msg) { m.AuthenticatedData = true }, "NOERROR qr rd ra ad | 1 1 0 0"},
		{"RFC 4035 §3.2.2 CD", func(m *dns.Msg) { m.CheckingDisabled = true }, "rd cd", func(*dns.Msg) {}, "NOERROR qr rd ra cd | 1 1 0 0"},
		{"RFC 6891 OPT is between neighbours", func(m *dns.Msg) { m.SetEdns0(4000, false) }, "rd edns=1232",
			func(m *dns.Msg) { m.SetEdns0(555, false) }, "NOERROR qr rd ra | 1 1 0 1 edns=1232"},
		{"RFC 6891 §7 none that was not asked for", func(*dns.Msg) {}, "rd",
			func(m *dns.Msg) { m.SetEdns0(555, false) }, "NOERROR qr rd ra | 1 1 0 0"},
		{"RFC 3225 DO", func(m *dns.Msg) { m.SetEdns0(4000, true) }, "rd edns=1232,do",
			func(m *dns.Msg) { m.SetEdns0(555, true) }, "NOERROR qr rd ra | 1 1 0 1 edns=1232,do"},
		{"NXDOMAIN as it is", func(*dns.Msg) {}, "rd", func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeNameError, nil }, "NXDOMAIN qr rd ra | 1 0 0 0"},
		{"REFUSED as it is", func(*dns.Msg) {}, "rd", func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeRefused, nil }, "REFUSED qr rd ra | 1 0 0 0"},
		{"SERVFAIL as it is", func(*dns.Msg) {}, "rd", func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeServerFailure, nil }, "SERVFAIL qr rd ra | 1 0 0 0"},
		{"RFC 6891 §6.1.3 an extended code", func(m *dns.Msg) { m.SetEdns0(4000, false) }, "rd edns=1232",
			func(m *dns.Msg) { m.SetEdns0(555, false); m.Rcode, m.Answer = dns.RcodeBadCookie, nil }, "BADCOOKIE qr rd ra | 1 0 0 1 edns=1232"},
		{"all sections", func(*dns.Msg) {}, "rd", func(m *dns.Msg) {
			ns, _ := dns.NewRR("example.org. 5 IN NS ns.example.org.")
			a, _ := dns.NewRR("ns.example.org. 5 IN A 192.0.2.9")
			m.Ns, m.Extra = []dns.RR{ns}, []dns.RR{a}
		}, "NOERROR qr rd ra | 1 1 1 1"},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			var (
				mu   sync.Mutex // guards seen
				seen *dns.Msg
			)
			addr := forwarding(t, upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
				mu.Lock()
				seen = r.Copy()
				mu.Unlock()
				m := withA(r, "192.0.2.1")
				tt.says(m)
				w.WriteMsg(m)
			}))
			q := question(name, dns.TypeA)
			tt.query(q)
			c := dial(t, "udp", addr)
			send(t, c, q)
			raw, err := c.ReadMsgHeader(nil)
			fatal(t, err)
			if got := describe(t, raw); got != tt.want {
				t.Errorf("reply %s\nwant  %s", got, tt.want)
			}
			var r dns.Msg
			fatal(t, r.Unpack(raw))
			if r.Id != q.Id || r.Question[0] != q.Question[0] {
				t.Errorf("id %d, question %v; asked %d, %v", r.Id, r.Question[0], q.Id, q.Question[0])
			}
			for _, rr := range r.Answer {
				if got := lines([]dns.RR{rr}); got != text(name+" 77 IN A 192.0.2.1") {
					t.Errorf("answer %s", got)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if q := seen.Question; len(q) != 1 || !strings.EqualFold(q[0].Name, name) || q[0].Qtype != dns.TypeA || q[0].Qclass != dns.ClassINET {
				t.Errorf("upstream was asked %v", q)
			}
			_, bits, _ := strings.Cut(describe(t, packed(t, seen)), " ")
			flags, counts, _ := strings.Cut(bits, "|")
			flags = strings.TrimSpace(flags)
			if _, e, ok := strings.Cut(counts, "edns="); ok {
				flags += " edns=" + e
			}
			if flags != tt.seen {
				t.Errorf("upstream saw %q, want %q", flags, tt.seen)
			}
		})
	}
}

// TestForwardIDs: identifiers and ports are drawn anew for each question.
func TestForwardIDs(t *testing.T) {
	var (
		mu    sync.Mutex // guards ids and ports
		ids   = map[uint16]bool{}
		ports = map[string]bool{}
	)
	addr := forwarding(t, upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
		mu.Lock()
		defer mu.Unlock()
		ids[r.Id], ports[w.RemoteAddr().String()] = true, true
		answerA(w, r, "192.0.2.1")
	}))
	const n = 50
	for range n {
		q := question("example.org.", dns.TypeA)
		q.Id = 7 // the client's id is not passed on
		ask(t, "udp", addr, q)
	}
	mu.Lock()
	defer mu.Unlock()
	// 50 draws of 65536 (ports: of 28232) agree now and then, but not thrice.
	if len(ids) < n-3 || len(ports) < n-3 {
		t.Errorf("%d ids and %d ports in %d questions", len(ids), len(ports), n)
	}
}

// TestForwardLies: replies that do not belong to the question are not taken,
// and the true one is still waited for.
func TestForwardLies(t *testing.T) {
	const forged = "203.0.113.66"
	tests := []struct {
		why string
		lie func(w dns.ResponseWriter, m *dns.Msg)
	}{
		// Asked again over TCP, where nobody else is heard.
		{"another spelling", func(w dns.ResponseWriter, m *dns.Msg) {
			if w.LocalAddr().Network() == "udp" {
				m.Question[0].Name = swapCase(m.Question[0].Name)
				w.WriteMsg(m)
			}
		}},
		{"another id", func(w dns.ResponseWriter, m *dns.Msg) { m.Id++; w.WriteMsg(m) }},
		{"another name", func(w dns.ResponseWriter, m *dns.Msg) { m.Question[0].Name = "evil.example."; w.WriteMsg(m) }},
		{"another type", func(w dns.ResponseWriter, m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT; w.WriteMsg(m) }},
		{"another class", func(w dns.ResponseWriter, m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS; w.WriteMsg(m) }},
		{"no question", func(w dns.ResponseWriter, m *dns.Msg) { m.Question = nil; w.WriteMsg(m) }},
		{"not a reply", func(w dns.ResponseWriter, m *dns.Msg) { m.Response = false; w.WriteMsg(m) }},
		{"another opcode", func(w dns.ResponseWriter, m *dns.Msg) { m.Opcode = dns.OpcodeUpdate; w.WriteMsg(m) }},
		{"cut off", func(w dns.ResponseWriter, m *dns.Msg) {
			b, _ := m.Pack()
			w.Write(b[:len(b)-2])
		}},
		{"not DNS", func(w dns.ResponseWriter, m *dns.Msg) { w.Write([]byte("hello")) }},
		{"another port", func(w dns.ResponseWriter, m *dns.Msg) {
			c, err := net.DialUDP("udp", nil, w.RemoteAddr().(*net.UDPAddr))
			if err != nil {
				return
			}
			defer c.Close()
			b, _ := m.Pack()
			c.Write(b)
		}},
		{"another address", func(w dns.ResponseWriter, m *dns.Msg) {
			// The resolver's own port, but not its address.
			port := w.LocalAddr().(*net.UDPAddr).Port
			c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 66), Port: port}, w.RemoteAddr().(*net.UDPAddr))
			if err != nil {
				return
			}
			defer c.Close()
			b, _ := m.Pack()
			c.Write(b)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			var asked atomic.Int32
			addr := forwarding(t, upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
				asked.Add(1)
				tt.lie(w, withA(r, forged))
				answerA(w, r, "192.0.2.1")
			}))
			r := ask(t, "udp", addr, question("example.org.", dns.TypeA))
			if got := lines(r.Answer); got != text("example.org. 77 IN A 192.0.2.1") {
				t.Errorf("got %s", got)
			}
			if n := asked.Load(); n != 1 && tt.why != "another spelling" {
				t.Errorf("the true answer was not read: asked %d times", n)
			}
		})
	}
}

// swapCase turns the case of each letter.
func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, s)
}

// TestForwardLiarOnly: a resolver that only lies is a resolver that does not
// answer.
func TestForwardLiarOnly(t *testing.T) {
	liar := upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
		m := withA(r, "203.0.113.66")
		m.Question[0].Name = "evil.example."
		w.WriteMsg(m)
	})
	honest := upstream(t, func(w dns.ResponseWriter, r *dns.Msg) { answerA(w, r, "192.0.2.1") })
	start := time.Now()
	r := ask(t, "udp", forwarding(t, liar, honest), question("example.org.", dns.TypeA))
	if got := lines(r.Answer); got != text("example.org. 77 IN A 192.0.2.1") {
		t.Errorf("got %s", got)
	}
	if took := time.Since(start); took < leastUsual { // the loop probe may have told its usual time
		t.Errorf("the next resolver was asked after %v", took)
	}
}

// TestForwardTruncated: a truncated answer is fetched over TCP and handed out
// whole where it fits.
func TestForwardTruncated(t *testing.T) {
	var udp, tcp atomic.Int32
	addr := forwarding(t, upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
		m := withA(r, "192.0.2.1")
		for i := range 39 {
			m.Answer = append(m.Answer, withA(r, fmt.Sprintf("192.0.2.%d", i+2)).Answer...)
		}
		if w.LocalAddr().Network() == "udp" {
			udp.Add(1)
			m.Truncated, m.Answer = true, m.Answer[:1]
		} else {
			tcp.Add(1)
		}
		w.WriteMsg(m)
	}))
	for i, tt := range []struct {
		network string
		edns    uint16
		tc      bool
		least   int
	}{
		{"udp", 0, true, 20},
		{"udp", 1232, false, 40},
		{"tcp", 0, false, 40},
	} {
		q := question("example.org.", dns.TypeA)
		if tt.edns > 0 {
			q.SetEdns0(tt.edns, false)
		}
		r := ask(t, tt.network, addr, q)
		if r.Truncated != tt.tc || len(r.Answer) < tt.least {
			t.Errorf("%s %d: TC %v, %d answers", tt.network, tt.edns, r.Truncated, len(r.Answer))
		}
		if u, c := udp.Load(), tcp.Load(); u != int32(i+1) || c != int32(i+1) {
			t.Errorf("%s %d: upstream asked %d times over UDP, %d over TCP", tt.network, tt.edns, u, c)
		}
	}
}

// TestForwardTruncatedLiar: over TCP too the question is compared.
func TestForwardTruncatedLiar(t *testing.T) {
	addr := forwarding(t, upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
		m := withA(r, "203.0.113.66")
		if w.LocalAddr().Network() == "udp" {
			m.Truncated, m.Answer = true, nil
		} else {
			m.Question[0].Name = "axample.org."
		}
		w.WriteMsg(m)
	}))
	if r := ask(t, "udp", addr, question("example.org.", dns.TypeA)); r.Rcode != dns.RcodeServerFailure || len(r.Answer) != 0 {
		t.Errorf("got %v", r)
	}
}

// TestForwardDead: a resolver where nothing listens and one that is silent keep
// nobody from an answer.
func TestForwardDead(t *testing.T) {
	k, err := listen(loopback, 0)
	fatal(t, err)
	k.udp.Close()
	k.tcp.Close()
	ok := upstream(t, func(w dns.ResponseWriter, r *dns.Msg) { answerA(w, r, "192.0.2.1") })
	silent := upstream(t, func(dns.ResponseWriter, *dns.Msg) {})
	log := &logBuffer{}
	addr := serve(t, Config{Resolvers: via(k.addr, silent, ok), Log: log.logger()})
	for i := range 5 {
		r := ask(t, "udp", addr, question(fmt.Sprintf("%d.example.", i), dns.TypeA))
		if len(r.Answer) != 1 {
			t.Errorf("got %v", r)
		}
	}
	for _, want := range []string{
		fmt.Sprintf("level=WARN msg=\"resolver failed: %v\" ", k.addr),
		"error=\"ask over UDP: read: connection refused\"",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, log)
		}
	}
}

// TestForwardShared: clients that share an answer each get it with their own
// spelling and id. That the resolver is asked once for them is in
// TestResolveMerges.
func TestForwardShared(t *testing.T) {
	const n = 20
	release := make(chan struct{})
	s := newServer(t, Config{Bind: []netip.Addr{loopback}, Resolvers: via(
		upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
			<-release
			answerA(w, r, "192.0.2.1")
		}),
	)})
	// One place less than questions: that one of them is turned away shows
	// that the others have theirs.
	s.forwarder.most = n - 1
	start(t, s)
	c := dial(t, "udp", s.Addrs()[0])
	names := map[uint16]string{}
	for i := range n {
		q := question("example.org.", dns.TypeA)
		if i%2 == 1 {
			q = question("eXample.ORG.", dns.TypeA)
		}
		q.Id = uint16(i)
		names[q.Id] = q.Question[0].Name
		send(t, c, q)
	}
	if r := receive(t, c); r.Rcode != dns.RcodeServerFailure {
		t.Fatalf("one too many: %v", r)
	}
	close(release)
	for range n - 1 {
		r := receive(t, c)
		if len(r.Answer) != 1 || r.Answer[0].Header().Name != names[r.Id] || r.Question[0].Name != names[r.Id] {
			t.Errorf("got %v", r)
		}
	}
}
