package control

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"murakumo/internal/catalog"
)

var (
	self  = netip.MustParseAddr("10.0.0.133")
	peer  = netip.MustParseAddr("10.0.0.55")
	noLog = slog.New(slog.DiscardHandler)
)

// fakeNode is a node without gossip and checks over a real catalog.
type fakeNode struct {
	*catalog.Catalog
	// before, if not nil, may refuse or delay any change.
	before func(ctx context.Context, what string, args []string) error
	feed   Feed

	mu      sync.Mutex // guards hosts and reports
	hosts   []string   // joined and, with a minus, removed ones in order
	reports []string   // NAME true or false
}

func newFakeNode(t testing.TB) *fakeNode {
	t.Helper()
	n := &fakeNode{Catalog: catalog.New(catalog.Options{Self: self})}
	n.put(t, catalog.Record{Name: "server-01", Addr: self, TTL: 60, Priority: catalog.Origin, Active: true})
	return n
}

func (n *fakeNode) put(t testing.TB, records ...catalog.Record) {
	t.Helper()
	n.Update(func(own *catalog.Edit) {
		for _, r := range records {
			if err := own.Put(r); err != nil {
				t.Error(err)
			}
		}
	})
}

func (n *fakeNode) check(ctx context.Context, what string, args []string) error {
	if n.before == nil {
		return nil
	}
	return n.before(ctx, what, args)
}

func (n *fakeNode) AddRecords(ctx context.Context, specs []RecordSpec) ([]catalog.Record, error) {
	var names []string
	for _, s := range specs {
		names = append(names, s.Name)
	}
	if err := n.check(ctx, "add", names); err != nil {
		return nil, err
	}
	var now []catalog.Record
	n.Update(func(own *catalog.Edit) {
		for _, s := range specs {
			r := catalog.Record{Name: s.Name, Addr: self, TTL: s.TTL, Priority: s.Priority, Weight: s.Weight, Active: true}
			own.Put(r)
			now = append(now, r)
		}
	})
	return now, nil
}

func (n *fakeNode) DeleteRecords(ctx context.Context, names []string) error {
	if err := n.check(ctx, "delete", names); err != nil {
		return err
	}
	for _, name := range names {
		r, ok := n.View().Own().Get(catalog.Key{Name: name, Addr: self})
		switch {
		case !ok:
			return Errorf(NotFound, "no alias %s on this node", name)
		case r.Priority == catalog.Origin:
			return Errorf(Conflict, "original host name cannot be deleted")
		}
	}
	n.Update(func(own *catalog.Edit) {
		for _, name := range names {
			own.Delete(catalog.Key{Name: name, Addr: self})
		}
	})
	return nil
}

func (n *fakeNode) AddNodes(ctx context.Context, hosts []string) error {
	n.note("", hosts)
	return n.check(ctx, "join", hosts)
}

func (n *fakeNode) DeleteNodes(ctx context.Context, hosts []string) error {
	n.note("-", hosts)
	return n.check(ctx, "remove", hosts)
}

func (n *fakeNode) Report(ctx context.Context, name string, good bool) error {
	n.mu.Lock()
	n.reports = append(n.reports, fmt.Sprintf("%s %v", name, good))
	n.mu.Unlock()
	return n.check(ctx, "report", []string{name})
}

func (n *fakeNode) note(sign string, hosts []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range hosts {
		n.hosts = append(n.hosts, sign+h)
	}
}

func (n *fakeNode) Version() string { return "1.2.3" }

func (n *fakeNode) Feed() *Feed { return &n.feed }

func (n *fakeNode) Attributes() []Attribute {
	return []Attribute{{"node_lifetime", "10"}, {"log_level", "info"}}
}

func (n *fakeNode) SetAttribute(ctx context.Context, name, value string) (Attribute, error) {
	if err := n.check(ctx, "set", []string{name, value}); err != nil {
		return Attribute{}, err
	}
	switch {
	case name != "node_lifetime" && name != "log_level":
		return Attribute{}, Errorf(NotFound, "no attribute %q", name)
	case value == "":
		return Attribute{}, Errorf(Invalid, "%s: expected a value", name)
	}
	return Attribute{name, value}, nil
}

func (n *fakeNode) ClearDead(ctx context.Context) (int, error) { return 2, n.check(ctx, "clear", nil) }

func (n *fakeNode) Configuration() []byte { return []byte("auth-key: secret\n") }

func (n *fakeNode) Proxies() []Proxy {
	return []Proxy{{Name: "mysql", Listen: netip.MustParseAddrPort("127.0.0.1:3306"), Backends: []ProxyBackend{}}}
}

func (n *fakeNode) Checks() []Check {
	return []Check{{Name: "web", Health: "healthy", Interval: 5, Timeout: 2.5}}
}

func (n *fakeNode) RunCheck(ctx context.Context, name string) (Verdict, error) {
	if err := n.check(ctx, "run", []string{name}); err != nil {
		return Verdict{}, err
	}
	if name != "web" {
		return Verdict{}, Errorf(NotFound, "no health check of %s on this node", name)
	}
	return Verdict{Name: name, Verdict: "bad", Seconds: 0.5, Error: "refused"}, nil
}

// hear makes the node know a peer's records, as gossip would.
func (n *fakeNode) hear(t testing.TB, owner netip.Addr, records ...catalog.Record) {
	t.Helper()
	other := catalog.New(catalog.Options{Self: owner})
	other.Update(func(own *catalog.Edit) {
		for _, r := range records {
			if err := own.Put(r); err != nil {
				t.Error(err)
			}
		}
	})
	n.Merge(other.View().Own())
	n.SetStatus(owner, catalog.Alive, time.Now())
}

// fourRecords is the table of the manual.
func fourRecords(t testing.TB) *fakeNode {
	n := newFakeNode(t)
	n.put(t, catalog.Record{Name: "mysql-server", Addr: self, TTL: 60, Priority: catalog.Master, Weight: 100, Active: true})
	n.hear(t, peer,
		catalog.Record{Name: "server-02", Addr: peer, TTL: 60, Priority: catalog.Origin, Active: true},
		catalog.Record{Name: "mysql-server", Addr: peer, TTL: 60, Priority: catalog.Backup, Weight: 100, Active: true})
	return n
}

// shortDir gives a directory whose path leaves room for a socket's name; that of
// t.TempDir grows with the test's.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mrkm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serve runs a server for node on a real socket until the test ends, or stop is
// called, which waits for it.
func serve(t testing.TB, node Node) (c *Client, stop func()) {
	t.Helper()
	path := filepath.Join(shortDir(t), "s")
	l, err := Listen(path, noLog)
	if err != nil {
		t.Fatal(err)
	}
	return NewClient(path), runServer(t, NewServer(l, node, noLog))
}

func runServer(t testing.TB, s *Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// pipeListener is a listener in memory, for bubbles of virtual time.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.done:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "pipe"} }
