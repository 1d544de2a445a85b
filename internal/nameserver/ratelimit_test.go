package nameserver

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// answerTo gives the reply of a server without a limit to a question over UDP.
func answerTo(t *testing.T, s *Server, name string, qtype uint16, edit ...func(*dns.Msg)) []byte {
	t.Helper()
	m := question(name, qtype)
	for _, fn := range edit {
		fn(m)
	}
	reply := s.handle(packed(t, m), nil, friend, false).reply
	if reply == nil {
		t.Fatalf("no reply to %s", name)
	}
	return reply
}

// TestLimiter: equal answers to a network, up to the rate in a second, whoever asks
// in it and however; others are not concerned.
func TestLimiter(t *testing.T) {
	s := newServer(t, Config{Rules: Rules{Domain: domain}})
	now := time.Unix(1_000_000, 0)
	const rate = 10
	l := newLimiter(rate, 3)
	a := netip.MustParseAddr("203.0.113.9")
	ask := func(from string, reply []byte, n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte("stx"[l.decide(netip.MustParseAddr(from), reply, now)]) // sent, TC, no answer
		}
		return b.String()
	}
	step := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	web := answerTo(t, s, "web.", dns.TypeA)
	step("up to the rate, then each third with TC", ask(a.String(), web, rate+7), "ssssssssssxxtxxtx")
	step("of the same network", ask("203.0.113.200", web, 2), "xt")
	step("in another spelling", ask("203.0.113.7", answerTo(t, s, "WEB.", dns.TypeA), 1), "x")
	step("as a mapped address", ask("::ffff:203.0.113.7", web, 1), "x")
	step("another network", ask("203.0.114.9", web, 2), "ss")
	step("another type", ask(a.String(), answerTo(t, s, "web.", dns.TypeAAAA), 2), "ss")
	step("another name", ask(a.String(), answerTo(t, s, "db.", dns.TypeA), 2), "ss")
	now = now.Add(time.Second / rate / 2)
	step("not yet", ask(a.String(), web, 1), "t")
	now = now.Add(time.Second / rate / 2)
	step("one more", ask(a.String(), web, 2), "sx")
	now = now.Add(time.Hour)
	step("not more for having waited long", ask(a.String(), web, rate+1), "ssssssssssx")
	now = now.Add(-time.Hour)
	step("a clock that was set back gives nothing", ask(a.String(), web, 1), "x")

	step("IPv6", ask("2001:db8:0:100::1", web, rate), "ssssssssss")
	step("the same /56", ask("2001:db8:0:1ff::1", web, 2), "xx")
	step("another /56", ask("2001:db8:0:200::1", web, 2), "ss")

	// There is no end of names that do not exist.
	for i := range rate {
		step("no such name", ask(a.String(), answerTo(t, s, fmt.Sprintf("no-%d.a%d.corp.example.", i, i), dns.TypeA), 1), "s")
	}
	step("no such name", ask(a.String(), answerTo(t, s, "none.corp.example.", dns.TypeA), 1), "x")
	for i := range rate {
		step("refused", ask(a.String(), answerTo(t, s, fmt.Sprintf("%d.example.org.", i), dns.TypeA), 1), "s")
	}
	step("refused", ask(a.String(), answerTo(t, s, "example.net.", dns.TypeA), 1), "x")
	for i := range rate {
		step("no such type", ask(a.String(), answerTo(t, s, "web.", dns.TypeMX+uint16(i)%2), 1), "s")
	}
	step("no such type", ask(a.String(), answerTo(t, s, "web.", dns.TypeMX), 1), "x")
	step("malformed", ask(a.String(), headerOnly(nil, web, dns.RcodeFormatError), rate+1), "ssssssssssx")

	l = newLimiter(1, 0)
	step("never with TC", ask(a.String(), web, 5), "sxxxx")
	l = newLimiter(1, 1)
	step("always with TC", ask(a.String(), web, 5), "stttt")
}

// TestLimiterRemembers: however many others ask, from wherever it seems, who is over
// the limit stays so; and none of it takes more memory.
func TestLimiterRemembers(t *testing.T) {
	s := newServer(t, Config{})
	web := answerTo(t, s, "web.", dns.TypeA)
	now := time.Unix(1_000_000, 0)
	l := newLimiter(5, 0)
	victim := netip.MustParseAddr("203.0.113.9")
	for range 5 {
		l.decide(victim, web, now)
	}
	for i := range 4 * limiterSets * limiterWays {
		l.decide(netip.AddrFrom4([4]byte{byte(11 + i>>16), byte(i >> 8), byte(i), 1}), web, now)
	}
	if got := l.decide(victim, web, now); got != dropped {
		t.Errorf("after a flood: %v", got)
	}
	raw := edit(t, with(cookie(hisCookie)))
	if n := testing.AllocsPerRun(100, func() {
		l.decide(victim, web, now)
		s.hasCookie(raw, victim, now)
	}); n > 0 {
		t.Errorf("%v allocations a decision", n)
	}
}

// TestLimit is about who is limited, and what he gets.
func TestLimit(t *testing.T) {
	log := &logBuffer{}
	s := newServer(t, Config{Log: log.logger(), Rules: Rules{Domain: domain, RateLimit: 1, RateSlip: 1}})
	l := s.policy.Load().limiter
	edit := func(m *dns.Msg) { m.SetEdns0(1232, true).IsEdns0().Option = []dns.EDNS0{cookie(hisCookie)} }
	get := func(client string, known bool, edit ...func(*dns.Msg)) []byte {
		return s.limit(l, answerTo(t, s, "web.", dns.TypeA, edit...), netip.MustParseAddr(client), known)
	}
	whole := answerTo(t, s, "web.", dns.TypeA)
	for range 3 {
		for _, host := range []string{"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"} {
			if got := get(host, false); len(got) != len(whole) {
				t.Errorf("from %s: %d octets", host, len(got))
			}
		}
		if got := get("192.0.2.1", true); len(got) != len(whole) {
			t.Errorf("with a cookie: %d octets", len(got))
		}
	}
	if got := get("192.0.2.1", false); len(got) != len(whole) {
		t.Errorf("the first: %d octets", len(got))
	}
	for _, edit := range [][]func(*dns.Msg){nil, {edit}} {
		m := question("web.", dns.TypeA)
		for _, fn := range edit {
			fn(m)
		}
		got := get("192.0.2.1", false, edit...)
		if len(got) > m.Len() {
			t.Errorf("a cut reply has %d octets, the question %d", len(got), m.Len())
		}
		want := "NOERROR qr tc rd | 1 0 0 0"
		if edit != nil {
			want = "NOERROR qr tc rd | 1 0 0 1 edns=1232,do"
		}
		if d := describe(t, got); d != want {
			t.Errorf("a cut reply: %s, want %s", d, want)
		}
	}
	if n := strings.Count(log.String(), "rate-limit: a network asks for the same too often over UDP"); n < 1 || n > 2 {
		t.Errorf("%d lines:\n%s", n, log)
	}

	// What is known of networks outlives a reload that leaves the limit.
	rules := s.policy.Load().rules
	s.Change(rules, nil)
	if s.policy.Load().limiter != l {
		t.Error("a reload forgot")
	}
	rules.RateLimit = 2
	s.Change(rules, nil)
	if n := s.policy.Load().limiter; n == l || n.rate != 2 {
		t.Error("a reload did not change the rate")
	}
	rules.RateLimit = 0
	s.Change(rules, nil)
	if s.policy.Load().limiter != nil {
		t.Error("a reload did not turn it off")
	}
}

// TestHasCookie: ours, of this client, as the last record has it.
func TestHasCookie(t *testing.T) {
	s := newServer(t, Config{})
	var m dns.Msg
	fatal(t, m.Unpack(s.handle(edit(t, with(cookie(hisCookie))), nil, friend, false).reply))
	ours := m.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie
	for why, tt := range map[string]struct {
		edit func(*dns.Msg)
		from netip.AddrPort
		want bool
	}{
		"ours":              {with(nsid(""), cookie(ours)), friend, true},
		"his alone":         {with(cookie(hisCookie)), friend, false},
		"of another client": {with(cookie(ours)), stranger, false},
		"made up":           {with(cookie(hisCookie + strings.Repeat("00", 16))), friend, false},
		"none":              {with(nsid("")), friend, false},
		"no options":        {func(*dns.Msg) {}, friend, false},
	} {
		if got := s.hasCookie(edit(t, tt.edit), tt.from.Addr(), time.Now()); got != tt.want {
			t.Errorf("%s: %v", why, got)
		}
	}
	for _, raw := range [][]byte{nil, {1}, make([]byte, 12), edit(t, with(cookie(ours)))[:40]} {
		if s.hasCookie(raw, friend.Addr(), time.Now()) {
			t.Errorf("in %x", raw)
		}
	}
}
