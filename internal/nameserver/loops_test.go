package nameserver

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

// probe is a question that is always answered.
func probe(t testing.TB, id uint16) []byte {
	m := question("db.", dns.TypeA)
	m.Id = id
	return packed(t, m)
}

// exchange sends a packet and behind it a probe, and gives what came back for the packet,
// nil when it is nothing or nothing was expected. Others than one reply to each fail.
func exchange(t testing.TB, c *net.UDPConn, raw []byte, expected bool) (reply []byte) {
	t.Helper()
	id := uint16(0x5A5A)
	if len(raw) >= 2 {
		id = ^binary.BigEndian.Uint16(raw)
	}
	fatal(t, c.SetDeadline(time.Now().Add(patience)))
	_, err := c.Write(raw)
	fatal(t, err)
	_, err = c.Write(probe(t, id))
	fatal(t, err)
	buf := make([]byte, readSize)
	for probed := false; !probed || expected && reply == nil; {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("%x: probe answered: %v; reply %x: %v", raw, probed, reply, err)
		}
		switch got := binary.BigEndian.Uint16(buf); {
		case got == id && !probed:
			probed = true
		case reply == nil && expected:
			reply = bytes.Clone(buf[:n])
		default:
			t.Fatalf("%x: answered %x, too", raw, buf[:n])
		}
	}
	return reply
}

func dialUDP(t testing.TB, at netip.AddrPort) *net.UDPConn {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	fatal(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// TestLoops: the same packets to the server as it is on Linux and to the one of other
// systems, on all kinds of binds; what comes back is the same.
func TestLoops(t *testing.T) {
	v := table(t, balancedHouse)
	kinds := []bool{false, true}
	for _, bind := range []netip.Addr{loopback, netip.IPv4Unspecified(), netip.IPv6Loopback(), netip.IPv6Unspecified()} {
		t.Run(bind.String(), func(t *testing.T) {
			var conns []*net.UDPConn
			var servers []*Server
			for _, portable := range kinds {
				s := newServer(t, Config{Bind: []netip.Addr{bind}, Rules: Rules{
					Domain: domain, Host: "server-01", Balancing: bySource(balance.FixBySource, "server-01", "server-02"),
				}})
				s.view, s.portable = func() *catalog.View { return v }, portable
				start(t, s)
				conns = append(conns, dialUDP(t, s.sockets[0].reachable()))
				servers = append(servers, s)
			}
			n := 0
			for _, q := range quickQuestions(v, domain) {
				for _, tweak := range variants {
					if n++; n%301 != 0 {
						continue
					}
					m := new(dns.Msg)
					m.Id, m.RecursionDesired, m.Question = uint16(n), true, []dns.Question{q}
					tweak(m)
					raw, err := m.Pack()
					if err != nil || m.IsEdns0() != nil && len(m.IsEdns0().Option) > 0 {
						continue // each server has cookies of its own
					}
					expected := servers[0].handle(raw, nil, friend, false).reply != nil
					a, b := exchange(t, conns[0], raw, expected), exchange(t, conns[1], raw, expected)
					if !bytes.Equal(a, b) {
						t.Fatalf("%x:\n%x\nportable\n%x", raw, a, b)
					}
				}
			}
		})
	}
}

// FuzzServer sends any octets to a server over loopback. It lives on, and says one thing
// to what is a question, and nothing to what is none.
func FuzzServer(f *testing.F) {
	addKept(f)
	v := table(f, balancedHouse)
	var conns []*net.UDPConn
	var s *Server
	for _, portable := range []bool{false, true} {
		s = newServer(f, Config{Bind: []netip.Addr{loopback}, Rules: Rules{Domain: domain, Host: "server-01"}})
		s.view, s.portable = func() *catalog.View { return v }, portable
		start(f, s)
		conns = append(conns, dialUDP(f, s.sockets[0].reachable()))
	}
	f.Add([]byte{}, false)
	n := 0
	for _, q := range quickQuestions(v, domain) {
		for _, tweak := range variants {
			if n++; n%997 != 0 {
				continue
			}
			m := new(dns.Msg)
			m.Id, m.RecursionDesired, m.Question = uint16(n), true, []dns.Question{q}
			tweak(m)
			if raw, err := m.Pack(); err == nil {
				f.Add(raw, n%2 == 0)
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, portable bool) {
		if len(raw) > readSize {
			return
		}
		c := conns[0]
		if portable {
			c = conns[1]
		}
		expected := s.handle(raw, nil, netip.AddrPortFrom(loopback, 1), false).reply != nil
		if reply := exchange(t, c, raw, expected); reply != nil {
			checkReply(t, raw, reply, false)
		}
	})
}
