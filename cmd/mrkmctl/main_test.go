package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"murakumo/internal/catalog"
	"murakumo/internal/control"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mrkmctl": main, "node": runNode})
}

// TestScripts runs testdata/*.txtar. Each script has a control server of its own
// on a real socket, $SOCK, whose node knows the four records of the manual, and
// these commands beside the usual ones:
//
//	record OWNER NAME TTL PRIORITY WEIGHT ACTIVITY   a record appears
//	hosts [-]HOST…                                   the node was asked to join
//	                                                 and (-) to remove these, and
//	                                                 took these reports (true:NAME)
//	deadsocket PATH                                  leaves a socket nobody reads
//	status N COMMAND…                                exec that exits with N
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			n := newFakeNode()
			// Scripts' own folders have long names; a socket's path is short.
			path, stop, err := serve(n)
			if err != nil {
				return err
			}
			env.Defer(stop)
			env.Values["node"] = n
			env.Setenv("SOCK", path)
			// Under the race detector each process otherwise sleeps a second
			// before it exits.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"record": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(ts.Value("node").(*fakeNode).record(args))
			},
			"hosts": func(ts *testscript.TestScript, _ bool, want []string) {
				if got := ts.Value("node").(*fakeNode).noted(); !slices.Equal(got, want) {
					ts.Fatalf("got %q, want %q", got, want)
				}
			},
			"status": status,
			"deadsocket": func(ts *testscript.TestScript, _ bool, args []string) {
				l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: ts.MkAbs(args[0])})
				ts.Check(err)
				l.SetUnlinkOnClose(false)
				ts.Check(l.Close())
			},
		},
	})
}

func status(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
}

var (
	self = netip.MustParseAddr("10.0.0.133")
	peer = netip.MustParseAddr("10.0.0.55")
)

// serve runs a control server for n until stop is called.
func serve(n control.Node) (path string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "mrkm")
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, "s")
	log := slog.New(slog.DiscardHandler)
	l, err := control.Listen(path, log)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- control.NewServer(l, n, log).Run(ctx) }()
	return path, sync.OnceFunc(func() {
		cancel()
		<-ended
		os.RemoveAll(dir)
	}), nil
}

// fakeNode is a node without gossip and checks over a real catalog.
type fakeNode struct {
	*catalog.Catalog
	control.Controls // none: testdata/node asks real nodes for those
	feed             control.Feed
	peers            map[catalog.Owner]*catalog.Catalog // as they have their own tables

	mu    sync.Mutex // guards hosts
	hosts []string   // joined, and with a minus removed
}

func (n *fakeNode) note(sign string, hosts []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range hosts {
		n.hosts = append(n.hosts, sign+h)
	}
}

func (n *fakeNode) noted() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.hosts)
}

// newFakeNode knows the table of the manual.
func newFakeNode() *fakeNode {
	n := &fakeNode{Catalog: catalog.New(catalog.Options{Self: self}), peers: map[catalog.Owner]*catalog.Catalog{}}
	for _, r := range []string{
		"10.0.0.133 mysql-server 60 master 100 active", "10.0.0.133 server-01 60 origin 0 active",
		"10.0.0.55 mysql-server 60 backup 100 active", "10.0.0.55 server-02 60 origin 0 active",
	} {
		if err := n.record(strings.Fields(r)); err != nil {
			panic(err)
		}
	}
	return n
}

// record makes OWNER NAME TTL PRIORITY WEIGHT ACTIVITY appear.
func (n *fakeNode) record(args []string) error {
	if len(args) != 6 {
		return fmt.Errorf("record: 6 arguments, not %d", len(args))
	}
	owner, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	ttl, _ := strconv.ParseUint(args[2], 10, 32)
	weight, _ := strconv.ParseUint(args[4], 10, 16)
	r := catalog.Record{Name: args[1], Addr: owner, TTL: uint32(ttl), Weight: uint16(weight), Active: args[5] == "active"}
	if args[3] == "origin" {
		r.Priority = catalog.Origin
	} else if r.Priority, err = catalog.ParsePriority(args[3]); err != nil {
		return err
	}
	put := func(own *catalog.Edit) { err = own.Put(r) }
	if owner == self {
		n.Update(put)
		return err
	}
	// As its owner publishes it, and gossip brings it.
	theirs := n.peers[owner]
	if theirs == nil {
		theirs = catalog.New(catalog.Options{Self: owner})
		n.peers[owner] = theirs
	}
	theirs.Update(put)
	n.Merge(theirs.View().Own())
	n.SetStatus(owner, catalog.Alive, time.Now())
	return err
}

func (n *fakeNode) AddRecords(_ context.Context, specs []control.RecordSpec) ([]catalog.Record, error) {
	var now []catalog.Record
	n.Update(func(own *catalog.Edit) {
		for _, s := range specs {
			r := catalog.Record{Name: s.Name, Addr: self, TTL: s.TTL, Priority: s.Priority, Weight: s.Weight, Active: true}
			if old, ok := own.Get(r.Key()); ok && old.Priority == catalog.Origin {
				r = old
				r.TTL = s.TTL
			}
			own.Put(r)
			now = append(now, r)
		}
	})
	return now, nil
}

func (n *fakeNode) DeleteRecords(_ context.Context, names []string) error {
	for _, name := range names {
		r, ok := n.View().Own().Get(catalog.Key{Name: name, Addr: self})
		switch {
		case !ok:
			return control.Errorf(control.NotFound, "no alias %s on this node", name)
		case r.Priority == catalog.Origin:
			return control.Errorf(control.Conflict, "original host name cannot be deleted")
		}
	}
	n.Update(func(own *catalog.Edit) {
		for _, name := range names {
			own.Delete(catalog.Key{Name: name, Addr: self})
		}
	})
	return nil
}

func (n *fakeNode) AddNodes(_ context.Context, hosts []string) error {
	n.note("", hosts)
	var errs []string
	for _, h := range hosts {
		if strings.HasPrefix(h, "unreachable") {
			errs = append(errs, "join "+h+": no answer")
		}
	}
	if len(errs) > 0 {
		return control.Errorf(control.Unavailable, "%s", strings.Join(errs, "\n"))
	}
	return nil
}

func (n *fakeNode) DeleteNodes(_ context.Context, hosts []string) error {
	n.note("-", hosts)
	return nil
}

func (n *fakeNode) Report(_ context.Context, name string, good bool) error {
	if name != "mysql-server" {
		return control.Errorf(control.NotFound, "no health check of %s on this node", name)
	}
	n.note(fmt.Sprintf("%v:", good), []string{name})
	return nil
}

func (n *fakeNode) Feed() *control.Feed { return &n.feed }

func (n *fakeNode) Version() string { return "1.2.3" }

// runHere is mrkmctl in this process.
func runHere(args ...string) (status int, stdout, stderr string) {
	var out, talk bytes.Buffer
	status = run(context.Background(), args, &out, &talk)
	return status, out.String(), talk.String()
}

// Without -S and without a path after -t the usual places are asked.
func TestDefaults(t *testing.T) {
	if defaultConfig != "/etc/murakumo.yml" {
		t.Errorf("configuration: %s", defaultConfig)
	}
	path, stop, err := serve(newFakeNode())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	file := filepath.Join(t.TempDir(), "murakumo.yml")
	if err := os.WriteFile(file, []byte("auth-key: 0123456789abcdef\nhost: 10.0.0.133, server-01\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer func(c string, s func() string) { defaultConfig, defaultSocket = c, s }(defaultConfig, defaultSocket)
	defaultConfig, defaultSocket = file, func() string { return path }

	if status, out, talk := runHere("-L", "server-01"); status != 0 || !strings.Contains(out, "server-01") {
		t.Errorf("-L: %d %s %s", status, out, talk)
	}
	if status, out, talk := runHere("-t"); status != 0 || out != "Syntax OK\n" {
		t.Errorf("-t: %d %s %s", status, out, talk)
	}
}

// --watch tells every change in a line of its own until it is interrupted, and
// that is its ordinary end.
func TestWatch(t *testing.T) {
	n := newFakeNode()
	path, stop, err := serve(n)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ctx, interrupt := context.WithCancel(t.Context())
	out, talk := newLines(t), newLines(t)
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"--watch", "-S", path}, out.w, talk.w) }()

	if got, want := talk.next(), "watching what 10.0.0.133 server-01 sees; ctrl-c ends it"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if status, _, talk := runHere("-S", path, "-A", "web,30,backup,5"); status != 0 {
		t.Errorf("-A: %d %s", status, talk)
	}
	line := out.next()
	stamp, rest := line[:min(len(line), 20)], line[min(len(line), 20):]
	if _, err := time.ParseInLocation("2006-01-02 15:04:05 ", stamp, time.Local); err != nil {
		t.Error(err)
	}
	if want := "10.0.0.133 web: added: ttl 30, backup, weight 5, active"; rest != want {
		t.Errorf("got %q, want %q", rest, want)
	}
	n.SetStatus(peer, catalog.Dead, time.Now())
	for _, want := range []string{"node 10.0.0.55 server-02: lost", "10.0.0.55 mysql-server: gone", "10.0.0.55 server-02: gone"} {
		if got := out.next(); !strings.HasSuffix(got, " "+want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	interrupt()
	if status := <-ended; status != 0 {
		t.Errorf("interrupted: status %d", status)
	}
}

// A daemon that ends while it is watched is a failure, and says so.
func TestWatchEndOfDaemon(t *testing.T) {
	path, stop, err := serve(newFakeNode())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	talk := newLines(t)
	ended := make(chan int, 1)
	go func() { ended <- run(t.Context(), []string{"--watch", "-S", path}, io.Discard, talk.w) }()
	talk.next()
	stop()
	if got, want := talk.next(), "error: murakumo on "+path+" is stopping"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if status := <-ended; status != 1 {
		t.Errorf("status %d", status)
	}
}

// An interrupted change may or may not have been done, and the operator is told.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path, stop, err := serve(newFakeNode())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var out, talk bytes.Buffer
	if status := run(ctx, []string{"-S", path, "-A", "web"}, &out, &talk); status != 1 || talk.String() != "error: interrupted; whether it was done is not known\n" {
		t.Errorf("%d %s", status, &talk)
	}
}

// lines is a writer whose lines are read one by one.
type lines struct {
	t    *testing.T
	w    io.Writer
	text chan string
}

func newLines(t *testing.T) *lines {
	l := &lines{t: t, text: make(chan string, 100)}
	l.w = writerFunc(func(p []byte) (int, error) {
		for line := range strings.Lines(string(p)) {
			l.text <- strings.TrimSuffix(line, "\n")
		}
		return len(p), nil
	})
	return l
}

// next waits for a line, with an end that only a broken program reaches.
func (l *lines) next() string {
	l.t.Helper()
	select {
	case line := <-l.text:
		return line
	case <-time.After(30 * time.Second):
		l.t.Fatal("no line came")
		return ""
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
