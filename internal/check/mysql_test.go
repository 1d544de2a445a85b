package check

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

func TestMySQLAgainstMariaDB(t *testing.T) {
	m := newMariaDB(t)
	m.start(t)
	prepare(t, m)
	leavesNothing(t)

	my := strings.NewReplacer("PORT", itoa(m.port), "SOCKET", "'"+m.socket+"'")
	check := func(src string) Probe { t.Helper(); return compile(t, my.Replace(src)) }

	for _, src := range []string{
		"mysql_check 'root', nil, PORT",
		"mysql_check 'root', '', PORT, 'localhost'",
		"mysql_check 'root', nil, PORT, '127.0.0.1', 'mysql'",
		"mysql_check 'root', nil, SOCKET",
		"mysql_check 'app', 'hunter2', PORT, '127.0.0.1', 'shop'",
		"mysql_check 'app', 'hunter2', SOCKET, '10.9.9.9', 'shop'", // the host does not count
		"mysql_check 'nobody', nil, PORT or mysql_check 'root', nil, PORT",
	} {
		good(t, check(src))
	}
	at := "mysql at 127.0.0.1:" + itoa(m.port) + ": "
	for _, c := range []struct{ src, want string }{
		{"mysql_check 'app', 'letmein', PORT", "mysql_check 'app', '***', PORT: " + at + "Error 1045 (28000): Access denied for user 'app'@'127.0.0.1' (using password: YES)"},
		{"mysql_check 'app', 'letmein', SOCKET", "mysql at " + m.socket + ": Error 1045 (28000): Access denied"},
		{"mysql_check 'app', nil, PORT", "Access denied for user 'app'@'127.0.0.1' (using password: NO)"},
		{"mysql_check 'nobody', 'letmein', PORT", "Access denied"},
		{"mysql_check 'root', nil, PORT, '127.0.0.1', 'letmeout'", "Error 1049 (42000): Unknown database 'letmeout'"},
		{"mysql_check 'app', 'hunter2', PORT, '127.0.0.1', 'mysql'", "Error 1044 (42000): Access denied for user"},
		{"mysql_check 'root', nil, '/nonexistent'", "dial unix /nonexistent: connect: no such file or directory"},
		{"not mysql_check 'app', 'hunter2', PORT", "not mysql_check 'app', '***', PORT: it is good"},
	} {
		p := check(c.src)
		bad(t, p, my.Replace(c.want))
		if err := p(t.Context()); err == nil || strings.Contains(err.Error(), "letmein") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s says %v", c.src, err)
		}
	}

	tcp, socket := check("mysql_check 'root', nil, PORT"), check("mysql_check 'root', nil, SOCKET")
	m.freeze(t)
	good(t, check("tcp_check PORT")) // the kernel still accepts, that is why there is mysql_check
	hangs(t, tcp)
	hangs(t, socket)
	m.thaw(t)
	good(t, tcp)
	good(t, socket)

	m.kill(t)
	bad(t, tcp, my.Replace("mysql_check 'root', nil, PORT: dial tcp 127.0.0.1:PORT: connect: connection refused"))
	bad(t, socket, "dial unix "+m.socket+": connect: connection refused")

	m.start(t)
	good(t, tcp)
	m.kill(t)
}

// prepare makes a database and a user with a password.
func prepare(t *testing.T, m *mariadb) {
	t.Helper()
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr = "root", "unix", m.socket
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	queries := []string{
		"CREATE DATABASE shop",
		"CREATE USER app@'127.0.0.1' IDENTIFIED BY 'hunter2'",
		"CREATE USER app@localhost IDENTIFIED BY 'hunter2'",
		"GRANT ALL ON shop.* TO app@'127.0.0.1'",
		"GRANT ALL ON shop.* TO app@localhost",
	}
	if os.Geteuid() == 0 {
		// As Debian has it: on the socket, whoever runs as root is root.
		queries = append(queries, "ALTER USER root@localhost IDENTIFIED VIA unix_socket")
	}
	for _, q := range queries {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func TestMySQLRefused(t *testing.T) {
	port := refused(t)
	full := unanswered(t)
	leavesNothing(t)
	bad(t, compile(t, "mysql_check 'root', 'hunter2', "+itoa(port)), fmt.Sprintf("mysql_check 'root', '***', %d: dial tcp 127.0.0.1:%[1]d: connect: connection refused", port))
	hangs(t, compile(t, "mysql_check 'root', nil, "+itoa(full)))
}

// packet frames a payload.
func packet(seq byte, payload string) string {
	n := len(payload)
	return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), seq}) + payload
}

// greeting is that of a MariaDB 10.11.
const greeting = "\x0a5.5.5-10.11.6-MariaDB\x00" + "\x01\x00\x00\x00" + "abcdefgh\x00" +
	"\xfe\xf7" + "\x2d" + "\x02\x00" + "\xff\x81" + "\x15" + "\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00" + "ijklmnopqrst\x00" + "mysql_native_password\x00"

const (
	okay   = "\x00\x00\x00\x02\x00\x00\x00"
	denied = "\xff\x15\x04#28000Access denied"
)

// plays is a server that sends a greeting, and then for each packet that it
// gets the next reply. At the end of the list it stalls, or hangs up. After
// "the password is right" of caching_sha2_password it goes on without being
// asked.
func plays(t *testing.T, stall bool, packets ...string) (port int, reached chan struct{}) {
	t.Helper()
	reached = make(chan struct{}, 100)
	port = serve(t, func(c net.Conn) {
		if play(c, packets) != nil {
			return
		}
		reached <- struct{}{}
		if stall {
			_, _ = io.Copy(io.Discard, c)
		}
	})
	return port, reached
}

func play(c net.Conn, packets []string) error {
	seq := byte(0)
	for i, p := range packets {
		if i > 0 && packets[i-1] == "\x01\x03" {
			seq++
		} else if i > 0 {
			var head [4]byte
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return err
			}
			seq = head[3] + 1
			if _, err := io.CopyN(io.Discard, c, int64(head[0])|int64(head[1])<<8|int64(head[2])<<16); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(c, packet(seq, p)); err != nil {
			return err
		}
	}
	return nil
}

// publicKey is one that is not RSA's.
func publicKey(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

const foreign = "is not of a MySQL server"

// What a server, or something else at its port, can say.
func TestMySQLAnswers(t *testing.T) {
	sha2 := strings.Replace(greeting, "mysql_native_password", "caching_sha2_password", 1)
	for _, c := range []struct {
		name    string
		packets []string
		want    string
	}{
		{"good", []string{greeting, okay, okay}, ""},
		{"good by sha2", []string{sha2, "\x01\x03", okay, okay}, ""},
		{"good by another plugin", []string{greeting, "\xfecaching_sha2_password\x00abcdefghijklmnopqrst\x00", "\x01\x03", okay, okay}, ""},
		{"denied", []string{greeting, denied}, "Error 1045 (28000): Access denied"},
		{"full", []string{"\xff\x10\x04Too many connections"}, "Error 1040: Too many connections"},
		{"dying", []string{greeting, okay, "\xff\x1d\x04#08S01Server shutdown in progress"}, "Server shutdown in progress"},
		{"gone at once", nil, "reading the greeting: EOF"},
		{"gone at login", []string{greeting}, "reading the answer: "},
		{"gone at ping", []string{greeting, okay}, "reading the answer: "},
		{"old passwords", []string{greeting, "\xfe"}, "old password"},
		{"clear passwords", []string{greeting, "\xfemysql_clear_password\x00"}, "clear text authentication"},
		{"other plugin", []string{greeting, "\xfedialog\x00"}, "plugin is not supported"},
		{"short greeting", []string{"\x0a"}, foreign},
		{"greeting without end", []string{"\x0a5.5.5"}, foreign},
		{"old greeting", []string{greeting[:38]}, foreign},
		{"short ok", []string{greeting, "\x00"}, foreign},
		{"short ok 2", []string{greeting, "\x00\xfe\x00\x00"}, foreign},
		{"short ok 3", []string{greeting, "\x00\x00\x00\x02"}, foreign},
		{"short error", []string{"\xff"}, foreign},
		{"short error 2", []string{greeting, "\xff\x15\x04#2800"}, foreign},
		{"short scramble", []string{greeting, "\xfemysql_native_password\x00abc\x00"}, foreign},
		{"odd answer", []string{greeting, "\x33\x33"}, "malformed packet"},
		{"key of another kind", []string{sha2, "\x01\x04", "\x01" + publicKey(t)}, foreign},
		{"no key", []string{sha2, "\x01\x04", "\x01hunter"}, "no pem data"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port, _ := plays(t, false, c.packets...)
			leavesNothing(t)
			p := compile(t, "mysql_check 'root', 'hunter2', "+itoa(port))
			if c.want == "" {
				good(t, p)
				return
			}
			bad(t, p, c.want, "mysql at 127.0.0.1:"+itoa(port)+": ")
			if err := p(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v", err)
			}
		})
	}
	for name, send := range map[string]string{
		"ssh":   "SSH-2.0-OpenSSH_9.2p1\r\n",
		"http":  "HTTP/1.1 400 Bad Request\r\n\r\n",
		"zeros": strings.Repeat("\x00", 100),
		"huge":  "\xff\xff\xff\x00" + strings.Repeat("\x0a", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			port, _ := stalls(t, send) // it need not hang up to be found out
			leavesNothing(t)
			bad(t, compile(t, "mysql_check 'root', nil, "+itoa(port)), foreign)
		})
	}
}

// The server stalls at each place where the probe can wait.
func TestMySQLHangs(t *testing.T) {
	part := func(s string) (int, chan struct{}) { return stalls(t, s) }
	all := func(p ...string) func() (int, chan struct{}) {
		return func() (int, chan struct{}) { return plays(t, true, p...) }
	}
	for name, server := range map[string]func() (int, chan struct{}){
		"greeting":         func() (int, chan struct{}) { return part("") },
		"head of greeting": func() (int, chan struct{}) { return part("\x5a") },
		"part of greeting": func() (int, chan struct{}) { return part(packet(0, greeting)[:40]) },
		"login":            all(greeting),
		"more login":       all(greeting, "\xfemysql_native_password\x00abcdefghijklmnopqrst\x00"),
		"ping":             all(greeting, okay),
	} {
		t.Run(name, func(t *testing.T) {
			port, reached := server()
			leavesNothing(t)
			p := compile(t, "mysql_check 'root', nil, "+itoa(port))
			cancelled(t, p, reached)
			hangs(t, p)
		})
	}
}

// pipeLogin logs in to what plays the packets, over a pipe.
func pipeLogin(ctx context.Context, guarded bool, packets []string) error {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Addr = "root", "hunter2", "pipe"
	cfg.Logger = &mysql.NopLogger{}
	done := make(chan struct{})
	var client, server net.Conn
	cfg.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		client, server = net.Pipe()
		go func() {
			defer close(done)
			defer server.Close()
			// A pipe holds nothing: a goodbye can wait for a server that talks.
			defer context.AfterFunc(ctx, func() { server.Close() })()
			if play(server, packets) == nil {
				_, _ = server.Read(make([]byte, 1)) // lets the client write once more
			}
		}()
		if guarded {
			return &packetGuard{Conn: client}, nil
		}
		return client, nil
	}
	err := login(ctx, cfg)
	client.Close()
	<-done
	return err
}

// Should the driver panic, the check is bad and the daemon lives. (Without the
// guard its goroutine stays; this test shows why the guard is there.)
func TestMySQLDriverMayPanic(t *testing.T) {
	err := pipeLogin(t.Context(), false, []string{"\x0a"})
	if err == nil || !strings.Contains(err.Error(), "the driver stumbled") {
		t.Errorf("%v; if the driver learned to count, the guard can go", err)
	}
}

// FuzzMySQLServer plays any packets at the driver. With the guard in between
// none makes it panic.
func FuzzMySQLServer(f *testing.F) {
	add := func(packets ...string) {
		var in []byte
		for _, p := range packets {
			in = append(append(in, byte(len(p))), p...)
		}
		f.Add(in)
	}
	sha2 := strings.Replace(greeting, "mysql_native_password", "caching_sha2_password", 1)
	add(greeting, okay, okay)
	add(greeting, denied)
	add("\xff\x10\x04Too many connections")
	add(greeting, "\xfemysql_native_password\x00abcdefghijklmnopqrst\x00", okay)
	add(greeting, "\xfeclient_ed25519\x00abcdefghijklmnopqrstuvwxyz012345", okay)
	add(greeting, "\xfesha256_password\x00abcdefghijklmnopqrst\x00", "\x01x")
	add(greeting, "\xfe")
	add(sha2, "\x01\x03", okay, okay)
	add(sha2, "\x01\x04", "\x01"+publicKey(f), okay)
	add("\x0a")
	f.Fuzz(func(t *testing.T, in []byte) {
		var packets []string
		for len(in) > 0 {
			n := min(int(in[0]), len(in)-1)
			packets = append(packets, string(in[1:1+n]))
			in = in[1+n:]
		}
		// Some inputs leave both sides waiting for the other.
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := pipeLogin(ctx, true, packets); err != nil && strings.Contains(err.Error(), "stumbled") {
			t.Fatalf("%q: %v", packets, err)
		}
	})
}
