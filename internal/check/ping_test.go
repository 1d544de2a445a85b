package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// insidePing is set in a process of TestPing that has a network of its own, and
// says what it may do there.
const insidePing = "MURAKUMO_TEST_PING"

// TestPing asks real kernels, in network namespaces, where all that a host can
// do is done without another one: a process with the privilege for raw sockets,
// one with the system's consent for the other kind, and one with neither.
func TestPing(t *testing.T) {
	if mode := os.Getenv(insidePing); mode != "" {
		pingInside(t, mode)
		return
	}
	for _, mode := range []string{"raw", "consent", "neither"} {
		t.Run(mode, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestPing$", "-test.v")
			cmd.Env = append(os.Environ(), insidePing+"="+mode)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
			out, err := cmd.CombinedOutput()
			if errors.Is(err, unix.EPERM) {
				const missing = "no network namespace can be made; the test needs root"
				if os.Getenv("CI") == "true" || os.Geteuid() == 0 {
					t.Fatal(missing)
				}
				t.Skip(missing)
			}
			if err != nil || !strings.Contains(string(out), "--- PASS: TestPing") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func sysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

func ip(t *testing.T, args string) {
	t.Helper()
	cmd := exec.Command("ip", strings.Fields(args)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// pingInside runs in the namespace: once to set it up, and again where it has to
// be without the privilege.
func pingInside(t *testing.T, mode string) {
	if mode, ok := strings.CutPrefix(mode, "ready "); ok {
		pingsOf(t, mode)
		return
	}
	ip(t, "link set lo up")
	// Nobody behind the link answers: the kernel asks once for who has the
	// address, for 100 ms, and gives up.
	ip(t, "link add near type veth peer name far")
	ip(t, "link set far up")
	ip(t, "link set near up")
	ip(t, "addr add 10.8.0.1/24 dev near")
	sysctl(t, "ipv4/neigh/near/mcast_solicit", "1")
	sysctl(t, "ipv4/neigh/near/retrans_time_ms", "100")
	ip(t, "route add unreachable 10.9.0.0/16")
	ip(t, "route add blackhole 10.10.0.0/16")
	if mode == "consent" {
		sysctl(t, "ipv4/ping_group_range", "0 2147483647")
	} else {
		sysctl(t, "ipv4/ping_group_range", "1 0")
	}
	if mode == "raw" {
		pingsOf(t, mode)
		return
	}
	// The program that this becomes is root without the right to raw sockets.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_RAW, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Setenv(insidePing, "ready "+mode)
	os.RemoveAll(filepath.Dir(os.Getenv("SSL_CERT_FILE"))) // TestMain of this process does not come to it
	t.Fatal(syscall.Exec(os.Args[0], os.Args, os.Environ()))
}

func pingsOf(t *testing.T, mode string) {
	leavesNothing(t)
	self := compile(t, "ping_check '127.0.0.1'")
	if mode == "neither" {
		bad(t, self, `ping_check '127.0.0.1': ping 127.0.0.1: no permission for echo requests: let sysctl net.ipv4.ping_group_range (now "1 0") include a group of the daemon's, or give it CAP_NET_RAW: `)
		bad(t, compile(t, "ping_check '::1'"), "ping ::1: no permission")
		return
	}
	for _, host := range []string{"127.0.0.1", "127.9.9.9", "10.8.0.1", "::1"} {
		good(t, compile(t, "ping_check '"+host+"'"))
	}
	bad(t, compile(t, "ping_check '10.9.0.1'"), "ping 10.9.0.1: ", "no route to host")
	bad(t, compile(t, "ping_check '10.10.0.1'"), "ping 10.10.0.1: ", "invalid argument")
	bad(t, compile(t, "ping_check '10.11.0.1'"), "ping 10.11.0.1: ", "network is unreachable")
	bad(t, compile(t, "ping_check '2001:db8::1'"), "ping 2001:db8::1: ", "network is unreachable")
	bad(t, compile(t, "ping_check '10.8.0.2'"), "ping 10.8.0.2: waiting for the echo reply: ", "no route to host")
	bad(t, compile(t, "ping_check 'no-such-host.invalid'"), "ping no-such-host.invalid: lookup no-such-host.invalid")
	good(t, compile(t, "not ping_check '10.9.0.1'"))

	// Many at once take no other's reply.
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() { good(t, compile(t, fmt.Sprintf("ping_check '127.0.1.%d'", 1+i%200))) })
	}
	all.Wait()

	// A host that is up and does not answer.
	sysctl(t, "ipv4/icmp_echo_ignore_all", "1")
	sysctl(t, "ipv6/icmp/echo_ignore_all", "1")
	hangs(t, self)
	hangs(t, compile(t, "not ping_check '127.0.0.1'"))
	hangs(t, compile(t, "ping_check '::1'"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ask(ctx, t, self); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	sysctl(t, "ipv4/icmp_echo_ignore_all", "0")
	good(t, self)
	if mode == "raw" {
		garbageForPing(t)
	}
}

// garbageForPing answers in the kernel's place: first with everything that is no
// reply, then rightly.
func garbageForPing(t *testing.T) {
	sysctl(t, "ipv4/icmp_echo_ignore_all", "1")
	conn, err := net.ListenPacket("ip4:icmp", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	honest := make(chan bool, 1)
	reached := make(chan struct{}, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			m, err := icmp.ParseMessage(1, buf[:n])
			if err != nil || m.Type != ipv4.ICMPTypeEcho {
				continue // what this sends comes here, too
			}
			echo := m.Body.(*icmp.Echo)
			answer := func(kind icmp.Type, data []byte) {
				packet, err := (&icmp.Message{Type: kind, Body: &icmp.Echo{ID: echo.ID, Seq: echo.Seq, Data: data}}).Marshal(nil)
				if err == nil {
					_, err = conn.WriteTo(packet, from)
				}
				if err != nil {
					t.Error(err)
				}
			}
			other := append([]byte(nil), echo.Data...)
			other[0]++
			answer(ipv4.ICMPTypeEchoReply, other)
			answer(ipv4.ICMPTypeEchoReply, other[1:])
			answer(ipv4.ICMPTypeEchoReply, nil)
			answer(ipv4.ICMPTypeTimestampReply, echo.Data)
			_, _ = conn.WriteTo([]byte{0}, from)
			_, _ = conn.WriteTo([]byte{0, 0, 0, 0, 1}, from)
			select {
			case <-honest:
				answer(ipv4.ICMPTypeEchoReply, echo.Data)
			default:
			}
			reached <- struct{}{}
		}
	}()
	defer func() {
		conn.Close()
		<-ended
	}()
	p := compile(t, "ping_check '127.0.0.1'")
	cancelled(t, p, reached)
	hangs(t, p)
	honest <- true
	good(t, p)
}

// Packets of any kind are taken apart without harm.
func TestIsReply(t *testing.T) {
	nonce := []byte("0123456789abcdef")
	reply := append([]byte{0, 0, 0, 0, 0, 7, 0, 1}, nonce...)
	header := append([]byte{0x45}, make([]byte, 19)...)
	for _, c := range []struct {
		packet []byte
		header bool
		six    bool
		want   bool
	}{
		{reply, false, false, true},
		{append(header, reply...), true, false, true},
		{append(append([]byte{0x46}, make([]byte, 23)...), reply...), true, false, true},
		{append([]byte{129}, reply[1:]...), false, true, true},
		{append([]byte{129}, reply[1:]...), false, false, false},
		{reply, false, true, false},
		{append([]byte{8}, reply[1:]...), false, false, false}, // the request itself
		{reply[:len(reply)-1], false, false, false},
		{append(reply, 0), false, false, false},
		{header, true, false, false},
		{header[:10], true, false, false},
		{[]byte{0x4f}, true, false, false},
		{nil, true, false, false},
		{nil, false, false, false},
		{nil, false, true, false},
	} {
		if got := isReply(c.packet, c.header, c.six, nonce); got != c.want {
			t.Errorf("%x (header %v, six %v): %v", c.packet, c.header, c.six, got)
		}
	}
}
