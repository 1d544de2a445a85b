package nameserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// These tests run the forwarder in virtual time over resolvers made of
// functions. What goes over sockets is in upstream_test.go and server_test.go.

// play is how a resolver takes a question: by a call of reply now or later, never,
// or with an error.
type play func(q *dns.Msg, reply func(*dns.Msg)) error

// says answers with a code.
func says(rcode int) play {
	return func(q *dns.Msg, reply func(*dns.Msg)) error {
		m := new(dns.Msg).SetRcode(q, rcode)
		if rcode == dns.RcodeSuccess {
			m = withA(q, "192.0.2.1")
		}
		reply(m)
		return nil
	}
}

func silent(*dns.Msg, func(*dns.Msg)) error { return nil }

// deafAtFirst does not hear the first question.
func deafAtFirst(p play) play {
	var heard atomic.Bool
	return func(q *dns.Msg, reply func(*dns.Msg)) error {
		if !heard.Swap(true) {
			return nil
		}
		return p(q, reply)
	}
}

func closed(*dns.Msg, func(*dns.Msg)) error { return errors.New("connection refused") }

// after answers when d has gone by.
func after(d time.Duration, p play) play {
	return func(q *dns.Msg, reply func(*dns.Msg)) error {
		time.AfterFunc(d, func() { p(q, reply) })
		return nil
	}
}

// stage is a forwarder over plays, by the resolver's address, and the record of
// who was asked.
type stage struct {
	*forwarder
	to   *routes
	log  *logBuffer
	wg   sync.WaitGroup
	mu   sync.Mutex
	cast map[string]play
	seen []string
	// asked are the questions, as they were sent.
	questions []*dns.Msg
}

// newStage sets one up in a bubble.
func newStage(t *testing.T, cached bool, plays ...play) *stage {
	s := &stage{log: &logBuffer{}, cast: map[string]play{}}
	var addrs []netip.AddrPort
	for i, p := range plays {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 53)
		addrs = append(addrs, a)
		s.cast[a.String()] = p
	}
	s.forwarder = newForwarder(s.log.logger(), s.wg.Go)
	s.forwarder.send = s.sent
	s.to = s.route(via(addrs...), cached, nil)
	for _, r := range s.targets {
		r.loop.next = math.MaxInt64 // loop_test.go is about that
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.wg.Go(func() { s.run(ctx) })
	t.Cleanup(func() {
		cancel()
		s.wg.Wait()
		if len(s.live) != 0 || len(s.flights) != 0 || s.waiting != 0 {
			t.Errorf("%d flights and %d places are left", len(s.live), s.waiting)
		}
	})
	return s
}

func (s *stage) sent(q *sending) error {
	var m dns.Msg
	if err := m.Unpack(q.packet[:q.size]); err != nil {
		panic(err)
	}
	s.mu.Lock()
	s.seen = append(s.seen, strings.TrimSuffix(q.to.String(), ":53")[len("10.0.0."):])
	s.questions = append(s.questions, &m)
	p := s.cast[q.to.String()]
	s.mu.Unlock()
	to, ticket, at := q.to, q.ticket, q.at
	return p(&m, func(r *dns.Msg) {
		raw, err := r.Pack()
		if err != nil {
			panic(err)
		}
		s.wg.Go(func() {
			o := s.outboxes.Get().(*outbox)
			s.answered(to, ticket, at, raw, o)
			s.flush(o)
		})
	})
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

// inquire makes a question for the forwarder.
func (s *stage) inquire(name string, bits byte) *inquiry {
	in := &inquiry{key: flightKey{name: name, qtype: dns.TypeA}.askKey(), group: s.to.rest, cache: s.to.cache}
	var wire [maxWireName + 1]byte
	n, _ := dns.PackDomainName(name, wire[:], 0, nil, false)
	in.spelled = in.key.setName(wire[:n])
	in.key.setQuestion(dns.TypeA, bits)
	in.limit, in.edns = udpSize, bits&bitEDNS != 0
	in.id = uint16(len(name))
	return in
}

// start asks, and gives where the reply comes.
func (s *stage) start(in *inquiry) <-chan *dns.Msg {
	done := make(chan *dns.Msg, 1)
	write := func(raw []byte) {
		r := new(dns.Msg)
		if err := r.Unpack(bytes.Clone(raw)); err != nil {
			panic(err)
		}
		if binary.BigEndian.Uint16(raw) != in.id {
			panic("another's reply")
		}
		done <- r
	}
	in.to = replyFunc(write)
	if reply := s.recall(in, nil); reply != nil {
		write(reply)
	} else if reply := s.forwarder.ask(in, nil); reply != nil {
		write(reply)
	}
	return done
}

// ask resolves a name and says with which code and after how long.
func (s *stage) ask(name string) (string, time.Duration) {
	start := time.Now()
	m := <-s.start(s.inquire(name, bitEDNS))
	code := dns.RcodeToString[m.Rcode]
	if m.Rcode == dns.RcodeServerFailure && ede(m) != "" {
		code = "none"
	}
	return code, time.Since(start)
}

// ede is the text of a reply's extended error.
func ede(m *dns.Msg) string {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return e.ExtraText
			}
		}
	}
	return ""
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
