package check

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

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
