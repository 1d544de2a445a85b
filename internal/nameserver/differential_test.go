package nameserver

import (
	"encoding/binary"
	"flag"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

var differentialSeed = flag.Uint64("seed", 0, "the seed of TestDifferential; 0: another one each time")

// asked is a question of TestDifferential: what is meant, for messages and for the
// list of differences, and the packet.
type asked struct {
	kind  string
	name  string // as spelled
	qtype uint16
	hit   bool // the name is one of the zone
	empty bool // or of the table, but without a record in the zone; or it leads to such a name
	edns  bool
	tcp   bool
	raw   []byte
}

func (a *asked) String() string {
	network := "UDP"
	if a.tcp {
		network = "TCP"
	}
	return fmt.Sprintf("%s: %s %s over %s: %x", a.kind, a.name, dns.Type(a.qtype), network, a.raw)
}

// replied is a reply in a form that two servers can agree in: in the sections the
// order does not matter, nor the spelling, in the OPT record what only one of them
// can know.
type replied struct {
	rcode                         int
	flags                         string
	question                      string
	answer, authority, additional string
	opt                           string
}

func (r replied) String() string {
	return fmt.Sprintf("%s %s\n  question   %s\n  answer     %s\n  authority  %s\n  additional %s\n  opt        %s",
		dns.RcodeToString[r.rcode], r.flags, r.question, r.answer, r.authority, r.additional, r.opt)
}

func readReply(raw []byte) (r replied, err error) {
	var m dns.Msg
	if err := m.Unpack(raw); err != nil {
		return r, err
	}
	r.rcode = m.Rcode
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"qr", m.Response}, {"aa", m.Authoritative}, {"tc", m.Truncated}, {"rd", m.RecursionDesired},
		{"ra", m.RecursionAvailable}, {"z", m.Zero}, {"ad", m.AuthenticatedData}, {"cd", m.CheckingDisabled},
	} {
		if f.set {
			r.flags += f.name + " "
		}
	}
	r.flags += dns.OpcodeToString[m.Opcode]
	for _, q := range m.Question {
		r.question += fmt.Sprintf("%s %d %d;", q.Name, q.Qclass, q.Qtype) // its spelling matters
	}
	section := func(rrs []dns.RR) string {
		var all []string
		for _, rr := range rrs {
			if opt, ok := rr.(*dns.OPT); ok {
				var options []string
				for _, o := range opt.Option {
					switch o := o.(type) {
					case *dns.EDNS0_NSID:
						options = append(options, "nsid "+o.Nsid)
					case *dns.EDNS0_COOKIE:
						options = append(options, "cookie "+o.Cookie[:2*clientCookie])
					case *dns.EDNS0_EDE: // each has its own reasons
					default:
						options = append(options, o.String())
					}
				}
				slices.Sort(options)
				r.opt = fmt.Sprintf("version %d, do %v, size %d %s", opt.Version(), opt.Do(), opt.UDPSize(), strings.Join(options, ", "))
				continue
			}
			all = append(all, strings.ToLower(strings.Join(strings.Fields(rr.String()), " ")))
		}
		slices.Sort(all)
		return strings.Join(all, "; ")
	}
	r.answer, r.authority, r.additional = section(m.Answer), section(m.Ns), section(m.Extra)
	return r, nil
}

// differentialTable has names of each kind, and the names of each kind.
func differentialTable(rng *rand.Rand) (text string, names map[string][]string) {
	var b strings.Builder
	names = map[string][]string{}
	host := func(i int) string { return fmt.Sprintf("10.0.0.%d", 1+i) }
	const hosts = 12
	for i := range hosts {
		name := fmt.Sprintf("server-%02d", i+1)
		fmt.Fprintf(&b, "%s %s %s %d origin 0 active\n", host(i), host(i), name, 30+i)
		if i%2 == 0 {
			fmt.Fprintf(&b, "%s fd00::%d %s %d origin 0 active\n", host(i), i+1, name, 30+i)
		}
		names["host"] = append(names["host"], name)
	}
	// Each alias has a few owners of any tier, some of which are ill.
	for i := range 60 {
		name := []string{"web-%d", "db-%d.east", "a.b-%d.c", "X-%d"}[i%4]
		name = strings.ToLower(fmt.Sprintf(name, i))
		for _, o := range rng.Perm(hosts)[:1+rng.IntN(6)] {
			state := "active"
			if rng.IntN(5) == 0 {
				state = "inactive"
			}
			more := ""
			if i%3 == 0 {
				more = fmt.Sprintf(" port=%d", 1000+i)
			}
			if i%5 == 0 {
				more += fmt.Sprintf(" txt=version=%d,of_%d", i, o)
			}
			fmt.Fprintf(&b, "%s %s %s %d %s %d %s%s\n", host(o), host(o), name, 10*rng.IntN(9), []string{"master", "secondary", "backup"}[rng.IntN(3)], 1+rng.IntN(200), state, more)
			if rng.IntN(2) == 0 {
				fmt.Fprintf(&b, "%s fd00::%d %s %d master 100 %s%s\n", host(o), o+1, name, 10*rng.IntN(9), state, more)
			}
		}
		names["alias"] = append(names["alias"], name)
		if i%3 == 0 {
			names["service"] = append(names["service"], catalog.ServiceName(name, "_tcp"), catalog.ServiceName(name, "_udp"))
		}
	}
	for i := range 8 {
		fmt.Fprintf(&b, "%s %s asleep-%d 60 master 100 inactive\n", host(0), host(0), i)
		names["asleep"] = append(names["asleep"], fmt.Sprintf("asleep-%d", i))
		fmt.Fprintf(&b, "10.0.9.9 10.0.9.9 ghost-%d 60 master 100 active down\n", i)
		names["ghost"] = append(names["ghost"], fmt.Sprintf("ghost-%d", i))
	}
	for i := range 8 {
		fmt.Fprintf(&b, "%s %s www-%d 60 master 100 active cname=web-%d\n", host(0), host(0), i, 4*i)
		fmt.Fprintf(&b, "%s %s over-%d 60 master 100 active cname=www-%d\n", host(0), host(0), i, i)
		fmt.Fprintf(&b, "%s %s out-%d 60 master 100 active cname=target-%d.example.org.\n", host(0), host(0), i, i)
		fmt.Fprintf(&b, "%s %s stray-%d 60 master 100 active cname=nowhere-%d\n", host(0), host(0), i, i)
		fmt.Fprintf(&b, "%s %s ring-%d 60 master 100 active cname=ring-%d\n", host(0), host(0), i, (i+1)%8)
		names["cname"] = append(names["cname"], fmt.Sprintf("www-%d", i), fmt.Sprintf("over-%d", i))
		names["cname out of the zone"] = append(names["cname out of the zone"], fmt.Sprintf("out-%d", i))
		names["cname to nothing"] = append(names["cname to nothing"], fmt.Sprintf("stray-%d", i))
		names["endless cname"] = append(names["endless cname"], fmt.Sprintf("ring-%d", i))
	}
	names["apex"] = []string{""}
	names["empty non-terminal"] = []string{"east", "c", "_tcp", "_udp", "_tcp.east"}
	for i := range 30 {
		names["nothing"] = append(names["nothing"], fmt.Sprintf("nothing-%d", i), fmt.Sprintf("x.web-%d", i), fmt.Sprintf("*.n%d", i), fmt.Sprintf("n\\%03d", i))
	}
	return b.String(), names
}

// outside are names of nobody's that we know.
var outside = []string{"example.org.", ".", "example.", "xcorp.example.", "corp.example.org.", "notcorp.example.", "www.example.net.", "1.0.0.10.in-addr.arpa.example.", "localhost."}

// asker makes questions.
type asker struct {
	rng   *rand.Rand
	names map[string][]string
	zone  map[string]bool   // the names that exist in the zone, in lower case
	leads map[string]string // where CNAMEs do
}

// learn reads what a secondary can know.
func (x *asker) learn(zone iter.Seq[dns.RR]) {
	x.zone, x.leads = map[string]bool{}, map[string]string{}
	for rr := range zone {
		name := rr.Header().Name
		if c, ok := rr.(*dns.CNAME); ok {
			x.leads[name] = c.Target
		}
		for at, end := 0, false; !end; at, end = dns.NextLabel(name, at) {
			x.zone[name[at:]] = true // also those that have others below
		}
	}
}

// isEmpty says whether a name of the table, or the one it leads to, has no record.
func (x *asker) isEmpty(name string) bool {
	name = strings.ToLower(name)
	for range maxChain {
		if next := x.leads[name]; next != "" {
			name = next
		}
	}
	return !x.zone[name] && dns.IsSubDomain(domain+".", name)
}

// ordinaryTypes are asked for often.
var ordinaryTypes = []uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeCNAME, dns.TypeSOA, dns.TypePTR, dns.TypeHINFO, dns.TypeMX, dns.TypeTXT, dns.TypeRP, dns.TypeAFSDB,
	dns.TypeLOC, dns.TypeSRV, dns.TypeNAPTR, dns.TypeCERT, dns.TypeDNAME, dns.TypeSSHFP, dns.TypeDNSKEY, dns.TypeTLSA, dns.TypeOPENPGPKEY, dns.TypeSVCB,
	dns.TypeHTTPS, dns.TypeSPF, dns.TypeURI, dns.TypeCAA, dns.TypeANY, 1234, 65280,
}

// allTypes are those that have a name, and two that have none. 0 is no type (RFC 6895
// §3.1), and for some names an error for NSD.
func allTypes() []uint16 {
	types := append(slices.Sorted(maps.Keys(dns.TypeToString)), 1234, 65280)
	return slices.DeleteFunc(types, func(t uint16) bool { return t == dns.TypeNone })
}

func (x *asker) pick(list []string) string { return list[x.rng.IntN(len(list))] }

// spelled writes a name with letters of any case (draft-vixie-dnsext-dns0x20).
func (x *asker) spelled(name string) string {
	b := []byte(name)
	for i, c := range b {
		if 'a' <= c && c <= 'z' && x.rng.IntN(2) == 0 && (i == 0 || b[i-1] != '\\') {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

func (x *asker) under(name string) string {
	if name != "" {
		name += "."
	}
	return name + domain + "."
}

// question makes one of a kind and a type.
func (x *asker) question(kind string, qtype uint16) *asked {
	a := &asked{kind: kind, qtype: qtype, tcp: x.rng.IntN(8) == 0}
	switch {
	case kind == "outside":
		a.name = x.pick(outside)
	case x.names[kind] != nil:
		a.name, a.hit = x.under(x.pick(x.names[kind])), kind != "nothing"
	default:
		a.name, a.hit = x.under(x.pick(x.names[x.pick([]string{"host", "alias"})])), true
	}
	// A CNAME to what nobody has leads to no name of the table.
	a.empty = a.hit && kind != "cname to nothing" && x.isEmpty(a.name)
	if x.rng.IntN(3) > 0 {
		a.name = x.spelled(a.name)
	}
	m := new(dns.Msg)
	m.Id = uint16(x.rng.Uint32())
	m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData = x.rng.IntN(2) == 0, x.rng.IntN(6) == 0, x.rng.IntN(6) == 0
	m.Question = []dns.Question{{Name: a.name, Qtype: qtype, Qclass: dns.ClassINET}}
	if kind == "another class" {
		m.Question[0].Qclass = []uint16{dns.ClassCHAOS, dns.ClassHESIOD, 2, 77}[x.rng.IntN(4)]
	}
	a.edns = x.rng.IntN(4) > 0 || strings.HasPrefix(kind, "EDNS")
	if a.edns {
		m.SetEdns0([]uint16{0, 100, 512, 513, 1232, 1400, 4096, 65535}[x.rng.IntN(8)], x.rng.IntN(3) == 0)
		o := m.IsEdns0()
		for _, option := range []dns.EDNS0{
			nsid(""), cookie(fmt.Sprintf("%016x", x.rng.Uint64())),
			&dns.EDNS0_PADDING{Padding: make([]byte, x.rng.IntN(50))},
			&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IP{192, 0, 2, 0}},
			&dns.EDNS0_LOCAL{Code: 65001 + uint16(x.rng.IntN(100)), Data: []byte("x")},
			&dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true},
		} {
			if x.rng.IntN(5) == 0 {
				o.Option = append(o.Option, option)
			}
		}
		switch kind {
		case "EDNS version":
			o.SetVersion(uint8(1 + x.rng.IntN(255)))
		case "EDNS two":
			m.Extra = append(m.Extra, dns.Copy(o))
		case "EDNS flags":
			o.Hdr.Ttl |= uint32(x.rng.IntN(1 << 15))
		}
	}
	raw, err := m.Pack()
	if err != nil {
		panic(fmt.Sprintf("%v: %v", m, err))
	}
	count := func(i int, by int) {
		binary.BigEndian.PutUint16(raw[4+2*i:], uint16(int(binary.BigEndian.Uint16(raw[4+2*i:]))+by))
	}
	switch kind {
	case "opcode":
		opcode := []byte{dns.OpcodeIQuery, dns.OpcodeStatus, 3, 6, 7, 15}[x.rng.IntN(6)]
		raw[2] = raw[2]&^0x78 | opcode<<3
	case "header bits":
		raw[2] |= byte(x.rng.IntN(8)) & 0x06 // AA, TC
		raw[3] |= byte(x.rng.IntN(256)) & 0xC0
	case "cut":
		raw = raw[:12+x.rng.IntN(len(raw)-12)]
		a.tcp = false // NSD closes the connection
	case "a record too few":
		count(3, 1)
	}
	a.raw = raw
	return a
}

// exchange sends the packet and gives the reply. What is lost over UDP is asked
// again, as clients do.
func (a *asked) exchange(at netip.AddrPort) ([]byte, error) {
	network := "udp"
	if a.tcp {
		network = "tcp"
	}
	var last error
	for range 20 {
		reply, err := func() ([]byte, error) {
			c, err := net.Dial(network, at.String())
			if err != nil {
				return nil, err
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(500 * time.Millisecond))
			conn := dns.Conn{Conn: c, UDPSize: dns.MaxMsgSize}
			if _, err := conn.Write(a.raw); err != nil {
				return nil, err
			}
			return conn.ReadMsgHeader(nil)
		}()
		if err == nil {
			return reply, nil
		}
		last = err
		// One that closes at once, such as an NSD between two of its processes,
		// is not asked in a hurry.
		time.Sleep(100 * time.Millisecond)
	}
	return nil, last
}

// TestDifferential asks us and a real NSD, which has the zone by transfer from us,
// the same random questions. They agree in the code, the flags and the sections,
// or in one of the differences, each of which has its reason.
func TestDifferential(t *testing.T) {
	const all, least = 16000, 20
	seed := *differentialSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("go test -run TestDifferential ./internal/nameserver -seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	text, names := differentialTable(rng)
	view := table(t, text)
	s := newServer(t, Config{Bind: []netip.Addr{loopback}, Rules: Rules{Domain: domain, Host: "server-01", MaxAnswers: 100, AllowTransfer: everybody}})
	s.view = func() *catalog.View { return view }
	start(t, s)
	us := s.Addrs()[0]
	them := nsd(t, us, domain)

	x := &asker{rng: rng, names: names}
	x.learn(s.policy.Load().rules.zone(view))
	type combination struct {
		qtype uint16
		rcode int
	}
	var (
		met     = map[combination]int{}
		used    = make([]int, len(differences))
		hits, n = 0, 0
		wrong   = 0
		shown   = map[string]int{}
	)
	ask := func(kind string, qtype uint16) {
		a := x.question(kind, qtype)
		var replies [2]replied
		for i, at := range []netip.AddrPort{us, them} {
			raw, err := a.exchange(at)
			if err != nil {
				t.Errorf("%v: server %d: %v", a, i, err)
				return
			}
			if replies[i], err = readReply(raw); err != nil {
				t.Fatalf("%v: server %d: %v", a, i, err)
			}
		}
		n++
		if a.hit {
			hits++
		}
		ours, theirs := replies[0], replies[1]
		met[combination{qtype, ours.rcode}]++
		if ours == theirs {
			return
		}
		o, th := ours, theirs
		for i, d := range differences {
			if d.excuse(a, &o, &th) {
				used[i]++
			}
		}
		if o == th {
			return
		}
		if wrong++; shown[kind] < 2 {
			shown[kind]++ // not all of them
			t.Errorf("%v\nours   %v\ntheirs %v", a, ours, theirs)
		}
	}
	// First each type with each code, and each kind of question, so that none is rare;
	// then the usual ones as they come.
	kinds := []string{"host", "alias", "service", "asleep", "ghost", "cname", "cname out of the zone", "cname to nothing", "endless cname",
		"apex", "empty non-terminal", "nothing", "outside", "another class", "EDNS version", "EDNS two", "EDNS flags", "opcode", "header bits", "cut", "a record too few"}
	for _, qtype := range allTypes() {
		for _, kind := range []string{"alias", "nothing", "outside", "EDNS version", "EDNS two", "opcode", "endless cname"} {
			for range least {
				ask(kind, qtype)
			}
		}
	}
	for _, kind := range kinds {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeANY} {
			for range least {
				ask(kind, qtype)
			}
		}
	}
	for n < all {
		ask(x.pick(kinds), ordinaryTypes[rng.IntN(len(ordinaryTypes))])
	}
	t.Logf("%d questions, %d for names of the zone, %d combinations of type and code", n, hits, len(met))
	if hits*10 < n*4 {
		t.Errorf("only %d of %d questions were for names of the zone", hits, n)
	}
	for c, n := range met {
		if n < least {
			t.Errorf("only %d questions with type %s and the code %s", n, dns.Type(c.qtype), dns.RcodeToString[c.rcode])
		}
	}
	for i, d := range differences {
		t.Logf("%5d times: %s", used[i], d.why)
		if used[i] == 0 {
			t.Errorf("a difference that does not occur: %s", d.why)
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d answers differ", wrong, n)
	}
}
