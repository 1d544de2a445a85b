package nameserver

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

var update = flag.Bool("update", false, "write what is answered into testdata/conformance; commit only a change you understand")

// TestConformance plays testdata/conformance: each case is a paragraph with the
// section of the RFC that it is from (or of the manual, which says what no RFC
// does), the question, and what comes back, octets on a socket both ways:
//
//	RFC 1035 §3.4.1 the address of a name
//	? web.corp.example. A +edns=1232 +do @zone
//	NOERROR qr aa rd
//	question web.corp.example. IN A
//	answer   web.corp.example. 60 IN A 10.0.0.1
//	edns     1232 v0 do
//
// A question is asked over UDP and over TCP, and both answers have to be the same
// (+udp, +tcp: only there). @SERVER is one of conformServers, owned when there is
// none. questionOf knows the other words. Besides, each reply has to keep what
// lawful says of all replies.
func TestConformance(t *testing.T) {
	files, err := filepath.Glob("testdata/conformance/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	servers := conformServers(t)
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			fatal(t, err)
			var out []string
			for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
				lines := strings.Split(strings.TrimSpace(block), "\n")
				if strings.HasPrefix(lines[0], "#") {
					out = append(out, block)
					continue
				}
				if !hasSource.MatchString(lines[0]) || len(lines) < 2 || !strings.HasPrefix(lines[1], "? ") {
					t.Fatalf("a case begins with its source and its question: %s", block)
				}
				want := strings.Join(lines[2:], "\n")
				t.Run(lines[0], func(t *testing.T) {
					got := conform(t, servers, lines[1][2:])
					if got != want && !*update {
						t.Errorf("%s\ngot:\n%s\nwant:\n%s", lines[1], got, want)
					}
					want = got
				})
				out = append(out, strings.TrimRight(lines[0]+"\n"+lines[1]+"\n"+want, "\n"))
			}
			if *update {
				fatal(t, os.WriteFile(path, []byte(strings.Join(out, "\n\n")+"\n"), 0o644))
			}
		})
	}
}

var hasSource = regexp.MustCompile(`^(RFC [0-9]{4}( §[0-9.]+)?|manual): `)

// conformServers are those that the cases ask, all over one table.
func conformServers(t *testing.T) map[string]netip.AddrPort {
	text, err := os.ReadFile("testdata/conformance/table")
	fatal(t, err)
	view := table(t, string(text))
	up := via(upstream(t, conformUpstream))
	zone := Rules{Domain: domain, Host: "server-01", DomainOwned: true, MaxAnswers: 200, NegativeTTL: 5, AllowTransfer: []netip.Prefix{}}
	with := func(fn func(*Rules)) Rules {
		r := zone
		fn(&r)
		return r
	}
	addrs := map[string]netip.AddrPort{}
	for name, cfg := range map[string]Config{
		"owned":  {Rules: zone, Resolvers: up},                                                                               // nobody else serves the domain
		"zone":   {Rules: zone},                                                                                              // nothing but the table
		"cloud":  {Rules: with(func(r *Rules) { r.DomainOwned = false }), Resolvers: up},                                     // others serve the domain
		"bare":   {Rules: with(func(r *Rules) { r.Domain, r.DomainOwned = "", false }), Resolvers: up},                       // no domain
		"eight":  {Rules: with(func(r *Rules) { r.MaxAnswers = 8 })},                                                         // max-ip-num
		"picky":  {Rules: with(func(r *Rules) { r.Names = func(n string) bool { return n != "web" } }), Resolvers: up},       // name-excludes
		"norec":  {Rules: with(func(r *Rules) { r.AllowRecursion = []netip.Prefix{} }), Resolvers: up},                       // allow-recursion: []
		"closed": {Rules: with(func(r *Rules) { r.AllowQuery = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })},     // allow-query
		"down":   {Rules: zone, Resolvers: via(netip.AddrPortFrom(loopback, 1))},                                             // no resolver answers
		"empty":  {Rules: with(func(r *Rules) { r.WhenEmpty = []WhenEmpty{{func(string) bool { return true }, FailOpen}} })}, // when-empty: all
	} {
		cfg.Bind, cfg.Log = []netip.Addr{loopback}, quiet()
		s := New(cfg, func() *catalog.View { return view })
		start(t, s)
		addrs[name] = s.Addrs()[0]
	}
	return addrs
}

// conformUpstream is a resolver that tells in a TXT record how it was posed, and
// otherwise does what the first label of the name says.
func conformUpstream(w dns.ResponseWriter, r *dns.Msg) {
	q := r.Question[0]
	m := new(dns.Msg).SetReply(r)
	m.RecursionAvailable = true
	opt := r.IsEdns0()
	do := opt != nil && opt.Do()
	if opt != nil {
		m.SetEdns0(1232, do)
	}
	m.AuthenticatedData = do || r.AuthenticatedData
	add := func(format string, args ...any) {
		rr, err := dns.NewRR(fmt.Sprintf(format, args...))
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	label, _, _ := strings.Cut(strings.ToLower(q.Name), ".")
	switch {
	case label == "nx":
		m.Rcode = dns.RcodeNameError
		soa, _ := dns.NewRR("example.org. 60 IN SOA ns.example.org. mail.example.org. 1 2 3 4 30")
		m.Ns = []dns.RR{soa}
	case label == "nodata":
		soa, _ := dns.NewRR("example.org. 60 IN SOA ns.example.org. mail.example.org. 1 2 3 4 30")
		m.Ns = []dns.RR{soa}
	case label == "servfail":
		m.Rcode, m.AuthenticatedData = dns.RcodeServerFailure, false
	case label == "alias":
		add("%s 77 IN CNAME www.example.org.", q.Name)
		add("www.example.org. 77 IN A 192.0.2.1")
	case label == "big":
		for i := range 100 {
			add("%s 77 IN A 192.0.2.%d", q.Name, i)
		}
	case q.Qtype == dns.TypeTXT:
		add("%s 77 IN TXT \"edns=%v do=%v ad=%v cd=%v rd=%v\"", q.Name, opt != nil, do, r.AuthenticatedData, r.CheckingDisabled, r.RecursionDesired)
	default:
		add("%s 77 IN A 192.0.2.1", q.Name)
	}
	m.Truncate(map[bool]int{true: 1232, false: dns.MaxMsgSize}[w.RemoteAddr().Network() == "udp"])
	w.WriteMsg(m)
}

// conform asks a question and gives what comes back in words.
func conform(t *testing.T, servers map[string]netip.AddrPort, words string) string {
	q := questionOf(t, words)
	server, ok := servers[q.server]
	if !ok {
		t.Fatalf("no server %s", q.server)
	}
	var said []string
	for _, network := range q.networks {
		raw := wireTrip(t, network, server, q.wire)
		lawful(t, network, q, raw)
		said = append(said, inWords(t, raw, q))
	}
	if said[0] != said[len(said)-1] {
		t.Errorf("%s\nover UDP:\n%s\nover TCP:\n%s", words, said[0], said[1])
	}
	return said[0]
}

// wireTrip sends a packet and gives the reply; nil when there is none. Over UDP
// that is seen by the answer to a question behind it.
func wireTrip(t *testing.T, network string, server netip.AddrPort, wire []byte) []byte {
	t.Helper()
	c := dial(t, network, server)
	defer c.Close()
	if network == "tcp" {
		_, err := c.Conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...))
		fatal(t, err)
		var size [2]byte
		if _, err := io.ReadFull(c.Conn, size[:]); err == io.EOF {
			return nil
		} else {
			fatal(t, err)
		}
		raw := make([]byte, binary.BigEndian.Uint16(size[:]))
		_, err = io.ReadFull(c.Conn, raw)
		fatal(t, err)
		return raw
	}
	udp := c.Conn.(*net.UDPConn)
	_, err := udp.Write(wire)
	fatal(t, err)
	if len(wire) < headerSize || wire[2]&0x80 != 0 {
		probe := question("probe.", dns.TypeTXT)
		probe.Id, probe.Question[0].Qclass = 0xFFFF, dns.ClassCHAOS
		send(t, c, probe)
	}
	raw := make([]byte, dns.MaxMsgSize)
	n, err := udp.Read(raw)
	fatal(t, err)
	if binary.BigEndian.Uint16(raw) == 0xFFFF {
		return nil
	}
	return raw[:n]
}

// TestConformanceStreams: what TCP does to messages on their way. Each case writes
// pieces, and counts the replies that come back before the server, or the client
// when it has them all, ends the stream.
func TestConformanceStreams(t *testing.T) {
	server := conformServers(t)["owned"]
	ask := func(id uint16, name string) []byte {
		m := question(name, dns.TypeA)
		m.Id = id
		raw := packed(t, m)
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...)
	}
	octets := func(b []byte) (pieces [][]byte) {
		for i := range b {
			pieces = append(pieces, b[i:i+1])
		}
		return pieces
	}
	local, other := ask(1, "db.corp.example."), ask(2, "web.corp.example.")
	reply := slices.Clone(local)
	reply[4] |= 0x80
	tests := []struct {
		why    string
		pieces [][]byte
		ids    string // of the replies, in order; any order when they are of resolvers
	}{
		{"RFC 1035 §4.2.2: two octets of length, then the message", [][]byte{local}, "1"},
		{"RFC 7766 §8: length and message in two segments", [][]byte{local[:2], local[2:]}, "1"},
		{"RFC 7766 §8: length in two segments", [][]byte{local[:1], local[1:]}, "1"},
		{"RFC 7766 §8: octet by octet", octets(local), "1"},
		{"RFC 7766 §6.2.1.1: two in a segment", [][]byte{slices.Concat(local, other)}, "1 2"},
		{"RFC 7766 §6.2.1.1: cut where they do not end", [][]byte{slices.Concat(local, other[:7]), other[7:]}, "1 2"},
		{"RFC 7766 §6.2.1: one after the other on one connection", [][]byte{local, other, ask(3, "db.corp.example.")}, "1 2 3"},
		{"RFC 7766 §7: one of a resolver among them", [][]byte{slices.Concat(local, ask(3, "www.example.org."), other)}, "1 2 3"},
		{"RFC 1035 §4.2.2: the same ID twice is two questions", [][]byte{slices.Concat(local, local)}, "1 1"},
		{"RFC 7766 §8: a message that ends with the stream", [][]byte{local, other[:20]}, "1"},
		{"RFC 1035 §4.1.1: a reply ends the stream", [][]byte{local, reply, other}, "1"},
		{"RFC 1035 §4.2.2: so does a message of no octets", [][]byte{local, {0, 0}, other}, "1"},
		{"RFC 1035 §4.1.1: what is malformed does not", [][]byte{local, {0, 12, 0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, other}, "1 9 2"},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			c := dial(t, "tcp", server)
			conn := c.Conn.(*net.TCPConn)
			for _, p := range tt.pieces {
				if _, err := conn.Write(p); err != nil {
					break // it has ended
				}
			}
			conn.CloseWrite()
			var ids []string
			for {
				r, err := c.ReadMsg()
				if err != nil {
					break
				}
				ids = append(ids, strconv.Itoa(int(r.Id)))
			}
			if strings.Contains(tt.why, "resolver") {
				slices.Sort(ids)
			}
			if got := strings.Join(ids, " "); got != tt.ids {
				t.Errorf("replies %s, want %s", got, tt.ids)
			}
		})
	}
}
