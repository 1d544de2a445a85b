package nameserver

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestPool: there is a socket, and so a port, for each question as long as there
// are fewer than poolSize; none is asked from more than socketUses times nor
// longer than socketLife, and none is left open.
func TestPool(t *testing.T) {
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprintf("portable %v", portable), func(t *testing.T) {
			var mu sync.Mutex // guards what follows
			uses := map[string]int{}
			ids := map[uint16]bool{}
			k, err := listen(loopback, 0)
			fatal(t, err)
			k.tcp.Close()
			defer k.udp.Close()
			// A plain socket keeps up with all questions at once.
			go func() {
				buf := make([]byte, readSize)
				for {
					n, from, err := k.udp.ReadFromUDPAddrPort(buf)
					if err != nil {
						return
					}
					mu.Lock()
					uses[from.String()]++
					ids[uint16(buf[0])<<8|uint16(buf[1])] = true
					mu.Unlock()
					buf[2] |= flagQR >> 8
					buf[11] = 0 // no OPT record
					k.udp.WriteToUDPAddrPort(buf[:n], from)
				}
			}()
			f := newForwarder(quiet(), func(fn func()) { go fn() })
			f.ports.portable = portable || !hasReader
			if f.ports.share < poolSize+16 {
				if os.Getenv("CI") == "true" {
					t.Fatalf("%d descriptors are too few: raise ulimit -n", f.ports.share)
				}
				t.Skipf("%d descriptors are too few", f.ports.share)
			}
			to := f.route(via(k.addr), false, nil)
			done := make(chan struct{}, 1)
			count := 0
			ask := func() {
				count++
				in := &inquiry{key: flightKey{name: fmt.Sprintf("host-%d.example.", count), qtype: dns.TypeA}.askKey(), group: to.rest}
				in.limit = udpSize
				in.to = replyFunc(func([]byte) { done <- struct{}{} })
				if reply := f.ask(in, nil); reply != nil {
					t.Fatalf("%x", reply)
				}
				<-done
			}
			for range poolSize {
				ask()
			}
			mu.Lock()
			if len(uses) != poolSize {
				t.Errorf("%d questions came from %d ports", poolSize, len(uses))
			}
			if len(ids) < poolSize*9/10 { // of 65536
				t.Errorf("%d identifiers", len(ids))
			}
			mu.Unlock()
			pool := to.rest.resolvers[0].udp
			for range 60_000 {
				ask()
			}
			if n := pool.count(); n < poolSize-1 || n > poolSize {
				t.Errorf("%d sockets may be asked", n)
			}
			mu.Lock()
			most := 0
			for _, n := range uses {
				most = max(most, n)
			}
			// The system may give a port once more when it was given up.
			if most > 2*socketUses || len(uses) < 60_000/socketUses {
				t.Errorf("%d questions came from one port, and there were %d ports", most, len(uses))
			}
			clear(uses)
			mu.Unlock()
			// Later, all are too old.
			for _, k := range pool.all() {
				if k.uses > socketUses {
					t.Errorf("asked from %d times", k.uses)
				}
				k.born -= int64(socketLife)
			}
			ask()
			// On a busy machine the last question was asked twice.
			if n := pool.sweep(f.now()); n < 1 || n > 2 {
				t.Errorf("%d are left when all but one or two are old", n)
			}
			f.close()
			if n := f.ports.open.Load(); n != 0 {
				t.Errorf("%d are open at the end", n)
			}
		})
	}
}

func (p *pool) all() []*upSocket {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(append([]*upSocket(nil), p.socks...), p.retired...)
}

// TestPoolShort: with fewer descriptors than sockets wanted, those that are there
// are used again, but not for ever.
func TestPoolShort(t *testing.T) {
	var mu sync.Mutex
	ports := map[string]bool{}
	resolver := upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
		mu.Lock()
		ports[w.RemoteAddr().String()] = true
		mu.Unlock()
		answerA(w, r, "192.0.2.1")
	})
	addr := serve(t, Config{Resolvers: via(resolver)}, func(s *Server) { s.forwarder.ports.share = 3 })
	const n = 1000
	for i := range n {
		if r := ask(t, "udp", addr, question(fmt.Sprintf("%d.example.", i), dns.TypeA)); len(r.Answer) != 1 {
			t.Fatalf("%v", r)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if most := n/socketUses + 4; len(ports) > most || len(ports) < n/socketUses-1 {
		t.Errorf("%d ports", len(ports))
	}
}

// TestLocalWhileForwardedPileUp: all resolvers are silent and twenty thousand
// questions want to be forwarded: no more wait than may, and each question about
// the table, between them, is answered.
func TestLocalWhileForwardedPileUp(t *testing.T) {
	mute := func() netip.AddrPort {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		fatal(t, err)
		t.Cleanup(func() { c.Close() })
		return c.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	s := newServer(t, Config{Bind: []netip.Addr{loopback}, Resolvers: via(mute(), mute())})
	start(t, s)
	flood, local := dial(t, "udp", s.Addrs()[0]), dial(t, "udp", s.Addrs()[0])
	go func() { // who floods hears what is said to him, so that the system has room for more
		buf := make([]byte, readSize)
		for {
			if _, err := flood.Conn.Read(buf); err != nil {
				return
			}
		}
	}()
	defer flood.SetReadDeadline(time.Unix(1, 0))
	most := 0
	for i := range 20_000 {
		send(t, flood, question(fmt.Sprintf("host-%d.example.", i), dns.TypeA))
		if i%20 != 0 {
			continue
		}
		send(t, local, question("db.", dns.TypeA))
		if r := receive(t, local); len(r.Answer) != 1 || r.Question[0].Name != "db." {
			t.Fatalf("%v", r)
		}
		s.forwarder.mu.Lock()
		most = max(most, s.forwarder.waiting)
		s.forwarder.mu.Unlock()
	}
	if most > maxWaiting || most == 0 {
		t.Errorf("%d questions waited, want some and at most %d", most, maxWaiting)
	}
}
