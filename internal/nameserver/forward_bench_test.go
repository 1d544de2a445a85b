package nameserver

import (
	"encoding/binary"
	"math"
	"slices"
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
	last.answer(answer)
}

// answer gives what was sent its answer of one record.
func (p *posted) answer(record []byte) {
	p.packet = append(p.packet[:endOfQuestion(p.packet)], record...)
	reply := p.packet
	reply[2] |= flagQR >> 8
	reply[3] |= flagRA
	binary.BigEndian.PutUint16(reply[6:], 1)
	binary.BigEndian.PutUint16(reply[10:], 0)
	p.k.received(reply)
}

func endOfQuestion(packet []byte) int {
	end, _ := endOfName(packet, headerSize)
	return end + 4
}

// anA is an answer of one record.
var anA = []byte{0xC0, headerSize, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1}

// TestForwardAllocs is the budget of a forwarded question: what the library makes
// to read it (a message, its question, the name twice) and a query.
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
	if n := testing.AllocsPerRun(1000, func() { s.turn(raw, buf, last, anA, write) }); n > 6 && !raceDetector {
		t.Errorf("%v allocations, want at most 6", n)
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

// The forwarder alone, from a question's name in wire form on: what it costs who has
// read the question without the library. It allocates nothing.

func BenchmarkForwardAlone(b *testing.B) {
	s, last := withoutSystem(b, false)
	turn := alone(s, last)
	b.ReportAllocs()
	for b.Loop() {
		turn()
	}
}

func BenchmarkRecallAlone(b *testing.B) {
	s, last := withoutSystem(b, true)
	turn := alone(s, last)
	turn()
	b.ReportAllocs()
	for b.Loop() {
		turn()
	}
}

// alone gives what asks for a name, and answers if the resolver is asked.
func alone(s *Server, last *posted) func() {
	in, buf, to := new(inquiry), make([]byte, readSize), s.policy.Load().routes
	key := flightKey{name: "example.org.", qtype: dns.TypeA}.askKey()
	name := slices.Clone(key.name())
	in.to = replyFunc(func([]byte) {})
	return func() {
		in.id, in.rd, in.limit, in.from = 7, true, udpSize, friend
		in.about(name, dns.TypeA, 0, to)
		if s.forwarder.recall(in, buf) == nil && s.forwarder.ask(in, buf) == nil {
			last.answer(anA)
		}
	}
}

// TestAloneAllocs: the forwarder allocates nothing for a question or an answer, nor
// for one out of the cache.
func TestAloneAllocs(t *testing.T) {
	for _, cached := range []bool{false, true} {
		s, last := withoutSystem(t, cached)
		turn := alone(s, last)
		for range 10_000 {
			turn()
		}
		// Now and then a socket needs more room, or a pool is empty.
		if n := testing.AllocsPerRun(10_000, turn); n >= 1 && !raceDetector {
			t.Errorf("cached %v: %v allocations", cached, n)
		}
	}
}
