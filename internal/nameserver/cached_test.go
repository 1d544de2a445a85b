package nameserver

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// TestCachedAsRelayed: a reply from the cache is the reply that came from the
// resolver, octets of names, sections and all.
func TestCachedAsRelayed(t *testing.T) {
	s, c := caching(t)
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom([]string{"example.org.", "a.example.org.", `w\.w.example.org.`, ".", "org."}).Draw(rt, "name")
		spelled := func(n string) string {
			b := []byte(n)
			for i := range b {
				if 'a' <= b[i] && b[i] <= 'z' && rapid.Bool().Draw(rt, "upper") {
					b[i] -= 'a' - 'A'
				}
			}
			return string(b)
		}
		qtype := rapid.SampledFrom([]uint16{dns.TypeA, dns.TypeMX, dns.TypeTXT}).Draw(rt, "type")
		section := func(what string) string {
			var b strings.Builder
			for range rapid.IntRange(0, 12).Draw(rt, what) {
				owner := rapid.SampledFrom([]string{name, "example.org.", "other.example.net."}).Draw(rt, "owner")
				data := rapid.SampledFrom([]string{
					"A 192.0.2.1", "AAAA 2001:db8::1", "MX 10 mail.EXAMPLE.org.", "CNAME www.example.org.", `TXT "a;b" "` + strings.Repeat("x", 200) + `"`,
					"SRV 1 2 3 Srv.example.org.", "SOA ns.org. mail.org. 1 2 3 4 600", `TYPE65280 \# 3 010203`,
					"RRSIG A 8 2 60 20300101000000 20200101000000 1 example.org. AAAA", "NS example.org.",
				}).Draw(rt, "data")
				fmt.Fprintf(&b, "%s %d IN %s\n", spelled(owner), rapid.IntRange(600, 5000).Draw(rt, "ttl"), data)
			}
			return b.String()
		}
		m := answering(t, rapid.SampledFrom([]int{dns.RcodeSuccess, dns.RcodeNameError}).Draw(rt, "rcode"), section("answer"), section("authority"), section("additional"))
		for _, rr := range m.Ns { // as every resolver sends it
			if soa, ok := rr.(*dns.SOA); ok {
				soa.Hdr.Ttl = soa.Minttl
			}
		}
		m.AuthenticatedData = rapid.Bool().Draw(rt, "ad")
		q := question(spelled(name), qtype)
		q.AuthenticatedData, q.CheckingDisabled = rapid.Bool().Draw(rt, "asks for ad"), rapid.Bool().Draw(rt, "cd")
		if rapid.Bool().Draw(rt, "edns") {
			q.SetEdns0(uint16(rapid.IntRange(0, 2000).Draw(rt, "size")), rapid.Bool().Draw(rt, "do"))
		}
		tcp := rapid.Bool().Draw(rt, "tcp")
		// The reply that the resolver's message leads to.
		raw := packed(t, q)
		c.reset()
		v := s.handle(raw, nil, friend, tcp)
		if v.forward == nil {
			rt.Fatal("not forwarded")
		}
		key := flightKey{strings.ToLower(name), qtype, q.IsEdns0() != nil, q.IsEdns0() != nil && q.IsEdns0().Do(), q.AuthenticatedData, q.CheckingDisabled}
		if want := key.askKey(); !bytes.Equal(v.forward.key.bytes(), want.bytes()) {
			rt.Fatalf("key %v, want %v", v.forward.key.bytes(), want.bytes())
		}
		want := v.forward.compose(nil, key.read(m), 0, false, nil)
		c.put(key, m)
		got := s.handle(raw, make([]byte, readSize), friend, tcp).reply
		if got == nil {
			if key.read(m).lifetime() > 0 {
				rt.Fatal("not kept")
			}
			return
		}
		var a, b dns.Msg
		if err := a.Unpack(got); err != nil {
			rt.Fatal(err)
		}
		if err := b.Unpack(want); err != nil {
			rt.Fatal(err)
		}
		// Other spellings make other pointers, so one of them may be cut where
		// the other is not.
		cut := a.Truncated || b.Truncated
		if len(a.Extra) != len(b.Extra) { // likewise, but nothing that was asked for is missing
			for _, m := range []*dns.Msg{&a, &b} {
				m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeOPT })
			}
		}
		if x, y := a.String(), b.String(); !cut && !strings.EqualFold(x, y) {
			rt.Fatalf("from the cache:\n%s\nfrom the resolver:\n%s", x, y)
		}
		if cut && (a.Rcode != b.Rcode || a.AuthenticatedData != b.AuthenticatedData || (a.IsEdns0() == nil) != (b.IsEdns0() == nil)) {
			rt.Fatalf("cut, from the cache:\n%v\nfrom the resolver:\n%v", &a, &b)
		}
		if a.Question[0] != b.Question[0] || len(got) > int(v.forward.limit) {
			rt.Fatalf("question %v, %d octets; want %v, %d at most", a.Question, len(got), b.Question, v.forward.limit)
		}
		for i := range a.Answer {
			if strings.EqualFold(a.Answer[i].Header().Name, q.Question[0].Name) && a.Answer[i].Header().Name != q.Question[0].Name {
				rt.Fatalf("%s was asked, and %s answered", q.Question[0].Name, a.Answer[i].Header().Name)
			}
		}
	})
}

// TestCachedAllocs is the budget of an answer from the cache: what the library
// makes to read the question, and the query.
func TestCachedAllocs(t *testing.T) {
	s, c := caching(t)
	c.put(flightKey{name: "example.org.", qtype: dns.TypeA}, answering(t, 0, "example.org. 60 IN A 192.0.2.1", "", ""))
	raw, buf := packed(t, question("example.org.", dns.TypeA)), make([]byte, readSize)
	if n := testing.AllocsPerRun(1000, func() {
		if s.handle(raw, buf, friend, false).reply == nil {
			t.Fatal("no reply")
		}
	}); n > 4 {
		t.Errorf("%v allocations, want at most 4", n)
	}
}

func BenchmarkCached(b *testing.B) {
	s, c := caching(b)
	c.put(flightKey{name: "example.org.", qtype: dns.TypeA}, answering(b, 0, "example.org. 60 IN A 192.0.2.1", "", ""))
	raw, buf := packed(b, question("example.org.", dns.TypeA)), make([]byte, readSize)
	b.ReportAllocs()
	for b.Loop() {
		if s.handle(raw, buf, friend, false).reply == nil {
			b.Fatal("no reply")
		}
	}
}
