package nameserver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

// balancedHouse has what the ways to put addresses in order differ by.
const balancedHouse = house + `
10.0.0.1  10.0.1.1   eight      60   master     100   active
10.0.0.1  10.0.1.2   eight      60   master     100   active
10.0.0.1  10.0.1.3   eight      60   master     1     active
10.0.0.1  10.0.1.4   eight      60   master     65535 active
10.0.0.1  10.0.1.5   eight      60   master     7     active
10.0.0.2  10.0.1.6   eight      60   master     100   active
10.0.0.2  10.0.1.7   eight      60   master     100   inactive
10.0.0.3  10.0.1.8   eight      60   master     100   active
10.0.0.3  10.0.1.9   eight      60   secondary  100   active
10.0.0.3  10.0.1.10  eight      60   secondary  300   active
10.0.0.3  fd00::8:1  eight      60   master     100   active
10.0.0.3  fd00::8:2  eight      60   master     200   active
10.0.0.3  fd00::8:3  eight      60   backup     200   active
10.0.0.2  10.0.2.1   ttls       60   master     100   active
10.0.0.2  10.0.2.2   ttls       50   master     100   active
10.0.0.2  10.0.2.3   ttls       40   master     100   active
10.0.0.1  10.0.3.1   twice      60   master     100   active
10.0.0.2  10.0.3.1   twice      50   master     200   active
10.0.0.2  10.0.3.2   twice      50   master     200   active
10.0.0.2  10.0.4.1   tiers      60   master     100   active
10.0.0.3  10.0.4.1   tiers      50   secondary  200   active
10.0.0.3  10.0.4.2   tiers      50   secondary  200   active
10.0.0.1  192.0.2.1  thing      60   master     100   active    static
10.0.0.2  192.0.2.1  thing      30   master     100   inactive  static checked
10.0.0.1  192.0.2.2  thing      60   master     100   active    static
10.0.0.2  192.0.2.2  thing      30   master     100   active    static
10.0.0.2  10.0.9.1   x.example  60   master     100   active
10.0.0.2  10.0.9.2   y.hostmaster 60 master     100   active
10.0.0.2  10.0.9.3   z.server-01  60 master     100   active
10.0.0.2  10.0.9.4   hostmaster   60 master     100   active
10.0.0.2  10.0.9.5   w.arpa       60 master     100   active
10.0.0.2  fd00::4:5  ip6-only     60 master     100   active
10.0.0.2  10.0.9.6   away         60 master     100   active    cname=www.example.org.
10.0.0.3  10.0.9.7   away         60 master     100   active
`

// quickServers are servers that differ in what answers depend on. The last view of the
// table is that of another node, who is none of the sources.
func quickServers(t testing.TB) map[string]*Server {
	t.Helper()
	withoutArpa := strings.Replace(balancedHouse, "w.arpa ", "w.arps ", 1)
	sources := func(a balance.Algorithm, names ...string) *Balancing {
		return NewBalancing([]Balance{
			{Match: func(name string) bool { return name == "ttls" }, Label: "ttls", MaxAnswers: 2},
			{Match: func(name string) bool { return name != "web" }, Label: "all", Algorithm: a, Sources: names},
		})
	}
	servers := map[string]*Server{}
	for name, cfg := range map[string]struct {
		Config
		table string
	}{
		"plain":           {Config{Rules: Rules{Domain: domain, Host: "server-01"}}, withoutArpa},
		"names in arpa":   {Config{Rules: Rules{Domain: domain}}, balancedHouse},
		"domain in arpa":  {Config{Rules: Rules{Domain: "in-addr.arpa"}}, withoutArpa},
		"no domain":       {Config{}, withoutArpa},
		"no domain, arpa": {Config{}, balancedHouse},
		"one label":       {Config{Rules: Rules{Domain: "example", Host: "z.server-01"}}, withoutArpa},
		"one label twice": {Config{Rules: Rules{Domain: "example.example", Host: "example"}}, withoutArpa},
		"like a length":   {Config{Rules: Rules{Domain: strings.Repeat("a", '0')}}, withoutArpa},
		"hostmaster":      {Config{Rules: Rules{Domain: domain, Host: "hostmaster"}}, withoutArpa},
		"resolvers":       {Config{Rules: Rules{Domain: domain, Host: "server-01"}, Resolvers: resolver1}, withoutArpa},
		"owned":           {Config{Rules: Rules{Domain: domain, Host: "server-01", DomainOwned: true}, Resolvers: resolver1}, withoutArpa},
		"cut":             {Config{Rules: Rules{Domain: domain, MaxAnswers: 2}}, withoutArpa},
		"one":             {Config{Rules: Rules{Domain: domain, MaxAnswers: 1}}, withoutArpa},
		"by source":       {Config{Rules: Rules{Domain: domain, Balancing: sources(balance.FixBySource, "server-01", "server-02", "server-03")}}, withoutArpa},
		"first by source": {Config{Rules: Rules{Domain: domain, Balancing: sources(balance.FixFirstBySource, "server-01", "server-02")}}, withoutArpa},
		"no source":       {Config{Rules: Rules{Domain: domain, Balancing: sources(balance.FixBySource, "server-02")}}, withoutArpa},
		"source, one":     {Config{Rules: Rules{Domain: domain, MaxAnswers: 1, Balancing: sources(balance.FixFirstBySource, "server-01", "server-02")}}, withoutArpa},
		"some names": {Config{Rules: Rules{
			Domain: domain, Names: func(n string) bool { return n != "web" && n != "server-02" },
			Addrs: func(a netip.Addr) bool { return a.Is4() },
		}}, withoutArpa},
		"when empty": {Config{Rules: Rules{Domain: domain, WhenEmpty: []WhenEmpty{{Match: func(string) bool { return true }, Answer: FailOpen}}}}, withoutArpa},
		"some clients": {Config{Rules: Rules{
			Domain: domain, AllowQuery: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		}}, withoutArpa},
	} {
		s := newServer(t, cfg.Config)
		v := table(t, cfg.table)
		s.view = func() *catalog.View { return v }
		s.prepareFor(v, s.policy.Load())
		s.tellAll()
		servers[name] = s
	}
	return servers
}

// tellAll has the log know where this node stands: until then the slow way answers.
func (s *Server) tellAll() {
	for _, p := range s.ready.Load().places {
		p.by.tell(s.log, p.how)
	}
}

// bothWays answers a packet the quick way, if there is one, and checks that it is what
// handle says, from the same draws.
func bothWays(t testing.TB, s *Server, k *quick, raw []byte, from netip.AddrPort, seed uint64) (quickly bool) {
	t.Helper()
	before := bytes.Clone(raw)
	k.rng = rand.New(rand.NewPCG(seed, 1))
	got := k.answer(raw, make([]byte, readSize), from.Addr())
	if !bytes.Equal(raw, before) {
		t.Fatal("the packet was changed")
	}
	if got == nil {
		return false
	}
	s.rng = rand.New(rand.NewPCG(seed, 1))
	want := s.handle(raw, make([]byte, readSize), from, false)
	if want.reply == nil || !bytes.Equal(got, want.reply) {
		t.Fatalf("%x from %v:\nquick  %x\nhandle %x\nquick:\n%v\nhandle:\n%v", raw, from, got, want.reply, readable(got), readable(want.reply))
	}
	if k.rng.Uint64() != s.rng.Uint64() {
		t.Fatalf("%x: not the same draws", raw)
	}
	return true
}

func readable(raw []byte) *dns.Msg {
	m := new(dns.Msg)
	m.Unpack(raw)
	return m
}

// quickQuestions are the questions of the corpus: all names of the table and some
// others, in many spellings.
func quickQuestions(v *catalog.View, domains ...string) []dns.Question {
	bare := []string{
		"nothing", "no.thing", "rack.east", "east", "_web._tcp", "_x", "a.server-01", "a.hostmaster", "corp", "example",
		"x.corp.example", "example.example", strings.Repeat("a", 63), strings.Repeat("a.", 80) + "b", "-", "0", strings.Repeat("5", 53),
		"x0" + strings.Repeat("a", '0'), "web." + strings.Repeat("a", '0'),
	}
	for n := range v.Names() {
		bare = append(bare, n.Name())
	}
	slices.Sort(bare)
	names := []string{".", "corp.example.", "CORP.example.", "arpa.", "in-addr.arpa.", "1.in-addr.arpa.", "1.0.0.10.in-addr.arpa.corp.example."}
	for _, b := range bare {
		names = append(names, b+".", strings.ToUpper(b)+".")
		for _, d := range domains {
			names = append(names, b+"."+d+".", strings.ToUpper(b)+"."+d+".", b+"."+strings.ToUpper(d)+".", b+"."+strings.ToUpper(d[:1])+d[1:]+".", b+d+".")
		}
	}
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("fd00::1:1")}
	for e := range v.Entries() {
		addrs = append(addrs, e.Addr)
	}
	for _, a := range addrs {
		name, _ := dns.ReverseAddr(a.String())
		names = append(names, name, strings.ToUpper(name), "0"+name, "1."+name, name[2:])
	}
	slices.Sort(names)
	types := []uint16{
		dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeTXT, dns.TypeANY, dns.TypeSRV, dns.TypeMX, dns.TypeHTTPS,
		dns.TypeSOA, dns.TypeNS, dns.TypeCNAME, dns.TypeOPT, dns.TypeAXFR, dns.TypeDS, 0, 65280,
	}
	var qs []dns.Question
	for _, name := range slices.Compact(names) {
		for _, qtype := range types {
			qs = append(qs, dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET})
		}
	}
	return qs
}

// variants are what is around a question.
var variants = map[string]func(*dns.Msg){
	"plain":        func(*dns.Msg) {},
	"no recursion": func(m *dns.Msg) { m.RecursionDesired = false },
	"all bits": func(m *dns.Msg) {
		m.CheckingDisabled, m.AuthenticatedData, m.Zero, m.Truncated, m.Authoritative, m.RecursionAvailable = true, true, true, true, true, true
	},
	"a code":   func(m *dns.Msg) { m.Rcode = 5 },
	"EDNS":     func(m *dns.Msg) { m.SetEdns0(1232, false) },
	"EDNS 512": func(m *dns.Msg) { m.SetEdns0(0, false) },
	"DO":       func(m *dns.Msg) { m.SetEdns0(4096, true) },
	"unknown flags": func(m *dns.Msg) {
		m.SetEdns0(4096, true)
		m.IsEdns0().Hdr.Ttl |= 1
	},
	"version 1": func(m *dns.Msg) {
		m.SetEdns0(4096, true)
		m.IsEdns0().SetVersion(1)
	},
	"unknown options": func(m *dns.Msg) {
		m.SetEdns0(4096, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65100, Data: []byte("abc")}, &dns.EDNS0_PADDING{Padding: make([]byte, 9)}, &dns.EDNS0_LOCAL{Code: 65100}}
	},
	"NSID": func(m *dns.Msg) {
		m.SetEdns0(4096, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}
	},
	"cookie": func(m *dns.Msg) {
		m.SetEdns0(4096, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}}
	},
	"class CH": func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
	"a record": func(m *dns.Msg) {
		m.Extra = append(m.Extra, &dns.A{Hdr: dns.RR_Header{Name: "a.", Rrtype: dns.TypeA, Class: 1}})
	},
	"notify":      func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify },
	"a response":  func(m *dns.Msg) { m.Response = true },
	"two of them": func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
	"none at all": func(m *dns.Msg) { m.Question = nil },
	"an answer": func(m *dns.Msg) {
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "a.", Rrtype: dns.TypeA, Class: 1}}}
	},
	"an authority": func(m *dns.Msg) { m.Ns = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "a.", Rrtype: dns.TypeA, Class: 1}}} },
}

// TestQuick: the corpus, both ways, octet by octet.
func TestQuick(t *testing.T) {
	for name, s := range quickServers(t) {
		t.Run(name, func(t *testing.T) {
			k := newQuick(s)
			quickly, all := 0, 0
			seed := uint64(0)
			for _, q := range quickQuestions(s.view(), domain, "example", "example.example") {
				for variant, tweak := range variants {
					// All of it under each name would take minutes.
					if seed++; seed%23 != 0 && variant != "plain" && variant != "EDNS" {
						continue
					}
					m := new(dns.Msg)
					m.Id, m.RecursionDesired, m.Question = uint16(seed), true, []dns.Question{q}
					tweak(m)
					raw, err := m.Pack()
					if err != nil {
						continue
					}
					from := friend
					if seed%5 == 0 {
						from = stranger
					}
					all++
					if bothWays(t, s, k, raw, from, seed) {
						quickly++
					}
				}
			}
			t.Logf("%d of %d the quick way", quickly, all)
			if quickly < 300 {
				t.Errorf("%d of %d the quick way: something keeps the others from it", quickly, all)
			}
		})
	}
}

// TestQuickIsCommon: what clients ask all day goes the quick way.
func TestQuickIsCommon(t *testing.T) {
	s := quickServers(t)["owned"]
	k := newQuick(s)
	for _, tt := range []struct {
		name  string
		qtype uint16
	}{
		{"web.", dns.TypeA}, {"web.corp.example.", dns.TypeA}, {"wEb.CORP.examPle.", dns.TypeA}, {"eight.corp.example.", dns.TypeA},
		{"eight.corp.example.", dns.TypeAAAA}, {"server-02.corp.example.", dns.TypeAAAA}, {"server-02.", dns.TypeHTTPS},
		{"nothing.corp.example.", dns.TypeA}, {"1.0.0.10.in-addr.arpa.", dns.TypePTR}, {"thing.corp.example.", dns.TypeA},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", dns.TypePTR},
	} {
		for _, variant := range []string{"plain", "no recursion", "EDNS", "DO", "unknown options"} {
			m := question(tt.name, tt.qtype)
			variants[variant](m)
			if !bothWays(t, s, k, packed(t, m), friend, 1) {
				t.Errorf("%s %s, %s: the slow way", tt.name, dns.TypeToString[tt.qtype], variant)
			}
		}
	}
}

// TestQuickTooLong: a reply that does not fit is cut by the one who knows how.
func TestQuickTooLong(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "10.0.0.1 10.0.1.%d many 60 master 100 active\n", i)
	}
	v := table(t, b.String())
	s := newServer(t, Config{Rules: Rules{MaxAnswers: 60}})
	s.view = func() *catalog.View { return v }
	s.prepareFor(v, s.policy.Load())
	k := newQuick(s)
	for size, want := range map[uint16]bool{0: false, 512: false, 985: false, 988: false, 1232: true, 4096: true} {
		m := question("many.", dns.TypeA)
		if size > 0 {
			m.SetEdns0(size, false)
		}
		raw := packed(t, m)
		got := bothWays(t, s, k, raw, friend, 7)
		reply := s.handle(raw, make([]byte, readSize), friend, false).reply
		if fits := binary.BigEndian.Uint16(reply[2:])&flagTC == 0; got != fits || size != 988 && got != want {
			t.Errorf("size %d: quick %v, whole %v", size, got, fits)
		}
	}
}

// TestQuickTells: which order the sources make is told in the log as ever, also when
// nobody asks but quickly.
func TestQuickTells(t *testing.T) {
	lines := new(logBuffer)
	s := quickServers(t)["no source"]
	s.log = lines.logger()
	for _, p := range s.ready.Load().places {
		p.by.told.Store(0)
	}
	k := newQuick(s)
	raw := packed(t, question("eight.", dns.TypeA))
	buf := make([]byte, readSize)
	if k.answer(raw, buf, friend.Addr()) != nil {
		t.Fatal("answered before it was told")
	}
	s.handle(raw, buf, friend, false)
	if k.answer(raw, buf, friend.Addr()) == nil {
		t.Fatal("not answered after it was told")
	}
	if n := strings.Count(lines.String(), "random order"); n != 1 {
		t.Errorf("told %d times: %s", n, lines)
	}
}

// FuzzQuick: whatever the packet, what goes the quick way is what handle says.
func FuzzQuick(f *testing.F) {
	addKept(f)
	servers := quickServers(f)
	var names []string
	for name := range servers {
		names = append(names, name)
	}
	slices.Sort(names)
	n := 0
	for _, q := range quickQuestions(servers["plain"].view(), domain) {
		if q.Qtype > dns.TypeHTTPS {
			continue
		}
		for _, tweak := range variants {
			if n++; n%97 != 0 {
				continue
			}
			m := new(dns.Msg)
			m.Id, m.RecursionDesired, m.Question = uint16(n), true, []dns.Question{q}
			tweak(m)
			if raw, err := m.Pack(); err == nil {
				f.Add(raw, byte(n), uint64(n))
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, which byte, seed uint64) {
		s := servers[names[int(which)%len(names)]]
		from := friend
		if which&0x80 != 0 {
			from = stranger
		}
		bothWays(t, s, newQuick(s), raw, from, seed)
	})
}
