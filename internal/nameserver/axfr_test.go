package nameserver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

var everybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// fetch transfers the zone as a secondary does, and gives its records between
// the two SOAs, one a line in order, and how many messages it came in.
func fetch(t *testing.T, c *dns.Conn, m *dns.Msg) (records []string, soa *dns.SOA, messages int) {
	t.Helper()
	send(t, c, m)
	for first := true; ; {
		raw, err := c.ReadMsgHeader(nil)
		fatal(t, err)
		var r dns.Msg
		fatal(t, r.Unpack(raw))
		messages++
		if r.Rcode != dns.RcodeSuccess || !r.Authoritative || r.Truncated || r.Id != m.Id || len(r.Question) != 1 || len(r.Answer) == 0 || len(r.Ns) > 0 {
			t.Fatalf("message %d: %v", messages, &r)
		}
		if (r.IsEdns0() == nil) != (m.IsEdns0() == nil) { // RFC 5936 §2.2.5
			t.Fatalf("message %d: OPT %v", messages, r.IsEdns0())
		}
		if len(raw) > 1<<14 {
			t.Fatalf("message %d has %d octets, of which names beyond 16 KiB cannot be pointed at", messages, len(raw))
		}
		for _, rr := range r.Answer {
			if x, ok := rr.(*dns.SOA); ok && first {
				soa, first = x, false
				continue
			} else if ok {
				if x.String() != soa.String() {
					t.Errorf("SOA at the end %v, at the beginning %v", x, soa)
				}
				slices.Sort(records)
				return records, soa, messages
			}
			records = append(records, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
}

// TestTransfer: the zone is what is answered (product §5), all of it: masters and
// secondaries, else backups, of both families, with one TTL of a set; nothing that
// is Inactive or of a dead host; the origin where there is no alias of its name.
func TestTransfer(t *testing.T) {
	s := newServer(t, Config{Bind: []netip.Addr{loopback}, Resolvers: resolver1, Rules: Rules{
		Domain: domain, Host: "server-01", AllowTransfer: everybody, MaxAnswers: 1, // which is for answers
		Balancing: NewBalancing([]Balance{{Match: func(string) bool { return true }, MaxAnswers: 1}}),
		Names:     func(name string) bool { return name != "c-alias" },
	}})
	start(t, s)
	c := dial(t, "tcp", s.Addrs()[0])
	got, soa, _ := fetch(t, c, new(dns.Msg).SetAxfr("Corp.Example."))
	want := []string{
		"a-alias.corp.example. 60 IN A 10.0.0.7",
		"b-alias.corp.example. 60 IN A 10.0.0.7",
		"corp.example. 3600 IN NS server-01.corp.example.",
		"db.corp.example. 60 IN A 10.0.0.2",
		"db.rack.east.corp.example. 60 IN A 10.0.0.3",
		"mixed.corp.example. 300 IN A 10.0.0.1",
		"server-01.corp.example. 60 IN A 10.0.0.2",
		"server-02.corp.example. 60 IN A 10.0.0.2",
		"server-03.corp.example. 60 IN A 10.0.0.3",
		"six.corp.example. 60 IN A 10.0.0.1",
		"spare.corp.example. 40 IN A 10.0.0.2",
		"spare.corp.example. 40 IN A 10.0.0.3",
		"web.corp.example. 30 IN A 10.0.0.1",
		"web.corp.example. 30 IN A 10.0.0.2",
		"web.corp.example. 60 IN AAAA fd00::1",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	if want := s.policy.Load().rules.soa(s.view()); soa.String() != want.String() {
		t.Errorf("SOA %v, want %v", soa, want)
	}
	// RFC 5936 §4.1: the connection is good for more.
	send(t, c, question("db.", dns.TypeA))
	if r := receive(t, c); len(r.Answer) != 1 {
		t.Errorf("the next question: %v", r)
	}
	if _, _, n := fetch(t, c, new(dns.Msg).SetAxfr(domain+".").SetEdns0(1232, false)); n != 1 {
		t.Errorf("again, with EDNS: %d messages", n)
	}
}

// TestTransferKinds: services, texts and CNAMEs, these without what they lead to.
func TestTransferKinds(t *testing.T) {
	view := table(t, `
10.0.0.1  10.0.0.1  server-01   60  origin     0    active
10.0.0.1  10.0.0.1  web         60  master     100  active port=80 txt=a=1
10.0.0.2  10.0.0.2  web         30  secondary  50   active port=81 txt=b=2
10.0.0.3  10.0.0.3  web         30  backup     50   active port=82 txt=b=3
10.0.0.1  10.0.0.1  www         60  master     100  active cname=web
10.0.0.1  10.0.0.1  loop        60  master     100  active cname=pool
10.0.0.1  10.0.0.1  pool        60  master     100  active cname=loop
10.0.0.1  10.0.0.1  out         60  master     100  active cname=example.org.
10.0.0.1  10.0.0.1  db.east     60  master     100  active port=5432
10.0.0.1  10.0.0.1  _odd._tcp   60  master     100  active
10.0.0.1  10.0.0.1  odd         60  master     100  active port=1
`)
	addr := serve(t, Config{Rules: Rules{Domain: domain, AllowTransfer: everybody, MaxAnswers: 1}}, func(s *Server) { s.view = func() *catalog.View { return view } })
	got, _, _ := fetch(t, dial(t, "tcp", addr), new(dns.Msg).SetAxfr(domain+"."))
	want := []string{
		"_db._tcp.east.corp.example. 60 IN SRV 1 100 5432 server-01.corp.example.",
		"_db._udp.east.corp.example. 60 IN SRV 1 100 5432 server-01.corp.example.",
		"_odd._tcp.corp.example. 60 IN A 10.0.0.1", // a name by chance
		"_odd._udp.corp.example. 60 IN SRV 1 100 1 server-01.corp.example.",
		"_web._tcp.corp.example. 30 IN SRV 1 100 80 server-01.corp.example.",
		"_web._tcp.corp.example. 30 IN SRV 2 50 81 web.corp.example.",
		"_web._udp.corp.example. 30 IN SRV 1 100 80 server-01.corp.example.",
		"_web._udp.corp.example. 30 IN SRV 2 50 81 web.corp.example.",
		"corp.example. 3600 IN NS corp.example.",
		"db.east.corp.example. 60 IN A 10.0.0.1",
		"loop.corp.example. 60 IN CNAME pool.corp.example.",
		"odd.corp.example. 60 IN A 10.0.0.1",
		"out.corp.example. 60 IN CNAME example.org.",
		"pool.corp.example. 60 IN CNAME loop.corp.example.",
		"server-01.corp.example. 60 IN A 10.0.0.1",
		"web.corp.example. 30 IN A 10.0.0.1",
		"web.corp.example. 30 IN A 10.0.0.2",
		`web.corp.example. 30 IN TXT "a=1"`,
		`web.corp.example. 30 IN TXT "b=2"`,
		"www.corp.example. 60 IN CNAME web.corp.example.",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

// TestTransferLarge: a zone of many messages, and a name of many addresses, come
// whole. A name that is too long to be asked for is left out.
func TestTransferLarge(t *testing.T) {
	var b strings.Builder
	for i := range 1200 {
		a := fmt.Sprintf("10.1.%d.%d", i/250, i%250)
		fmt.Fprintf(&b, "%s %s host-%d 60 origin 0 active\n", a, a, i)
		fmt.Fprintf(&b, "%s %s web 60 master 100 active\n", a, a)
	}
	long := strings.Repeat(strings.Repeat("n", 60)+".", 4) + "n"
	fmt.Fprintf(&b, "10.1.0.0 10.1.0.0 %s 60 master 100 active\n", long)
	view := table(t, b.String())
	addr := serve(t, Config{Rules: Rules{Domain: domain, AllowTransfer: everybody}}, func(s *Server) { s.view = func() *catalog.View { return view } })
	got, _, n := fetch(t, dial(t, "tcp", addr), new(dns.Msg).SetAxfr(domain+"."))
	if len(got) != 2401 || n < 4 {
		t.Errorf("%d records in %d messages", len(got), n)
	}
	if got = slices.Compact(got); len(got) != 2401 {
		t.Errorf("but only %d different ones", len(got))
	}
}

// ixfr asks for what has changed since a serial.
func ixfr(zone string, serial uint32) *dns.Msg {
	return new(dns.Msg).SetIxfr(zone, serial, "ns."+zone, "hostmaster."+zone)
}

// TestTransferAsked is about who gets the zone, and how much of it.
func TestTransferAsked(t *testing.T) {
	axfr := new(dns.Msg).SetAxfr(domain + ".")
	view := table(t, house)
	serial := uint32(view.Serial())
	rules := Rules{Domain: domain, AllowTransfer: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	tests := []struct {
		why  string
		m    *dns.Msg
		from netip.AddrPort
		tcp  bool
		// want is "zone", or the reply.
		want, opts string
	}{
		{"RFC 5936 §2.2 the zone", axfr, friend, true, "zone", ""},
		{"RFC 5936 §5 not to everybody", axfr, stranger, true, "REFUSED qr | 1 0 0 1 edns=1232", "ede=18:allow-transfer does not have this client"},
		{"RFC 5936 §4.2 not over UDP", axfr, friend, false, "REFUSED qr | 1 0 0 1 edns=1232", "ede=21:a zone is transferred over TCP"},
		{"RFC 5936 §2.2.1 not our zone", new(dns.Msg).SetAxfr("example.org."), friend, true, "NOTAUTH qr | 1 0 0 1 edns=1232", "ede=20"},
		{"RFC 5936 §2.2.1 a name in the zone is no zone", new(dns.Msg).SetAxfr("web." + domain + "."), friend, true, "NOTAUTH qr | 1 0 0 1 edns=1232", "ede=20"},
		{"RFC 5936 §2.2.1 nor is the root", new(dns.Msg).SetAxfr("."), friend, true, "NOTAUTH qr | 1 0 0 1 edns=1232", "ede=20"},
		{"RFC 5936 §5 who may not have it is not told which it is", new(dns.Msg).SetAxfr("example.org."), stranger, true, "REFUSED qr | 1 0 0 1 edns=1232", "ede=18:allow-transfer does not have this client"},
		{"RFC 1995 §4 what has changed is all", ixfr(domain+".", serial-1), friend, true, "zone", ""},
		{"RFC 1982 §3.2 also from a serial beyond the turn", ixfr(domain+".", serial-1<<31+1), friend, true, "zone", ""},
		{"RFC 1995 §2 nothing has changed", ixfr(domain+".", serial), friend, true, "NOERROR qr aa | 1 1 0 1 edns=1232", ""},
		{"RFC 1995 §2 the client knows more than we", ixfr(domain+".", serial+1), friend, true, "NOERROR qr aa | 1 1 0 1 edns=1232", ""},
		{"RFC 1995 §2 over UDP the SOA says to come over TCP", ixfr("CORP.example.", serial-1), friend, false, "NOERROR qr aa | 1 1 0 1 edns=1232", ""},
		{"RFC 1995 §3 since when?", &dns.Msg{Question: []dns.Question{{Name: domain + ".", Qtype: dns.TypeIXFR, Qclass: dns.ClassINET}}}, friend, true, "FORMERR qr | 1 0 0 1 edns=1232", ""},
		{"RFC 1995 §3 of another zone", func() *dns.Msg {
			m := ixfr(domain+".", 1)
			m.Ns = ixfr("example.org.", 1).Ns
			return m
		}(), friend, true, "FORMERR qr | 1 0 0 1 edns=1232", ""},
		{"RFC 1995 §3 with what is no SOA", func() *dns.Msg {
			m := ixfr(domain+".", 1)
			m.Ns = withA(question(domain+".", dns.TypeA), "192.0.2.1").Answer
			return m
		}(), friend, true, "FORMERR qr | 1 0 0 1 edns=1232", ""},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			log := &logBuffer{}
			s := newServer(t, Config{Rules: rules, Log: log.logger()})
			v := s.handle(packed(t, tt.m.Copy().SetEdns0(4096, false)), nil, tt.from, tt.tcp)
			if warned := strings.Contains(log.String(), "a secondary has a later zone"); warned != strings.HasSuffix(tt.why, "more than we") {
				t.Errorf("log: %s", log)
			}
			if v.transfer != nil {
				if tt.want != "zone" {
					t.Errorf("got the zone, want %s", tt.want)
				}
				return
			}
			if got := describe(t, v.reply); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if got := optionsOf(t, v.reply); got != tt.opts {
				t.Errorf("options %q, want %q", got, tt.opts)
			}
		})
	}
	for why, rules := range map[string]Rules{
		"nobody by default":  {Domain: domain},
		"without a domain":   {AllowTransfer: everybody},
		"not in allow-query": {Domain: domain, AllowTransfer: everybody, AllowQuery: []netip.Prefix{}},
	} {
		if v := newServer(t, Config{Rules: rules}).handle(packed(t, axfr), nil, friend, true); v.transfer != nil {
			t.Errorf("%s: a zone is transferred", why)
		}
	}
}

// TestTransferBound: one too many is told to come again, at once.
func TestTransferBound(t *testing.T) {
	s := newServer(t, Config{Bind: []netip.Addr{loopback}, Rules: Rules{Domain: domain, AllowTransfer: everybody}})
	for range maxTransfers {
		s.transfers <- struct{}{}
	}
	start(t, s)
	c := dial(t, "tcp", s.Addrs()[0])
	send(t, c, new(dns.Msg).SetAxfr(domain+".").SetEdns0(1232, false))
	raw, err := c.ReadMsgHeader(nil)
	fatal(t, err)
	if got, opts := describe(t, raw), optionsOf(t, raw); got != "SERVFAIL qr | 1 0 0 1 edns=1232" || opts != "ede=0:too many zone transfers at a time" {
		t.Errorf("%s, %s", got, opts)
	}
	<-s.transfers
	fetch(t, c, new(dns.Msg).SetAxfr(domain+"."))
}
