package check

import (
	"context"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgresql is a private PostgreSQL of the test at port 5432 of an address of
// its own, with TLS. Superuser postgres needs no password, the others have
// hunter2 and differ in how they log in.
type postgresql struct {
	host, data, sockets string
	run                 func(*exec.Cmd) // as whom
	cmd                 *exec.Cmd
}

// postgresPrograms gives the path of a program of PostgreSQL's newest version
// that is installed.
func postgresProgram(t *testing.T, name string) string {
	t.Helper()
	all, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		return need(t, "postgresql", name)
	}
	return slices.MaxFunc(all, func(a, b string) int { return len(a) - len(b) })
}

// newPostgreSQL fills a data directory, start starts the server.
func newPostgreSQL(t *testing.T) *postgresql {
	t.Helper()
	program := postgresProgram(t, "initdb")
	dir := tempDir(t)
	p := &postgresql{host: loopback(), data: filepath.Join(dir, "data"), sockets: dir, run: func(*exec.Cmd) {}}
	if os.Geteuid() == 0 { // as root it does not start
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, errUID := strconv.Atoi(u.Uid)
		gid, errGID := strconv.Atoi(u.Gid)
		if errUID != nil || errGID != nil {
			t.Fatal(errUID, errGID)
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		p.run = func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
			cmd.Dir = dir
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-D", p.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
	p.run(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	hba := `local     all all                 trust
local     replication all         trust
host      all,replication postgres,nobody all trust
host      all scram all           scram-sha-256
hostssl   all secure all          scram-sha-256
host      all digest all          md5
host      all clear all           password
host      all banned all          reject
`
	p.write(t, "pg_hba.conf", hba)
	cert, key := files(t, stranger.sign(t, time.Now().Add(time.Hour), "db.example.com"))
	for name, file := range map[string]string{"server.crt": cert, "server.key": key} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p.write(t, name, string(text))
	}
	return p
}

// write makes a file that the server can read, and nobody else.
func (p *postgresql) write(t *testing.T, name, text string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "umask 077; cat > "+filepath.Join(p.data, name))
	p.run(cmd)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// copy gives a server with the same data, on another address.
func (p *postgresql) copy(t *testing.T) *postgresql {
	t.Helper()
	dir := filepath.Join(p.sockets, "copy")
	other := &postgresql{host: loopback(), data: filepath.Join(dir, "data"), sockets: dir, run: p.run}
	for _, words := range [][]string{{"mkdir", dir}, {"cp", "-a", p.data, other.data}} {
		cmd := exec.Command(words[0], words[1:]...)
		p.run(cmd)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", words, err, out)
		}
	}
	return other
}

// start returns when the server answers.
func (p *postgresql) start(t *testing.T, settings ...string) {
	t.Helper()
	p.cmd = exec.Command(postgresProgram(t, "postgres"), "-D", p.data)
	for _, s := range append([]string{"listen_addresses=" + p.host, "port=5432", "unix_socket_directories=" + p.sockets,
		"ssl=on", "fsync=off", "shared_buffers=1MB", "wal_level=replica", "wal_retrieve_retry_interval=200ms",
		"log_min_messages=log"}, settings...) {
		p.cmd.Args = append(p.cmd.Args, "-c", s)
	}
	p.run(p.cmd)
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// At once as well, but without leaving shared memory behind.
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	start(t, "database system is ready to accept", p.cmd)
	t.Cleanup(p.stop)
}

// stop ends the server at once: clients see no difference from a crash.
func (p *postgresql) stop() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		_ = p.cmd.Wait()
	}
}

// exec runs statements as the superuser.
func (p *postgresql) exec(t *testing.T, statements ...string) {
	t.Helper()
	conn, err := net.Dial("tcp", hostPort(p.host, 5432))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		err = postgresLogin(t.Context(), conn, "postgres", "", "postgres", true, func(ctx context.Context, pg *pgconn.PgConn) error {
			_, err := pg.Exec(ctx, s).ReadAll()
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if conn, err = net.Dial("tcp", hostPort(p.host, 5432)); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close()
}

// names puts addresses in place of SERVER (port and host), HOST and SOCKET.
func (p *postgresql) names(text string) string {
	return strings.NewReplacer("SERVER", "5432, '"+p.host+"'", "HOST", p.host, "SOCKET", "'"+p.sockets+"/.s.PGSQL.5432'", "FOLDER", "'"+p.sockets+"'").Replace(text)
}

func (p *postgresql) check(t *testing.T, src string) Probe {
	t.Helper()
	return compile(t, p.names(src))
}
