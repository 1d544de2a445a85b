package nameserver

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/miekg/dns"
)

// looped is a socket without the system: what is sent is there to be answered.
type looped struct {
	k    *upSocket
	last *posted
}

type posted struct {
	k      *upSocket
	packet []byte
}

func (l *looped) send(packet []byte) error {
	l.last.k, l.last.packet = l.k, append(l.last.packet[:0], packet...)
	return nil
}

func (l *looped) close() {}

// withoutSystem makes a server that forwards by sockets without the system, and
// gives what was sent last.
func withoutSystem(t testing.TB, cached bool) (*Server, *posted) {
	s := newServer(t, Config{Resolvers: resolver1, Rules: Rules{Domain: domain, Cache: cached}})
	p := s.policy.Load().routes.rest.resolvers[0].udp
	p.listed = true
	last := new(posted)
	for range poolSize {
		k := &upSocket{p: p, born: math.MaxInt64, uses: math.MinInt}
		k.wire = &looped{k, last}
		p.socks = append(p.socks, k)
	}
	return s, last
}

// turn sends a question through a server, and the resolver's answer back.
func (s *Server) turn(raw, buf []byte, last *posted, answer []byte, write replyFunc) {
	v := s.handle(raw, buf, friend, false)
	if reply := s.forward(v.forward, write, buf); reply != nil {
		write(reply)
		return
	}
	reply := append(last.packet[:endOfQuestion(last.packet)], answer...)
	reply[2] |= flagQR >> 8
	reply[3] |= flagRA
	binary.BigEndian.PutUint16(reply[6:], 1)
	binary.BigEndian.PutUint16(reply[10:], 0)
	last.k.received(reply)
}

func endOfQuestion(packet []byte) int {
	end, _ := endOfName(packet, headerSize)
	return end + 4
}

// anA is an answer of one record.
var anA = []byte{0xC0, headerSize, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1}

// TestForwardAllocs is the budget of a forwarded question: what the library makes
// to read it (a message, its question, the name twice) and a query. Under the race
// detector a pool forgets some of what it has, on purpose.
func TestForwardAllocs(t *testing.T) {
	s, last := withoutSystem(t, false)
	replies := 0
	write := func(reply []byte) {
		if len(reply) < headerSize || reply[7] != 1 {
			t.Fatalf("%x", reply)
		}
		replies++
	}
	raw, buf := packed(t, question("Example.org.", dns.TypeA)), make([]byte, readSize)
	for range 10_000 { // until the sockets have room
		s.turn(raw, buf, last, anA, write)
	}
	replies = 0
	if n := testing.AllocsPerRun(1000, func() { s.turn(raw, buf, last, anA, write) }); n > 9 {
		t.Errorf("%v allocations, want 5, and at most 9", n)
	}
	if replies != 1001 {
		t.Errorf("%d replies", replies)
	}
}

func BenchmarkForward(b *testing.B) {
	s, last := withoutSystem(b, false)
	raw, buf := packed(b, question("Example.org.", dns.TypeA)), make([]byte, readSize)
	b.ReportAllocs()
	for b.Loop() {
		s.turn(raw, buf, last, anA, func([]byte) {})
	}
}
