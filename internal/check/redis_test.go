package check

import (
	"context"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// startRedis runs a Redis at port 6379 of an address of its own.
func startRedis(t *testing.T, options ...string) (host string, cmd *exec.Cmd) {
	t.Helper()
	host = loopback()
	args := append([]string{"--bind", host, "--port", "6379", "--dir", t.TempDir(), "--save", "", "--appendonly", "no",
		"--logfile", "/dev/stderr", "--daemonize", "no"}, options...)
	return host, startServer(t, "Ready to accept connections", "redis-server", "redis-server", args...)
}

func TestRedis(t *testing.T) {
	master, cmd := startRedis(t, "--requirepass", "hunter2")
	open, _ := startRedis(t)
	replica, replicaCmd := startRedis(t, "--replicaof", master, "6379", "--masterauth", "hunter2",
		"--repl-timeout", "2", "--repl-ping-replica-period", "1")
	names := strings.NewReplacer("MASTER", "6379, '"+master+"'", "REPLICA", "6379, '"+replica+"'", "OPEN", "6379, '"+open+"'")
	check := func(src string) Probe { t.Helper(); return compile(t, names.Replace(src)) }
	// The first copy of the data takes a moment.
	become(t, check("redis_check REPLICA, nil, 'replica'"), "")
	leavesNothing(t)

	for _, src := range []string{
		"redis_check MASTER, 'hunter2'",
		"redis_check MASTER, 'hunter2', 'master'",
		"redis_check MASTER, 'hunter2', nil",
		"redis_check OPEN",
		"redis_check(OPEN) && redis_check(OPEN, nil, 'master')",
		"redis_check REPLICA",
		"redis_check REPLICA, nil, 'replica'",
		"not redis_check REPLICA, nil, 'master'",
	} {
		good(t, check(src))
	}
	at := "redis at " + master + ":6379: "
	for src, want := range map[string]string{
		"redis_check MASTER":                       at + "PING: NOAUTH Authentication required.",
		"redis_check MASTER, 'letmein'":            at + "AUTH: WRONGPASS invalid username-password pair",
		"redis_check MASTER, ''":                   at + "AUTH: WRONGPASS",
		"redis_check OPEN, 'letmein'":              "AUTH: ERR AUTH <password> called without any password configured",
		"redis_check MASTER, 'hunter2', 'replica'": at + "it replicates from nobody, expected a replica",
		"redis_check REPLICA, nil, 'master'":       "it is a replica of " + master + ":6379, expected a master",
	} {
		p := check(src)
		bad(t, p, want)
		if err := p(t.Context()); err == nil || strings.Contains(err.Error(), "letmein") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s says %v", src, err)
		}
	}

	p := check("redis_check MASTER, 'hunter2', 'master'")
	freeze(t, cmd)
	hangs(t, p)
	thaw(t, cmd)
	good(t, p)
	kill(cmd)
	bad(t, p, "dial tcp "+master+":6379: connect: connection refused")

	// A replica that lost its master is one still, unless it was told to serve
	// nothing old.
	r := check("redis_check REPLICA, nil, 'replica'")
	good(t, r)
	command(t, replica, "CONFIG", "SET", "replica-serve-stale-data", "no")
	become(t, r, "PING: MASTERDOWN Link with MASTER is down")
	command(t, replica, "REPLICAOF", "NO", "ONE")
	bad(t, r, "it replicates from nobody, expected a replica")
	good(t, check("redis_check REPLICA, nil, 'master'"))
	kill(replicaCmd)
	bad(t, r, "connection refused")
}

// become asks until the answer has the text in it, or is good if that is "":
// what a server does on its own it does in its own time.
func become(t *testing.T, p Probe, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var last error
	for {
		err := p(ctx)
		if ctx.Err() == nil {
			last = err
		}
		switch {
		case err == nil && want == "", err != nil && want != "" && strings.Contains(err.Error(), want):
			return
		case ctx.Err() != nil:
			t.Fatalf("the probe still says: %v, want %q", last, want)
		}
		time.Sleep(10 * time.Millisecond) // leaves the server some of the CPU
	}
}

// command gives an order to a Redis without a password.
func command(t *testing.T, host string, words ...string) {
	t.Helper()
	err := converse(t.Context(), "redis", "tcp", hostPort(host, 6379), func(conn *bounded) error {
		return newRedis(t.Context(), conn).expect("OK", words...)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// bulk writes a reply.
func bulk(text string) string {
	return "$" + itoa(len(text)) + "\r\n" + text + "\r\n"
}

// What a server, or something else at its port, can say: one answer for each
// command that comes.
func TestRedisAnswers(t *testing.T) {
	const ok, pong, foreign = "+OK\r\n", "+PONG\r\n", "the answer is not of a Redis server: "
	for name, c := range map[string]struct {
		answers []string
		hold    bool // it keeps the connection
		want    string
	}{
		"good":           {[]string{ok, pong, bulk("# Replication\r\nrole:master\r\n")}, true, ""},
		"copying":        {[]string{ok, pong, bulk("role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_sync_in_progress:1\r\n")}, true, "it is a replica of 10.0.0.1:6379, expected a master"},
		"sentinel":       {[]string{ok, pong, bulk("")}, true, `asked for INFO replication, it tells no role: ""`},
		"another role":   {[]string{ok, pong, bulk("role:\x1bking\r\n")}, true, `its role is "\x1bking"`},
		"loading":        {[]string{ok, "-LOADING Redis is loading the dataset in memory\r\n"}, true, "PING: LOADING Redis is loading"},
		"repeats":        {[]string{"-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n"}, true, "AUTH: ERR unknown command 'AUTH', with args beginning with: '***'"},
		"protected":      {[]string{"-DENIED Redis is running in protected mode\r\n"}, false, "AUTH: DENIED Redis is running in protected mode"},
		"gone at once":   {[]string{""}, false, "AUTH: EOF"},
		"gone at ping":   {[]string{ok, ""}, false, "PING: EOF"},
		"gone in a bulk": {[]string{ok, pong, "$10\r\nrole:"}, false, "INFO: unexpected EOF"},
		"other pong":     {[]string{ok, "+PING\r\n"}, true, `PING: it says "PING", expected PONG`},
		"http":           {[]string{"HTTP/1.1 400 Bad Request\r\n\r\n"}, true, foreign + `"HTTP/1.1 400 Bad Request\r\n"`},
		"number":         {[]string{":1\r\n"}, true, foreign},
		"empty line":     {[]string{"\r\n"}, true, foreign},
		"blank":          {[]string{"\n"}, true, foreign},
		"huge":           {[]string{ok, pong, "$99999999\r\n"}, true, "INFO: a reply of 99999999 octets"},
		"negative":       {[]string{ok, pong, "$-2\r\n"}, true, foreign},
		"odd size":       {[]string{ok, pong, "$x\r\n"}, true, foreign},
		"without end":    {[]string{strings.Repeat("x", 100_000)}, true, foreign + `"xxxx`},
		"long error":     {[]string{"-ERR " + strings.Repeat("\x07x", 2000) + "\r\n"}, true, "AUTH: ERR  x x x"},
		"ssh":            {[]string{"SSH-2.0-OpenSSH_9.2p1"}, false, foreign + `"SSH-2.0-OpenSSH_9.2p1"`},
	} {
		t.Run(name, func(t *testing.T) {
			port, _ := answers(t, c.hold, c.answers...)
			leavesNothing(t)
			p := compile(t, "redis_check "+itoa(port)+", '127.0.0.1', 'hunter2', 'master'")
			if c.want == "" {
				good(t, p)
				return
			}
			bad(t, p, "redis at 127.0.0.1:"+itoa(port)+": ", c.want)
			if err := p(t.Context()); err == nil || len(err.Error()) > 600 || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v", err)
			}
		})
	}
}

// answers serves one answer for each time that something comes, and then keeps
// the connection until the peer hangs up, or hangs up itself: after an empty
// answer if something comes before, which unread would make a reset of the end.
func answers(t testing.TB, hold bool, answers ...string) (port int, reached chan struct{}) {
	t.Helper()
	reached = make(chan struct{}, 100)
	port = serve(t, func(c net.Conn) {
		for _, answer := range answers {
			if _, err := c.Read(make([]byte, 4096)); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
		reached <- struct{}{}
		if hold {
			_, _ = io.Copy(io.Discard, c)
		}
	})
	return port, reached
}

func TestRedisHangs(t *testing.T) {
	for name, list := range map[string][]string{
		"AUTH": nil, "part of an answer": {"+O"}, "PING": {"+OK\r\n"}, "INFO": {"+OK\r\n", "+PONG\r\n"},
		"part of a bulk": {"+OK\r\n", "+PONG\r\n", "$100\r\nrole:"},
	} {
		t.Run(name, func(t *testing.T) {
			port, reached := answers(t, true, list...)
			leavesNothing(t)
			p := compile(t, "redis_check "+itoa(port)+", '127.0.0.1', 'hunter2', 'master'")
			cancelled(t, p, reached)
			hangs(t, p)
		})
	}
}
