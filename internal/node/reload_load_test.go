package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"murakumo/internal/config"
)

// patience bounds every wait for something that comes: a machine may be busy.
const patience = time.Minute

// upstream is a resolver on loopback that knows one address.
func upstream(t *testing.T) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(192, 0, 2, 1)}}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	return netip.MustParseAddrPort(pc.LocalAddr().String())
}

// files is how many descriptors this process has open.
func files(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("descriptors cannot be counted here: %v", err)
	}
	return len(all)
}

// garage makes the file of each reload.
type garage struct {
	dir      string
	service  int // the port of a service that is well
	resolver netip.AddrPort
}

// file is the i-th: nearly every key that a reload takes in differs from that of
// the one before.
func (g garage) file(i int) string {
	odd := func(a, b string) string { return []string{a, b}[i%2] }
	var f strings.Builder
	w := func(format string, args ...any) { fmt.Fprintf(&f, format+"\n", args...) }
	w("host: 127.0.0.1, server-01, %d", 100+i%3)
	w("auth-key: [%s]", odd("the first of the keys, the second of the keys", "the first of the keys"))
	w("socket: %s/s", g.dir)
	w("working-dir: %s", g.dir)
	w("gossip-send-interval: %s", []string{"0.2", "0.3"}[i/50%2])
	w("initial-nodes: %s", odd("127.0.0.1", "[127.0.0.1, 'localhost:1']"))
	w("domain: %s", odd("dev.internal", "other.internal"))
	w("max-ip-num: %d", 1+i%7)
	w("negative-ttl: %d", i%5)
	w("hook-timeout: %d", 10+i%5)
	w("max-records: %d", 1000+i)
	w("resolver: ['%s', '%s']", g.resolver, odd("127.0.0.1:9", g.resolver.String()))
	w("name-excludes: %s", odd("secret", "[secret, hidden]"))
	w("allow-query: %s", odd("127.0.0.0/8", "[127.0.0.0/8, 10.0.0.0/8]"))
	w("allow-recursion: %s", odd("127.0.0.0/8", "[127.0.0.0/8, 10.0.0.0/8]"))
	w("allow-transfer: %s", odd("127.0.0.0/8", "[127.0.0.1, 10.0.0.0/8]"))
	w("rate-limit: %d", i%3*1000)
	w("notify: %s", odd("127.0.0.1:9", "[127.0.0.1:9, 127.0.0.2:9]"))
	w("log-path: %s/log-%s", g.dir, odd("a", "b"))
	w("log-level: %s", odd("info", "debug"))
	w("notification: {host: 127.0.0.1, port: 9, helo: name-%d, recipients: ops@example.org}", i%3)
	w("alias: ['always,%d', 'checked,60,master,100', 'now-and-then-%d,60,backup,5']", i, i%4)
	w("health-check:")
	w("  checked: {script: 'tcp_check %d%s', interval: %d ms, unhealthy: %d}", g.service, odd("", " or tcp_check 1"), 50+i%5, 2+i%2)
	w("  now-and-then-%d: {script: tcp_check %d, interval: 0.05}", i%4, g.service)
	w("activity-check:")
	w("  checked: {on-activate: /bin/true, start-delay: 0, interval: %d ms}", 50+i%3)
	w("  now-and-then-%d: {on-inactivate: /bin/true, on-activate: /bin/true, start-delay: 0, interval: 0.05, init-status: active}", i%4)
	return strings.ReplaceAll(f.String(), " ms", "ms")
}

// TestThousandReloads: each with another file, while clients ask: no answer is
// lost, none is other than by the file before or after, and in the end nothing
// is left of them.
func TestThousandReloads(t *testing.T) {
	const reloads = 1000
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	go func() {
		for {
			c, err := service.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	g := garage{t.TempDir(), service.Addr().(*net.TCPAddr).Port, upstream(t)}
	path := filepath.Join(g.dir, "murakumo.yml")
	load := func() (*config.Config, error) {
		cfg, err := config.Load(path, config.Options{})
		if err == nil {
			cfg.Port, cfg.Gossip.Port = 0, 0 // any that are free
			cfg.Bind = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		}
		return cfg, err
	}
	write := func(i int) {
		if err := os.WriteFile(path, []byte(g.file(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	output, err := OpenLog(cfg.Log, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	n, err := New(cfg, Env{Log: output.Logger(), Output: output}, "test")
	if err != nil {
		t.Fatal(err)
	}
	at := n.dns.Addrs()[0].String()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "the node runs", func() string {
		n.changing.Lock()
		defer n.changing.Unlock()
		if !n.running || !n.records.shows("checked") {
			return "not yet"
		}
		return ""
	})

	// before and after are the files of the reload under way: what was taken in
	// last, and what may be taken in already.
	var before, after atomic.Int64
	reload := func(i int) {
		write(i)
		after.Store(int64(i))
		if err := n.Reload(load); err != nil {
			t.Errorf("reload %d: %v", i, err)
		}
		before.Store(int64(i))
	}
	last := 0
	count := func() (int, int) { return runtime.NumGoroutine(), files(t) }
	for range 8 { // whatever is made once is made
		last++
		reload(last)
	}
	goroutines, descriptors := 0, 0
	calm(t, func() string {
		goroutines, descriptors = count()
		return fmt.Sprintf("%d goroutines, %d descriptors", goroutines, descriptors)
	})

	// Each client asks one question after the other, up to some dozen for each
	// reload, so that there is time left for the reloads, and at least one, so
	// that each reload had questions however busy the machine is.
	var clients sync.WaitGroup
	var asked atomic.Int64
	var pace, answers []chan struct{}
	client := func(network, name string, wrong func(m *dns.Msg, from, to int64) string) {
		turns, answered := make(chan struct{}, 24), make(chan struct{}, 1)
		pace, answers = append(pace, turns), append(answers, answered)
		clients.Go(func() {
			defer close(answered)
			conn, err := dns.Dial(network, at)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for range turns {
				from := before.Load()
				q := new(dns.Msg).SetQuestion(name, dns.TypeA)
				conn.SetDeadline(time.Now().Add(patience))
				if err := conn.WriteMsg(q); err != nil {
					t.Errorf("%s over %s: %v", name, network, err)
					return
				}
				m, err := conn.ReadMsg()
				if err != nil {
					t.Errorf("%s over %s: no answer: %v", name, network, err)
					return
				}
				asked.Add(1)
				select {
				case answered <- struct{}{}:
				default: // one since the last reload is enough
				}
				if why := wrong(m, from, after.Load()); m.Id != q.Id || why != "" {
					t.Errorf("%s over %s: %s: %v", name, network, why, m)
					return
				}
			}
		})
	}
	address := func(want string, ttl func(got uint32, from, to int64) bool) func(*dns.Msg, int64, int64) string {
		return func(m *dns.Msg, from, to int64) string {
			if len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != want {
				return "not the address " + want
			}
			if got := m.Answer[0].Header().Ttl; !ttl(got, from, to) {
				return fmt.Sprintf("TTL %d between files %d and %d", got, from, to)
			}
			return ""
		}
	}
	byFile := func(got uint32, from, to int64) bool { return int64(got) >= from && int64(got) <= to }
	any := func(uint32, int64, int64) bool { return true }
	for _, network := range []string{"udp", "tcp"} {
		client(network, "always.", address("127.0.0.1", byFile))
		client(network, "checked.", address("127.0.0.1", any))
		client(network, "outside.example.", address("192.0.2.1", any))
	}
	client("udp", "server-01.", address("127.0.0.1", any))
	// The domain is another with each file; what is not under it is forwarded.
	client("udp", "checked.dev.internal.", func(m *dns.Msg, from, to int64) string {
		want := []string{"127.0.0.1", "192.0.2.1"}[from%2]
		if len(m.Answer) != 1 || from == to && m.Answer[0].(*dns.A).A.String() != want {
			return fmt.Sprintf("files %d to %d, want %s", from, to, want)
		}
		return ""
	})

	for range reloads {
		for _, turns := range pace {
			for len(turns) < cap(turns) {
				turns <- struct{}{}
			}
		}
		last++
		reload(last)
		for _, answered := range answers {
			<-answered
		}
		if t.Failed() {
			break
		}
	}
	for _, turns := range pace {
		close(turns)
	}
	clients.Wait()
	t.Logf("%d questions over %d reloads", asked.Load(), reloads)
	if least := int64(len(pace) * reloads); asked.Load() < least {
		t.Errorf("%d questions over %d reloads, want at least %d", asked.Load(), reloads, least)
	}
	for last%8 != 0 { // the file that was counted with, so far as it matters here
		last++
		reload(last)
	}
	eventually(t, "nothing is left of it", func() string {
		if a, b := count(); a > goroutines || b > descriptors {
			return fmt.Sprintf("%d goroutines of %d, %d descriptors of %d", a, goroutines, b, descriptors)
		}
		return ""
	})
	lines := 0
	for _, f := range []string{"log-a", "log-b"} {
		b, err := os.ReadFile(filepath.Join(g.dir, f))
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(b), "msg=reloaded ")
		for line := range strings.Lines(string(b)) {
			// There is no mail server, and a thousand notices wait for it.
			if strings.Contains(line, "level="+slog.LevelError.String()) && !strings.Contains(line, "dropped the notice") {
				t.Errorf("in %s: %s", f, line)
				break
			}
		}
	}
	if lines != last {
		t.Errorf("%d reloads are in the logs, want %d", lines, last)
	}
}

// eventually waits until ok gives "".
func eventually(t *testing.T, what string, ok func() string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		wrong := ok()
		if wrong == "" {
			return
		}
		if time.Now().After(end) {
			b := make([]byte, 1<<20)
			t.Fatalf("%s: %s\n%s", what, wrong, b[:runtime.Stack(b, true)])
		}
	}
}

// calm waits until look gives the same for half a second.
func calm(t *testing.T, look func() string) {
	t.Helper()
	last, since := look(), time.Now()
	eventually(t, "comes to rest", func() string {
		now := look()
		if now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) < 500*time.Millisecond {
			return now
		}
		return ""
	})
}
