package check

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestPostgres(t *testing.T) {
	p := newPostgreSQL(t)
	replica := p.copy(t)
	p.start(t)
	p.exec(t,
		"CREATE DATABASE shop",
		"SET password_encryption = 'md5'; CREATE ROLE digest LOGIN PASSWORD 'hunter2'",
		"CREATE ROLE scram LOGIN PASSWORD 'hunter2'",
		"CREATE ROLE secure LOGIN PASSWORD 'hunter2'",
		"CREATE ROLE clear LOGIN PASSWORD 'hunter2'",
		"CREATE ROLE banned LOGIN PASSWORD 'hunter2'",
		"CREATE ROLE nobody LOGIN CONNECTION LIMIT 0",
		"REVOKE CONNECT ON DATABASE shop FROM PUBLIC",
	)
	// What the driver would read is not read.
	for name, value := range map[string]string{"PGSSLMODE": "verify-full", "PGPASSWORD": "hunter2", "PGDATABASE": "nowhere",
		"PGTARGETSESSIONATTRS": "standby", "PGHOST": "192.0.2.1", "PGOPTIONS": "-c nonsense=1", "PGREQUIREAUTH": "gss"} {
		t.Setenv(name, value)
	}
	leavesNothing(t)

	for _, src := range []string{
		"postgres_check 'postgres', nil, SERVER",
		"postgres_check('postgres', nil, SERVER, 'shop') && postgres_check('scram', 'hunter2', SERVER)",
		"postgres_check 'secure', 'hunter2', SERVER",
		"postgres_check 'digest', 'hunter2', SERVER, 'postgres'",
		"postgres_check 'clear', 'hunter2', SERVER",
		"postgres_check 'postgres', nil, SOCKET",
		"postgres_check 'postgres', nil, FOLDER, '10.9.9.9', 'shop'", // the host does not count
	} {
		good(t, p.check(t, src))
	}
	at := "postgres at HOST:5432: "
	for src, want := range map[string]string{
		"postgres_check 'scram', 'letmein', SERVER":           "postgres_check 'scram', '***', SERVER: " + at + `FATAL: password authentication failed for user "scram" (SQLSTATE 28P01)`,
		"postgres_check 'digest', 'letmein', SERVER":          "password authentication failed",
		"postgres_check 'clear', 'letmein', SERVER":           "password authentication failed",
		"postgres_check 'scram', nil, SERVER":                 "password authentication failed",
		"postgres_check 'nosuch', 'letmein', SERVER":          `no pg_hba.conf entry for host "127.0.0.1", user "nosuch"`,
		"postgres_check 'banned', 'letmein', SERVER":          `pg_hba.conf rejects connection for host "127.0.0.1", user "banned"`,
		"postgres_check 'postgres', nil, SERVER, 'letmeout'":  at + `FATAL: database "letmeout" does not exist (SQLSTATE 3D000)`,
		"postgres_check 'scram', 'hunter2', SERVER, 'shop'":   `permission denied for database "shop"`,
		"postgres_check 'nobody', nil, SERVER":                `FATAL: too many connections for role "nobody" (SQLSTATE 53300)`,
		"postgres_check 'postgres', nil, '/nonexistent'":      "dial unix /nonexistent: connect: no such file or directory",
		"not postgres_check 'scram', 'hunter2', SERVER":       "not postgres_check 'scram', '***', SERVER: it is good",
		"postgres_check 'nosuch', nil, SOCKET":                p.names("postgres at " + p.sockets + "/.s.PGSQL.5432: FATAL: role \"nosuch\" does not exist"),
		"postgres_check \"a\\x00b\", 'letmein', SERVER":       at,
		"postgres_check 'postgres', nil, SERVER, \"b\\x00a\"": at,
	} {
		probe := p.check(t, src)
		bad(t, probe, p.names(want))
		if err := probe(t.Context()); err == nil || strings.Contains(err.Error(), "letmein") || strings.Contains(err.Error(), "hunter2") || strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("%s says %v", src, err)
		}
	}

	t.Run("roles", func(t *testing.T) { postgresRoles(t, p, replica) })

	tcp, socket := p.check(t, "postgres_check 'postgres', nil, SERVER"), p.check(t, "postgres_check 'postgres', nil, SOCKET")
	freeze(t, p.cmd)
	good(t, p.check(t, "tcp_check SERVER")) // the kernel still accepts
	hangs(t, tcp)
	hangs(t, socket)
	thaw(t, p.cmd)
	good(t, tcp)
	p.stop()
	bad(t, tcp, p.names("dial tcp HOST:5432: connect: connection refused"))
	bad(t, socket, "dial unix "+p.sockets+"/.s.PGSQL.5432: connect: ")
}

// message frames one of PostgreSQL.
func message(kind byte, body string) string {
	size := make([]byte, 4)
	binary.BigEndian.PutUint32(size, uint32(len(body)+4))
	return string(kind) + string(size) + body
}

const pgForeign = "the answer is not of a PostgreSQL server: "

// What a server, or something else at its port, can say: one answer for each
// time that something comes.
func TestPostgresAnswers(t *testing.T) {
	var (
		authOK  = message('R', "\x00\x00\x00\x00")
		ready   = message('Z', "I")
		start   = authOK + message('S', "server_version\x0015.0\x00") + message('K', "\x00\x00\x00\x01\x00\x00\x00\x02") + ready
		one     = message('T', "\x00\x01?column?\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00") + message('D', "\x00\x01\x00\x00\x00\x011")
		done    = message('C', "SELECT 1\x00") + ready
		refusal = func(text string) string {
			return message('E', "SFATAL\x00VFATAL\x00C57P03\x00M"+text+"\x00\x00")
		}
		clear = message('R', "\x00\x00\x00\x03")
		scram = message('R', "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00")
	)
	for name, c := range map[string]struct {
		answers []string
		hold    bool
		want    string
	}{
		"good":               {[]string{"N", start, one + done}, true, ""},
		"good, password":     {[]string{"N", clear, start, one + done}, true, ""},
		"starting":           {[]string{"N", refusal("the database system is starting up")}, false, "FATAL: the database system is starting up (SQLSTATE 57P03)"},
		"repeats":            {[]string{"N", refusal("is hunter2\x1b\n a password?")}, true, "FATAL: is ***   a password? (SQLSTATE 57P03)"},
		"long words":         {[]string{"N", refusal(strings.Repeat("x", 10_000))}, true, "FATAL: xxxx"},
		"fails later":        {[]string{"N", start, message('E', "SERROR\x00VERROR\x00C53200\x00Mout of memory\x00\x00") + ready}, true, "ERROR: out of memory (SQLSTATE 53200)"},
		"dies later":         {[]string{"N", start, refusal("terminating connection")}, false, "FATAL: terminating connection"},
		"two rows":           {[]string{"N", start, one + message('D', "\x00\x01\x00\x00\x00\x011") + done}, true, "has 2 rows, expected one"},
		"no result":          {[]string{"N", start, message('I', "") + ready}, true, "has 0 rows, expected one"},
		"gone at once":       {[]string{""}, false, "asking for TLS: EOF"},
		"gone at login":      {[]string{"N", ""}, false, "reading the answer: EOF"},
		"gone in a message":  {[]string{"N", start[:20]}, false, "reading the answer: unexpected EOF"},
		"gone at the query":  {[]string{"N", start, ""}, false, "reading the answer: EOF"},
		"refuses before TLS": {[]string{refusal("sorry, too many clients already")}, true, "too many clients already"},
		"more than TLS":      {[]string{"S" + start}, true, pgForeign + `"SR`},
		"more than no TLS":   {[]string{"N" + start}, true, pgForeign},
		"other TLS":          {[]string{"S", "nonsense"}, true, "asking for TLS: tls: first record does not look like a TLS handshake"},
		"other login":        {[]string{"N", message('R', "\x00\x00\x00\x63")}, true, "unknown authentication type"},
		"kerberos":           {[]string{"N", message('R', "\x00\x00\x00\x07")}, true, "GSS"},
		"short login":        {[]string{"N", message('R', "\x00")}, true, "authentication message too short"},
		"no letter":          {[]string{"N", "\x00\x00\x00\x00\x08"}, true, pgForeign + `"\x00\x00\x00\x00\b"`},
		"unknown letter":     {[]string{"N", message('q', "x")}, true, "unknown message type"},
		"odd order":          {[]string{"N", ready}, true, "received ReadyForQuery before AuthenticationOk"},
		"odd message":        {[]string{"N", message('D', "\x00\x01\x00\x00\x00\x011")}, true, "unexpected message"},
		"huge":               {[]string{"N", "R\xff\xff\xff\xff"}, true, pgForeign + `"R\xff\xff\xff\xff"`},
		"small":              {[]string{"N", "R\x00\x00\x00\x03"}, true, pgForeign},
		"endless SCRAM":      {[]string{"N", scram, message('R', "\x00\x00\x00\x0br=a,s=YQ==,i=9999999")}, true, `SCRAM: the server asks for "9999999" iterations, at most 200000`},
		"other SCRAM":        {[]string{"N", scram, message('R', "\x00\x00\x00\x0bhello")}, true, "SCRAM"},
		"short row":          {[]string{"N", start, one[:len(one)-12] + message('D', "\x00\x09") + done}, true, "receive message failed"},
		"without end":        {[]string{"N", start, strings.Repeat(message('N', "M"+strings.Repeat("x", 10_000)+"\x00\x00"), 30)}, true, "the server sent more than 262144 octets"},
		"http":               {[]string{"HTTP/1.1 400 Bad Request\r\n\r\n"}, true, pgForeign + `"HTTP/1.1 400 Bad Request\r\n\r\n"`},
		"ssh":                {[]string{"SSH-2.0-OpenSSH_9.2p1\r\n"}, true, pgForeign + `"SSH-2.0`},
	} {
		t.Run(name, func(t *testing.T) {
			port, _ := answers(t, c.hold, c.answers...)
			leavesNothing(t)
			p := compile(t, "postgres_check 'app', 'hunter2', "+itoa(port))
			if c.want == "" {
				good(t, p)
				return
			}
			bad(t, p, "postgres at 127.0.0.1:"+itoa(port)+": ", c.want)
			err := p(t.Context())
			if err == nil || strings.Contains(err.Error(), "hunter2") || len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\x1b\r\n\x00") {
				t.Errorf("%q", err)
			}
		})
	}
}

func TestPostgresHangs(t *testing.T) {
	start := message('R', "\x00\x00\x00\x00") + message('Z', "I")
	for name, list := range map[string][]string{
		"TLS": nil, "handshake": {"S"}, "login": {"N"}, "part of a message": {"N", "R\x00"}, "more login": {"N", message('R', "\x00\x00\x00\x03")},
		"query": {"N", start}, "part of the answer": {"N", start, message('C', "SELECT 1\x00")},
	} {
		t.Run(name, func(t *testing.T) {
			port, reached := answers(t, true, list...)
			leavesNothing(t)
			p := compile(t, "postgres_check 'app', 'hunter2', "+itoa(port))
			cancelled(t, p, reached)
			hangs(t, p)
		})
	}
	full := unanswered(t)
	leavesNothing(t)
	hangs(t, compile(t, "postgres_check 'app', 'hunter2', "+itoa(full)))
}

// The password itself goes over no network.
func TestPostgresKeepsThePasswordSecret(t *testing.T) {
	for _, here := range []bool{true, false} {
		client, server := net.Pipe()
		told := make(chan bool, 1)
		go func() {
			defer server.Close()
			_, _ = server.Read(make([]byte, 1000))
			_, _ = io.WriteString(server, message('R', "\x00\x00\x00\x03"))
			b := make([]byte, 1000)
			n, _ := server.Read(b)
			told <- strings.Contains(string(b[:n]), "hunter2")
		}()
		err := postgresLogin(t.Context(), client, "app", "hunter2", "postgres", here, func(context.Context, *pgconn.PgConn) error { return nil })
		client.Close()
		if got := <-told; got != here {
			t.Errorf("on this host: %t, the password was told: %t", here, got)
		}
		if !here && (err == nil || !strings.Contains(err.Error(), "server requested password authentication")) {
			t.Errorf("%v", err)
		}
	}
}

// postgresRoles makes a standby of the replica and takes it through its life.
func postgresRoles(t *testing.T, master, replica *postgresql) {
	replica.write(t, "standby.signal", "")
	replica.write(t, "postgresql.auto.conf", "primary_conninfo = 'host="+master.host+" user=postgres'\n")
	replica.start(t)
	const either, asMaster, asReplica, fresh = "postgres_role 'postgres', nil, SERVER", "postgres_role 'postgres', nil, SERVER, 'master'",
		"postgres_role 'postgres', nil, SERVER, 'replica'", "postgres_role 'postgres', nil, SERVER, 'replica', 3600"
	late := replica.check(t, "postgres_role 'postgres', nil, SERVER, 'replica', 0")
	become(t, late, "") // connected, and all is there
	become(t, replica.check(t, "postgres_check 'scram', 'hunter2', SERVER"), "")
	leavesNothing(t)

	for _, src := range []string{asMaster, either, "postgres_role 'scram', 'hunter2', SERVER, 'master', 0",
		"postgres_role 'postgres', nil, SOCKET, '127.0.0.1', 'master'"} {
		good(t, master.check(t, src))
	}
	for _, src := range []string{asReplica, either, fresh, "postgres_role 'scram', 'hunter2', SERVER, 'replica', 10"} {
		good(t, replica.check(t, src))
	}
	at := replica.names("postgres at HOST:5432: ")
	bad(t, master.check(t, asReplica), "it replicates from nobody, expected a replica")
	bad(t, replica.check(t, asMaster), at+"it is a replica, expected a master")
	bad(t, replica.check(t, "postgres_role 'scram', 'letmein', SERVER, 'replica'"), at+"FATAL: password authentication failed")

	// A master that takes no writes.
	master.exec(t, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
	become(t, master.check(t, asMaster), "it takes no writes, expected a master")
	bad(t, master.check(t, either), "neither master nor replica")
	master.exec(t, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
	become(t, master.check(t, asMaster), "")

	// Behind: what comes is kept for an hour before it is shown.
	replica.exec(t, "ALTER SYSTEM SET recovery_min_apply_delay = '1h'", "SELECT pg_reload_conf()")
	master.exec(t, "CREATE TABLE late (n int)")
	become(t, late, "s behind, at most 0 s are allowed")
	good(t, replica.check(t, fresh))
	good(t, replica.check(t, asReplica))
	replica.exec(t, "ALTER SYSTEM RESET recovery_min_apply_delay", "SELECT pg_reload_conf()")
	become(t, late, "")

	// Held by hand.
	replica.exec(t, "SELECT pg_wal_replay_pause()")
	bad(t, replica.check(t, asReplica), at+"it is a replica, and replication stands still: replay was paused")
	replica.exec(t, "SELECT pg_wal_replay_resume()")
	become(t, replica.check(t, asReplica), "")

	// Without its master: still a replica, of data that grows old.
	replica.exec(t, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
	become(t, late, "s behind, at most 0 s are allowed")
	good(t, replica.check(t, asReplica))

	replica.exec(t, "SELECT pg_promote()")
	good(t, replica.check(t, asMaster))
	bad(t, replica.check(t, asReplica), "it replicates from nobody, expected a replica")

	p := replica.check(t, either)
	freeze(t, replica.cmd)
	hangs(t, p)
	thaw(t, replica.cmd)
	replica.stop()
	bad(t, p, "connection refused")
}
