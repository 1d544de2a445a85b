package nameserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// These tests run the forwarder in virtual time over resolvers made of
// functions. What goes over sockets is in upstream_test.go and server_test.go.

// play is how a resolver takes a question: with an answer, an error, or by
// waiting for the end of ctx.
type play func(ctx context.Context) (*dns.Msg, bool, error)

func says(rcode int) play {
	return func(context.Context) (*dns.Msg, bool, error) {
		return &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: rcode}}, true, nil
	}
}

func silent(ctx context.Context) (*dns.Msg, bool, error) {
	<-ctx.Done()
	return nil, false, ctx.Err()
}

func closed(context.Context) (*dns.Msg, bool, error) {
	return nil, false, errors.New("connection refused")
}

// after answers when d has gone by.
func after(d time.Duration, p play) play {
	return func(ctx context.Context) (*dns.Msg, bool, error) {
		select {
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-time.After(d):
			return p(ctx)
		}
	}
}

// stage is a forwarder over plays, by the resolver's address, and the record of
// who was asked.
type stage struct {
	*forwarder
	log  *logBuffer
	wg   sync.WaitGroup
	mu   sync.Mutex
	cast map[string]play
	seen []string
}

func newStage(plays ...play) *stage {
	s := &stage{log: &logBuffer{}, cast: map[string]play{}}
	var addrs []netip.AddrPort
	for i, p := range plays {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 53)
		addrs = append(addrs, a)
		s.cast[a.String()] = p
	}
	s.forwarder = newForwarder(addrs, s.log.logger(), s.wg.Go)
	s.exchange = func(ctx context.Context, addr string, key flightKey) (*dns.Msg, bool, error) {
		s.mu.Lock()
		s.seen = append(s.seen, strings.TrimSuffix(addr, ":53")[len("10.0.0."):])
		p := s.cast[addr]
		s.mu.Unlock()
		return p(ctx)
	}
	return s
}

// recast gives resolver i, from 1, another play.
func (s *stage) recast(i int, p play) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cast[fmt.Sprintf("10.0.0.%d:53", i)] = p
}

// asked gives who was asked since the last call, in order.
func (s *stage) asked() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := strings.Join(s.seen, " ")
	s.seen = nil
	return a
}

// ask resolves a name and says with which code and after how long.
func (s *stage) ask(ctx context.Context, name string) (string, time.Duration) {
	start := time.Now()
	m := s.resolve(ctx, &query{question: dns.Question{Name: name, Qtype: dns.TypeA, Qclass: dns.ClassINET}})
	if m == nil {
		return "none", time.Since(start)
	}
	return dns.RcodeToString[m.Rcode], time.Since(start)
}

// logBuffer collects log lines without their times.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

func TestResolveOrder(t *testing.T) {
	ok, ill, no := says(dns.RcodeSuccess), says(dns.RcodeServerFailure), says(dns.RcodeRefused)
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
		{"slow is not dead", []play{after(1999*time.Millisecond, ok), ok}, "NOERROR", "1", 1999 * time.Millisecond},
		{"silent: the next after 2 s", []play{silent, ok}, "NOERROR", "1 2", 2 * time.Second},
		{"too slow is silent", []play{after(2001*time.Millisecond, ok), ok}, "NOERROR", "1 2", 2 * time.Second},
		{"closed: the next at once", []play{closed, ok}, "NOERROR", "1 2", 0},
		{"SERVFAIL: the next", []play{ill, ok}, "NOERROR", "1 2", 0},
		{"REFUSED: the next", []play{no, ok}, "NOERROR", "1 2", 0},
		{"NOTIMP: the next", []play{says(dns.RcodeNotImplemented), ok}, "NOERROR", "1 2", 0},
		{"SERVFAIL from all", []play{ill, ill}, "SERVFAIL", "1 2", 0},
		{"the code as it is when nobody knows better", []play{no, silent}, "REFUSED", "1 2", 2 * time.Second},
		{"a single one is asked twice", []play{closed}, "none", "1 1", 0},
		{"a single silent one", []play{silent}, "none", "1 1", 4 * time.Second},
		{"two silent ones", []play{silent, silent}, "none", "1 2", 4 * time.Second},
		{"four silent ones share the time", []play{silent, silent, silent, silent}, "none", "1 2 3 4", 4 * time.Second},
		{"the last of four still has its turn", []play{silent, silent, silent, ok}, "NOERROR", "1 2 3 4", 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(tt.plays...)
				code, took := s.ask(t.Context(), "example.org.")
				if asked := s.asked(); code != tt.code || asked != tt.asked || took != tt.took {
					t.Errorf("%s after %v, asked %s; want %s after %v, asked %s", code, took, asked, tt.code, tt.took, tt.asked)
				}
				s.wg.Wait()
			})
		})
	}
}

// TestResolveFailedIsLast: who failed is asked last, is probed beside the
// others, and has its place again when it answers.
func TestResolveFailedIsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ok := says(dns.RcodeSuccess)
		s := newStage(silent, ok)
		step := func(what, wantAsked string, wantTook time.Duration) {
			t.Helper()
			code, took := s.ask(t.Context(), "example.org.")
			synctest.Wait()
			if asked := s.asked(); code != "NOERROR" || asked != wantAsked || took != wantTook {
				t.Errorf("%s: %s after %v, asked %s; want after %v, asked %s", what, code, took, asked, wantTook, wantAsked)
			}
		}
		step("first", "1 2", 2*time.Second)
		// The probe and the question start together; which is first is open.
		code, took := s.ask(t.Context(), "example.org.")
		synctest.Wait()
		asked := strings.Fields(s.asked())
		slices.Sort(asked)
		if code != "NOERROR" || took != 0 || !slices.Equal(asked, []string{"1", "2"}) {
			t.Errorf("with probe: %s after %v, asked %v", code, took, asked)
		}
		step("while the probe waits", "2", 0)
		time.Sleep(attemptTime) // the probe ends, unanswered
		synctest.Wait()

		s.recast(1, ok)
		s.ask(t.Context(), "example.org.")
		synctest.Wait()
		s.asked()
		step("the probe was answered", "1", 0)
		if want := "level=INFO msg=\"resolver answers again: 10.0.0.1:53\"\n"; !strings.HasSuffix(s.log.String(), want) {
			t.Errorf("log:\n%s", s.log)
		}
		s.wg.Wait()
	})
}

// TestResolveProbeRate: one probe a second, however many questions there are.
func TestResolveProbeRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(closed, says(dns.RcodeSuccess))
		s.ask(t.Context(), "example.org.")
		s.asked()
		for range 100 { // 10 s
			s.ask(t.Context(), "example.org.")
			time.Sleep(100 * time.Millisecond)
		}
		if n := strings.Count(s.asked(), "1"); n != 10 {
			t.Errorf("%d probes in 10 s, want 10", n)
		}
		s.wg.Wait()
	})
}

// TestResolveServfailKeepsPlace: a zone that one resolver finds broken must not
// turn other questions away from it.
func TestResolveServfailKeepsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(says(dns.RcodeServerFailure), says(dns.RcodeSuccess))
		s.ask(t.Context(), "broken.example.")
		s.recast(1, says(dns.RcodeSuccess))
		s.ask(t.Context(), "fine.example.")
		if asked := s.asked(); asked != "1 2 1" {
			t.Errorf("asked %s, want 1 2 1", asked)
		}
	})
}

// TestResolveMerges: identical questions in flight are asked once, whatever
// their spelling; others are not held up.
func TestResolveMerges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(after(time.Second, says(dns.RcodeNameError)))
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				name := "example.org."
				if i%2 == 1 {
					name = "EXAMPLE.org."
				}
				if code, took := s.ask(t.Context(), name); code != "NXDOMAIN" || took != time.Second {
					t.Errorf("%s after %v", code, took)
				}
			})
		}
		synctest.Wait()
		if asked := s.asked(); asked != "1" {
			t.Errorf("asked %s, want once", asked)
		}
		wg.Go(func() { s.ask(t.Context(), "other.example.") })
		wg.Go(func() { // DO changes what is answered
			s.resolve(t.Context(), &query{edns: true, do: true, question: dns.Question{Name: "example.org.", Qtype: dns.TypeA}})
		})
		synctest.Wait()
		if asked := s.asked(); asked != "1 1" {
			t.Errorf("asked %s, want 1 1", asked)
		}
		wg.Wait()
		s.ask(t.Context(), "example.org.")
		if asked := s.asked(); asked != "1" {
			t.Errorf("a later question: asked %s, want 1: this is no cache", asked)
		}
		if len(s.flights) != 0 {
			t.Errorf("%d flights left", len(s.flights))
		}
	})
}

// TestResolveLogs: a warning a second for each resolver, saying which failed,
// at what and how.
func TestResolveLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(closed, closed)
		for range 30 { // 3 s
			s.ask(t.Context(), "example.org.")
			time.Sleep(100 * time.Millisecond)
		}
		var want string
		for range 3 {
			for i := range 2 {
				want += fmt.Sprintf("level=WARN msg=\"resolver failed: 10.0.0.%d:53\" name=example.org. type=A error=\"connection refused\"\n", i+1)
			}
		}
		if got := s.log.String(); got != want {
			t.Errorf("log:\n%swant:\n%s", got, want)
		}
	})
}

// TestResolveEndsWithServer: the end of the server is nobody's failure and
// keeps nobody waiting.
func TestResolveEndsWithServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(silent, silent)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if code, took := s.ask(ctx, "example.org."); code != "none" || took != time.Second {
			t.Errorf("%s after %v", code, took)
		}
		if s.resolvers[0].failed.Load() || s.log.String() != "" {
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
