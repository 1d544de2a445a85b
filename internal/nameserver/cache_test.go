package nameserver

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

// records reads lines of a zone.
func records(t testing.TB, text string) []dns.RR {
	t.Helper()
	var rrs []dns.RR
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		rr, err := dns.NewRR(line)
		fatal(t, err)
		rrs = append(rrs, rr)
	}
	return rrs
}

// answering is a resolver's message.
func answering(t testing.TB, rcode int, answer, ns, extra string) *dns.Msg {
	return &dns.Msg{
		MsgHdr: dns.MsgHdr{Response: true, Rcode: rcode},
		Answer: records(t, answer), Ns: records(t, ns), Extra: records(t, extra),
	}
}

// caching makes a server with a cache that does not listen. It has one resolver,
// which is silent.
func caching(t testing.TB) (*Server, *keeper) {
	s := newServer(t, Config{Resolvers: resolver1, Rules: Rules{Domain: domain, Cache: true}})
	s.forwarder.send = func(*sending) error { return nil } // it is silent
	return s, keeps(s)
}

// keeper is a cache to which messages of the library can be given.
type keeper struct {
	*cache
	f *forwarder
	g *group
}

// keeps gives the cache of a server.
func keeps(s *Server) *keeper {
	to := s.policy.Load().routes
	return &keeper{to.cache, s.forwarder, to.rest}
}

// flightKey is a question as it goes to the resolvers.
type flightKey struct {
	name             string
	qtype            uint16
	edns, do, ad, cd bool
}

func (k flightKey) askKey() (key askKey) {
	var name [maxWireName + 1]byte
	n, err := dns.PackDomainName(k.name, name[:], 0, nil, false)
	if err != nil {
		panic(err)
	}
	key.setName(name[:n])
	q := query{edns: k.edns, do: k.do, ad: k.ad, cd: k.cd}
	key.setQuestion(k.qtype, q.bits())
	return key
}

// read makes of a message what a resolver's reply to the question is read as.
func (k flightKey) read(m *dns.Msg) *message {
	m = m.Copy()
	m.Response, m.Compress = true, true
	m.Question = []dns.Question{{Name: strings.ToLower(k.name), Qtype: k.qtype, Qclass: dns.ClassINET}}
	raw, err := m.Pack()
	if err != nil {
		panic(err)
	}
	key, r := k.askKey(), new(message)
	if !r.read(raw, &key) {
		panic("cannot be read: " + m.String())
	}
	return r
}

func (c *keeper) put(k flightKey, m *dns.Msg) {
	key := k.askKey()
	key = key.forCache()
	c.cache.put(&key, c.g, k.read(m), c.f.now())
}

// get gives what is kept and still holds.
func (c *keeper) get(k flightKey) *cached {
	key := k.askKey()
	key = key.forCache()
	v, age := c.cache.get(&key, c.g, c.f.now())
	if v == nil || age >= v.life {
		return nil
	}
	return v
}

// hit gives the reply to a question when it comes from the cache, else nil.
func hit(t testing.TB, s *Server, m *dns.Msg, tcp bool) *dns.Msg {
	t.Helper()
	v := s.handle(packed(t, m), make([]byte, readSize), friend, tcp)
	if v.reply == nil {
		return nil
	}
	r := new(dns.Msg)
	fatal(t, r.Unpack(v.reply))
	if r.Id != m.Id {
		t.Errorf("id %d, want %d", r.Id, m.Id)
	}
	return r
}

// TestCacheLife: what is kept, for how long, and with which TTLs it is answered.
// It lives until the last of its seconds is over.
func TestCacheLife(t *testing.T) {
	const (
		a    = "example.org. 60 IN A 192.0.2.1"
		soa  = "org. 900 IN SOA ns.org. mail.org. 1 3600 600 86400 30"
		soa2 = "org. 20 IN SOA ns.org. mail.org. 1 3600 600 86400 30"
		ns   = "example.org. 300 IN NS ns.example.org."
	)
	for _, tt := range []struct {
		what  string
		msg   *dns.Msg
		qtype uint16
		life  time.Duration // 0: not kept
	}{
		{"an address", answering(t, 0, a, "", ""), dns.TypeA, 60 * time.Second},
		{"two, the shorter counts", answering(t, 0, a+"\nexample.org. 7 IN A 192.0.2.2", "", ""), dns.TypeA, 7 * time.Second},
		{"authority and additional count", answering(t, 0, a, ns, "ns.example.org. 10 IN A 192.0.2.9"), dns.TypeA, 10 * time.Second},
		{"an alias and its address", answering(t, 0, "example.org. 5 IN CNAME www.example.org.\nwww.example.org. 60 IN A 192.0.2.1", "", ""), dns.TypeA, 5 * time.Second},
		{"an alias was asked for", answering(t, 0, "example.org. 5 IN CNAME www.example.org.", "", ""), dns.TypeCNAME, 5 * time.Second},
		{"anything was asked for", answering(t, 0, a, "", ""), dns.TypeANY, 60 * time.Second},
		{"a day at most", answering(t, 0, "example.org. 604800 IN A 192.0.2.1", "", ""), dns.TypeA, 24 * time.Hour},
		{"TTL 0", answering(t, 0, "example.org. 0 IN A 192.0.2.1", "", ""), dns.TypeA, 0},
		{"RFC 2181 §8 the highest bit is 0", answering(t, 0, "example.org. 2147483648 IN A 192.0.2.1", "", ""), dns.TypeA, 0},

		{"RFC 2308 §5 no such name: the SOA's last field", answering(t, dns.RcodeNameError, "", soa, ""), dns.TypeA, 30 * time.Second},
		{"or its TTL", answering(t, dns.RcodeNameError, "", soa2, ""), dns.TypeA, 20 * time.Second},
		{"no such type", answering(t, 0, "", soa, ""), dns.TypeMX, 30 * time.Second},
		{"no such type at the end of an alias", answering(t, 0, "example.org. 25 IN CNAME www.example.org.", soa, ""), dns.TypeMX, 25 * time.Second},
		{"no such name at the end of an alias", answering(t, dns.RcodeNameError, "example.org. 300 IN CNAME www.example.org.", soa, ""), dns.TypeA, 30 * time.Second},
		{"an hour at most", answering(t, dns.RcodeNameError, "", "org. 86400 IN SOA ns.org. mail.org. 1 3600 600 86400 86400", ""), dns.TypeA, time.Hour},
		{"a SOA of no time", answering(t, dns.RcodeNameError, "", "org. 900 IN SOA ns.org. mail.org. 1 3600 600 86400 0", ""), dns.TypeA, 0},
		{"no such name, nobody says for how long", answering(t, dns.RcodeNameError, "", "", ""), dns.TypeA, 0},
		{"nothing at all", answering(t, 0, "", "", ""), dns.TypeA, 0},
		{"a referral", answering(t, 0, "", ns, ""), dns.TypeA, 0},
		{"an alias that ends nowhere", answering(t, 0, "example.org. 60 IN CNAME www.example.org.", "", ""), dns.TypeA, 0},

		{"SERVFAIL", answering(t, dns.RcodeServerFailure, "", soa, ""), dns.TypeA, 0},
		{"REFUSED", answering(t, dns.RcodeRefused, a, "", ""), dns.TypeA, 0},
		{"cut short", func() *dns.Msg { m := answering(t, 0, a, "", ""); m.Truncated = true; return m }(), dns.TypeA, 0},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c := caching(t)
				q := question("example.org.", tt.qtype)
				c.put(flightKey{name: "example.org.", qtype: tt.qtype}, tt.msg)
				if tt.life == 0 {
					if r := hit(t, s, q, false); r != nil {
						t.Fatalf("kept: %v", r)
					}
					return
				}
				var ago time.Duration
				for _, at := range []time.Duration{0, time.Second - 1, time.Second, tt.life / 2, tt.life - 1} {
					time.Sleep(at - ago)
					ago = at
					r := hit(t, s, q, false)
					if r == nil {
						t.Fatalf("gone after %v of %v", at, tt.life)
					}
					want := tt.msg.Copy()
					for _, rrs := range [][]dns.RR{want.Answer, want.Ns, want.Extra} {
						for _, rr := range rrs {
							if soa, ok := rr.(*dns.SOA); ok {
								soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
							}
							rr.Header().Ttl -= uint32(at / time.Second)
						}
					}
					for _, section := range []struct{ got, want []dns.RR }{{r.Answer, want.Answer}, {r.Ns, want.Ns}, {r.Extra, want.Extra}} {
						if got, want := lines(section.got), lines(section.want); got != want {
							t.Errorf("after %v:\n%swant:\n%s", at, got, want)
						}
					}
					if r.Rcode != tt.msg.Rcode || r.Authoritative || !r.RecursionAvailable {
						t.Errorf("header %v", r.MsgHdr.String())
					}
				}
				time.Sleep(1)
				if r := hit(t, s, q, false); r != nil {
					t.Errorf("after %v still there: %v", tt.life, r)
				}
			})
		})
	}
}

// TestCacheKeys: who asks for something else is answered with something else.
func TestCacheKeys(t *testing.T) {
	s, c := caching(t)
	m := answering(t, 0, "example.org. 60 IN A 192.0.2.1", "", "")
	c.put(flightKey{name: "example.org.", qtype: dns.TypeA}, m)
	with := func(f func(*dns.Msg)) *dns.Msg {
		q := question("example.org.", dns.TypeA)
		f(q)
		return q
	}
	for _, tt := range []struct {
		what string
		q    *dns.Msg
		hit  bool
	}{
		{"the same", with(func(*dns.Msg) {}), true},
		{"another spelling", question("EXAMPLE.org.", dns.TypeA), true},
		{"EDNS alone makes no difference", with(func(q *dns.Msg) { q.SetEdns0(1232, false) }), true},
		{"another type", question("example.org.", dns.TypeAAAA), false},
		{"another name", question("www.example.org.", dns.TypeA), false},
		{"RFC 3225 DO", with(func(q *dns.Msg) { q.SetEdns0(1232, true) }), false},
		{"RFC 4035 CD", with(func(q *dns.Msg) { q.CheckingDisabled = true }), false},
		{"RFC 6840 §5.7 AD", with(func(q *dns.Msg) { q.AuthenticatedData = true }), false},
		{"no recursion is wanted", with(func(q *dns.Msg) { q.RecursionDesired = false }), false},
	} {
		r := hit(t, s, tt.q, false)
		if r != nil && r.Rcode == dns.RcodeRefused {
			r = nil
		}
		if (r != nil) != tt.hit {
			t.Errorf("%s: %v", tt.what, r)
		}
	}
	if v := s.handle(packed(t, question("example.org.", dns.TypeA)), nil, stranger, false); v.reply[3]&0xF != dns.RcodeRefused {
		t.Error("who may not recurse is told what others asked for")
	}
	// DO and AD ask for the same word, and it is kept.
	secure := answering(t, 0, "example.org. 60 IN A 192.0.2.1", "", "")
	secure.AuthenticatedData = true
	c.put(flightKey{name: "example.org.", qtype: dns.TypeA, edns: true, do: true}, secure)
	if r := hit(t, s, with(func(q *dns.Msg) { q.SetEdns0(1232, true); q.AuthenticatedData = true }), false); r == nil || !r.AuthenticatedData {
		t.Errorf("DO and AD: %v", r)
	}
	if r := hit(t, s, with(func(q *dns.Msg) { q.AuthenticatedData = true }), false); r != nil {
		t.Errorf("AD alone, without the signatures: %v", r)
	}
	if r := hit(t, s, with(func(q *dns.Msg) {}), false); r == nil || r.AuthenticatedData {
		t.Errorf("nobody asked for AD: %v", r)
	}
}

// reset forgets everything.
func (c *cache) reset() {
	for i := range c.shards {
		c.shards[i].lru.Purge()
	}
}

// TestCacheBound: the cache keeps within its octets, gives up what was not asked
// for the longest, and what it counts is what it takes.
func TestCacheBound(t *testing.T) {
	const octets = 1 << 20
	key := func(i int) flightKey {
		return flightKey{name: fmt.Sprintf("host-%d.example.org.", i), qtype: dns.TypeA}
	}
	m := answering(t, 0, "example.org. 60 IN A 192.0.2.1", "", "")
	held := func(c *cache) (octets, entries int) {
		for i := range c.shards {
			s := &c.shards[i]
			sum := 0
			for _, k := range s.lru.Keys() {
				v, _ := s.lru.Peek(k)
				sum += v.size()
			}
			if sum != s.octets {
				t.Errorf("shard %d counts %d octets and has %d", i, s.octets, sum)
			}
			octets, entries = octets+sum, entries+s.lru.Len()
		}
		return octets, entries
	}
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	c := &keeper{newCache(octets), newForwarder(quiet(), nil), nil}
	for i := range 20_000 {
		c.put(key(i), m)
		c.put(key(i), m) // takes its own place
		if c.get(key(0)) == nil {
			t.Fatalf("what is asked for again and again is gone after %d others", i)
		}
	}
	size, entries := held(c.cache)
	if size > octets || size < octets*9/10 {
		t.Errorf("%d octets in %d answers, want %d at most and nearly that", size, entries, octets)
	}
	grown := heap() - before
	t.Logf("%d octets are counted, %d are taken", size, grown)
	if grown > octets*5/4 {
		t.Errorf("%d octets are counted, %d are taken", size, grown)
	}
	if c.get(key(19_999)) == nil {
		t.Error("the last one is not there")
	}
	if c.get(key(1)) != nil {
		t.Error("the oldest is still there")
	}
	// One that is larger than a shard would empty it for nothing.
	big := answering(t, 0, strings.Repeat(`example.org. 60 IN TXT "`+strings.Repeat("x", 250)+"\"\n", 240), "", "")
	small := &keeper{newCache(cacheShards * 30_000), c.f, nil}
	small.put(key(1), m)
	small.put(key(2), big)
	if small.get(key(2)) != nil {
		t.Error("one larger than its shard is kept")
	}
	runtime.KeepAlive(c)
}

// TestCacheAtOnce: many ask and many answers come, of few names.
func TestCacheAtOnce(t *testing.T) {
	s, c := caching(t)
	const names = 40
	var wg sync.WaitGroup
	var hits atomic.Int64
	for w := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 0))
			for range 500 {
				i := rng.IntN(names)
				name := fmt.Sprintf("host-%d.example.org.", i)
				addr := fmt.Sprintf("192.0.2.%d", i)
				if rng.IntN(3) == 0 {
					c.put(flightKey{name: name, qtype: dns.TypeA}, answering(t, 0, name+" 60 IN A "+addr, "", ""))
					continue
				}
				r := hit(t, s, question(strings.ToUpper(name), dns.TypeA), false)
				if r == nil {
					continue
				}
				hits.Add(1)
				if len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != addr || r.Question[0].Name != strings.ToUpper(name) {
					t.Errorf("%s: %v", name, r)
				}
			}
		})
	}
	wg.Wait()
	if hits.Load() == 0 {
		t.Error("no hit")
	}
}

// TestCacheOverSockets: a question is asked of the resolver once; what is too
// long for UDP comes whole over TCP, both from the cache.
func TestCacheOverSockets(t *testing.T) {
	var asked atomic.Int64
	up := upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
		asked.Add(1)
		m := withA(r, "192.0.2.1")
		if strings.HasPrefix(strings.ToLower(r.Question[0].Name), "many.") {
			for i := range 100 {
				m.Answer = append(m.Answer, records(t, fmt.Sprintf("%s 60 IN A 192.0.2.%d", r.Question[0].Name, 2+i))...)
			}
			if w.RemoteAddr().Network() == "udp" {
				m.Truncate(512)
			}
		}
		w.WriteMsg(m)
	})
	at := serve(t, Config{Resolvers: via(up), Rules: Rules{Cache: true}})
	for _, name := range []string{"one.example.", "ONE.Example."} {
		for _, network := range []string{"udp", "tcp"} {
			r := ask(t, network, at, question(name, dns.TypeA))
			if len(r.Answer) != 1 || r.Question[0].Name != name || r.Answer[0].Header().Name != name {
				t.Errorf("%s over %s: %v", name, network, r)
			}
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the resolver was asked %d times", n)
	}
	asked.Store(0)
	for range 3 {
		if r := ask(t, "tcp", at, question("many.example.", dns.TypeA)); len(r.Answer) != 101 || r.Truncated {
			t.Errorf("over TCP: %d records, TC %v", len(r.Answer), r.Truncated)
		}
		r := ask(t, "udp", at, question("many.example.", dns.TypeA))
		if !r.Truncated || len(r.Answer) == 0 {
			t.Errorf("over UDP: %d records, TC %v", len(r.Answer), r.Truncated)
		}
	}
	if n := asked.Load(); n != 2 { // over UDP, and over TCP since that was cut
		t.Errorf("the resolver was asked %d times", n)
	}
}

// TestCacheIsNotForOurs: a name of the table is answered from there, whatever is
// kept of the time before it was in it; and what a name had as ours is not kept.
func TestCacheIsNotForOurs(t *testing.T) {
	self, peer := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	c := catalog.New(catalog.Options{Self: self})
	s := New(Config{Resolvers: resolver1, Rules: Rules{MaxAnswers: 8, Domain: domain, Cache: true}, Log: quiet()}, c.View)
	kept := keeps(s)
	ask := func() string {
		r := hit(t, s, question("web.corp.example.", dns.TypeA), false)
		if r == nil {
			return "forwarded"
		}
		return lines(r.Answer)
	}
	if got := ask(); got != "forwarded" {
		t.Fatalf("at first: %s", got)
	}
	kept.put(flightKey{name: "web.corp.example.", qtype: dns.TypeA}, answering(t, dns.RcodeNameError, "", "example. 900 IN SOA ns. mail. 1 2 3 4 900", ""))
	if got := ask(); got != "" {
		t.Fatalf("NXDOMAIN is kept: %s", got)
	}
	other := catalog.New(catalog.Options{Self: peer})
	other.Update(func(own *catalog.Edit) {
		fatal(t, own.Put(catalog.Record{Name: "web", Addr: peer, TTL: 60, Priority: catalog.Master, Weight: 1, Active: true}))
	})
	c.Merge(other.View().Own())
	c.SetStatus(peer, catalog.Alive, time.Unix(1, 0))
	if got, want := ask(), text("web.corp.example. 60 IN A 10.0.0.2"); got != want {
		t.Errorf("ours: %swant: %s", got, want)
	}
	c.SetStatus(peer, catalog.Dead, time.Unix(2, 0))
	if got := ask(); got != "" {
		t.Errorf("its owner is dead: %s", got)
	}
	for i := range kept.shards {
		for _, k := range kept.shards[i].lru.Keys() {
			if v, _ := kept.shards[i].lru.Peek(k); strings.Contains(string(v.wire), "\x0a\x00\x00\x02") {
				t.Errorf("an answer of the table is kept: %v", k)
			}
		}
	}
}

// TestCacheChange: what is kept survives a change of the rules, but not of the
// resolvers, who may know other names.
func TestCacheChange(t *testing.T) {
	rules := Rules{MaxAnswers: 8, Cache: true}
	s := newServer(t, Config{Resolvers: resolver1, Rules: rules})
	q := question("example.org.", dns.TypeA)
	keep := func() {
		keeps(s).put(flightKey{name: "example.org.", qtype: dns.TypeA}, answering(t, 0, "example.org. 60 IN A 192.0.2.1", "", ""))
	}
	keep()
	rules.Domain = domain
	s.Change(rules, resolver1)
	if hit(t, s, q, false) == nil {
		t.Error("gone after another domain")
	}
	s.Change(rules, via(netip.MustParseAddrPort("192.0.2.54:53")))
	if hit(t, s, q, false) != nil {
		t.Error("still there after another resolver")
	}
	keep()
	rules.Cache = false
	s.Change(rules, via(netip.MustParseAddrPort("192.0.2.54:53")))
	if hit(t, s, q, false) != nil {
		t.Error("a cache that is turned off answers")
	}
}
