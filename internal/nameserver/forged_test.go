package nameserver

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// TestForgedReplies gives a million forged replies to the sockets that wait for
// true ones, as somebody who has found each socket's port and knows what is asked:
// he guesses the identifier and the case, or
// the case alone. None is taken, and who asked has the
// answer, over a connection.
func TestForgedReplies(t *testing.T) {
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprintf("portable %v", portable), func(t *testing.T) {
			const questions = 200
			forgeries := 2500 // in each of two runs
			if raceDetector {
				forgeries = 250 // there are as many of them as it takes without it
			}
			waiting := make(chan struct{}, questions)
			var mu sync.Mutex
			overTCP := 0
			resolver := upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
				if w.LocalAddr().Network() == "udp" {
					waiting <- struct{}{} // and never answers
					return
				}
				mu.Lock()
				overTCP++
				mu.Unlock()
				answerA(w, r, "192.0.2.1")
			})
			s := newServer(t, Config{Bind: []netip.Addr{loopback}, Resolvers: via(resolver), Rules: Rules{Cache: true}})
			s.forwarder.ports.portable = portable || !hasReader
			start(t, s)
			rng := rand.New(rand.NewPCG(1, 2))
			pool := s.policy.Load().routes.rest.resolvers[0].udp
			for i := range questions {
				c := dial(t, "udp", s.Addrs()[0]) // each has as long as any test waits
				name := fmt.Sprintf("a-name-with-many-letters-%d.example.org.", i)
				send(t, c, question(name, dns.TypeA))
				<-waiting
				for k, id := range pool.sockets() {
					forged := withA(question(name, dns.TypeA), "203.0.113.66")
					raw := packed(t, forged)
					wire := raw[headerSize:]
					for range forgeries {
						// Every other time he has seen the identifier.
						if i%2 == 0 {
							id = uint16(rng.Uint32())
						}
						binary.BigEndian.PutUint16(raw, id)
						guess := mixed(lowered(wire[:len(name)+1]), rng.Uint64())
						copy(wire, lowered(wire[:len(name)+1]))
						guess.apply(wire[:len(name)+1])
						k.received(append([]byte(nil), raw...))
					}
				}
				r := receive(t, c)
				if got, want := lines(r.Answer), text(name+" 77 IN A 192.0.2.1"); got != want {
					t.Fatalf("%s: got %s", name, got)
				}
			}
			if overTCP != questions {
				t.Errorf("%d of %d were asked over TCP", overTCP, questions)
			}
		})
	}
}

func lowered(name []byte) []byte {
	return []byte(strings.ToLower(string(name)))
}

// sockets gives those at which something is open, with the identifier of that.
func (p *pool) sockets() map[*upSocket]uint16 {
	open := map[*upSocket]uint16{}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range append(p.socks, p.retired...) {
		k.mu.Lock()
		if len(k.open) > 0 {
			open[k] = k.open[0].id
		}
		k.mu.Unlock()
	}
	return open
}

// TestForgedCase: who knows all but the case of the letters has to guess it.
func TestForgedCase(t *testing.T) {
	key := flightKey{name: "a-name-with-more-letters-than-anybody-guesses.example.org.", qtype: dns.TypeA}.askKey()
	rng := rand.New(rand.NewPCG(3, 4))
	spelled := mixed(key.name(), rng.Uint64())
	asked := appendQuestion(nil, &key, spelled)
	open := newPending(ticket{}, asked, 0)
	raw := append([]byte(nil), asked...)
	raw[2] |= flagQR >> 8
	if open.judge(raw) != genuine {
		t.Fatal("the true reply is not taken")
	}
	for range 1_000_000 {
		guess := mixed(key.name(), rng.Uint64())
		if guess == spelled {
			continue
		}
		copy(raw[headerSize:], key.name())
		guess.apply(raw[headerSize:])
		if got := open.judge(raw); got != misspelled {
			t.Fatalf("%q: %d", raw, got)
		}
	}
}

// TestForgedBits: each bit of the question counts, and so do those of the header
// that make it a reply.
func TestForgedBits(t *testing.T) {
	key := flightKey{name: "example.org.", qtype: dns.TypeA, edns: true}.askKey()
	asked := appendQuestion(nil, &key, mixed(key.name(), 0x5a5a))
	open := newPending(ticket{}, asked, 0)
	good := append([]byte(nil), asked...)
	good[2] |= flagQR >> 8
	for bit := range 8 * (headerSize + int(open.length)) {
		raw := append([]byte(nil), good...)
		raw[bit/8] ^= 0x80 >> (bit % 8)
		free := bit < 16 || bit >= 21 && bit < 32 || bit >= 48 && bit < 96 // identifier, other flags, other counts
		if got := open.judge(raw); (got == genuine) != free {
			t.Errorf("bit %d: %d", bit, got)
		}
	}
}

// TestForgedSource: what does not come from the resolver's address and port is not
// even heard of: the sockets are connected.
func TestForgedSource(t *testing.T) {
	asked := make(chan *dns.Msg, 1)
	from := make(chan net.Addr, 1)
	answer := make(chan struct{})
	resolver := upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
		asked <- r
		from <- w.RemoteAddr()
		<-answer
		answerA(w, r, "192.0.2.1")
	})
	c := dial(t, "udp", forwarding(t, resolver))
	send(t, c, question("example.org.", dns.TypeA))
	raw := packed(t, withA(<-asked, "203.0.113.66")) // all is right but where it comes from
	to := (<-from).(*net.UDPAddr)
	for _, host := range []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 66)} {
		port := 0
		if !host.Equal(net.IPv4(127, 0, 0, 1)) {
			port = int(resolver.Port())
		}
		liar, err := net.DialUDP("udp", &net.UDPAddr{IP: host, Port: port}, to)
		fatal(t, err)
		for range 1000 {
			liar.Write(raw)
		}
		liar.Close()
	}
	close(answer)
	if got, want := lines(receive(t, c).Answer), text("example.org. 77 IN A 192.0.2.1"); got != want {
		t.Errorf("got %s", got)
	}
}
