package check

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// mariadb is a private server of the test: a real mariadbd at port 3306 of an
// address of its own with a fresh data directory, in which root has no password.
type mariadb struct {
	host, dir string
	socket    string
	cmd       *exec.Cmd
}

// newMariaDB fills a data directory; start starts the server.
func newMariaDB(t *testing.T) *mariadb {
	t.Helper()
	need(t, "mariadb-server", "mariadbd")
	m := &mariadb{host: loopback(), dir: tempDir(t)}
	m.socket = filepath.Join(m.dir, "s")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, need(t, "mariadb-server", "mariadb-install-db"),
		m.options("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	return m
}

// copy gives a server with the same data, on another address.
func (m *mariadb) copy(t *testing.T) *mariadb {
	t.Helper()
	other := &mariadb{host: loopback(), dir: tempDir(t)}
	other.socket = filepath.Join(other.dir, "s")
	run(t, "cp", "-a", filepath.Join(m.dir, "data"), filepath.Join(other.dir, "data"))
	return other
}

// find looks where Debian puts servers, too: not in every user's PATH.
func find(name string) string {
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/bin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	return ""
}

func (m *mariadb) options(more ...string) []string {
	all := append([]string{"--no-defaults", "--datadir=" + filepath.Join(m.dir, "data")}, more...)
	if os.Geteuid() == 0 {
		all = append(all, "--user=root") // or it insists on a user of its own
	}
	return all
}

// start returns when the server says that it is ready.
func (m *mariadb) start(t *testing.T, more ...string) {
	t.Helper()
	m.cmd = startServer(t, "ready for connections", "mariadb-server", "mariadbd",
		m.options(append(more, "--bind-address="+m.host, "--port=3306", "--socket="+m.socket,
			"--pid-file="+filepath.Join(m.dir, "pid"), "--skip-name-resolve", "--innodb-buffer-pool-size=8M", "--innodb-flush-log-at-trx-commit=0")...)...)
}

// open gives one connection as root over TCP: in a database of the test's own,
// root's way in over the socket is another.
func (m *mariadb) open(t *testing.T) *sql.DB {
	t.Helper()
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr = "root", "tcp", hostPort(m.host, 3306)
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db
}

// exec runs statements on one connection.
func (m *mariadb) exec(t *testing.T, statements ...string) {
	t.Helper()
	db := m.open(t)
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// position is how far the server has come, for replicas to wait for.
func (m *mariadb) position(t *testing.T) (gtid string) {
	t.Helper()
	db := m.open(t)
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), "SELECT @@gtid_binlog_pos").Scan(&gtid); err != nil {
		t.Fatal(err)
	}
	return gtid
}

// names puts addresses in place of SERVER (port and host), HOST and SOCKET.
func (m *mariadb) names(text string) string {
	return strings.NewReplacer("SERVER", "3306, '"+m.host+"'", "HOST", m.host, "SOCKET", "'"+m.socket+"'").Replace(text)
}

func (m *mariadb) check(t *testing.T, src string) Probe {
	t.Helper()
	return compile(t, m.names(src))
}
