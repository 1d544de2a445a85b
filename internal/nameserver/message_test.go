package nameserver

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

var (
	friend    = netip.MustParseAddrPort("10.0.0.77:4242")
	stranger  = netip.MustParseAddrPort("203.0.113.9:4242")
	resolver1 = via(netip.MustParseAddrPort("192.0.2.53:53"))
)

func packed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	fatal(t, err)
	return b
}

// edit packs a question about db. after fn has changed it, and gives the octets.
func edit(t testing.TB, fn func(*dns.Msg)) []byte {
	t.Helper()
	m := question("db.", dns.TypeA)
	m.Id = 0xBEEF
	fn(m)
	return packed(t, m)
}

func edns(size uint16) func(*dns.Msg) {
	return func(m *dns.Msg) { m.SetEdns0(size, false) }
}

// word changes one 16-bit word of the header.
func word(b []byte, i int, fn func(uint16) uint16) []byte {
	binary.BigEndian.PutUint16(b[2*i:], fn(binary.BigEndian.Uint16(b[2*i:])))
	return b
}

func to(n uint16) func(uint16) uint16 { return func(uint16) uint16 { return n } }

// TestHandle is about what surrounds an answer: each case names the RFC or the
// section of the product text that it is from.
func TestHandle(t *testing.T) {
	plain := edit(t, func(*dns.Msg) {})
	var (
		local     = newServer(t, Config{})
		forwards  = newServer(t, Config{Resolvers: resolver1})
		forbidden = newServer(t, Config{Resolvers: resolver1, Rules: Rules{AllowRecursion: []netip.Prefix{}}})
	)
	tests := []struct {
		why  string
		s    *Server
		raw  []byte
		from netip.AddrPort
		// want is "nothing", "forward", or the reply: code, flags, how many
		// records in each section, and the EDNS part.
		want string
	}{
		{"RFC 1035 §4.1.1 answered from the table", local, plain, friend, "NOERROR qr aa rd | 1 1 0 0"},
		{"also for a stranger: the table is not recursion", local, plain, stranger, "NOERROR qr aa rd | 1 1 0 0"},
		{"RFC 1035 §4.1.1 RD is echoed", local, edit(t, func(m *dns.Msg) { m.RecursionDesired = false }), friend, "NOERROR qr aa | 1 1 0 0"},
		{"RFC 4035 §3.1.6 CD is echoed, AD is not", local, edit(t, func(m *dns.Msg) { m.CheckingDisabled, m.AuthenticatedData = true, true }), friend, "NOERROR qr aa rd cd | 1 1 0 0"},
		{"RFC 1035 §4.1.1 RA: we would forward for this client", forwards, plain, friend, "NOERROR qr aa rd ra | 1 1 0 0"},
		{"RA: not for a stranger", forwards, plain, stranger, "NOERROR qr aa rd | 1 1 0 0"},
		{"RA: not where nobody is allowed", forbidden, plain, friend, "NOERROR qr aa rd | 1 1 0 0"},
		{"P5 not ours: forwarded", forwards, packed(t, question("example.org.", dns.TypeA)), friend, "forward"},
		{"P5 no open resolver", forwards, packed(t, question("example.org.", dns.TypeA)), stranger, "REFUSED qr rd | 1 0 0 0"},
		{"P4 allow-recursion beats the default", forbidden, packed(t, question("example.org.", dns.TypeA)), friend, "REFUSED qr rd | 1 0 0 0"},
		{"RFC 1034 §4.3.1 not without RD", forwards, func() []byte {
			m := question("example.org.", dns.TypeA)
			m.RecursionDesired = false
			return packed(t, m)
		}(), friend, "REFUSED qr ra | 1 0 0 0"},

		{"P5 class CH", forwards, func() []byte {
			m := question("version.bind.", dns.TypeTXT)
			m.Question[0].Qclass = dns.ClassCHAOS
			return packed(t, m)
		}(), friend, "REFUSED qr rd ra | 1 0 0 0"},
		{"RFC 9619 no question", local, edit(t, func(m *dns.Msg) { m.Question = nil }), friend, "FORMERR qr rd | 0 0 0 0"},
		{"RFC 9619 two questions", local, edit(t, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), friend, "FORMERR qr rd | 0 0 0 0"},
		{"RFC 1035 §4.1.1 opcode STATUS", local, edit(t, func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }), friend, "NOTIMP qr rd opcode=2 | 0 0 0 0"},
		{"RFC 1996 NOTIFY", local, edit(t, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), friend, "NOTIMP qr rd opcode=4 | 0 0 0 0"},
		{"RFC 2136 UPDATE", local, edit(t, func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), friend, "NOTIMP qr rd opcode=5 | 0 0 0 0"},
		{"a reply is never replied to", local, edit(t, func(m *dns.Msg) { m.Response = true }), friend, "nothing"},
		{"nor when it is malformed", local, edit(t, func(m *dns.Msg) { m.Response, m.Question = true, nil }), friend, "nothing"},
		{"shorter than a header", local, plain[:11], friend, "nothing"},
		{"empty", local, nil, friend, "nothing"},
		{"a header alone", local, plain[:12], friend, "FORMERR qr rd | 0 0 0 0"},
		{"cut within the question", local, plain[:15], friend, "FORMERR qr rd | 0 0 0 0"},
		{"RFC 1035 §4.1.2 cut before the type", local, plain[:len(plain)-4], friend, "FORMERR qr rd | 0 0 0 0"},
		{"RFC 1035 §4.1.2 cut before the class", local, plain[:len(plain)-2], friend, "FORMERR qr rd | 0 0 0 0"},
		{"an announced record that is not there", local, word(edit(t, func(*dns.Msg) {}), 5, to(1)), friend, "FORMERR qr rd | 0 0 0 0"},
		{"a question with an answer", local, word(edit(t, func(m *dns.Msg) { m.Answer = withA(m, "192.0.2.1").Answer }), 3, to(1)), friend, "FORMERR qr rd | 0 0 0 0"},
		{"RFC 9267 a name that points at itself", local, append(word(plain[:12:12], 2, to(1)), 0xC0, 12, 0, 1, 0, 1), friend, "FORMERR qr rd | 0 0 0 0"},

		{"RFC 6891 §7 no OPT, no OPT", local, plain, friend, "NOERROR qr aa rd | 1 1 0 0"},
		{"RFC 6891 §6.1.1 OPT for OPT", local, edit(t, edns(4096)), friend, "NOERROR qr aa rd | 1 1 0 1 edns=1232"},
		{"RFC 3225 §3 DO is copied", local, edit(t, func(m *dns.Msg) { m.SetEdns0(4096, true) }), friend, "NOERROR qr aa rd | 1 1 0 1 edns=1232,do"},
		{"RFC 6891 §6.1.1 OPT with a refusal too", local, func() []byte {
			m := question("example.org.", dns.TypeA)
			m.SetEdns0(4096, false)
			return packed(t, m)
		}(), friend, "REFUSED qr rd | 1 0 0 1 edns=1232"},
		{"RFC 6891 §6.1.3 version 1", local, edit(t, func(m *dns.Msg) { m.SetEdns0(4096, false).IsEdns0().SetVersion(1) }), friend, "BADVERS qr rd | 1 0 0 1 edns=1232"},
		{"RFC 6891 §6.1.2 unknown options are ignored", local, edit(t, func(m *dns.Msg) {
			m.SetEdns0(4096, false).IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}}
		}), friend, "NOERROR qr aa rd | 1 1 0 1 edns=1232"},
		{"RFC 6891 §6.1.1 two OPT", local, edit(t, func(m *dns.Msg) { m.SetEdns0(4096, false).SetEdns0(4096, false) }), friend, "FORMERR qr rd | 0 0 0 1 edns=1232"},
		{"RFC 6891 §6.1.2 OPT below the root", local, edit(t, func(m *dns.Msg) { m.SetEdns0(4096, false).IsEdns0().Hdr.Name = "x." }), friend, "FORMERR qr rd | 0 0 0 0"},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			v := tt.s.handle(tt.raw, nil, tt.from, false)
			got := "nothing"
			switch {
			case v.forward != nil:
				got = "forward"
			case v.reply != nil:
				got = describe(t, v.reply)
				if id := binary.BigEndian.Uint16(v.reply); id != binary.BigEndian.Uint16(tt.raw) {
					t.Errorf("id %#x", id)
				}
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// describe puts a reply into the words of TestHandle.
func describe(t *testing.T, raw []byte) string {
	var m dns.Msg
	fatal(t, m.Unpack(raw))
	s := dns.RcodeToString[m.Rcode]
	if m.Rcode == dns.RcodeBadVers {
		s = "BADVERS" // the library prefers the number's other meaning
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"qr", m.Response}, {"aa", m.Authoritative}, {"tc", m.Truncated}, {"rd", m.RecursionDesired},
		{"ra", m.RecursionAvailable}, {"z", m.Zero}, {"ad", m.AuthenticatedData}, {"cd", m.CheckingDisabled},
	} {
		if f.set {
			s += " " + f.name
		}
	}
	if m.Opcode != 0 {
		s += fmt.Sprintf(" opcode=%d", m.Opcode)
	}
	s += fmt.Sprintf(" | %d %d %d %d", len(m.Question), len(m.Answer), len(m.Ns), len(m.Extra))
	if o := m.IsEdns0(); o != nil {
		s += fmt.Sprintf(" edns=%d", o.UDPSize())
		if o.Do() {
			s += ",do"
		}
	}
	return s
}

// TestSize: what does not fit is cut between records and says so; the whole
// comes over TCP.
func TestSize(t *testing.T) {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "10.0.1.%d 10.0.1.%d web 60 master 100 active\n", i, i)
	}
	view := table(t, b.String())
	addr := serve(t, Config{Rules: Rules{MaxAnswers: 200}}, func(s *Server) { s.view = func() *catalog.View { return view } })
	tests := []struct {
		why     string
		network string
		edns    int // 0: without
		limit   int
	}{
		{"RFC 1035 §4.2.1 without EDNS", "udp", 0, 512},
		{"RFC 6891 §6.2.3 less than 512 is 512", "udp", 100, 512},
		{"RFC 6891 §6.2.5 the client's size", "udp", 800, 800},
		{"RFC 9715 at most 1232", "udp", 4096, 1232},
		{"RFC 1035 §4.2.2 TCP", "tcp", 0, 65535},
		{"RFC 6891 §6.2.3 the size is of UDP", "tcp", 512, 65535},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			m := question("web.", dns.TypeA)
			if tt.edns > 0 {
				m.SetEdns0(uint16(tt.edns), false)
			}
			c := dial(t, tt.network, addr)
			send(t, c, m)
			raw, err := c.ReadMsgHeader(nil)
			fatal(t, err)
			var r dns.Msg
			fatal(t, r.Unpack(raw))
			n := len(r.Answer)
			if tt.network == "tcp" {
				if r.Truncated || n != 200 {
					t.Fatalf("TC %v, %d answers", r.Truncated, n)
				}
				return
			}
			// Another record, of 16 octets, would not have fitted.
			if !r.Truncated || len(raw) > tt.limit || len(raw)+16 <= tt.limit {
				t.Errorf("TC %v, %d octets with %d answers, limit %d", r.Truncated, len(raw), n, tt.limit)
			}
			if (r.IsEdns0() != nil) != (tt.edns > 0) {
				t.Errorf("OPT: %v", r.IsEdns0())
			}
		})
	}
}

// TestMalformedLog: a flood of rubbish is one line a second.
func TestMalformedLog(t *testing.T) {
	log := &logBuffer{}
	s := newServer(t, Config{Log: log.logger()})
	for range 1000 {
		s.handle(make([]byte, 12), nil, stranger, false)
	}
	if n := strings.Count(log.String(), "\n"); n < 1 || n > 2 {
		t.Errorf("%d lines:\n%s", n, log)
	}
	if want := "level=INFO msg=\"malformed query\" client=203.0.113.9:4242 error=\"0 questions, want 1\"\n"; !strings.HasPrefix(log.String(), want) {
		t.Errorf("log: %swant: %s", log, want)
	}
}

// TestAllocs is the budget of a local answer on the way of the wire library.
// Its eight allocations for an A question are:
//
//	the library reading     the question slice, the name
//	handle                  the query, which a forwarded one outlives the packet with
//	addresses               the slice of records, the records with their addresses
//	pack                    the question slice of the reply
//	the library writing     the map of compression, its room
//
// EDNS adds three: in the question the slice and the record, with what the
// library reads it through. The packet,
// the lookup, the order (by whatever algorithm) and the reply's octets cost none.
func TestAllocs(t *testing.T) {
	buf := make([]byte, readSize)
	for a := balance.WeightedRandom; a <= balance.FixFirstBySource; a++ {
		s := newServer(t, Config{Resolvers: resolver1, Rules: Rules{Balancing: bySource(a, "server-02", "server-01")}})
		for _, tt := range []struct {
			why  string
			raw  []byte
			want float64
		}{
			{"A", packed(t, question("web.", dns.TypeA)), 8},
			{"A of many", packed(t, question("spare.", dns.TypeA)), 8},
			{"A with EDNS", func() []byte {
				m := question("web.", dns.TypeA)
				m.SetEdns0(1232, false)
				return packed(t, m)
			}(), 11},
		} {
			got := testing.AllocsPerRun(1000, func() {
				if s.handle(tt.raw, buf, friend, false).reply == nil {
					t.Fatal("no reply")
				}
			})
			if got > tt.want {
				t.Errorf("%s, %v: %v allocations, want at most %v", tt.why, a, got, tt.want)
			}
		}
	}
}

func BenchmarkHandle(b *testing.B) {
	small := table(b, house)
	many := manyMasters(b)
	for _, bb := range []struct {
		name string
		view *catalog.View
		m    *dns.Msg
		by   *Balancing
	}{
		{"A", small, question("db.", dns.TypeA), nil},
		{"A8", many, question("web.", dns.TypeA), nil},
		{"A8BySource", many, question("web.", dns.TypeA), bySource(balance.FixBySource, "web")},
		{"PTR", small, question("1.0.0.10.in-addr.arpa.", dns.TypePTR), nil},
		{"NODATA", small, question("db.", dns.TypeMX), nil},
		{"REFUSED", small, question("example.org.", dns.TypeA), nil},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s := newServer(b, Config{Rules: Rules{MaxAnswers: 8, Domain: domain, Balancing: bb.by}})
			s.view = func() *catalog.View { return bb.view }
			raw, buf := packed(b, bb.m), make([]byte, readSize)
			b.ReportAllocs()
			for b.Loop() {
				if s.handle(raw, buf, friend, false).reply == nil {
					b.Fatal("no reply")
				}
			}
		})
	}
}
