package nameserver

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// living answers with a record of a TTL.
func living(ttl int, addr string) play {
	return func(q *dns.Msg, reply func(*dns.Msg)) error {
		m := withA(q, addr)
		m.Answer[0].Header().Ttl = uint32(ttl)
		reply(m)
		return nil
	}
}

// hear gives a reply as code, TTL, address, and extended error.
func hear(m *dns.Msg) string {
	s := dns.RcodeToString[m.Rcode]
	for _, rr := range m.Answer {
		s += fmt.Sprintf(" %d %s", rr.Header().Ttl, rr.(*dns.A).A)
	}
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				s += fmt.Sprintf(" ede=%d", e.InfoCode)
			}
		}
	}
	return s
}

// TestStale: what is kept answers beyond its time while the resolvers do not
// (RFC 8767), and no longer than that.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, true, living(60, "192.0.2.1"))
		ask := func(what, want string, took time.Duration) {
			t.Helper()
			start := time.Now()
			r := <-s.start(s.inquire("Example.org.", bitEDNS))
			if got := hear(r); got != want || time.Since(start) != took || r.Question[0].Name != "Example.org." {
				t.Errorf("%s: %q after %v, want %q after %v", what, got, time.Since(start), want, took)
			}
		}
		ask("at first", "NOERROR 60 192.0.2.1", 0)
		s.recast(1, silent)
		time.Sleep(59*time.Second + 999*time.Millisecond)
		ask("within its time", "NOERROR 1 192.0.2.1", 0)
		time.Sleep(5 * time.Second) // what is asked anew in the last tenth of its time is over
		ask("beyond it, while one who was silent is tried", "NOERROR 30 192.0.2.1 ede=3", staleAfter)
		ask("another meanwhile", "NOERROR 30 192.0.2.1 ede=3", 0)
		time.Sleep(5 * time.Second)
		ask("tried again", "NOERROR 30 192.0.2.1 ede=3", staleAfter)
		time.Sleep(100 * time.Millisecond)
		for range 100 {
			s.start(s.inquire("Example.org.", bitEDNS))
			time.Sleep(10 * time.Millisecond)
		}
		s.recast(1, living(60, "192.0.2.2"))
		time.Sleep(2 * mostPause)
		ask("one answers again", "NOERROR 60 192.0.2.2", 0)

		s.recast(1, says(dns.RcodeServerFailure))
		time.Sleep(61 * time.Second)
		ask("the resolvers fail", "NOERROR 30 192.0.2.2 ede=3", 0)
		s.recast(1, says(dns.RcodeNameError))
		ask("there is none any more", "NXDOMAIN", 0)
		s.recast(1, says(dns.RcodeServerFailure))
		time.Sleep(maxStale)
		ask("too old", "SERVFAIL", 0)
	})
}

// TestStaleThenFresh: an answer that comes after the stale one is kept.
func TestStaleThenFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, true, living(60, "192.0.2.1"))
		<-s.start(s.inquire("example.org.", bitEDNS))
		time.Sleep(time.Minute)
		s.recast(1, after(1900*time.Millisecond, living(60, "192.0.2.2")))
		start := time.Now()
		if got := hear(<-s.start(s.inquire("example.org.", bitEDNS))); got != "NOERROR 30 192.0.2.1 ede=3" || time.Since(start) != staleAfter {
			t.Errorf("%s after %v", got, time.Since(start))
		}
		time.Sleep(200 * time.Millisecond)
		s.asked()
		if got := hear(<-s.start(s.inquire("example.org.", bitEDNS))); got != "NOERROR 60 192.0.2.2" || s.asked() != "" {
			t.Errorf("%s", got)
		}
	})
}

// TestPrefetch: what is asked for in the last tenth of its time is asked for anew,
// once, and who asks does not wait.
func TestPrefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, true, living(100, "192.0.2.1"), silent)
		ask := func(name string) string { return hear(<-s.start(s.inquire(name, bitEDNS))) }
		ask("example.org.")
		s.recast(1, after(50*time.Millisecond, living(100, "192.0.2.2")))
		time.Sleep(90*time.Second - 1)
		s.asked()
		if got := ask("example.org."); got != "NOERROR 11 192.0.2.1" || s.asked() != "" {
			t.Errorf("before: %s, or asked", got)
		}
		time.Sleep(1)
		for range 3 {
			if got := ask("example.org."); got != "NOERROR 10 192.0.2.1" {
				t.Errorf("in the last tenth: %s", got)
			}
		}
		if asked := s.asked(); asked != "1" {
			t.Errorf("asked %q, want once", asked)
		}
		time.Sleep(time.Second)
		if got := ask("example.org."); got != "NOERROR 100 192.0.2.2" && got != "NOERROR 99 192.0.2.2" {
			t.Errorf("after it: %s", got)
		}
		s.recast(1, says(dns.RcodeServerFailure))
		s.recast(2, says(dns.RcodeServerFailure))
		time.Sleep(90 * time.Second)
		s.asked()
		for range 3 {
			ask("example.org.")
			synctest.Wait()
		}
		if asked := s.asked(); asked != "1 2" {
			t.Errorf("asked %q when they fail, want once each", asked)
		}
		s.recast(1, living(5, "192.0.2.3"))
		ask("short.example.")
		time.Sleep(4900 * time.Millisecond)
		s.asked()
		if ask("short.example."); s.asked() != "" {
			t.Error("one that lives for seconds is asked for anew")
		}
	})
}

// TestReloadKeeps: a reload keeps what is kept and known of resolvers where a
// suffix has the same, and only there.
func TestReloadKeeps(t *testing.T) {
	a, b, c := netip.MustParseAddrPort("10.0.0.1:53"), netip.MustParseAddrPort("10.0.0.2:53"), netip.MustParseAddrPort("10.0.0.3:53")
	f := newForwarder(quiet(), func(fn func()) { go fn() })
	list := func(corp ...netip.AddrPort) []Resolver {
		rs := via(a, b)
		for _, r := range corp {
			rs = append(rs, Resolver{Suffix: "corp.example", Addr: r})
		}
		return rs
	}
	before := f.route(list(b), true, nil)
	put := func(rs *routes, name string) {
		key := flightKey{name: name, qtype: dns.TypeA}
		k := &keeper{rs.cache, f, rs.of(lowerWire(name))}
		k.put(key, answering(t, 0, name+" 60 IN A 192.0.2.1", "", ""))
	}
	has := func(rs *routes, name string) bool {
		k := &keeper{rs.cache, f, rs.of(lowerWire(name))}
		return rs.cache != nil && k.get(flightKey{name: name, qtype: dns.TypeA}) != nil
	}
	put(before, "www.example.org.")
	put(before, "www.corp.example.")
	before.rest.resolvers[1].health.down = true

	same := f.route(list(b), true, before)
	if !has(same, "www.example.org.") || !has(same, "www.corp.example.") {
		t.Error("the same file, and what was kept is gone")
	}
	other := f.route(list(b, c), true, same)
	if !has(other, "www.example.org.") || has(other, "www.corp.example.") {
		t.Error("other resolvers of a suffix: what others said must go, and no more")
	}
	for _, r := range []*resolver{other.rest.resolvers[1], other.of(lowerWire("corp.example.")).resolvers[0]} {
		if r.addr != b || !r.health.down {
			t.Error("what was known of a resolver that stays is gone")
		}
	}
	more := f.route(append(list(b, c), Resolver{Suffix: "www.example.org", Addr: c}), true, other)
	if has(more, "www.example.org.") {
		t.Error("a name that has other resolvers now is answered by what those before said")
	}
	if off := f.route(list(b), false, more); off.cache != nil {
		t.Error("still kept")
	}
}

func lowerWire(name string) []byte {
	key := flightKey{name: name}.askKey()
	return key.name()
}
