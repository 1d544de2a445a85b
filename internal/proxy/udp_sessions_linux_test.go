package proxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestUDPSizes: nothing and as much as goes into a datagram.
func TestUDPSizes(t *testing.T) {
	h := newHarness(t, native)
	c := udpConfig(t, udpBackend(t, "a"))
	h.apply2(c)
	for _, n := range []int{0, 1, 65507 - len("a:")} {
		word := strings.Repeat("z", n)
		if got := asker(t, c.Listen)(word); got != "a:"+word {
			t.Errorf("of %d octets %d came back", n, len(got)-len("a:"))
		}
	}
}

// TestUDPRefusedLate: the answer to a datagram, that nobody listens, may be told
// to the next one, which is not lost for it.
func TestUDPRefusedLate(t *testing.T) {
	h := newHarness(t, native)
	nobody := udpBackend(t, "dead")
	c := udpConfig(t, nobody)
	nobody.Close()
	s := &sessions{service: newService(c, h.proxy.opts, nil), byClient: map[netip.AddrPort]*session{}}
	s.pool.Update([]Target{{Addr: nobody.LocalAddr().(*net.UDPAddr).AddrPort(), Weight: 1}})
	conn, err := net.DialUDP("udp", nil, nobody.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	client := netip.MustParseAddrPort("127.0.0.1:9")
	ses := &session{client: client, member: s.pool.Members()[0], conn: conn}
	s.byClient[client] = ses
	// The first one leaves; nobody reads the answer before the next one.
	h.eventually("told that it did not leave", func() bool { return !s.pass(ses, []byte("x")) })
	if st := s.pool.State(ses.member); st.Status != "failing" {
		t.Errorf("the backend is %s", st.Status)
	}
	if len(s.byClient) != 0 {
		t.Error("the session is still there")
	}
}

// TestUDPComesBack: a backend that refused is tried again by clients, and the
// log says both.
func TestUDPComesBack(t *testing.T) {
	h := newHarness(t, native)
	dead := udpBackend(t, "dead")
	c := udpConfig(t, dead, udpBackend(t, "b"))
	h.apply2(c)
	dead.Close()
	for range 4 {
		asker(t, c.Listen)("x")
	}
	h.eventually("left alone", func() bool { return strings.Contains(h.log.String(), "left alone") })
	var conn *net.UDPConn
	h.eventually("the port is free, should somebody else have taken it", func() bool {
		var err error
		conn, err = net.ListenUDP("udp", dead.LocalAddr().(*net.UDPAddr))
		return err == nil
	})
	answerAs(t, conn, "a")
	h.eventually("tried again", func() bool { return strings.Contains(h.log.String(), "gets clients again") })
	h.eventually("an answer of it", func() bool { return asker(t, c.Listen)("x") == "a:x" })
}

// TestUDPMemory: sessions that wait hold no buffers.
func TestUDPMemory(t *testing.T) {
	const clients = 200
	h := newHarness(t, native)
	c := udpConfig(t, udpBackend(t, "a"))
	c.IdleTimeout = time.Hour
	h.apply2(c)
	asker(t, c.Listen)("x")
	before := usageNow(t)
	for range clients {
		asker(t, c.Listen)("x")
	}
	if n := h.proxy.Stats()[0].Open; n < clients {
		t.Fatalf("%d sessions", n)
	}
	if now := usageNow(t); now.heap > before.heap+clients*(16<<10) {
		t.Errorf("%d sessions hold %d octets", clients, now.heap-before.heap)
	}
}
