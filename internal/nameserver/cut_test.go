package nameserver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

// TestCutIsFair: a client that takes what fits, and does not come again over TCP,
// still meets all servers, each as often as the others.
func TestCutIsFair(t *testing.T) {
	const all, rounds = 100, 4000
	var b strings.Builder
	for i := range all {
		fmt.Fprintf(&b, "10.0.1.%d 10.0.1.%d web 60 master 100 active\n", i, i)
	}
	view := table(t, b.String())
	s := newServer(t, Config{Rules: Rules{MaxAnswers: all}})
	s.view = func() *catalog.View { return view }
	raw, met, sum := packed(t, question("web.", dns.TypeA)), map[string]int{}, 0
	for range rounds {
		var m dns.Msg
		fatal(t, m.Unpack(s.handle(raw, nil, friend, false).reply))
		if !m.Truncated || len(m.Answer) < 20 {
			t.Fatalf("TC %v, %d answers", m.Truncated, len(m.Answer))
		}
		for _, rr := range m.Answer {
			met[rr.(*dns.A).A.String()]++
			sum++
		}
	}
	for i := range all {
		// The spread is a few in a hundred.
		n, mean := met[fmt.Sprintf("10.0.1.%d", i)], sum/all
		if n < mean*3/4 || n > mean*5/4 {
			t.Errorf("10.0.1.%d was met %d times, the mean is %d", i, n, mean)
		}
	}
}

// TestCutIsNotEmpty: with the longest name, and all options that a client can
// want, at least one address is in the answer of the least size.
func TestCutIsNotEmpty(t *testing.T) {
	label := strings.Repeat("n", 63)
	long := strings.Join([]string{label, label, label}, ".") + "." + strings.Repeat("n", 57)
	view := func(addr string) *catalog.View {
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, "10.0.1.%d "+addr+"%d %s 60 master 100 active\n", i, i, long)
		}
		return table(t, b.String())
	}
	s := newServer(t, Config{Rules: Rules{MaxAnswers: 100, Host: strings.Repeat("h", 63), Domain: strings.Join([]string{label, label, "example"}, ".")}})
	for qtype, v := range map[uint16]*catalog.View{dns.TypeA: view("10.0.2."), dns.TypeAAAA: view("fd00::")} {
		s.view = func() *catalog.View { return v }
		for _, opts := range [][]dns.EDNS0{nil, {nsid("")}, {cookie(hisCookie)}, {nsid(""), cookie(hisCookie)}} {
			for _, size := range []uint16{0, 512, 600, 700} {
				raw := edit(t, about(long+".", qtype, func(m *dns.Msg) {
					with(opts...)(m)
					m.IsEdns0().SetUDPSize(size)
				}))
				reply := s.handle(raw, nil, friend, false).reply
				checkReply(t, raw, reply, false)
				var m dns.Msg
				fatal(t, m.Unpack(reply))
				if !m.Truncated || len(m.Answer) == 0 || len(reply) > max(512, int(size)) {
					t.Errorf("%s, %d options, size %d: TC %v, %d answers, %d octets", dns.Type(qtype), len(opts), size, m.Truncated, len(m.Answer), len(reply))
				}
			}
		}
	}
}

// TestOptionsDoNotCut: what the client can do without does not make it come again
// over TCP.
func TestOptionsDoNotCut(t *testing.T) {
	s := newServer(t, Config{Rules: Rules{MaxAnswers: 28, Host: strings.Repeat("h", 60), Domain: domain}})
	var b strings.Builder
	for i := range 28 { // 28 * 16 + 21 = 469 octets
		fmt.Fprintf(&b, "10.0.1.%d 10.0.1.%d web 60 master 100 active\n", i, i)
	}
	view := table(t, b.String())
	s.view = func() *catalog.View { return view }
	var m dns.Msg
	fatal(t, m.Unpack(s.handle(edit(t, about("web.", dns.TypeA, func(m *dns.Msg) {
		with(nsid(""))(m)
		m.IsEdns0().SetUDPSize(512)
	})), nil, friend, false).reply))
	if m.Truncated || len(m.Answer) != 28 || len(m.IsEdns0().Option) != 0 {
		t.Errorf("TC %v, %d answers, %v", m.Truncated, len(m.Answer), m.IsEdns0())
	}
}

// TestAdditionalGivesWay: the addresses that come with a service make room for the
// options that the client asked for.
func TestAdditionalGivesWay(t *testing.T) {
	s := newServer(t, Config{Rules: Rules{MaxAnswers: 9, Host: strings.Repeat("h", 60), Domain: domain}})
	var b strings.Builder
	for i := range 9 {
		fmt.Fprintf(&b, "10.0.0.%[1]d 10.0.0.%[1]d h%[1]d 60 origin 0 active\n10.0.0.%[1]d 10.0.0.%[1]d web 60 master 100 active port=80\n", i)
	}
	view := table(t, b.String())
	s.view = func() *catalog.View { return view }
	for _, options := range []int{0, 1} {
		var m dns.Msg
		fatal(t, m.Unpack(s.handle(edit(t, about("_web._tcp.", dns.TypeSRV, func(m *dns.Msg) {
			if options == 1 {
				with(nsid(""))(m)
			} else {
				with()(m)
			}
			m.IsEdns0().SetUDPSize(512)
		})), nil, friend, false).reply))
		if extra := 9 * (1 - options); m.Truncated || len(m.Answer) != 9 || len(m.Extra)-1 != extra || len(m.IsEdns0().Option) != options {
			t.Errorf("%d options: TC %v, %d answers, %d additional, %v", options, m.Truncated, len(m.Answer), len(m.Extra)-1, m.IsEdns0())
		}
	}
}
