package nameserver

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

// TestQuickOnward: of a question for the resolvers the quick way makes the inquiry
// that handle makes; and it makes none of one that handle answers.
func TestQuickOnward(t *testing.T) {
	for _, rules := range []Rules{
		{Domain: domain, Cache: true},
		{Domain: domain, DomainOwned: true},
		{},
		{Domain: domain, AllowRecursion: []netip.Prefix{netip.PrefixFrom(stranger.Addr(), 32)}},
	} {
		s := newServer(t, Config{Rules: rules, Resolvers: append([]Resolver{{Suffix: "corp.example", Addr: resolver1[0].Addr}}, resolver1...)})
		view := table(t, house+`
10.0.0.1  10.0.0.1  ext        60   master     100  active    cname=www.example.org.
`)
		s.view = func() *catalog.View { return view }
		s.prepareFor(view, s.policy.Load())
		w := newQuick(s)
		buf := make([]byte, readSize)
		rng := rand.New(rand.NewPCG(5, 6))
		names := []string{
			"example.org.", "WWW.Example.org.", "ext.", "ext.corp.example.", "db.", "web.corp.example.", "none.corp.example.", "corp.example.", "a.", "_sip._tcp.example.org.",
			"_web._tcp.corp.example.", "1.0.0.10.in-addr.arpa.", "9.9.9.9.in-addr.arpa.", "9.9.9.in-addr.arpa.", "x.arpa.", "dead.corp.example.", "in-addr.arpa.",
			"8.b.d.0.1.0.0.2.ip6.arpa.",
		}
		onward, all := 0, 0
		for range 5000 {
			q := question(names[rng.IntN(len(names))], []uint16{dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeMX, dns.TypeTXT, dns.TypeANY, dns.TypeSOA}[rng.IntN(7)])
			q.RecursionDesired = rng.IntN(8) > 0
			q.AuthenticatedData, q.CheckingDisabled = rng.IntN(2) == 0, rng.IntN(2) == 0
			if rng.IntN(2) == 0 {
				q.SetEdns0(uint16(rng.IntN(5000)), rng.IntN(2) == 0)
			}
			from := friend
			if rng.IntN(4) == 0 {
				from = stranger
			}
			raw := packed(t, q)
			reply := w.answer(raw, buf, from.Addr())
			v := s.handle(raw, make([]byte, readSize), from, false)
			if v.forward != nil {
				all++
			}
			if reply != nil || w.in.group == nil {
				continue
			}
			onward++
			w.in.from = from
			a, b := &w.in, v.forward
			if b == nil {
				t.Fatalf("handle answers %v", q)
			}
			if !bytes.Equal(a.key.bytes(), b.key.bytes()) || a.group != b.group || a.cache != b.cache ||
				a.id != b.id || a.rd != b.rd || a.cd != b.cd || a.edns != b.edns || a.do != b.do || a.limit != b.limit ||
				a.spelled != b.spelled || len(a.options)+len(b.options)+a.needed+b.needed != 0 || a.from != b.from {
				t.Fatalf("%v:\n%+v\nhandle:\n%+v", q, a, b)
			}
		}
		if all > 100 && onward < all/4 {
			t.Errorf("%+v: %d of %d", rules, onward, all)
		}
	}
}

// BenchmarkQuickLocal is an answer from the table, from packet to packet, and
// BenchmarkQuickCached one from the cache beside it.
func BenchmarkQuickLocal(b *testing.B) {
	s, _ := withoutSystem(b, true)
	s.prepareFor(s.view(), s.policy.Load())
	k, buf, raw := newQuick(s), make([]byte, readSize), packed(b, question("Db.", dns.TypeA))
	b.ReportAllocs()
	for b.Loop() {
		if k.answer(raw, buf, friend.Addr()) == nil {
			b.Fatal("not from the table")
		}
	}
}

func BenchmarkQuickCached(b *testing.B) {
	s, last := withoutSystem(b, true)
	alone(s, last)() // now it is kept
	s.prepareFor(s.view(), s.policy.Load())
	k, buf, raw := newQuick(s), make([]byte, readSize), packed(b, question("Example.org.", dns.TypeA))
	b.ReportAllocs()
	for b.Loop() {
		if k.answer(raw, buf, friend.Addr()) != nil || s.forwarder.recall(&k.in, buf) == nil {
			b.Fatal("not from the cache")
		}
	}
}

// BenchmarkQuickForward is a question that is forwarded, and its answer.
func BenchmarkQuickForward(b *testing.B) {
	s, last := withoutSystem(b, false)
	s.prepareFor(s.view(), s.policy.Load())
	k, buf, raw := newQuick(s), make([]byte, readSize), packed(b, question("Example.org.", dns.TypeA))
	to := replyFunc(func([]byte) {})
	b.ReportAllocs()
	for b.Loop() {
		if k.answer(raw, buf, friend.Addr()) != nil || s.forward(&k.in, to, buf) != nil {
			b.Fatal("not forwarded")
		}
		last.answer(anA)
	}
}
