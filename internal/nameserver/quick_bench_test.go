package nameserver

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

// eightMasters has a name with one address, one with eight of different weights, one
// with eight that are equals and one with eight for a fixed order.
func eightMasters() string {
	var b strings.Builder
	b.WriteString("10.0.0.1 10.0.0.1 server-01 60 origin 0 active\n10.0.0.1 10.0.0.1 one 60 master 100 active\n")
	for i := range 8 {
		fmt.Fprintf(&b, "10.0.0.1 10.0.1.%d eight 60 master %d active\n", i+1, 10*(i+1))
		fmt.Fprintf(&b, "10.0.0.1 10.0.2.%d equal 60 master 100 active\n", i+1)
		fmt.Fprintf(&b, "10.0.0.1 10.0.3.%d fixed 60 master %d active\n", i+1, 10*(i+1))
	}
	return b.String()
}

// prepared is a server over eightMasters whose answers are ready, the balancing by
// sources told in the log.
func prepared(t testing.TB, b *Balancing, bind ...netip.Addr) *Server {
	v := table(t, eightMasters())
	s := New(Config{Bind: bind, Rules: Rules{Domain: domain, MaxAnswers: 8, NegativeTTL: 5, Balancing: b}, Log: quiet()}, func() *catalog.View { return v })
	s.prepareFor(v, s.policy.Load())
	s.tellAll()
	return s
}

var benchQuestions = []struct {
	name, asked string
	qtype       uint16
	by          *Balancing
}{
	{"one", "one.corp.example.", dns.TypeA, nil},
	{"random of 8", "eight.corp.example.", dns.TypeA, nil},
	{"random of 8 equals", "equal.corp.example.", dns.TypeA, nil},
	{"fix_by_src of 8", "eight.corp.example.", dns.TypeA, bySource(balance.FixBySource, "server-01")},
	{"fix_by_src2 of 8", "eight.corp.example.", dns.TypeA, bySource(balance.FixFirstBySource, "server-01")},
	{"PTR", "1.0.0.10.in-addr.arpa.", dns.TypePTR, nil},
	{"no such type", "one.corp.example.", dns.TypeAAAA, nil},
	{"no such name", "none.corp.example.", dns.TypeA, nil},
}

// TestQuickAllocs: the common question costs no allocation, neither in the answer nor
// on the way from the socket to the socket.
func TestQuickAllocs(t *testing.T) {
	for _, q := range benchQuestions {
		k := newQuick(prepared(t, q.by))
		for _, variant := range []string{"plain", "EDNS", "DO"} {
			m := question(q.asked, q.qtype)
			variants[variant](m)
			raw, buf := packed(t, m), make([]byte, readSize)
			if n := testing.AllocsPerRun(100, func() {
				if k.answer(raw, buf, friend.Addr()) == nil {
					t.Fatal("not the quick way")
				}
			}); n > 0 {
				t.Errorf("%s, %s: %v allocations", q.name, variant, n)
			}
		}
	}
}

// BenchmarkQuick is the answer alone: packet to packet.
func BenchmarkQuick(b *testing.B) {
	for _, q := range benchQuestions {
		b.Run(q.name, func(b *testing.B) {
			k := newQuick(prepared(b, q.by))
			raw, buf := packed(b, question(q.asked, q.qtype)), make([]byte, readSize)
			b.ReportAllocs()
			for b.Loop() {
				if k.answer(raw, buf, friend.Addr()) == nil {
					b.Fatal("not the quick way")
				}
			}
		})
	}
}

// atOnce is how many questions are under way in BenchmarkAsk, so that neither side
// sleeps and is woken for each.
const atOnce = 64

// BenchmarkAsk is a question and its answer over a socket, with the system's part and
// the asker's.
func BenchmarkAsk(b *testing.B) {
	for _, q := range benchQuestions {
		b.Run(q.name, func(b *testing.B) {
			s := prepared(b, q.by, loopback)
			start(b, s)
			ask := questioner(b, s.Addrs()[0], packed(b, question(q.asked, q.qtype)))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n++; n%atOnce == 0 {
					ask(atOnce)
				}
			}
		})
	}
}

// questioner asks one question n times, and then waits for the answers.
func questioner(t testing.TB, at netip.AddrPort, raw []byte) (ask func(n int)) {
	c := dialUDP(t, at)
	buf := make([]byte, readSize)
	return func(n int) {
		for range n {
			if _, err := c.Write(raw); err != nil {
				t.Fatal(err)
			}
		}
		for range n {
			if _, err := c.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestAskAllocs: from the socket to the socket nothing is allocated, on a bind to one
// address and on one to all, whose replies leave from the address that was asked.
func TestAskAllocs(t *testing.T) {
	for _, bind := range []netip.Addr{loopback, netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		s := prepared(t, nil, bind)
		start(t, s)
		at := s.sockets[0].reachable()
		ask := questioner(t, at, packed(t, question("eight.corp.example.", dns.TypeA)))
		if n := testing.AllocsPerRun(200, func() { ask(1) }); n > 0 {
			t.Errorf("%v: %v allocations", bind, n)
		}
	}
}

// bigTable has 100,000 names of this node.
func bigTable(t testing.TB) *catalog.Catalog {
	self := netip.MustParseAddr("10.0.0.1")
	c := catalog.New(catalog.Options{Self: self})
	c.Update(func(own *catalog.Edit) {
		for i := range 100_000 {
			fatal(t, own.Put(catalog.Record{
				Name: fmt.Sprintf("host-%06d", i), Addr: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}),
				TTL: 60, Priority: catalog.Master, Weight: 100, Active: true,
			}))
		}
	})
	return c
}

// BenchmarkChange is one record that changes in a table of 100,000, until the answers
// to it are ready again.
func BenchmarkChange(b *testing.B) {
	c := bigTable(b)
	s := New(Config{Rules: Rules{Domain: domain, MaxAnswers: 8}, Log: quiet()}, c.View)
	s.prepareFor(c.View(), s.policy.Load())
	r := catalog.Record{Name: "host-012345", Addr: netip.MustParseAddr("10.0.48.57"), TTL: 60, Priority: catalog.Master, Weight: 100}
	b.ReportAllocs()
	for b.Loop() {
		r.Active = !r.Active
		c.Update(func(own *catalog.Edit) { fatal(b, own.Put(r)) })
		s.prepareFor(c.View(), s.policy.Load())
	}
}

// BenchmarkSnapshot is all of 100,000 names.
func BenchmarkSnapshot(b *testing.B) {
	c := bigTable(b)
	s := New(Config{Rules: Rules{Domain: domain, MaxAnswers: 8}, Log: quiet()}, c.View)
	b.ReportAllocs()
	for b.Loop() {
		newSnapshot(c.View(), s.policy.Load())
	}
}

// TestChangeCost: a change costs the parts that it touches, whatever the table is.
func TestChangeCost(t *testing.T) {
	c := bigTable(t)
	s := New(Config{Rules: Rules{Domain: domain, MaxAnswers: 8}, Log: quiet()}, c.View)
	before := newSnapshot(c.View(), s.policy.Load())
	c.Update(func(own *catalog.Edit) {
		fatal(t, own.Put(catalog.Record{Name: "host-012345", Addr: netip.MustParseAddr("10.0.48.57"), TTL: 1, Priority: catalog.Master, Weight: 1, Active: true}))
	})
	after := before.next(c.View())
	others := 0
	for i := range after.parts {
		if after.parts[i] != before.parts[i] {
			others++
		}
	}
	if others == 0 || others > 2 { // the name's and the address's
		t.Errorf("%d parts are others after the change of one record", others)
	}
}
