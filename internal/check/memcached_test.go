package check

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMemcached(t *testing.T) {
	host := loopback()
	memcached := func(args ...string) []string {
		return append([]string{"-l", host, "-U", "0", "-m", "8", "-t", "1", "-u", "root", "-vv"}, args...)
	}
	cmd := startServer(t, "server listening", "memcached", "memcached", memcached()...)
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte("app:hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	startServer(t, "server listening", "memcached", "memcached", memcached("-p", "11212", "-Y", users)...)
	leavesNothing(t)

	p := compile(t, "memcached_check 11211, '"+host+"'")
	good(t, p)
	good(t, compile(t, "memcached_check(11211, '"+host+"') && tcp_check(11211, '"+host+"')"))
	bad(t, compile(t, "memcached_check 11212, '"+host+"'"),
		"memcached at "+host+":11212: asked for its version, it says \"CLIENT_ERROR unauthenticated\\r\\n\"")

	freeze(t, cmd)
	hangs(t, p)
	thaw(t, cmd)
	good(t, p)
	kill(cmd)
	bad(t, p, "memcached_check 11211, '"+host+"': dial tcp "+host+":11211: connect: connection refused")
}

// What something else at the port can say.
func TestMemcachedAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		send string
		hold bool // it keeps the connection
		want string
	}{
		"good":         {"VERSION 1.6.18\r\n", true, ""},
		"error":        {"ERROR\r\n", true, `it says "ERROR\r\n"`},
		"gone":         {"", false, "reading the version: EOF"},
		"part":         {"VERSION", false, `it says "VERSION" and hangs up`},
		"http":         {"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", true, `it says "HTTP/1.1 400 Bad Request\r\n"`},
		"control":      {"\x1b[2J\xff\n", true, `it says "\x1b[2J\xff\n"`},
		"without end":  {strings.Repeat("x", 10_000), true, `it says "xxxxx`},
		"long version": {"VERSION " + strings.Repeat("1", 10_000), true, `it says "VERSION 1111`},
	} {
		t.Run(name, func(t *testing.T) {
			port := serve(t, func(conn net.Conn) {
				_, _ = conn.Read(make([]byte, 100))
				_, _ = io.WriteString(conn, c.send)
				if c.hold {
					_, _ = io.Copy(io.Discard, conn)
				}
			})
			leavesNothing(t)
			p := compile(t, "memcached_check "+itoa(port))
			if c.want == "" {
				good(t, p)
				return
			}
			bad(t, p, "memcached at 127.0.0.1:"+itoa(port)+": ", c.want)
			if err := p(t.Context()); err != nil && len(err.Error()) > 400 {
				t.Errorf("an error of %d octets", len(err.Error()))
			}
		})
	}
}

func TestMemcachedHangs(t *testing.T) {
	for name, send := range map[string]string{"silent": "", "part": "VERSION 1."} {
		t.Run(name, func(t *testing.T) {
			port, reached := stalls(t, send)
			leavesNothing(t)
			p := compile(t, "memcached_check "+itoa(port))
			cancelled(t, p, reached)
			hangs(t, p)
		})
	}
	full := unanswered(t)
	leavesNothing(t)
	hangs(t, compile(t, "memcached_check "+itoa(full)))
}
