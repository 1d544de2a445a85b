package check

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// udpServer answers each packet by what f gives of it, nil for nothing. Each
// packet is told in reached.
func udpServer(t testing.TB, f func(request []byte) [][]byte) (port int, reached chan struct{}) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reached = make(chan struct{}, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, answer := range f(buf[:n]) {
				_, _ = conn.WriteTo(answer, from)
			}
			reached <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	return conn.LocalAddr().(*net.UDPAddr).Port, reached
}

func TestUDPMatch(t *testing.T) {
	echo, _ := udpServer(t, func(request []byte) [][]byte { return [][]byte{append([]byte("echo: "), request...)} })
	twice, _ := udpServer(t, func([]byte) [][]byte { return [][]byte{[]byte("first"), []byte("second")} })
	silent, reached := udpServer(t, func([]byte) [][]byte { return nil })
	big, _ := udpServer(t, func([]byte) [][]byte { return [][]byte{[]byte(strings.Repeat("x", 60000) + "end")} })
	leavesNothing(t)
	p := func(format string, args ...any) Probe { t.Helper(); return compile(t, fmt.Sprintf(format, args...)) }
	good(t, p("udp_match %d, 'hello', '^echo: hello$'", echo))
	good(t, p(`udp_match %d, "\x00\xff", '^echo: \x00.$'`, echo))
	good(t, p("udp_match %d, '', '^echo: $'", echo))
	good(t, p("udp_match %d, 'x', 'xend$'", big))
	good(t, p("udp_match %d, 'x', 'first'", twice))
	bad(t, p("udp_match %d, 'hunter2', 'olleh'", echo), fmt.Sprintf(`udp_match %d, '***', 'olleh': udp 127.0.0.1:%[1]d: no match in the answer of 13 octets: "echo: ***"`, echo))
	bad(t, p("udp_match %d, 'x', 'second'", twice), `no match in the answer of 5 octets: "first"`)
	bad(t, p(`udp_match %d, "a\x00b\r\n", 'olleh'`, echo), `no match in the answer of 11 octets: "echo: ***"`)
	bad(t, p(`udp_match %d, "x", 'olleh'`, echo), `no match in the answer of 7 octets: "echo: ***"`)
	cancelled(t, p("udp_match %d, 'x', 'x'", silent), reached)
	hangs(t, p("udp_match %d, 'x', 'x'", silent))
	bad(t, p("udp_match %d, '%s', 'x'", echo, strings.Repeat("x", 66000)), "sending: ", "message too long")

	nobody := unusedUDP(t)
	bad(t, p("udp_match %d, 'x', 'x'", nobody), fmt.Sprintf("udp 127.0.0.1:%d: waiting for an answer: ", nobody), "connection refused")
}

// unusedUDP gives a port of UDP at which nobody listens.
func unusedUDP(t testing.TB) int {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).Port
}
