package e2e

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// TestProxyAlternates: the daemon with a fixed list of two HTTP backends; five
// requests in a row go to the one and the other in turn.
func TestProxyAlternates(t *testing.T) {
	bin := binaries(t)
	dir := t.TempDir()
	var backends []string
	for _, name := range []string{"one", "two"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
		defer s.Close()
		backends = append(backends, s.Listener.Addr().String())
	}
	ports := freePorts(t, 3)
	conf := filepath.Join(dir, "murakumo.yml")
	write(t, conf, fmt.Sprintf(`
auth-key: a key of this test alone
host: 127.0.0.1, here
address: 127.0.0.1
port: %d
gossip-port: %d
socket: %s
working-dir: %s
proxy:
  web:
    listen: 127.0.0.1:%d
    backends: %s
    check: http_get '/', [200], %s
`, ports[0], ports[1], filepath.Join(dir, "sock"), dir, ports[2], strings.Join(backends, ", "), backends[0][strings.LastIndexByte(backends[0], ':')+1:]), 0o600)
	out := filepath.Join(dir, "out")
	daemon := start(t, t, "murakumo", out, exec.Command(filepath.Join(bin, "murakumo"), "-c", conf))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	url := fmt.Sprintf("http://127.0.0.1:%d/", ports[2])
	get := func() (string, error) {
		r, err := client.Get(url)
		if err != nil {
			return "", err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		return string(b), err
	}
	wait(t, "the listener answers", settle, func() string {
		if !daemon.alive() {
			text, _ := os.ReadFile(out)
			t.Fatalf("murakumo ended: %v\n%s", daemon.err, text)
		}
		if _, err := get(); err != nil {
			return err.Error()
		}
		return ""
	})
	var got []string
	for range 5 {
		name, err := get()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, name)
	}
	if s := strings.Join(got, " "); s != "one two one two one" && s != "two one two one two" {
		t.Errorf("five requests went to %s", s)
	}
	if err := daemon.stop(syscall.SIGTERM, settle); err != nil {
		t.Error(err)
	}
}

// freePorts gives ports of 127.0.0.1 that nobody has, for UDP and TCP.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for len(ports) < n {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		port := tcp.Addr().(*net.TCPAddr).Port
		if udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err == nil {
			defer udp.Close()
			ports = append(ports, port)
		}
	}
	return ports
}

// TestProxyFollowsDuty: an application with a real MySQL client connects to its
// own host's 127.0.0.1:3306 and reaches whoever is on duty. The master's
// database hangs (it does not even refuse): its connections are cut as soon as
// the table says so, the application's next one goes to the backup, and back
// when the master is well again. What was acknowledged is where it should be.
func TestProxyFollowsDuty(t *testing.T) {
	if os.Getuid() != 0 {
		mayskip(t, "network namespaces need root")
	}
	require(t, "ip", "bridge", "ss", "flock", "dig", "mariadbd", "mariadb-install-db")
	x := shortened
	l := newLab(t)
	bin := binaries(t)
	one := l.addHost(t, "server-01", "10.0.0.133", "master", bin)
	two := l.addHost(t, "server-02", "10.0.0.55", "backup", bin)
	one.peer, two.peer = two, one
	app := l.addHost(t, "app-01", "10.0.0.77", "none", bin)
	t.Cleanup(func() {
		if t.Failed() {
			for _, h := range []*host{one, two, app} {
				t.Logf("==== %s\n%s", h.name, strings.Join(h.lines(0), ""))
			}
		}
	})
	for i, h := range []*host{one, two} {
		h.configure(t, x)
		h.prepareDatabase(t)
		h.startDatabase(t)
		db := h.open(t)
		for _, q := range []string{
			"CREATE DATABASE app", "CREATE TABLE app.acks (n INT PRIMARY KEY)",
			"CREATE USER 'app'@'%'", "GRANT ALL ON app.* TO 'app'@'%'",
			fmt.Sprintf("SET GLOBAL server_id = %d", i+1),
		} {
			if _, err := db.Exec(q); err != nil {
				t.Fatalf("%s: %s: %v", h.name, q, err)
			}
		}
		db.Close()
	}
	run(t, "ip", "-n", one.ns, "addr", "add", movedAddr+"/24", "dev", "eth0")
	write(t, filepath.Join(app.dir, "murakumo.yml"), fmt.Sprintf(`
auth-key: onion
host: %s, %s
initial-nodes: %s, %s
domain: %s
socket: %s
working-dir: %s
log-path: %s
log-level: debug
gossip-node-lifetime: %g
proxy:
  mysql:
    listen: 127.0.0.1:3306
    to: mysql-server:3306
    on-inactive: cut
`, app.addr, app.name, one.addr, two.addr, domain, app.socket(), filepath.Join(app.dir, "var"), app.logPath(), x.lifetime.Seconds()), 0o600)
	one.startDaemon(t)
	two.startDaemonBehind(t, x)
	app.startDaemon(t)
	wait(t, "the application's host knows both", x.firstVerdict()+x.spread(), func() string {
		out, err := in(app.ns, filepath.Join(bin, "mrkmctl"), "-S", app.socket(), "-L", "mysql-server").CombinedOutput()
		if err != nil || strings.Count(string(out), " Active ") != 2 {
			return string(out)
		}
		return ""
	})

	acks := filepath.Join(app.dir, "acks")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := in(app.ns, exe)
	cmd.Env = append(os.Environ(), appVariable+"="+acks)
	client := start(t, t, "the application", filepath.Join(app.dir, "app.out"), cmd)
	served := func(by int) func() string {
		return func() string {
			if all := readAcks(t, acks); len(all) == 0 || all[len(all)-1].server != by {
				return fmt.Sprintf("not served by %d; of %d the last: %v", by, len(all), all[max(0, len(all)-1):])
			}
			return ""
		}
	}
	wait(t, "the master serves", slack, served(1))

	m := one.mark()
	stopped := time.Now()
	if err := one.db.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wait(t, "the backup serves", x.toUnhealthy()+x.spread(), served(2))
	unhealthy := one.at(t, m, "health condition changed: mysql-server: unhealthy")
	if err := one.db.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	wait(t, "the master serves again", x.toHealthy()+x.spread(), served(1))
	healthy := one.at(t, m, "health condition changed: mysql-server: healthy")
	if err := client.stop(syscall.SIGTERM, slack); err != nil {
		t.Error(err)
	}

	all := readAcks(t, acks)
	var order []int
	for i, a := range all {
		if i == 0 || all[i-1].server != a.server {
			order = append(order, a.server)
		}
		// The clocks are of one machine; the log's line comes before the table
		// changes.
		if a.server == 1 && a.at.After(unhealthy.Add(x.spread())) && a.at.Before(healthy) {
			t.Errorf("row %d was acknowledged by the master %v after it was off duty", a.n, a.at.Sub(unhealthy))
		}
		if a.server == 2 && (a.at.Before(unhealthy) || a.at.After(healthy.Add(x.spread()))) {
			t.Errorf("row %d was acknowledged by the backup while the master was on duty", a.n)
		}
	}
	if !slices.Equal(order, []int{1, 2, 1}) {
		t.Errorf("served in turn by %v", order)
	}
	gap := time.Duration(0)
	for i, a := range all[1:] {
		gap = max(gap, a.at.Sub(all[i].at))
	}
	t.Logf("%d rows; the longest time without one %v, the master was found out %v after it stopped", len(all), gap, unhealthy.Sub(stopped))
	if most := unhealthy.Sub(stopped) + x.spread() + slack; gap > most {
		t.Errorf("no row for %v, at most %v were due", gap, most)
	}
	for by, h := range map[int]*host{1: one, 2: two} {
		db := h.open(t)
		defer db.Close()
		have := map[int]bool{}
		rows, err := db.Query("SELECT n FROM app.acks")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var n int
			if err := rows.Scan(&n); err != nil {
				t.Fatal(err)
			}
			have[n] = true
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			if a.server == by && !have[a.n] {
				t.Errorf("row %d was acknowledged by %s, which does not have it", a.n, h.name)
			}
		}
	}
	for _, h := range []*host{app, two, one} {
		h.stopDaemon(t, 20*time.Second)
	}
}

// open opens the host's database as root, by its socket.
func (h *host) open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", "root@unix("+filepath.Join(h.dir, "mysqld.sock")+")/")
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// appVariable makes the test binary the application, which writes down what was
// acknowledged in the file that it names.
const appVariable = "MURAKUMO_E2E_APPLICATION"

// ack is one row that a server acknowledged.
type ack struct {
	at     time.Time
	n      int
	server int
}

// application inserts rows by one connection after the other, each for as long
// as it lives, until it is asked to end.
func application(path string) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	_ = mysql.SetLogger(log.New(io.Discard, "", 0)) // what breaks is told below
	ctx, stop := signalled()
	defer stop()
	// The time-out is for a server that is gone without a word: without the cut
	// it would be the application's outage.
	db, err := sql.Open("mysql", "app@tcp(127.0.0.1:3306)/app?timeout=5s&readTimeout=60s&writeTimeout=60s")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	for n := 0; ctx.Err() == nil; n++ {
		server, acked, err := insert(ctx, db, n)
		if err != nil {
			log.Printf("row %d: %v", n, err)
			time.Sleep(20 * time.Millisecond)
			continue
		}
		fmt.Fprintf(out, "%d %d %d\n", acked.UnixNano(), n, server)
		time.Sleep(5 * time.Millisecond)
	}
}

// insert gives who acknowledged a row, and when. Both questions go by one
// connection; when it breaks between them the row is not counted.
func insert(ctx context.Context, db *sql.DB, n int) (server int, acked time.Time, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, acked, err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "INSERT INTO acks VALUES (?)", n); err != nil {
		return 0, acked, err
	}
	acked = time.Now()
	err = conn.QueryRowContext(ctx, "SELECT @@server_id").Scan(&server)
	return server, acked, err
}

func readAcks(t *testing.T, path string) (all []ack) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		return nil // nothing yet
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		w := strings.Fields(lines.Text())
		if len(w) != 3 {
			break // being written
		}
		at, _ := strconv.ParseInt(w[0], 10, 64)
		n, _ := strconv.Atoi(w[1])
		server, _ := strconv.Atoi(w[2])
		all = append(all, ack{time.Unix(0, at), n, server})
	}
	return all
}

func signalled() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM)
}
