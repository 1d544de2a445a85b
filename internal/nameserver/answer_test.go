package nameserver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"murakumo/internal/catalog"
)

const (
	domain = "corp.example"
	soa    = "corp.example. 5 IN SOA server-01.corp.example. hostmaster.corp.example. SERIAL 3600 600 1209600 5"
)

// TestAnswer says with each case where it is written: P is the section of the
// product text, else an RFC.
func TestAnswer(t *testing.T) {
	var (
		plain  = Rules{MaxAnswers: 8, NegativeTTL: 5}
		cloud  = Rules{MaxAnswers: 8, NegativeTTL: 5, Domain: domain, Host: "server-01"}
		owned  = Rules{MaxAnswers: 8, NegativeTTL: 5, Domain: domain, Host: "server-01", DomainOwned: true}
		picky  = Rules{MaxAnswers: 8, NegativeTTL: 5, Domain: domain, Host: "server-01", Names: func(n string) bool { return n != "web" }}
		hidden = Rules{MaxAnswers: 8, NegativeTTL: 5, Addrs: func(a netip.Addr) bool { return a != netip.MustParseAddr("10.0.0.1") }}
	)
	type want struct {
		rcode   int
		forward bool
		noAA    bool
		answer  string
		soa     bool
	}
	forward := want{forward: true, noAA: true}
	refused := want{rcode: dns.RcodeRefused, noAA: true}
	tests := []struct {
		why   string
		rules Rules
		up    Upstream
		name  string
		qtype uint16
		want  want
	}{
		// The tier rule.
		{"P5.1 one Active record is the answer, here a backup beside an inactive master", plain, MayForward, "db.", dns.TypeA,
			want{answer: text("db. 60 IN A 10.0.0.2")}},
		{"P5.2 masters, then secondaries, no backup; TTL is the least of them", plain, MayForward, "web.", dns.TypeA,
			want{answer: text("web. 30 IN A 10.0.0.1", "web. 30 IN A 10.0.0.2")}},
		{"P5 the tier is chosen over all families, then filtered", plain, MayForward, "web.", dns.TypeAAAA,
			want{answer: text("web. 60 IN AAAA fd00::1")}},
		{"P5 a secondary of one family keeps a backup of the other out", plain, MayForward, "six.", dns.TypeAAAA, want{}},
		{"P5 the TTL of a record that is not answered does not count", plain, MayForward, "mixed.", dns.TypeA,
			want{answer: text("mixed. 300 IN A 10.0.0.1")}},
		{"P5.4 nothing but the origin", plain, MayForward, "server-02.", dns.TypeA,
			want{answer: text("server-02. 60 IN A 10.0.0.2")}},
		{"P5.4 the origin in the other family", plain, MayForward, "server-01.", dns.TypeAAAA, want{}},
		{"P5.4 an origin is not added to an alias of the same name", plain, MayForward, "server-01.", dns.TypeA,
			want{answer: text("server-01. 60 IN A 10.0.0.2")}},
		{"P5.5 nothing Active: NOERROR, empty", plain, MayForward, "asleep.", dns.TypeA, want{}},
		{"P5.5 likewise, RFC 2308 §2.2 with the SOA", cloud, MayForward, "asleep.", dns.TypeA, want{soa: true}},
		{"P5 a dead owner's name is ours: never forwarded", plain, MayForward, "ghost.", dns.TypeA, want{}},
		{"P5 likewise under the domain, which others serve", cloud, MayForward, "ghost.corp.example.", dns.TypeA, want{soa: true}},

		// Names.
		{"P5 case is ignored and echoed", plain, MayForward, "DB.", dns.TypeA, want{answer: text("DB. 60 IN A 10.0.0.2")}},
		{"P5 the domain is stripped", cloud, MayForward, "Db.CORP.example.", dns.TypeA,
			want{answer: text("Db.CORP.example. 60 IN A 10.0.0.2")}},
		{"P5 and need not be there", cloud, MayForward, "db.", dns.TypeA, want{answer: text("db. 60 IN A 10.0.0.2")}},
		{"P5 once", cloud, MayForward, "db.corp.example.corp.example.", dns.TypeA, forward},
		{"P5 only whole labels are the domain", cloud, MayForward, "db.xcorp.example.", dns.TypeA, forward},
		{"RFC 1035 §5.1 an escaped dot ends no label", owned, MayForward, `db\.corp.example.`, dns.TypeA, forward},
		{"RFC 1035 §5.1 an escaped backslash does not escape the dot", owned, MayForward, `db\\.corp.example.`, dns.TypeA,
			want{rcode: dns.RcodeNameError, soa: true}},
		{"the root is nobody's name", plain, MayForward, ".", dns.TypeNS, forward},

		// Types.
		{"P5 another type of a name of ours: NODATA", plain, MayForward, "web.", dns.TypeMX, want{}},
		{"P5 RFC 2308 §2.2 with the SOA of the domain", cloud, MayForward, "web.corp.example.", dns.TypeMX, want{soa: true}},
		{"RFC 8482 §4.2 ANY", plain, MayForward, "web.", dns.TypeANY, want{answer: text(`web. 5 IN HINFO "RFC8482" ""`)}},
		{"P5 ANY of a name without an Active record", plain, MayForward, "ghost.", dns.TypeANY, want{}},
		{"RFC 8482 ANY of a name that is not ours", plain, MayForward, "example.org.", dns.TypeANY, forward},
		{"no zone transfer", cloud, MayForward, "corp.example.", dns.TypeAXFR, refused},
		{"no zone transfer through us", cloud, MayForward, "example.org.", dns.TypeIXFR, refused},
		{"RFC 6895 §3.1 OPT is no question", cloud, MayForward, "example.org.", dns.TypeOPT, refused},

		// What is not ours.
		{"P5 not ours: forwarded", plain, MayForward, "example.org.", dns.TypeA, forward},
		{"P5 not ours, no recursion for this client", plain, NotForYou, "example.org.", dns.TypeA, refused},
		{"P5 not ours, no resolver", plain, NoUpstream, "example.org.", dns.TypeA, refused},
		{"P5 unknown under a domain that others serve", cloud, MayForward, "ip-10-0-0-9.corp.example.", dns.TypeA, forward},
		{"P5 likewise, no recursion for this client", cloud, NotForYou, "ip-10-0-0-9.corp.example.", dns.TypeA, refused},
		{"P5 likewise, no resolver", cloud, NoUpstream, "ip-10-0-0-9.corp.example.", dns.TypeA,
			want{rcode: dns.RcodeNameError, soa: true}},
		{"P5 unknown under our own domain", owned, MayForward, "nobody.corp.example.", dns.TypeA,
			want{rcode: dns.RcodeNameError, soa: true}},
		{"P5 our own domain, whoever asks", owned, NotForYou, "nobody.corp.example.", dns.TypeA,
			want{rcode: dns.RcodeNameError, soa: true}},
		{"P5 our own domain is not the whole world", owned, MayForward, "example.org.", dns.TypeA, forward},
		{"RFC 8020 our own domain itself exists", owned, MayForward, "corp.example.", dns.TypeA, want{soa: true}},
		{"RFC 1034 §4.2.1 and has a SOA", owned, MayForward, "Corp.example.", dns.TypeSOA,
			want{answer: text("C" + soa[1:])}},
		{"RFC 1034 §4.2.1 and a server", owned, MayForward, "corp.Example.", dns.TypeNS,
			want{answer: text("corp.Example. 3600 IN NS server-01.corp.example.")}},
		{"RFC 8482 §4.2 ANY of it", owned, MayForward, "corp.example.", dns.TypeANY,
			want{answer: text(`corp.example. 5 IN HINFO "RFC8482" ""`)}},
		{"P5 the domain itself, when others serve it", cloud, MayForward, "corp.example.", dns.TypeSOA, forward},
		{"RFC 1034 §4.2.1 likewise for who wants our word: a secondary", cloud, NotForYou, "corp.example.", dns.TypeSOA,
			want{answer: text(soa)}},
		{"RFC 1034 §4.2.1 its server", cloud, NotForYou, "corp.example.", dns.TypeNS,
			want{answer: text("corp.example. 3600 IN NS server-01.corp.example.")}},
		{"P5 what else it has, others know", cloud, NotForYou, "corp.example.", dns.TypeMX, refused},
		{"RFC 8020 §2 an empty non-terminal", owned, MayForward, "Rack.East.corp.example.", dns.TypeA, want{soa: true}},
		{"RFC 8020 §2 one farther up", owned, MayForward, "east.corp.example.", dns.TypeANY, want{soa: true}},
		{"RFC 8020 §2 also above names of dead nodes", cloud, NoUpstream, "tomb.corp.example.", dns.TypeA, want{soa: true}},
		{"RFC 8020 §2 not by half a label", owned, MayForward, "ack.east.corp.example.", dns.TypeA,
			want{rcode: dns.RcodeNameError, soa: true}},
		{"RFC 8020 §2 nothing is below a name", owned, MayForward, "x.web.corp.example.", dns.TypeA,
			want{rcode: dns.RcodeNameError, soa: true}},
		{"P5 an empty non-terminal, when others serve the domain", cloud, MayForward, "rack.east.corp.example.", dns.TypeA, forward},

		// Filters.
		{"P4 a name that the filter excludes is as if not in the table", picky, MayForward, "WEB.corp.example.", dns.TypeA, forward},
		{"P4 likewise without the domain", picky, MayForward, "web.", dns.TypeA, forward},
		{"P4 others are answered", picky, MayForward, "db.", dns.TypeA, want{answer: text("db. 60 IN A 10.0.0.2")}},
		{"P4 an address that the filter excludes", hidden, MayForward, "1.0.0.10.in-addr.arpa.", dns.TypePTR, forward},
		{"P4 the address filter is for reverse lookups", hidden, MayForward, "mixed.", dns.TypeA,
			want{answer: text("mixed. 300 IN A 10.0.0.1")}},

		// PTR.
		{"P5 the origin's name", plain, MayForward, "1.0.0.10.in-addr.arpa.", dns.TypePTR,
			want{answer: text("1.0.0.10.in-addr.arpa. 60 IN PTR server-01.")}},
		{"P5 with the domain, any case", cloud, MayForward, "1.0.0.10.IN-ADDR.arpa.", dns.TypePTR,
			want{answer: text("1.0.0.10.IN-ADDR.arpa. 60 IN PTR server-01.corp.example.")}},
		{"RFC 3596 §2.5 ip6.arpa, any case", cloud, MayForward, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.D.f.ip6.ARPA.", dns.TypePTR,
			want{answer: text("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.D.f.ip6.ARPA. 60 IN PTR server-01.corp.example.")}},
		{"P5 no origin: the highest tier, of Active records", plain, MayForward, "7.0.0.10.in-addr.arpa.", dns.TypePTR,
			want{answer: text("7.0.0.10.in-addr.arpa. 60 IN PTR b-alias.")}},
		{"P2 only Active records are answered", plain, MayForward, "8.0.0.10.in-addr.arpa.", dns.TypePTR, want{}},
		{"P5 NODATA for another type", cloud, MayForward, "1.0.0.10.in-addr.arpa.", dns.TypeA, want{soa: true}},
		{"RFC 8482 ANY", plain, MayForward, "1.0.0.10.in-addr.arpa.", dns.TypeANY,
			want{answer: text(`1.0.0.10.in-addr.arpa. 5 IN HINFO "RFC8482" ""`)}},
		{"P5 an address that nobody has", plain, MayForward, "99.0.0.10.in-addr.arpa.", dns.TypePTR, forward},
		{"a dead node's address is not in the table", plain, MayForward, "9.0.0.10.in-addr.arpa.", dns.TypePTR, forward},
		{"a network's reverse name is no address", plain, MayForward, "0.0.10.in-addr.arpa.", dns.TypePTR, forward},
		{"likewise for who may not recurse", plain, NotForYou, "99.0.0.10.in-addr.arpa.", dns.TypePTR, refused},
	}
	view := table(t, house)
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			q := dns.Question{Name: tt.name, Qtype: tt.qtype, Qclass: dns.ClassINET}
			got := Answer(view, &tt.rules, seeded(), q, tt.up)
			if got.Forward != tt.want.forward {
				t.Fatalf("%s %s: forward %v, want %v", tt.name, dns.Type(tt.qtype), got.Forward, tt.want.forward)
			}
			if got.Rcode != tt.want.rcode {
				t.Errorf("rcode %s, want %s", dns.RcodeToString[got.Rcode], dns.RcodeToString[tt.want.rcode])
			}
			if got.Authoritative == tt.want.noAA {
				t.Errorf("AA %v", got.Authoritative)
			}
			serial := fmt.Sprint(view.Serial())
			if g, w := lines(got.Answer), strings.ReplaceAll(tt.want.answer, "SERIAL", serial); g != w {
				t.Errorf("answer:\n%swant:\n%s", g, w)
			}
			wantSOA := ""
			if tt.want.soa {
				wantSOA = text(strings.ReplaceAll(soa, "SERIAL", serial))
			}
			if g := lines(got.Authority); g != wantSOA {
				t.Errorf("authority:\n%swant:\n%s", g, wantSOA)
			}
		})
	}
}

// manyMasters has ten masters and ten secondaries, one family, and for each
// tier one record of the other.
func manyMasters(t testing.TB) *catalog.View {
	var b strings.Builder
	for i := range 10 {
		fmt.Fprintf(&b, "10.0.0.%d 10.0.1.%d web %d master 100 active\n", i+1, i+1, 100+i)
		fmt.Fprintf(&b, "10.0.0.%d 10.0.2.%d web %d secondary 100 active\n", i+1, i+1, 200+i)
	}
	return table(t, b.String())
}

// TestAnswerCut: each tier is cut by itself, masters stay first, and the TTL is
// that of the records which remain.
func TestAnswerCut(t *testing.T) {
	view, rng := manyMasters(t), seeded()
	q := dns.Question{Name: "web.", Qtype: dns.TypeA, Qclass: dns.ClassINET}
	for _, n := range []int{1, 3, 8, 10, 30} {
		first := map[string]bool{}
		for range 200 {
			r := Answer(view, &Rules{MaxAnswers: n}, rng, q, NoUpstream)
			per := min(n, 10)
			if len(r.Answer) != 2*per {
				t.Fatalf("max-ip-num %d: %d answers, want %d", n, len(r.Answer), 2*per)
			}
			least := uint32(1 << 31)
			for i, rr := range r.Answer {
				a := rr.(*dns.A).A.To4()
				if tier := byte(1 + i/per); a[2] != tier {
					t.Fatalf("max-ip-num %d: answer %d is %v, want tier %d", n, i, a, tier)
				}
				least = min(least, uint32(a[2])*100+uint32(a[3])-1)
			}
			for _, rr := range r.Answer {
				if rr.Header().Ttl != least {
					t.Fatalf("max-ip-num %d: TTL %d, want %d", n, rr.Header().Ttl, least)
				}
			}
			first[r.Answer[0].String()] = true
		}
		if len(first) < 10 && n < 10 {
			t.Errorf("max-ip-num %d: in 200 answers only %d of 10 masters came first", n, len(first))
		}
	}
}

// TestAnswerDistinct: an address that two owners publish is answered once (RFC
// 2181 §5), and does not take the place of another.
func TestAnswerDistinct(t *testing.T) {
	view := table(t, `
		10.0.0.1 10.0.0.1 web 60 master    100 active
		10.0.0.2 10.0.0.1 web 60 master    100 active
		10.0.0.3 10.0.0.3 web 60 master    100 active
		10.0.0.4 10.0.0.3 web 60 secondary 100 active
		10.0.0.5 10.0.0.5 web 60 secondary 100 active
	`)
	rng := seeded()
	for range 50 {
		var got []string
		r := Answer(view, &Rules{MaxAnswers: 2}, rng, dns.Question{Name: "web.", Qtype: dns.TypeA}, NoUpstream)
		for _, rr := range r.Answer {
			got = append(got, rr.(*dns.A).A.String())
		}
		slices.Sort(got)
		if want := []string{"10.0.0.1", "10.0.0.3", "10.0.0.5"}; !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

// TestAnswerLaws holds the tier rule against a plain restatement of it, over
// random tables.
func TestAnswerLaws(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type rec struct {
			p            catalog.Priority
			active, down bool
			six          bool
			ttl          uint32
		}
		recs := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) rec {
			return rec{
				p:      rapid.SampledFrom([]catalog.Priority{catalog.Master, catalog.Secondary, catalog.Backup, catalog.Origin}).Draw(rt, "priority"),
				active: rapid.Bool().Draw(rt, "active"), down: rapid.Bool().Draw(rt, "down"),
				six: rapid.Bool().Draw(rt, "six"), ttl: rapid.Uint32Range(0, 1000).Draw(rt, "ttl"),
			}
		}), 1, 8).Draw(rt, "records")
		var b strings.Builder
		b.WriteString("10.9.9.9 10.9.9.9 self 60 origin 0 active\n")
		have := map[catalog.Priority]bool{}
		for i, r := range recs {
			addr, weight, state := fmt.Sprintf("10.0.0.%d", i), 100, "inactive"
			if r.six {
				addr = fmt.Sprintf("fd00::%d", i)
			}
			if r.p == catalog.Origin {
				weight = 0
			}
			if r.active {
				state = "active"
			}
			down := ""
			if r.down {
				down = "down"
			} else if r.active {
				have[r.p] = true
			}
			fmt.Fprintf(&b, "%s %s web %d %s %d %s %s\n", addr, addr, r.ttl, strings.ToLower(r.p.String()), weight, state, down)
		}
		view := table(t, b.String())
		var want []string
		ttl := uint32(1 << 31)
		for i, r := range recs {
			answered := r.active && !r.down && !r.six
			switch r.p {
			case catalog.Backup:
				answered = answered && !have[catalog.Master] && !have[catalog.Secondary]
			case catalog.Origin:
				answered = answered && !have[catalog.Master] && !have[catalog.Secondary] && !have[catalog.Backup]
			}
			if answered {
				want = append(want, fmt.Sprintf("10.0.0.%d", i))
				ttl = min(ttl, r.ttl)
			}
		}
		got := Answer(view, &Rules{MaxAnswers: 8}, seeded(), dns.Question{Name: "web.", Qtype: dns.TypeA}, MayForward)
		if got.Forward || got.Rcode != dns.RcodeSuccess {
			rt.Fatalf("forward %v, rcode %d", got.Forward, got.Rcode)
		}
		var addrs []string
		for _, rr := range got.Answer {
			addrs = append(addrs, rr.(*dns.A).A.String())
			if rr.Header().Ttl != ttl {
				rt.Fatalf("TTL %d, want %d", rr.Header().Ttl, ttl)
			}
		}
		slices.Sort(addrs)
		slices.Sort(want)
		if !slices.Equal(addrs, want) {
			rt.Fatalf("got %v, want %v\n%s", addrs, want, b.String())
		}
	})
}

func TestParseReverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a netip.Addr
		if b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"); rapid.Bool().Draw(t, "six") {
			a = netip.AddrFrom16([16]byte(b))
			if a.Is4In6() {
				t.Skip()
			}
		} else {
			a = netip.AddrFrom4([4]byte(b[:4]))
		}
		name, err := dns.ReverseAddr(a.String())
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := parseReverse(strings.TrimSuffix(name, ".")); !ok || got != a {
			t.Fatalf("%s: %v, %v, want %v", name, got, ok, a)
		}
	})
	for _, name := range []string{
		"", "in-addr.arpa", "ip6.arpa", ".in-addr.arpa", "1.in-addr.arpa", "0.0.10.in-addr.arpa",
		"1.1.0.0.10.in-addr.arpa", "01.0.0.10.in-addr.arpa", "256.0.0.10.in-addr.arpa", "1e1.0.0.10.in-addr.arpa",
		"-1.0.0.10.in-addr.arpa", "1..0.10.in-addr.arpa", "1.0.0.10.in-addr.arpa.example", "1.0.0.10.xin-addr.arpa",
		"999999999999999999999.0.0.10.in-addr.arpa",
		"g" + strings.Repeat(".0", 31) + ".ip6.arpa", strings.Repeat("0.", 30) + "0.ip6.arpa",
		strings.Repeat("0.", 32) + "0.ip6.arpa", strings.Repeat("0", 63) + ".ip6.arpa", strings.Repeat("0-", 31) + "0.ip6.arpa",
	} {
		if a, ok := parseReverse(name); ok {
			t.Errorf("%q was read as %v", name, a)
		}
	}
}

func TestMayRecurse(t *testing.T) {
	list := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("fe80::/10")}
	tests := []struct {
		client string
		allow  []netip.Prefix
		want   bool
	}{
		{"127.0.0.1", nil, true},
		{"127.200.0.1", nil, true},
		{"::1", nil, true},
		{"10.1.2.3", nil, true},
		{"172.16.0.1", nil, true},
		{"172.31.255.255", nil, true},
		{"172.32.0.0", nil, false},
		{"192.168.1.1", nil, true},
		{"::ffff:192.168.1.1", nil, true},
		{"169.254.1.1", nil, true},
		{"fd12::1", nil, true},
		{"fe80::1%eth0", nil, true},
		{"100.64.0.1", nil, false},
		{"8.8.8.8", nil, false},
		{"2001:db8::1", nil, false},
		{"192.0.2.1", list, true},
		{"fe80::1%eth0", list, true},
		{"127.0.0.1", list, false},
		{"127.0.0.1", []netip.Prefix{}, false},
	}
	for _, tt := range tests {
		r := Rules{AllowRecursion: tt.allow}
		if got := r.mayRecurse(netip.MustParseAddr(tt.client)); got != tt.want {
			t.Errorf("%s with %v: %v", tt.client, tt.allow, got)
		}
	}
}
