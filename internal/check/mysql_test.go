package check

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"database/sql/driver"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

func TestMariaDB(t *testing.T) {
	m := newMariaDB(t)
	replica := m.copy(t)
	m.start(t, "--server-id=1", "--log-bin="+filepath.Join(m.dir, "log"))
	statements := []string{
		"CREATE DATABASE shop",
		"CREATE USER app@'127.0.0.1' IDENTIFIED BY 'hunter2'",
		"CREATE USER app@localhost IDENTIFIED BY 'hunter2'",
		"GRANT ALL ON shop.* TO app@'127.0.0.1'",
		"GRANT ALL ON shop.* TO app@localhost",
		"CREATE USER few@'127.0.0.1' IDENTIFIED BY 'hunter2' WITH MAX_USER_CONNECTIONS 1",
		"CREATE USER monitor@'127.0.0.1' IDENTIFIED BY 'hunter2'",
		"GRANT REPLICA MONITOR ON *.* TO monitor@'127.0.0.1'",
	}
	if os.Geteuid() == 0 {
		// As Debian has it: on the socket, whoever runs as root is root.
		statements = append(statements, "ALTER USER root@localhost IDENTIFIED VIA unix_socket")
	}
	m.exec(t, statements...)
	leavesNothing(t)

	for _, src := range []string{
		"mysql_check 'root', nil, SERVER",
		"mysql_check('root', '', SERVER) && mysql_check('monitor', 'hunter2', SERVER)",
		"mysql_check 'root', nil, SERVER, 'mysql'",
		"mysql_check 'root', nil, SOCKET",
		"mysql_check 'app', 'hunter2', SERVER, 'shop'",
		"mysql_check 'app', 'hunter2', SOCKET, '10.9.9.9', 'shop'", // the host does not count
		"mysql_check 'nobody', nil, SERVER or mysql_check 'root', nil, SERVER",
	} {
		good(t, m.check(t, src))
	}
	at := "mysql at HOST:3306: "
	for src, want := range map[string]string{
		"mysql_check 'app', 'letmein', SERVER":               "mysql_check 'app', '***', SERVER: " + at + "Error 1045 (28000): Access denied for user 'app'@'127.0.0.1' (using password: YES)",
		"mysql_check 'app', 'letmein', SOCKET":               "mysql at " + m.socket + ": Error 1045 (28000): Access denied",
		"mysql_check 'app', nil, SERVER":                     "Access denied for user 'app'@'127.0.0.1' (using password: NO)",
		"mysql_check 'nobody', 'letmein', SERVER":            "Access denied",
		"mysql_check 'root', nil, SERVER, 'letmeout'":        "Error 1049 (42000): Unknown database 'letmeout'",
		"mysql_check 'app', 'hunter2', SERVER, 'mysql'":      "Error 1044 (42000): Access denied for user",
		"mysql_check 'root', nil, '/nonexistent'":            "dial unix /nonexistent: connect: no such file or directory",
		"not mysql_check 'app', 'hunter2', SERVER":           "not mysql_check 'app', '***', SERVER: it is good",
		"mysql_role 'app', 'letmein', SERVER, 'master'":      at + "Error 1045 (28000): Access denied",
		"mysql_role 'app', 'hunter2', SERVER, 'master'":      at + "asking for the state of replication: Error 1227 (42000): Access denied; you need (at least one of) the SUPER, SLAVE MONITOR privilege(s)",
		"mysql_role 'app', 'hunter2', SOCKET, 'h', 'master'": "asking for the state of replication: Error 1227",
	} {
		p := m.check(t, src)
		bad(t, p, m.names(want))
		if err := p(t.Context()); err == nil || strings.Contains(err.Error(), "letmein") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s says %v", src, err)
		}
	}
	// Full: the second connection of somebody who may have one.
	held, err := net.Dial("tcp", hostPort(m.host, 3306))
	if err != nil {
		t.Fatal(err)
	}
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd = "few", "hunter2"
	cfg.DialFunc = func(context.Context, string, string) (net.Conn, error) { return held, nil }
	err = login(t.Context(), cfg, func(context.Context, driver.Conn) error {
		bad(t, m.check(t, "mysql_check 'few', 'hunter2', SERVER"), "Error 1226 (42000): User 'few' has exceeded the 'max_user_connections' resource")
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	tcp, socket := m.check(t, "mysql_check 'root', nil, SERVER"), m.check(t, "mysql_check 'root', nil, SOCKET")
	role := m.check(t, "mysql_role 'root', nil, SERVER")
	freeze(t, m.cmd)
	good(t, m.check(t, "tcp_check SERVER")) // the kernel still accepts, that is why there is mysql_check
	hangs(t, tcp)
	hangs(t, socket)
	hangs(t, role)
	thaw(t, m.cmd)
	good(t, tcp)
	good(t, socket)
	good(t, role)

	// Here the master dies.
	t.Run("roles", func(t *testing.T) { mysqlRoles(t, m, replica) })
	bad(t, tcp, m.names("mysql_check 'root', nil, SERVER: dial tcp HOST:3306: connect: connection refused"))
	bad(t, socket, "dial unix "+m.socket+": connect: connection refused")
	bad(t, role, "connection refused")
}

// mysqlRoles makes a replica and takes it through its life, and its master's.
func mysqlRoles(t *testing.T, master, replica *mariadb) {
	replica.start(t, "--server-id=2", "--relay-log="+filepath.Join(replica.dir, "relay"), "--slave-skip-errors=OFF")
	replica.exec(t, "SET GLOBAL gtid_slave_pos = ''",
		"CHANGE MASTER TO MASTER_HOST='"+master.host+"', MASTER_PORT=3306, MASTER_USER='root', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1",
		"START SLAVE")
	const either, asMaster, asReplica, late = "mysql_role 'root', nil, SERVER", "mysql_role 'root', nil, SERVER, 'master'",
		"mysql_role 'root', nil, SERVER, 'replica'", "mysql_role 'root', nil, SERVER, 'replica', 500"
	become(t, replica.check(t, "mysql_role 'monitor', 'hunter2', SERVER, 'replica', 0"), "") // has all, the user too
	leavesNothing(t)

	for _, src := range []string{asMaster, either, "mysql_role 'monitor', 'hunter2', SERVER, 'master', 0", "mysql_role('root', nil, SOCKET, '10.9.9.9', 'master')"} {
		good(t, master.check(t, src))
	}
	for _, src := range []string{asReplica, either, late} {
		good(t, replica.check(t, src))
	}
	bad(t, master.check(t, asReplica), "it replicates from nobody, expected a replica")
	// It takes writes, as nobody told it not to, and would lose them.
	at := replica.names("mysql at HOST:3306: ")
	bad(t, replica.check(t, asMaster), at+master.names("it is a replica of HOST:3306, expected a master"))

	master.exec(t, "SET GLOBAL read_only = 1")
	bad(t, master.check(t, asMaster), "it takes no writes, expected a master")
	bad(t, master.check(t, either), "neither master nor replica")
	master.exec(t, "SET GLOBAL read_only = 0")

	// Behind: what the master did a while ago is kept for an hour.
	replica.exec(t, "STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY=3600", "START SLAVE")
	master.exec(t, "SET TIMESTAMP = UNIX_TIMESTAMP() - 1000", "CREATE TABLE shop.late (n INT)")
	become(t, replica.check(t, late), "s behind, at most 500 s are allowed")
	good(t, replica.check(t, "mysql_role 'root', nil, SERVER, 'replica', 86400"))
	good(t, replica.check(t, asReplica))
	replica.exec(t, "STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY=0", "START SLAVE")
	become(t, replica.check(t, late), "")

	// Stuck on what it cannot apply.
	master.exec(t, "CREATE TABLE shop.keys (n INT PRIMARY KEY, word TEXT)")
	replica.exec(t, "DO MASTER_GTID_WAIT('"+master.position(t)+"', 60)", "INSERT INTO shop.keys VALUES (1, '')")
	master.exec(t, "INSERT INTO shop.keys VALUES (1, 'hunter2')")
	become(t, replica.check(t, asReplica), "and replication stands still: nothing is applied: Error 'Duplicate entry '1' for key 'PRIMARY'' on query. Default database: ''.")
	if err := replica.check(t, asReplica)(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the statement is told: %v", err)
	}
	replica.exec(t, "DELETE FROM shop.keys", "START SLAVE")
	become(t, replica.check(t, late), "")

	replica.exec(t, "STOP SLAVE IO_THREAD")
	become(t, replica.check(t, either), "and replication stands still: nothing is received")
	replica.exec(t, "START SLAVE IO_THREAD")
	become(t, replica.check(t, late), "")

	// Without its master: still a replica, of an age that nobody knows.
	kill(master.cmd)
	become(t, replica.check(t, late), "and how far it lags behind is unknown: it is not connected: error ")
	good(t, replica.check(t, asReplica))

	// One of the sources that have a name.
	replica.exec(t, "STOP SLAVE", "RESET SLAVE ALL", "CHANGE MASTER 'other' TO MASTER_HOST='192.0.2.1', MASTER_PORT=3307")
	bad(t, replica.check(t, asMaster), "it is a replica of 192.0.2.1:3307, expected a master")
	bad(t, replica.check(t, asReplica), "nothing is applied")
	replica.exec(t, "RESET SLAVE 'other' ALL")
	good(t, replica.check(t, asMaster))
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
	err := login(ctx, cfg, func(ctx context.Context, conn driver.Conn) error { return conn.(driver.Pinger).Ping(ctx) })
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
