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

// shop is a table with services, texts and names that stand for others.
const shop = `
10.0.0.1  10.0.0.1  server-01  60   origin     0    active
10.0.0.1  fd00::1   server-01  60   origin     0    active
10.0.0.2  10.0.0.2  server-02  50   origin     0    active
10.0.0.3  10.0.0.3  server-03  60   origin     0    active
10.0.0.9  10.0.0.9  server-09  60   origin     0    active  down
10.0.0.1  10.0.0.1  web        60   master     100  active    port=80 txt=path=/,v\1"
10.0.0.1  fd00::1   web        60   master     100  active    port=80 txt=path=/,v\1"
10.0.0.2  10.0.0.2  web        30   secondary  7    active    port=8080 txt=path=/
10.0.0.3  10.0.0.3  web        20   backup     100  active    port=81 txt=never
10.0.0.9  10.0.0.9  web        10   master     100  active    down port=82
10.0.0.1  10.0.0.1  plain      60   master     100  active
10.0.0.1  10.0.0.1  ill        60   master     100  inactive  port=80 txt=ill
10.0.0.9  10.0.0.9  gone       60   master     100  active    down port=80
10.0.0.1  10.0.0.1  api.east   60   master     100  active    port=443
10.0.0.2  10.0.0.2  server-03  60   backup     1    active
10.0.0.3  10.0.0.3  there      60   master     100  active    port=1
10.0.0.1  10.0.0.1  www        40   master     100  active    cname=web
10.0.0.2  10.0.0.2  www        35   master     100  active    cname=web
10.0.0.1  10.0.0.1  ext        60   master     100  active    cname=www.example.org.
10.0.0.1  10.0.0.1  far        60   master     100  active    cname=ext
10.0.0.1  10.0.0.1  toill      60   master     100  active    cname=ill
10.0.0.1  10.0.0.1  tonone     60   master     100  active    cname=none
10.0.0.1  10.0.0.1  toapex     60   master     100  active    cname=corp.example.
10.0.0.1  10.0.0.1  loop-a     60   master     100  active    cname=loop-b
10.0.0.1  10.0.0.1  loop-b     60   master     100  active    cname=loop-a
10.0.0.1  10.0.0.1  dead       60   master     100  inactive  cname=web
10.0.0.1  10.0.0.1  moves      60   master     100  inactive
10.0.0.2  10.0.0.2  moves      60   backup     100  active    cname=ext
10.0.0.1  10.0.0.1  both       60   master     100  active    cname=ext
10.0.0.2  10.0.0.2  both       60   master     1    active
10.0.0.1  10.0.0.1  two        60   master     1    active    cname=www
10.0.0.2  10.0.0.2  two        60   master     2    active    cname=ext
10.0.0.2  10.0.0.2  second     60   secondary  1    active
10.0.0.1  10.0.0.1  second     60   master     1    active    cname=plain
10.0.0.4  10.0.0.4  lone       60   master     1    active    cname=plain
`

// chainOf makes a table with a chain of so many names before one with an address.
func chainOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "10.0.0.1 10.0.0.1 c%d 60 master 1 active cname=c%d\n", i, i+1)
	}
	fmt.Fprintf(&b, "10.0.0.1 10.0.0.1 c%d 60 master 1 active\n", n)
	return b.String()
}

func TestKinds(t *testing.T) {
	var (
		cloud = Rules{MaxAnswers: 8, NegativeTTL: 5, Domain: domain, Host: "server-01"}
		owned = Rules{MaxAnswers: 8, NegativeTTL: 5, Domain: domain, Host: "server-01", DomainOwned: true}
		plain = Rules{MaxAnswers: 8, NegativeTTL: 5}
		picky = Rules{MaxAnswers: 8, NegativeTTL: 5, Domain: domain, Names: func(n string) bool { return n != "web" }}
	)
	type want struct {
		rcode              int
		forward            string // the name that is asked for
		noAA, soa          bool
		answer, additional string
		why                *reason
	}
	const (
		www      = "www.corp.example. 35 IN CNAME web.corp.example."
		ext      = "ext.corp.example. 60 IN CNAME www.example.org."
		far      = "far.corp.example. 60 IN CNAME ext.corp.example."
		toill    = "toill.corp.example. 60 IN CNAME ill.corp.example."
		tonone   = "tonone.corp.example. 60 IN CNAME none.corp.example."
		services = "_web._tcp.corp.example. 30 IN SRV 1 100 80 server-01.corp.example."
		server1  = "server-01.corp.example. 60 IN A 10.0.0.1"
		server16 = "server-01.corp.example. 60 IN AAAA fd00::1"
	)
	tests := []struct {
		why   string
		rules Rules
		up    Upstream
		name  string
		qtype uint16
		want  want
	}{
		{"RFC 2782 a host each, by the tier rule, with its addresses", owned, NoUpstream, "_web._tcp.corp.example.", dns.TypeSRV, want{
			answer:     text(services, "_web._tcp.corp.example. 30 IN SRV 2 7 8080 server-02.corp.example."),
			additional: text(server1, server16, "server-02.corp.example. 50 IN A 10.0.0.2")}},
		{"RFC 2782 likewise for UDP, in the spelling of the question", owned, NoUpstream, "_WEB._Udp.corp.example.", dns.TypeSRV, want{
			answer:     text("_WEB._Udp.corp.example. 30 IN SRV 1 100 80 server-01.corp.example.", "_WEB._Udp.corp.example. 30 IN SRV 2 7 8080 server-02.corp.example."),
			additional: text(server1, server16, "server-02.corp.example. 50 IN A 10.0.0.2")}},
		{"RFC 2782 the service is the first label of an alias", owned, NoUpstream, "_api._tcp.east.corp.example.", dns.TypeSRV, want{
			answer:     text("_api._tcp.east.corp.example. 60 IN SRV 1 100 443 server-01.corp.example."),
			additional: text(server1, server16)}},
		{"RFC 2782 without a domain", plain, NoUpstream, "_api._tcp.east.", dns.TypeSRV, want{
			answer: text("_api._tcp.east. 60 IN SRV 1 100 443 server-01."), additional: text("server-01. 60 IN A 10.0.0.1", "server-01. 60 IN AAAA fd00::1")}},
		{"no addresses of a host whose name leads to another", owned, NoUpstream, "_there._tcp.corp.example.", dns.TypeSRV, want{
			answer: text("_there._tcp.corp.example. 60 IN SRV 1 100 1 server-03.corp.example.")}},
		{"RFC 2308 §2.2 other types of a service name", owned, NoUpstream, "_web._tcp.corp.example.", dns.TypeA, want{soa: true}},
		{"RFC 8482 §4.2 ANY of it", owned, NoUpstream, "_web._tcp.corp.example.", dns.TypeANY, want{
			answer: text(`_web._tcp.corp.example. 5 IN HINFO "RFC8482" ""`)}},
		{"P5 nothing Active", owned, NoUpstream, "_ill._tcp.corp.example.", dns.TypeSRV, want{soa: true, why: noHealthy}},
		{"P5 a dead owner's service name is ours: never forwarded", cloud, MayForward, "_gone._tcp.corp.example.", dns.TypeSRV, want{soa: true, why: hostsGone}},
		{"P5 a service name of an alias without a port does not exist", owned, MayForward, "_plain._tcp.corp.example.", dns.TypeSRV,
			want{rcode: dns.RcodeNameError, soa: true}},
		{"P5 likewise where others serve the domain: they may have it", cloud, MayForward, "_plain._tcp.corp.example.", dns.TypeSRV,
			want{forward: "-", noAA: true}},
		{"P4 a name that the filter excludes has no service name", picky, MayForward, "_web._tcp.corp.example.", dns.TypeSRV,
			want{forward: "-", noAA: true}},
		{"RFC 8020 §2 above service names", owned, NoUpstream, "_tcp.corp.example.", dns.TypeSRV, want{soa: true}},
		{"RFC 8020 §2 above service names, farther down", owned, NoUpstream, "_udp.east.corp.example.", dns.TypeA, want{soa: true}},
		{"RFC 2782 only these protocols", owned, NoUpstream, "_web._sctp.corp.example.", dns.TypeSRV, want{rcode: dns.RcodeNameError, soa: true}},

		{"RFC 1035 §3.3.14 the texts of the tiers, each once", owned, NoUpstream, "web.corp.example.", dns.TypeTXT, want{
			answer: text(`web.corp.example. 30 IN TXT "path=/"`, `web.corp.example. 30 IN TXT "path=/" "v\\1\""`)}},
		{"RFC 2308 §2.2 none", owned, NoUpstream, "plain.corp.example.", dns.TypeTXT, want{soa: true}},
		{"P5 of nothing Active", owned, NoUpstream, "ill.corp.example.", dns.TypeTXT, want{soa: true, why: noHealthy}},

		{"RFC 1034 §3.6.2 behind a CNAME of ours", owned, NoUpstream, "www.corp.example.", dns.TypeA, want{
			answer: text(www, "web.corp.example. 30 IN A 10.0.0.1", "web.corp.example. 30 IN A 10.0.0.2")}},
		{"RFC 1034 §3.6.2 without the domain", owned, NoUpstream, "WWW.", dns.TypeAAAA, want{
			answer: text("WWW. 35 IN CNAME web.corp.example.", "web.corp.example. 60 IN AAAA fd00::1")}},
		{"RFC 1034 §3.6.2 other types as well", owned, NoUpstream, "www.corp.example.", dns.TypeTXT, want{
			answer: text(www, `web.corp.example. 30 IN TXT "path=/"`, `web.corp.example. 30 IN TXT "path=/" "v\\1\""`)}},
		{"RFC 1034 §4.3.2 CNAME itself is not followed", owned, MayForward, "far.corp.example.", dns.TypeCNAME, want{answer: text(far)}},
		{"RFC 8482 §4.2 ANY: the CNAME and no HINFO beside it", owned, MayForward, "far.corp.example.", dns.TypeANY, want{answer: text(far)}},
		{"RFC 2308 §2.2 NODATA behind a CNAME", owned, NoUpstream, "www.corp.example.", dns.TypeMX, want{answer: text(www), soa: true}},
		{"P5 a target with nothing Active", owned, NoUpstream, "toill.corp.example.", dns.TypeA, want{answer: text(toill), soa: true, why: noHealthy}},
		{"RFC 6604 §3 a target that does not exist", owned, MayForward, "tonone.corp.example.", dns.TypeA, want{
			rcode: dns.RcodeNameError, answer: text(tonone), soa: true}},
		{"RFC 1034 §3.6.2 a target that is not ours", owned, MayForward, "far.corp.example.", dns.TypeA, want{
			forward: "www.example.org.", answer: text(far, ext)}},
		{"P5 a target under a domain that others serve", cloud, MayForward, "tonone.corp.example.", dns.TypeA, want{
			forward: "none.corp.example.", answer: text(tonone)}},
		{"RFC 1034 §4.3.2 no recursion: as far as we know", owned, NotForYou, "far.corp.example.", dns.TypeA, want{answer: text(far, ext)}},
		{"RFC 1034 §4.3.2 no resolver: likewise", owned, NoUpstream, "far.corp.example.", dns.TypeA, want{answer: text(far, ext)}},
		{"P4 a target that the filter excludes is as if not in the table", picky, MayForward, "www.corp.example.", dns.TypeA, want{
			forward: "web.corp.example.", answer: text(www)}},
		{"the domain as a target", owned, NoUpstream, "toapex.corp.example.", dns.TypeNS, want{
			answer:     text("toapex.corp.example. 60 IN CNAME corp.example.", "corp.example. 3600 IN NS server-01.corp.example."),
			additional: text("server-01.corp.example. 60 IN A 10.0.0.1", "server-01.corp.example. 60 IN AAAA fd00::1")}},
		{"RFC 1034 §3.6.2 a loop is an error", owned, MayForward, "loop-a.corp.example.", dns.TypeA, want{rcode: dns.RcodeServerFailure, noAA: true, why: endless}},
		{"P5.5 an Inactive CNAME", owned, MayForward, "dead.corp.example.", dns.TypeA, want{soa: true, why: noHealthy}},
		{"P5.3 a backup that is a CNAME", owned, NotForYou, "moves.corp.example.", dns.TypeA, want{
			answer: text("moves.corp.example. 60 IN CNAME ext.corp.example.", ext)}},
		{"RFC 1034 §3.6.2 nothing beside a CNAME: addresses count", owned, NoUpstream, "both.corp.example.", dns.TypeA, want{
			answer: text("both.corp.example. 60 IN A 10.0.0.2")}},
		{"RFC 2181 §10.1 one target only", owned, NotForYou, "two.corp.example.", dns.TypeA, want{
			answer: text("two.corp.example. 60 IN CNAME ext.corp.example.", ext)}},
		{"P5.2 the best record decides", owned, NoUpstream, "second.corp.example.", dns.TypeA, want{
			answer: text("second.corp.example. 60 IN CNAME plain.corp.example.", "plain.corp.example. 60 IN A 10.0.0.1")}},
		{"P5 who tells of a CNAME is not named by it", owned, NoUpstream, "4.0.0.10.in-addr.arpa.", dns.TypePTR, want{soa: true}},
	}
	view := table(t, shop)
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			got := Answer(view, &tt.rules, seeded(), dns.Question{Name: tt.name, Qtype: tt.qtype, Qclass: dns.ClassINET}, tt.up)
			w := tt.want
			if got.Forward != (w.forward != "") || got.Forward && w.forward != "-" && got.target != w.forward {
				t.Fatalf("forward %v %s, want %s", got.Forward, got.target, w.forward)
			}
			if got.Rcode != w.rcode || got.Authoritative == w.noAA {
				t.Errorf("rcode %s, AA %v", dns.RcodeToString[got.Rcode], got.Authoritative)
			}
			if lines(got.Answer) != w.answer {
				t.Errorf("answer:\n%swant:\n%s", lines(got.Answer), w.answer)
			}
			if sorted(got.Additional) != w.additional {
				t.Errorf("additional:\n%swant:\n%s", sorted(got.Additional), w.additional)
			}
			if (len(got.Authority) == 1) != w.soa || got.why != w.why {
				t.Errorf("authority %s, why %v, want %v", lines(got.Authority), got.why, w.why)
			}
		})
	}
}

func sorted(rrs []dns.RR) string {
	all := strings.SplitAfter(lines(rrs), "\n")
	slices.Sort(all)
	return strings.Join(all, "")
}

// TestChainLength: eight CNAMEs are followed, nine are an error.
func TestChainLength(t *testing.T) {
	for n, want := range map[int]int{1: dns.RcodeSuccess, maxChain: dns.RcodeSuccess, maxChain + 1: dns.RcodeServerFailure} {
		got := Answer(table(t, chainOf(n)), &Rules{MaxAnswers: 8}, seeded(), dns.Question{Name: "c0.", Qtype: dns.TypeA, Qclass: dns.ClassINET}, NoUpstream)
		if got.Rcode != want || want == dns.RcodeSuccess && len(got.Answer) != n+1 {
			t.Errorf("%d: rcode %s with %d records", n, dns.RcodeToString[got.Rcode], len(got.Answer))
		}
	}
}

// TestServiceCut: a cut list of hosts is a fair one, and each tier is cut by itself.
func TestServiceCut(t *testing.T) {
	var b strings.Builder
	for i := range 10 {
		fmt.Fprintf(&b, "10.0.0.%[1]d 10.0.0.%[1]d h%[1]d 60 origin 0 active\n10.0.0.%[1]d 10.0.0.%[1]d web 60 master 100 active port=80\n", i+1)
		fmt.Fprintf(&b, "10.0.1.%[1]d 10.0.1.%[1]d s%[1]d 60 origin 0 active\n10.0.1.%[1]d 10.0.1.%[1]d web 60 secondary 100 active port=80\n", i+1)
	}
	view, rng, seen := table(t, b.String()), seeded(), map[string]bool{}
	rules := Rules{MaxAnswers: 3, Balancing: NewBalancing([]Balance{{Match: func(n string) bool { return n == "web" }, MaxAnswers: 2}})}
	for range 200 {
		got := Answer(view, &rules, rng, dns.Question{Name: "_web._tcp.", Qtype: dns.TypeSRV, Qclass: dns.ClassINET}, NoUpstream)
		if len(got.Answer) != 4 || len(got.Additional) != 4 {
			t.Fatalf("%v", got.Answer)
		}
		for i, rr := range got.Answer {
			srv := rr.(*dns.SRV)
			if srv.Priority != uint16(1+i/2) {
				t.Fatalf("record %d has priority %d", i, srv.Priority)
			}
			seen[srv.Target] = true
		}
	}
	if len(seen) != 20 {
		t.Errorf("in 200 answers %d of 20 hosts", len(seen))
	}
}

// TestChainForwarded: what the resolvers say of a target comes behind the CNAMEs,
// with the code of the end of the chain, over UDP, TCP and from the cache.
func TestChainForwarded(t *testing.T) {
	asked := make(chan dns.Question, 100)
	up := upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
		asked <- r.Question[0]
		m := withA(r, "192.0.2.1")
		m.AuthenticatedData = true
		switch q := r.Question[0]; {
		case q.Qtype == dns.TypeMX:
			m.Answer, m.Rcode = nil, dns.RcodeNameError
			m.Ns = []dns.RR{rr(t, "example.org. 60 IN SOA a. b. 1 2 3 4 5")}
		case q.Qtype == dns.TypeTXT:
			m.Answer, m.Rcode = nil, dns.RcodeRefused
		}
		w.WriteMsg(m)
	})
	const chain = "FAR.corp.example. 60 IN CNAME ext.corp.example.\next.corp.example. 60 IN CNAME www.example.org.\n"
	for _, cached := range []bool{false, true} {
		view := table(t, shop)
		s := New(Config{Bind: []netip.Addr{loopback}, Resolvers: via(up), Log: quiet(),
			Rules: Rules{MaxAnswers: 8, NegativeTTL: 5, Domain: domain, Host: "server-01", DomainOwned: true, Cache: cached}}, func() *catalog.View { return view })
		start(t, s)
		for range 2 { // the second from the cache
			for _, network := range []string{"udp", "tcp"} {
				for _, tt := range []struct {
					qtype  uint16
					rcode  int
					answer string
					ns     int
				}{
					{dns.TypeA, dns.RcodeSuccess, chain + "www.example.org. 77 IN A 192.0.2.1\n", 0},
					{dns.TypeMX, dns.RcodeNameError, chain, 1},
					{dns.TypeTXT, dns.RcodeServerFailure, "", 0},
				} {
					m := question("FAR.corp.example.", tt.qtype)
					m.SetEdns0(1232, true)
					m.AuthenticatedData = true
					r := ask(t, network, s.Addrs()[0], m)
					if r.Rcode != tt.rcode || lines(r.Answer) != tt.answer || len(r.Ns) != tt.ns {
						t.Errorf("%s %s: %v", network, dns.Type(tt.qtype), r)
					}
					if r.AuthenticatedData || !r.RecursionAvailable || r.Authoritative != (tt.rcode != dns.RcodeServerFailure) || r.IsEdns0() == nil || len(r.Extra) != 1 {
						t.Errorf("%s %s: %v", network, dns.Type(tt.qtype), r)
					}
				}
			}
		}
		// Without recursion nobody is asked.
		for len(asked) > 0 {
			if q := <-asked; !strings.EqualFold(q.Name, "www.example.org.") {
				t.Errorf("asked for %v", q)
			}
		}
		m := question("far.corp.example.", dns.TypeA)
		m.RecursionDesired = false
		if r := ask(t, "udp", s.Addrs()[0], m); len(r.Answer) != 2 || r.Rcode != dns.RcodeSuccess || len(asked) != 0 {
			t.Errorf("without recursion: %v", r)
		}
	}
}

// TestChainUnanswered: who cannot get the end of a chain gets an error that says
// why, not half of it.
func TestChainUnanswered(t *testing.T) {
	view := table(t, shop)
	s := New(Config{Bind: []netip.Addr{loopback}, Resolvers: via(netip.AddrPortFrom(loopback, 1)), Log: quiet(),
		Rules: Rules{MaxAnswers: 8, Domain: domain}}, func() *catalog.View { return view })
	start(t, s)
	m := question("far.corp.example.", dns.TypeA)
	m.SetEdns0(1232, false)
	r := ask(t, "udp", s.Addrs()[0], m)
	if r.Rcode != dns.RcodeServerFailure || len(r.Answer) != 0 {
		t.Fatalf("%v", r)
	}
	if o := r.IsEdns0().Option; len(o) != 1 || o[0].(*dns.EDNS0_EDE).InfoCode != dns.ExtendedErrorCodeNoReachableAuthority {
		t.Errorf("%v", r)
	}
}

// TestServiceWire: addresses beside service records are left out where there is no
// room, and nothing is said to be cut then (RFC 2181 §9).
func TestServiceWire(t *testing.T) {
	var b strings.Builder
	for i := range 12 {
		fmt.Fprintf(&b, "10.0.0.%[1]d 10.0.0.%[1]d a-host-with-a-name-of-some-length-%[1]d 60 origin 0 active\n10.0.0.%[1]d 10.0.0.%[1]d web 60 master 100 active port=80\n", i+1)
	}
	view := table(t, b.String())
	s := New(Config{Bind: []netip.Addr{loopback}, Log: quiet(), Rules: Rules{MaxAnswers: 12, Domain: domain}}, func() *catalog.View { return view })
	start(t, s)
	for _, tt := range []struct {
		size  uint16
		extra int
	}{{1232, 13}, {900, 1}} {
		m := question("_web._tcp.corp.example.", dns.TypeSRV)
		m.SetEdns0(tt.size, false)
		r := ask(t, "udp", s.Addrs()[0], m)
		if r.Truncated || len(r.Answer) != 12 || len(r.Extra) != tt.extra {
			t.Errorf("%d octets: TC %v, %d answers, %d additional", tt.size, r.Truncated, len(r.Answer), len(r.Extra))
		}
	}
}

// TestPlain: which names the table answers as it stands.
func TestPlain(t *testing.T) {
	view := table(t, shop)
	for name, want := range map[string]bool{
		"web": true, "plain": true, "server-01": true, "both": false, "www": false, "ill": false, "gone": false, "moves": false,
	} {
		if got := plain(view.Name(name)); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// rr reads a record.
func rr(t testing.TB, text string) dns.RR {
	r, err := dns.NewRR(text)
	if err != nil {
		t.Errorf("%s: %v", text, err)
	}
	return r
}

// TestServiceOnce: owners that have no name of their own publish a service that is
// one record then, and a host in both tiers has its addresses with it once.
func TestServiceOnce(t *testing.T) {
	view := table(t, `
10.0.0.1  10.0.0.1  server-01  60  origin     0    active
10.0.0.1  fd00::1   server-01  60  origin     0    active
10.0.0.1  10.0.0.1  web        60  master     100  active port=80
10.0.0.1  fd00::1   web        60  secondary  100  active port=80
10.0.0.8  10.0.0.8  web        60  master     100  active port=80
10.0.0.9  10.0.0.9  web        60  master     100  active port=80
`)
	r := Answer(view, &Rules{MaxAnswers: 8}, seeded(), dns.Question{Name: "_web._tcp.", Qtype: dns.TypeSRV, Qclass: dns.ClassINET}, NoUpstream)
	got := strings.Split(lines(r.Answer), "\n")
	slices.Sort(got)
	if want := "\n_web._tcp. 60 IN SRV 1 100 80 server-01.\n_web._tcp. 60 IN SRV 1 100 80 web.\n_web._tcp. 60 IN SRV 2 100 80 server-01."; strings.Join(got, "\n") != want {
		t.Errorf("%s\nwant%s", strings.Join(got, "\n"), want)
	}
	if got := lines(r.Additional); got != text("server-01. 60 IN A 10.0.0.1", "server-01. 60 IN AAAA fd00::1") {
		t.Errorf("additional\n%s", got)
	}
}

// TestTooLongForDomain: a name that has no room for the domain behind it is written
// without, wherever a record names it: what is longer than a name can be, nobody can
// read (RFC 1035 §2.3.4). Both ways.
func TestTooLongForDomain(t *testing.T) {
	name := func(c string, n int) string {
		return strings.Repeat(strings.Repeat(c, 49)+".", n/50) + strings.Repeat(c, n%50)
	}
	just, long := name("j", maxText-1-len(domain)), name("n", maxText-len(domain))
	text := "10.0.0.1 10.0.0.1 " + long + " 60 origin 0 active\n" +
		"10.0.0.1 10.0.0.1 web 60 master 100 active port=80\n" +
		"10.0.0.1 10.0.0.1 there 60 master 100 active cname=" + long + "\n" +
		"10.0.0.2 10.0.0.2 " + just + " 60 origin 0 active\n"
	for domain, host := range map[string]string{domain: long, name("d", maxText-5): "server-01"} {
		s := newServer(t, Config{Rules: Rules{Domain: domain, Host: host}})
		v := table(t, text)
		s.view = func() *catalog.View { return v }
		s.prepareFor(v, s.policy.Load())
		k := newQuick(s)
		for _, tt := range []struct {
			name string
			kind uint16
			want string // at the end of the first record, when the domain is short
		}{
			{"1.0.0.10.in-addr.arpa.", dns.TypePTR, long + "."},
			{"2.0.0.10.in-addr.arpa.", dns.TypePTR, just + "." + domain + "."},
			{"_web._tcp.", dns.TypeSRV, "80 " + long + "."},
			{"there.", dns.TypeCNAME, long + "."},
			{"there.", dns.TypeA, long + "."},
			{domain + ".", dns.TypeNS, long + "."},
			{domain + ".", dns.TypeSOA, ""},
			{"web.", dns.TypeMX, ""},
			{"x." + domain + ".", dns.TypeA, ""},
			{"web.", dns.TypeA, "10.0.0.1"},
		} {
			raw, err := question(tt.name, tt.kind).Pack()
			if err != nil {
				continue // nobody can ask for it
			}
			bothWays(t, s, k, raw, friend, 1)
			reply := s.handle(raw, nil, friend, false).reply
			var m dns.Msg
			if err := m.Unpack(reply); err != nil {
				t.Fatalf("%s %d: %v: %x", tt.name, tt.kind, err, reply)
			}
			if got := lines(m.Answer); host == long && tt.want != "" && !strings.Contains(got, tt.want) || m.Rcode == dns.RcodeServerFailure {
				t.Errorf("%s %d: %v, want %s", tt.name, tt.kind, &m, tt.want)
			}
		}
	}
}
