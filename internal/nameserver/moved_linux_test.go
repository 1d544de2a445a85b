package nameserver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// insideNetwork is set in a process that has a network of its own.
const insideNetwork = "MURAKUMO_TEST_NETWORK"

// inNetwork lets the rest of a test run in a process that has a network of its own,
// with its loopback interface up. It says whether this is that process.
func inNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideNetwork) != "" {
		ip(t, "link set lo up")
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), insideNetwork+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) {
		const missing = "no network namespace can be made; the test needs root"
		if os.Getenv("CI") == "true" || os.Geteuid() == 0 {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func ip(t *testing.T, args string) string {
	t.Helper()
	cmd := exec.Command("ip", strings.Fields(args)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// haveAddr puts an address on an interface and waits until the system takes it for
// its own, which with IPv6 is a moment later.
func haveAddr(t *testing.T, addr, dev string) {
	t.Helper()
	bits, family := "/24", "-4"
	if strings.Contains(addr, ":") {
		bits, family = "/64 nodad", "-6"
	}
	ip(t, "addr add "+addr+bits+" dev "+dev)
	for end := time.Now().Add(patience); !strings.HasPrefix(ip(t, family+" route get "+addr), "local "); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s is still not local", addr)
		}
	}
}

// from gives a client with an address of its own. It takes replies from the address
// that it asks alone.
func from(t *testing.T, network, host string, server netip.AddrPort) *dns.Conn {
	t.Helper()
	at := netip.AddrPortFrom(netip.MustParseAddr(host), 0)
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(at)}
	if network == "tcp" {
		d.LocalAddr = net.TCPAddrFromAddrPort(at)
	}
	c, err := d.Dial(network, server.String())
	fatal(t, err)
	t.Cleanup(func() { c.Close() })
	fatal(t, c.SetDeadline(time.Now().Add(patience)))
	return &dns.Conn{Conn: c, UDPSize: dns.MaxMsgSize}
}

// TestMovedAddress: an address that comes to the host while the server runs is
// answered from like those that were there, also when it has gone and come back on
// another interface, and for what a resolver answers.
func TestMovedAddress(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	// One of two interfaces has the client and the first address of the host.
	ip(t, "link add one type veth peer name two")
	ip(t, "link set one up")
	ip(t, "link set two up")
	for _, a := range []string{"10.9.0.1", "10.9.0.9", "fd09::1", "fd09::9"} {
		haveAddr(t, a, "one")
	}
	release := make(chan struct{})
	s := newServer(t, Config{Bind: []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, Resolvers: via(
		upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
			<-release
			answerA(w, r, "192.0.2.1")
		}),
	)})
	start(t, s)
	close(release)
	for i, family := range []struct{ client, first, moved, bits string }{
		{"10.9.0.9", "10.9.0.1", "10.9.0.200", "/24"},
		{"fd09::9", "fd09::1", "fd09::200", "/64"},
	} {
		port := s.Addrs()[i].Port()
		asked := func(what, host string) {
			t.Helper()
			c := from(t, "udp", family.client, netip.AddrPortFrom(netip.MustParseAddr(host), port))
			for _, name := range []string{"db.", fmt.Sprintf("%s.example.", strings.ReplaceAll(what, " ", "-"))} {
				send(t, c, question(name, dns.TypeA))
				if r := receive(t, c); len(r.Answer) != 1 {
					t.Errorf("%s, %s at %s: %v", what, name, host, r)
				}
			}
		}
		asked("there from the beginning", family.first)
		haveAddr(t, family.moved, "one")
		asked("come", family.moved)
		ip(t, "addr del "+family.moved+family.bits+" dev one")
		haveAddr(t, family.moved, "two")
		asked("come back elsewhere", family.moved)
		asked("still there", family.first)
	}
}

// TestRateLimit: over real sockets a client that is not on this host, by its
// address, gets what the limit leaves, and all of it with a cookie or over TCP.
func TestRateLimit(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	haveAddr(t, "10.9.0.1", "lo")
	haveAddr(t, "10.9.0.9", "lo")
	s := newServer(t, Config{Bind: []netip.Addr{netip.MustParseAddr("10.9.0.1")}, Rules: Rules{RateLimit: 1, RateSlip: 1},
		Resolvers: via(upstream(t, func(w dns.ResponseWriter, r *dns.Msg) { answerA(w, r, "192.0.2.1") }))})
	start(t, s)
	at := s.Addrs()[0]
	for _, name := range []string{"db.", "example.org."} {
		c := from(t, "udp", "10.9.0.9", at)
		whole, short := 0, 0
		for range 50 {
			send(t, c, question(name, dns.TypeA))
			switch r := receive(t, c); {
			case r.Truncated && len(r.Answer) == 0:
				short++
			case !r.Truncated && len(r.Answer) == 1:
				whole++
			default:
				t.Fatalf("%s: %v", name, r)
			}
		}
		// A slow machine may take seconds for fifty.
		if whole < 1 || short < 1 {
			t.Errorf("%s: %d whole answers, %d with TC", name, whole, short)
		}
		// By the cookie that it gets over TCP the client is known.
		tcp := from(t, "tcp", "10.9.0.9", at)
		m := question(name, dns.TypeA)
		with(cookie(hisCookie))(m)
		send(t, tcp, m)
		ours := receive(t, tcp).IsEdns0().Option[0]
		m = question(name, dns.TypeA)
		with(ours)(m)
		for range 20 {
			send(t, c, m)
			if r := receive(t, c); r.Truncated || len(r.Answer) != 1 {
				t.Fatalf("%s with a cookie: %v", name, r)
			}
			send(t, tcp, question(name, dns.TypeA))
			if r := receive(t, tcp); len(r.Answer) != 1 {
				t.Fatalf("%s over TCP: %v", name, r)
			}
		}
	}
}
