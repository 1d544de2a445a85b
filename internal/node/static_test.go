package node_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/action"
	"murakumo/internal/catalog"
	"murakumo/internal/check"
	"murakumo/internal/config"
	"murakumo/internal/control"
	"murakumo/internal/node"
	"murakumo/internal/sim"
)

// telling is a node of a small network, with checks that can be broken and hooks
// that can be held up.
type telling struct {
	*node.Core
	t   *testing.T
	log logLines
	dir string

	mu     sync.Mutex // guards what follows
	broken map[string]bool
	hooks  []string
	held   chan struct{} // nil: hooks end at once
}

// file loads a configuration of this node; %d in it is the test's folder.
func (n *telling) file(addr, text string) *config.Config {
	n.t.Helper()
	cfg, err := config.Parse("f", fmt.Appendf(nil, `
auth-key: a key for the simulation
host: %s, server-%s
domain: example.com
working-dir: %s/%s
initial-nodes: 10.0.0.1, 10.0.0.2
%s`, addr, addr[strings.LastIndexByte(addr, '.')+1:], n.dir, addr, strings.ReplaceAll(text, "%d", n.dir)), config.Options{})
	if err != nil {
		n.t.Fatal(err)
	}
	return cfg
}

func tellingNode(t *testing.T, network *sim.Network, dir, addr, text string) (n *telling, stop func()) {
	t.Helper()
	n = &telling{t: t, dir: dir, broken: map[string]bool{}}
	endpoint := network.Listen(netip.MustParseAddrPort(addr + ":10870"))
	core, err := node.NewCore(n.file(addr, text), node.Env{
		Log: slog.New(slog.NewTextHandler(&n.log, nil)), Transport: endpoint,
		Probe: func(h config.HealthCheck) check.Probe {
			return func(context.Context) error {
				n.mu.Lock()
				defer n.mu.Unlock()
				if n.broken[h.Name] {
					return errors.New("broken")
				}
				return nil
			}
		},
		Hook: func(_ context.Context, h action.Hook) error {
			n.mu.Lock()
			n.hooks = append(n.hooks, fmt.Sprintf("%v %s %v %s", h.Kind, h.Name, h.Addr, h.Status))
			held := n.held
			n.mu.Unlock()
			if held != nil {
				<-held
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Core = core
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- core.Run(ctx, nil) }()
	synctest.Wait()
	return n, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		endpoint.Crash()
	}
}

// alone runs f beside a node of this configuration.
func alone(t *testing.T, text string, f func(t *testing.T, n *telling)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		n, stop := tellingNode(t, sim.NewNetwork(1), dir, "10.0.0.1", text)
		f(t, n)
		stop()
		time.Sleep(15 * time.Second) // as in Cluster.Stop
	})
}

func (n *telling) breaks(name string, broken bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken[name] = broken
}

// reload takes another text of the configuration in.
func (n *telling) reload(text string) {
	n.t.Helper()
	if err := n.Reload(func() (*config.Config, error) { return n.file("10.0.0.1", text), nil }); err != nil {
		n.t.Fatal(err)
	}
	synctest.Wait()
}

// write writes a file of the test's folder, by another in its place.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// says gives this node's own records but for its host's, one a word.
func (n *telling) says() string {
	synctest.Wait()
	var all []string
	for r := range n.View().Own().Records() {
		if r.Priority == catalog.Origin {
			continue
		}
		word := fmt.Sprintf("%s=%v", r.Name, r.Addr)
		if !r.Active {
			word += "/inactive"
		}
		if r.Checked {
			word += "/checked"
		}
		if !r.Static {
			word += "/alias"
		} else if r.Priority != catalog.Master || r.Weight != 100 || r.Duty != catalog.DutyUndefined {
			word += fmt.Sprintf("/%+v", r)
		}
		all = append(all, word)
	}
	return strings.Join(all, " ")
}

func (n *telling) want(when, want string) {
	n.t.Helper()
	if got := n.says(); got != want {
		n.t.Errorf("%s:\n%s\nwant:\n%s", when, got, want)
	}
}

// logged wants a line to be there so many times.
func (n *telling) logged(times int, line string) {
	n.t.Helper()
	n.log.mu.Lock()
	defer n.log.mu.Unlock()
	if got := strings.Count(n.log.text.String(), line); got != times {
		n.t.Errorf("%d times in the log, want %d: %s\n%s", got, times, line, n.log.text.String())
	}
}

// aLook is a little longer than two looks at the files.
const aLook = 2100 * time.Millisecond

// TestStaticFiles: lines and files are published; files are followed, read when
// they have come to rest, and a bad line stops nothing.
func TestStaticFiles(t *testing.T) {
	alone(t, "alias: db\nstatic:\n  - 10.0.9.9 rds rds.example.com RDS-2\n  - %d/hosts\nstatic-ttl: 7\n", func(t *testing.T, n *telling) {
		hosts := filepath.Join(n.dir, "hosts")
		const lines = "db=10.0.0.1/alias %srds=10.0.9.9 rds-2=10.0.9.9"
		n.want("at the start", fmt.Sprintf(lines, ""))
		if r, _ := n.View().Own().Get(catalog.Key{Name: "rds", Addr: netip.MustParseAddr("10.0.9.9")}); r.TTL != 7 {
			t.Errorf("TTL %d", r.TTL)
		}
		time.Sleep(time.Minute)
		n.logged(0, "cannot be read") // the configuration has told

		write(t, hosts, "# things\n10.0.9.10 Nas nas.example.com\n10.0.9.11 printer\n")
		time.Sleep(aLook)
		n.want("the file is there", fmt.Sprintf(lines, "nas=10.0.9.10 printer=10.0.9.11 "))
		n.logged(1, "can be read again")

		write(t, hosts, "10.0.9.11 printer bad..name\n10.0.9.300 x\n127.0.0.1 localhost\n::ffff:0.0.0.0 y\n10.0.9.12 nas\n")
		time.Sleep(aLook)
		n.want("with bad lines", fmt.Sprintf(lines, "nas=10.0.9.12 printer=10.0.9.11 "))
		for _, line := range []string{":1:19: name", ":2:1: expected an address", ":3:1: 127.0.0.1 is each host itself", ":4:1: expected an address"} {
			n.logged(1, "static: "+hosts+line)
		}
		time.Sleep(time.Minute)
		n.logged(2, "static: read again: "+hosts)

		// Half of it, and then the rest: nobody sees the half.
		full := "10.0.9.13 nas\n10.0.9.11 printer\n"
		for i := range len(full) - 1 {
			write(t, hosts, full[:i])
			time.Sleep(700 * time.Millisecond)
			n.want("while it is written", fmt.Sprintf(lines, "nas=10.0.9.12 printer=10.0.9.11 "))
		}
		write(t, hosts, full)
		time.Sleep(aLook)
		n.want("when it is written", fmt.Sprintf(lines, "nas=10.0.9.13 printer=10.0.9.11 "))

		// In place, as an editor may do it.
		if err := os.WriteFile(hosts, []byte("10.0.9.14 nas # moved\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(aLook)
		n.want("written in place", fmt.Sprintf(lines, "nas=10.0.9.14 "))

		if err := os.Remove(hosts); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		n.want("the file is gone", fmt.Sprintf(lines, "nas=10.0.9.14 "))
		n.logged(1, "hosts cannot be read: its names stay as they were")
		if err := os.Mkdir(hosts, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		n.want("a folder in its place", fmt.Sprintf(lines, "nas=10.0.9.14 "))
		n.logged(1, "not a regular file")
		if err := os.Remove(hosts); err != nil {
			t.Fatal(err)
		}
		write(t, hosts, "")
		time.Sleep(aLook)
		n.want("an empty file", fmt.Sprintf(lines, ""))
	})
}

// TestStaticCheck: the check of a static name says whether it is Active; its hook
// gets the address of the thing.
func TestStaticCheck(t *testing.T) {
	alone(t, "static: 10.0.9.9 rds\nhealth-check:\n  rds: {script: tcp_check 3306, on-activate: /bin/true, on-inactivate: /bin/true, interval: 10}\n", func(t *testing.T, n *telling) {
		n.want("a good verdict", "rds=10.0.9.9/checked")
		n.breaks("rds", true)
		time.Sleep(25 * time.Second)
		n.want("bad", "rds=10.0.9.9/inactive/checked")
		n.breaks("rds", false)
		time.Sleep(25 * time.Second)
		n.want("good again", "rds=10.0.9.9/checked")
		if want := []string{"Health rds 10.0.9.9 unhealthy", "Health rds 10.0.9.9 healthy"}; !slices.Equal(n.hooks, want) {
			t.Errorf("hooks %q, want %q", n.hooks, want)
		}
		n.logged(1, `"health condition changed: rds: unhealthy" address=10.0.9.9`)

		// A check that comes and goes by a reload.
		n.reload("static: 10.0.9.9 rds\n")
		n.want("no check any more", "rds=10.0.9.9")
		n.breaks("rds", true)
		time.Sleep(time.Minute)
		n.want("nobody asks", "rds=10.0.9.9")
		n.reload("static: 10.0.9.9 rds\nhealth-check: {rds: {script: tcp_check 1}}\n")
		n.want("the first verdict decides", "rds=10.0.9.9/inactive/checked")
		n.reload("alias: other\n")
		n.want("all gone", "other=10.0.0.1/alias")
		if err := n.Report(t.Context(), "rds", true); control.KindOf(err) != control.NotFound {
			t.Errorf("the check is still there: %v", err)
		}
	})
}

// TestStaticNoVerdictYet: as long as a check has not answered, its node says
// nothing against the others, whose word stands.
func TestStaticNoVerdictYet(t *testing.T) {
	alone(t, "static: 10.0.9.9 rds\nhealth-check: {rds: {ttl: 30}}\n", func(t *testing.T, n *telling) {
		n.want("before the first report", "rds=10.0.9.9/inactive")
		time.Sleep(31 * time.Second)
		n.want("silence is a verdict", "rds=10.0.9.9/inactive/checked")
		if err := n.Report(t.Context(), "rds", true); err != nil {
			t.Fatal(err)
		}
		if err := n.Report(t.Context(), "rds", true); err != nil {
			t.Fatal(err)
		}
		n.want("two good reports", "rds=10.0.9.9/checked")
	})
}

// TestStaticByHand: mrkmctl neither adds nor deletes what is static, and a name
// that it added leaves the static one out as long as it is there.
func TestStaticByHand(t *testing.T) {
	alone(t, "static: [10.0.9.9 rds, %d/hosts]\n", func(t *testing.T, n *telling) {
		add := func(name string) error {
			_, err := n.AddRecords(t.Context(), []control.RecordSpec{{Name: name, TTL: 60, Priority: catalog.Master, Weight: 100}})
			return err
		}
		for what, err := range map[string]error{"add": add("rds"), "add whole": add("rds.example.com"), "delete": n.DeleteRecords(t.Context(), []string{"rds"})} {
			if control.KindOf(err) != control.Conflict || !strings.Contains(err.Error(), "rds is a static name") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := add("nas"); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(n.dir, "hosts"), "10.0.9.10 nas disk\n10.0.9.11 server-1\n10.0.0.1 server-1 nas\n")
		time.Sleep(aLook)
		n.want("an alias has the name", "disk=10.0.9.10 nas=10.0.0.1/alias rds=10.0.9.9")
		for _, at := range []string{`nas is the name of this host or an alias of it" address=10.0.9.10`, `server-1 is the name of this host or an alias of it" address=10.0.9.11`} {
			n.logged(1, at)
		}
		n.logged(4, "left out: ")
		write(t, filepath.Join(n.dir, "hosts"), "10.0.9.10 nas disk\n10.0.9.11 server-1\n10.0.0.1 server-1 nas\n10.0.9.12 more\n")
		time.Sleep(aLook)
		n.logged(4, "left out: ") // said before
		if err := n.DeleteRecords(t.Context(), []string{"nas"}); err != nil {
			t.Fatal(err)
		}
		n.want("the alias is deleted", "disk=10.0.9.10 more=10.0.9.12 nas=10.0.0.1 nas=10.0.9.10 rds=10.0.9.9")
	})
}

// TestStaticRoom: max-records holds for all of a node's records, for peers would
// refuse the whole; the last static names are left out, and aliases come first.
func TestStaticRoom(t *testing.T) {
	alone(t, "alias: db\nmax-records: 5\nstatic: [%d/hosts, 10.0.9.9 rds]\n", func(t *testing.T, n *telling) {
		write(t, filepath.Join(n.dir, "hosts"), "10.0.9.10 a b c d\n")
		time.Sleep(aLook)
		n.want("too many", "a=10.0.9.10 b=10.0.9.10 db=10.0.0.1/alias rds=10.0.9.9")
		n.logged(1, `more names than there is room for: the last are left out; raise max-records on every host" "left out"=2`)
		if _, err := n.AddRecords(t.Context(), []control.RecordSpec{{Name: "web", TTL: 60, Priority: catalog.Master, Weight: 100}}); err != nil {
			t.Fatal(err)
		}
		n.want("an alias more", "a=10.0.9.10 db=10.0.0.1/alias rds=10.0.9.9 web=10.0.0.1/alias")
		n.logged(1, `"left out"=3`)
		n.reload("alias: db\nmax-records: 50\nstatic: [%d/hosts, 10.0.9.9 rds]\n")
		n.want("room", "a=10.0.9.10 b=10.0.9.10 c=10.0.9.10 d=10.0.9.10 db=10.0.0.1/alias rds=10.0.9.9 web=10.0.0.1/alias")
		write(t, filepath.Join(n.dir, "hosts"), "10.0.9.10 a\n")
		time.Sleep(aLook)
		n.want("fewer", "a=10.0.9.10 db=10.0.0.1/alias rds=10.0.9.9 web=10.0.0.1/alias")
		n.logged(2, "more names than there is room for")
	})
}

// TestStaticNoRoomCosts: what there is no room for costs a change of another record no
// memory, however much it is.
func TestStaticNoRoomCosts(t *testing.T) {
	var names strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&names, "10.0.9.10 n%d\n", i)
	}
	alone(t, "max-records: 5\nstatic: %d/hosts\n", func(t *testing.T, n *telling) {
		write(t, filepath.Join(n.dir, "hosts"), names.String())
		time.Sleep(aLook)
		n.want("as many as there is room for", "n0=10.0.9.10 n1=10.0.9.10 n2=10.0.9.10 n3=10.0.9.10")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := n.AddRecords(t.Context(), []control.RecordSpec{{Name: "web", TTL: 60, Priority: catalog.Master, Weight: 100}}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
			t.Errorf("adding a record took %d octets", took)
		}
		n.want("one less", "n0=10.0.9.10 n1=10.0.9.10 n2=10.0.9.10 web=10.0.0.1/alias")
	})
}

// TestStaticFromAlias: an alias that becomes a static name is handed over first;
// its check goes on, and then speaks of the other thing.
func TestStaticFromAlias(t *testing.T) {
	const checks = "\nhealth-check: {db: {script: tcp_check 1}}\n"
	alone(t, "alias: db"+checks+"activity-check: {db: {start-delay: 0, interval: 1, on-inactivate: /bin/true}}\n", func(t *testing.T, n *telling) {
		time.Sleep(10 * time.Second)
		n.mu.Lock()
		n.held = make(chan struct{})
		n.mu.Unlock()
		n.reload("static: 10.0.9.9 db, 10.0.0.1 db" + checks)
		time.Sleep(5 * time.Second)
		n.want("while the hook runs", "db=10.0.0.1/inactive/alias")
		close(n.held)
		n.want("then", "db=10.0.0.1/checked db=10.0.9.9/checked")
		n.logged(0, "left out")
		if want := []string{"Activity db 10.0.0.1 inactive"}; !slices.Equal(n.hooks, want) {
			t.Errorf("hooks %q, want %q", n.hooks, want)
		}
		n.breaks("db", true)
		time.Sleep(20 * time.Second)
		n.want("its check goes on", "db=10.0.0.1/inactive/checked db=10.0.9.9/inactive/checked")
		// And back.
		n.breaks("db", false)
		n.reload("alias: db" + checks)
		time.Sleep(20 * time.Second)
		n.want("an alias again", "db=10.0.0.1/alias")
		n.reload("alias: db\n")
		n.want("without a check", "db=10.0.0.1/alias")
	})
}

// TestStaticOfSeveral: several nodes tell of one thing. It is answered once, and a
// check of one of them counts for all as long as that one lives; when it stops,
// it takes nothing along.
func TestStaticOfSeveral(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		network := sim.NewNetwork(1)
		first, stopFirst := tellingNode(t, network, dir, "10.0.0.1", "static: 10.0.9.9 rds\n")
		second, stopSecond := tellingNode(t, network, dir, "10.0.0.2",
			"alias: db\nstatic: 10.0.9.9 rds\nhealth-check: {rds: {script: tcp_check 1}}\nactivity-check: {db: {start-delay: 0, interval: 1, on-inactivate: /bin/true}}\n")
		want := func(when string, active bool) {
			t.Helper()
			for _, n := range []*telling{first, second} {
				list := n.View().Name("rds").Answers()
				if len(list) != 1 || list[0].Active != active || list[0].Addr != netip.MustParseAddr("10.0.9.9") {
					t.Errorf("%s: %+v, want one, Active %v", when, list, active)
				}
			}
		}
		time.Sleep(10 * time.Second)
		if n := len(first.View().Name("rds").Entries()); n != 2 {
			t.Fatalf("%d owners", n)
		}
		want("it is well", true)
		second.breaks("rds", true)
		time.Sleep(15 * time.Second)
		want("its check is bad", false)
		second.breaks("rds", false)
		time.Sleep(15 * time.Second)
		want("its check is good", true)

		// While the second hands its alias over, the thing stays as it is.
		second.mu.Lock()
		second.held = make(chan struct{})
		second.mu.Unlock()
		stopped := make(chan struct{})
		go func() { stopSecond(); close(stopped) }()
		time.Sleep(2 * time.Second)
		if list := first.View().Name("db").Answers(); len(list) != 1 || list[0].Active {
			t.Errorf("the alias of a node that stops: %+v", list)
		}
		want("it stops", true)
		close(second.held)
		<-stopped
		time.Sleep(2 * time.Second)
		if list := first.View().Name("rds").Answers(); len(list) != 1 || !list[0].Active {
			t.Errorf("it has stopped: %+v", list)
		}
		stopFirst()
		time.Sleep(15 * time.Second)
	})
}
