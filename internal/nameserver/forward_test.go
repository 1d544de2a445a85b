package nameserver

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestResolveOrder(t *testing.T) {
	ok, ill, no := says(dns.RcodeSuccess), says(dns.RcodeServerFailure), says(dns.RcodeRefused)
	const ms = time.Millisecond
	tests := []struct {
		name  string
		plays []play
		code  string
		asked string
		took  time.Duration
	}{
		{"the first answers", []play{ok, ok}, "NOERROR", "1", 0},
		{"NXDOMAIN is an answer", []play{says(dns.RcodeNameError), ok}, "NXDOMAIN", "1", 0},
		{"FORMERR is the client's business", []play{says(dns.RcodeFormatError), ok}, "FORMERR", "1", 0},
		{"within the usual time", []play{after(399*ms, ok), ok}, "NOERROR", "1", 399 * ms},
		{"beyond it, the next is asked, too", []play{after(401*ms, ok), after(500*ms, ok)}, "NOERROR", "1 2", 401 * ms},
		{"and may be the first to answer", []play{after(900*ms, says(dns.RcodeNameError)), after(100*ms, ok)}, "NOERROR", "1 2", 500 * ms},
		{"silent", []play{silent, ok}, "NOERROR", "1 2", 400 * ms},
		{"closed: the next at once", []play{closed, ok}, "NOERROR", "1 2", 0},
		{"SERVFAIL: the next", []play{ill, ok}, "NOERROR", "1 2", 0},
		{"REFUSED: the next", []play{no, ok}, "NOERROR", "1 2", 0},
		{"NOTIMP: the next", []play{says(dns.RcodeNotImplemented), ok}, "NOERROR", "1 2", 0},
		{"SERVFAIL from all", []play{ill, ill}, "SERVFAIL", "1 2", 0},
		{"the code as it is when nobody knows better", []play{no, silent}, "REFUSED", "1 2", 2 * time.Second},
		{"a single one is asked twice", []play{closed}, "none", "1 1", 0},
		{"a single silent one", []play{silent}, "none", "1 1", 4 * time.Second},
		{"a packet is lost and nobody else can be asked", []play{deafAtFirst(ok), closed}, "NOERROR", "1 2 1", 2 * time.Second},
		{"the only one that can be asked is silent", []play{silent, closed}, "none", "1 2 1", 4 * time.Second},
		{"two silent ones", []play{silent, silent}, "none", "1 2", 2400 * ms},
		{"late is better than never", []play{after(2300*ms, ok), silent}, "NOERROR", "1 2", 2300 * ms},
		{"four silent ones share the time", []play{silent, silent, silent, silent}, "none", "1 2 3 4", 2200 * ms},
		{"the last of four still has its turn", []play{silent, silent, silent, ok}, "NOERROR", "1 2 3 4", 1200 * ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, false, tt.plays...)
				code, took := s.ask("example.org.")
				if asked := s.asked(); code != tt.code || asked != tt.asked || took != tt.took {
					t.Errorf("%s after %v, asked %s; want %s after %v, asked %s", code, took, asked, tt.code, tt.took, tt.asked)
				}
			})
		})
	}
}

// TestResolveFailedIsLast: who failed is asked last, is probed beside the
// others, and has its place again when it answers.
func TestResolveFailedIsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ok := says(dns.RcodeSuccess)
		s := newStage(t, false, silent, ok)
		step := func(what, wantAsked string, wantTook time.Duration) {
			t.Helper()
			code, took := s.ask("example.org.")
			synctest.Wait()
			if asked := s.asked(); code != "NOERROR" || asked != wantAsked || took != wantTook {
				t.Errorf("%s: %s after %v, asked %s; want after %v, asked %s", what, code, took, asked, wantTook, wantAsked)
			}
		}
		step("first", "1 2", 400*time.Millisecond)
		time.Sleep(attemptTime) // then its silence is one
		step("with a probe beside", "2 1", 0)
		step("while the probe waits", "2", 0)
		s.recast(1, ok)
		time.Sleep(probeEvery)
		step("the probe is answered", "2 1", 0)
		step("then it is the first", "1", 0)
		if want := "level=INFO msg=\"resolver answers again: 10.0.0.1:53\"\n"; !strings.HasSuffix(s.log.String(), want) {
			t.Errorf("log:\n%s", s.log)
		}
	})
}

// TestResolveProbeRate: one probe a second, however many questions there are.
func TestResolveProbeRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, false, closed, says(dns.RcodeSuccess))
		s.ask("example.org.")
		s.asked()
		for range 100 { // 10 s
			s.ask("example.org.")
			time.Sleep(100 * time.Millisecond)
		}
		if n := strings.Count(s.asked(), "1"); n != 10 {
			t.Errorf("%d probes in 10 s, want 10", n)
		}
	})
}

// TestResolveServfailKeepsPlace: a zone that one resolver finds broken must not
// turn other questions away from it.
func TestResolveServfailKeepsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, false, says(dns.RcodeServerFailure), says(dns.RcodeSuccess))
		s.ask("broken.example.")
		s.recast(1, says(dns.RcodeSuccess))
		s.ask("fine.example.")
		if asked := s.asked(); asked != "1 2 1" {
			t.Errorf("asked %s, want 1 2 1", asked)
		}
	})
}

// TestResolveSlowIsLater: one that is much slower than another comes after it, is
// looked at once a second, and is the first again when it is quick.
func TestResolveSlowIsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ok := says(dns.RcodeSuccess)
		s := newStage(t, false, after(500*time.Millisecond, ok), after(5*time.Millisecond, ok))
		if _, took := s.ask("example.org."); took != 405*time.Millisecond { // the first is tried, and the next beside
			t.Errorf("at first: %v", took)
		}
		time.Sleep(time.Second)
		s.asked()
		for range 100 { // 3 s
			if _, took := s.ask("example.org."); took != 5*time.Millisecond {
				t.Errorf("then: %v", took)
			}
			time.Sleep(25 * time.Millisecond)
		}
		if n := strings.Count(s.asked(), "1"); n < 2 || n > 4 {
			t.Errorf("the slow one was looked at %d times in 3 s", n)
		}
		s.recast(1, after(time.Millisecond, ok))
		for range 60 {
			s.ask("example.org.")
			time.Sleep(time.Second)
		}
		s.asked()
		if _, took := s.ask("example.org."); took != time.Millisecond || s.asked() != "1" {
			t.Errorf("when it is quick again: %v", took)
		}
	})
}

// TestResolveSilentSoon: where many ask, a resolver that fell silent is found out
// long before the time of its first question is up, and nobody waits for it then.
func TestResolveSilentSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick := after(time.Millisecond, says(dns.RcodeSuccess))
		s := newStage(t, false, quick, quick)
		for range 20 {
			s.ask("example.org.")
		}
		s.recast(1, silent)
		slowest := time.Duration(0)
		var wg sync.WaitGroup
		for i := range 1000 { // in a second
			wg.Go(func() {
				_, took := s.ask(fmt.Sprintf("host-%d.example.", i))
				s.mu.Lock()
				defer s.mu.Unlock()
				slowest = max(slowest, took)
			})
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		if slowest > doubtTime+50*time.Millisecond {
			t.Errorf("one took %v", slowest)
		}
		s.asked()
		if _, took := s.ask("later.example."); took != time.Millisecond {
			t.Errorf("after that: %v", took)
		}
	})
}

// TestResolveHedgesAreBounded: on a slow day a tenth of the questions is asked of
// the next as well, and not all.
func TestResolveHedgesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick, slow := after(time.Millisecond, says(dns.RcodeSuccess)), after(150*time.Millisecond, says(dns.RcodeSuccess))
		s := newStage(t, false, quick, quick)
		for range 50 {
			s.ask("example.org.")
		}
		s.recast(1, slow) // and the second answers at once, so that 1 stays as quick as it was known
		s.asked()
		const n = 2000
		for i := range n {
			s.recast(1, slow)
			s.targets[target{addr: netip.MustParseAddrPort("10.0.0.1:53")}].forget()
			s.ask(fmt.Sprintf("host-%d.example.", i))
		}
		second := strings.Count(s.asked(), "2")
		if most := n*hedgeShare + mostTokens + 1; float64(second) > most || second < n/20 {
			t.Errorf("%d of %d questions went to the second, want %v at most and nearly that", second, n, most)
		}
	})
}

// forget makes a resolver one that was known to be quick.
func (r *resolver) forget() {
	r.health = health{mean: time.Millisecond}
}

// TestResolveAllDown: when nobody answers, the resolvers are left alone but for a
// question now and then, and who asks is told at once.
func TestResolveAllDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, false, silent, silent)
		s.ask("example.org.")
		s.asked()
		start := time.Now()
		var at []time.Duration
		for time.Since(start) < 20*time.Second {
			done := s.start(s.inquire(fmt.Sprintf("at-%d.example.", time.Since(start).Milliseconds()), bitEDNS))
			synctest.Wait()
			if s.asked() != "" {
				at = append(at, time.Since(start).Round(100*time.Millisecond))
			} else if r := <-done; r.Rcode != dns.RcodeServerFailure || ede(r) == "" {
				t.Fatalf("%v", r)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if len(at) > 16 || len(at) < 8 {
			t.Errorf("asked after %v", at)
		}
		s.recast(2, says(dns.RcodeSuccess))
		time.Sleep(mostPause)
		if code, took := s.ask("example.org."); code != "NOERROR" {
			t.Errorf("when one is back: %s after %v", code, took)
		}
	})
}

// TestResolveDeadName: who asks again and again for a name that the resolvers have no
// answer to turns nobody else away from them, not even when these ask seldom.
func TestResolveDeadName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick := after(5*time.Millisecond, says(dns.RcodeSuccess))
		recursive := func(q *dns.Msg, reply func(*dns.Msg)) error {
			if q.Question[0].Qtype == dns.TypeA && strings.HasPrefix(strings.ToLower(q.Question[0].Name), "dead") {
				return nil
			}
			return quick(q, reply)
		}
		s := newStage(t, false, recursive, recursive)
		start := time.Now()
		s.ask("alive.example.")
		time.Sleep(time.Second)
		s.wg.Go(func() {
			for i := 0; time.Since(start) < 5*time.Minute; i++ {
				if code, _ := s.ask(fmt.Sprintf("dead-%d.example.", i%5)); code != "none" {
					t.Errorf("%s for the dead name", code)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		for i := 0; time.Since(start) < 5*time.Minute; i++ {
			time.Sleep(3100 * time.Millisecond)
			if code, took := s.ask(fmt.Sprintf("alive-%d.example.", i)); code != "NOERROR" {
				t.Errorf("after %v: %s after %v", time.Since(start), code, took)
			}
		}
	})
}

// TestResolveMerges: identical questions in flight are asked once, whatever
// their spelling; others are not held up.
func TestResolveMerges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, false, after(300*time.Millisecond, says(dns.RcodeNameError)))
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				name := "example.org."
				if i%2 == 1 {
					name = "EXAMPLE.org."
				}
				start := time.Now()
				r := <-s.start(s.inquire(name, bitEDNS))
				if took := time.Since(start); r.Rcode != dns.RcodeNameError || took != 300*time.Millisecond || r.Question[0].Name != name {
					t.Errorf("%v after %v", r, took)
				}
			})
		}
		synctest.Wait()
		if asked := s.asked(); asked != "1" {
			t.Errorf("asked %s, want once", asked)
		}
		wg.Go(func() { s.ask("other.example.") })
		wg.Go(func() { <-s.start(s.inquire("example.org.", bitEDNS|bitDO)) }) // DO changes what is answered
		synctest.Wait()
		if asked := s.asked(); asked != "1 1" {
			t.Errorf("asked %s, want 1 1", asked)
		}
		wg.Wait()
		s.ask("example.org.")
		if asked := s.asked(); asked != "1" {
			t.Errorf("a later question: asked %s, want 1: this is no cache", asked)
		}
	})
}

// TestResolveBound: no more wait than there is room for, and who finds none is
// told at once.
func TestResolveBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, false, silent, silent)
		s.most = 100
		var wait []<-chan *dns.Msg
		for i := range 20_000 { // in a second
			done := s.start(s.inquire(fmt.Sprintf("host-%d.example.", i), bitEDNS))
			select {
			case r := <-done:
				if r.Rcode != dns.RcodeServerFailure {
					t.Fatalf("%v", r)
				}
			default:
				wait = append(wait, done)
			}
			if i%20 == 0 {
				time.Sleep(time.Millisecond)
			}
			s.forwarder.mu.Lock()
			waiting := s.waiting
			s.forwarder.mu.Unlock()
			if waiting > 100 {
				t.Fatalf("%d wait", waiting)
			}
		}
		if len(wait) != 100 {
			t.Errorf("%d were let wait", len(wait))
		}
		start := time.Now()
		for _, done := range wait {
			<-done
		}
		if took := time.Since(start); took > totalTime {
			t.Errorf("the last was told after %v", took)
		}
	})
}

// TestResolveLogs: a warning a second for each resolver, saying which failed,
// at what and how.
func TestResolveLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, false, closed, closed)
		for range 30 { // 3 s
			s.ask("example.org.")
			time.Sleep(100 * time.Millisecond)
		}
		line := func(i int) string {
			return fmt.Sprintf("level=WARN msg=\"resolver failed: 10.0.0.%d:53\" name=example.org. type=A error=\"connection refused\"\n", i)
		}
		// At first, and when they were let alone for 0.5 s, 1 s and 2 s: the second
		// of these is within the second of the first.
		got := s.log.String()
		for i := 1; i <= 2; i++ {
			if n := strings.Count(got, line(i)); n < 2 || n > 3 {
				t.Errorf("%d lines about %d", n, i)
			}
		}
	})
}

// TestResolveEndsWithServer: the end of the server is nobody's failure and
// keeps nobody waiting.
func TestResolveEndsWithServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, false, silent, silent)
		done := s.start(s.inquire("example.org.", bitEDNS))
		time.AfterFunc(100*time.Millisecond, s.close)
		start := time.Now()
		if r := <-done; r.Rcode != dns.RcodeServerFailure || time.Since(start) != 100*time.Millisecond {
			t.Errorf("%v after %v", r, time.Since(start))
		}
		if r := <-s.start(s.inquire("example.org.", bitEDNS)); r.Rcode != dns.RcodeServerFailure {
			t.Errorf("after the end: %v", r)
		}
		if s.log.String() != "" {
			t.Errorf("counted as a failure: %s", s.log)
		}
	})
}

func TestThrottle(t *testing.T) {
	var th throttle
	at := func(d time.Duration) bool { return th.allowAt(time.Unix(1000, 0).Add(d)) }
	for _, tt := range []struct {
		at   time.Duration
		want bool
	}{
		{0, true}, {0, false}, {999 * time.Millisecond, false}, {time.Second, true}, {1001 * time.Millisecond, false},
		{-time.Hour, true}, // the clock was set back
		{-time.Hour + 999*time.Millisecond, false},
	} {
		if got := at(tt.at); got != tt.want {
			t.Errorf("at %v: %v", tt.at, got)
		}
	}
}
