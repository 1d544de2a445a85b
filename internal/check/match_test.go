package check

import (
	"fmt"
	"io"
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

func TestTCPMatchAgainstNginx(t *testing.T) {
	n := newNginx(t)
	leavesNothing(t)
	good(t, n.check(t, `tcp_match 8080, "GET /alive HTTP/1.0\r\n\r\n", 'HTTP/1\.1 200 OK', 'HOST'`))
	good(t, n.check(t, `tcp_match 8080, "GET /alive HTTP/1.0\r\n\r\n", 'alive: \d+', 'HOST'`))
	bad(t, n.check(t, `tcp_match 8080, "GET /down HTTP/1.0\r\n\r\n", ' 200 ', 'HOST'`),
		n.names("tcp_match 8080, '***', ' 200 ', 'HOST': tcp HOST:8080: the server hung up and had sent no match: \"HTTP/1.1 503 Service"))
	silent := n.check(t, "tcp_match 8080, nil, '.', 'HOST'") // HTTP waits for the client
	hangs(t, silent)
	freeze(t, n.cmd)
	hangs(t, n.check(t, `tcp_match 8080, "GET / HTTP/1.0\r\n\r\n", ' 200 ', 'HOST'`))
	kill(n.cmd)
	bad(t, silent, "dial tcp "+n.host+":8080: connect: connection refused")
}

func TestTCPMatch(t *testing.T) {
	echo := serve(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	leavesNothing(t)
	for _, src := range []string{
		"tcp_match ECHO, 'hello', '^hello$'",
		`tcp_match ECHO, "\x00\xff\r\n", '^\x00.\r\n$'`,
		"tcp_match ECHO, 'hello', 'l+', 'localhost'",
		"not tcp_match ECHO, 'hello', 'hello' or true",
	} {
		good(t, compile(t, strings.ReplaceAll(src, "ECHO", itoa(echo))))
	}

	for _, c := range []struct{ name, send, regex, want string }{
		{"banner", "220 mail.example.com ESMTP\r\n", "^220 ", ""},
		{"late match", strings.Repeat("x", maxMatch-3) + "end", "end$", ""},
		{"too late", strings.Repeat("x", maxMatch-2) + "end", "end", `no match in the first 16384 octets, which begin "xxx`},
		{"no match", "550 go away\r\n", "^220 ", `the server hung up and had sent no match: "550 go away\r\n"`},
		{"nothing", "", "^220 ", `the server hung up and had sent no match: ""`},
		{"garbage", "\x00\x01\xff", "^220 ", `"\x00\x01\xff"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := serve(t, func(conn net.Conn) { _, _ = io.WriteString(conn, c.send) })
			leavesNothing(t)
			if p := compile(t, fmt.Sprintf("tcp_match %d, nil, '%s'", port, c.regex)); c.want == "" {
				good(t, p)
			} else {
				bad(t, p, fmt.Sprintf("tcp_match %d, nil, '%s': tcp 127.0.0.1:%[1]d: ", port, c.regex), c.want)
			}
		})
	}

	sends := "tcp_match %d, \"AUTH hunter2\\r\\n\", 'OK'"
	repeats := serve(t, func(conn net.Conn) { _, _ = io.CopyN(conn, conn, 14) })
	bad(t, compile(t, fmt.Sprintf(sends, repeats)), fmt.Sprintf(`tcp_match %d, '***', 'OK': tcp 127.0.0.1:%[1]d: the server hung up and had sent no match: "***"`, repeats))

	// A match that comes in parts, from a server that then keeps the connection.
	halves := serve(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "+PO")
		if readHead(conn) == nil {
			_, _ = io.WriteString(conn, "NG\r\n")
			_, _ = io.Copy(io.Discard, conn)
		}
	})
	good(t, compile(t, fmt.Sprintf(`tcp_match %d, "\r\n", '^\+PONG\r\n$'`, halves)))

	for name, sends := range map[string]string{"at once": "", "after some": "+PO"} {
		t.Run("hangs "+name, func(t *testing.T) {
			port, reached := stalls(t, sends)
			leavesNothing(t)
			p := compile(t, fmt.Sprintf("tcp_match %d, 'PING', 'PONG'", port))
			cancelled(t, p, reached)
			hangs(t, p)
		})
	}
	t.Run("nobody reads", func(t *testing.T) {
		end := make(chan struct{})
		port := serve(t, func(net.Conn) { <-end })
		leavesNothing(t)
		defer close(end)
		// More than what the kernels hold.
		hangs(t, compile(t, fmt.Sprintf("tcp_match %d, '%s', 'x'", port, strings.Repeat("x", 8<<20))))
	})
	hangs(t, compile(t, fmt.Sprintf("tcp_match %d, nil, 'x'", unanswered(t))))
	bad(t, compile(t, fmt.Sprintf("tcp_match %d, nil, 'x'", refused(t))), "connection refused")
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
