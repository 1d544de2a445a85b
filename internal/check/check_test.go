package check

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"murakumo/internal/check/expr"
)

const (
	// patience is how long a test waits for what must happen; only a failing
	// test uses it up.
	patience = 20 * time.Second
	// short is the timeout of a probe that must run into it.
	short = 150 * time.Millisecond
)

func compile(t testing.TB, src string) Probe {
	t.Helper()
	s, err := expr.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	return Compile(s)
}

// ask runs a probe and fails the test if it does not come back; for a probe
// that ignores its context, the test goes on without it.
func ask(ctx context.Context, t testing.TB, p Probe) error {
	t.Helper()
	got := make(chan error, 1)
	go func() { got <- p(ctx) }()
	select {
	case err := <-got:
		return err
	case <-time.After(patience):
		t.Fatal("the probe does not end")
		return nil
	}
}

func good(t testing.TB, p Probe) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := ask(ctx, t, p); err != nil {
		t.Errorf("the probe says: %v", err)
	}
}

// bad wants an error with all the parts in it.
func bad(t testing.TB, p Probe, parts ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := ask(ctx, t, p)
	if err == nil {
		t.Error("the probe is good")
		return
	}
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the probe waited: %v", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the probe says %q, without %q", err, part)
		}
	}
}

// hangs wants a probe to come back with its deadline, from wherever it waits.
func hangs(t testing.TB, p Probe) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	err := ask(ctx, t, p)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the probe says: %v", err)
	} else if strings.Contains(err.Error(), "context") {
		t.Errorf("the probe speaks as programs do: %v", err)
	}
}

// cancelled wants a probe to come back when its context is cancelled, which
// happens when there is something in reached.
func cancelled(t testing.TB, p Probe, reached <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-reached:
			cancel()
		case <-t.Context().Done():
		}
	}()
	if err := ask(ctx, t, p); !errors.Is(err, context.Canceled) {
		t.Errorf("the probe says: %v", err)
	}
}

// leavesNothing notes the goroutines, descriptors and children of the process
// and compares when the test is over. Call it after the servers are up; their
// cleanups run later.
func leavesNothing(t testing.TB) {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	t.Cleanup(func() {
		end := time.Now().Add(patience)
		for runtime.NumGoroutine() > goroutines || openFiles(t) > files {
			if time.Now().After(end) {
				buf := make([]byte, 1<<20)
				t.Errorf("%d goroutines and %d files before, %d and %d now:\n%s",
					goroutines, files, runtime.NumGoroutine(), openFiles(t), buf[:runtime.Stack(buf, true)])
				return
			}
			runtime.Gosched()
		}
	})
}

func openFiles(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// serve accepts on a free port of loopback and hands each connection to f,
// which is waited for and whose connection is closed at the end.
func serve(t testing.TB, f func(net.Conn)) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			all.Go(func() {
				f(c)
				c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// stalls serves what it is given and then keeps the connection until the peer
// hangs up. Each connection that got so far is told in reached.
func stalls(t testing.TB, send string) (port int, reached chan struct{}) {
	t.Helper()
	reached = make(chan struct{}, 100)
	port = serve(t, func(c net.Conn) {
		if _, err := io.WriteString(c, send); err != nil {
			return
		}
		reached <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
	})
	return port, reached
}

// refused gives a port that nobody listens on.
func refused(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// unanswered gives a port at which even connecting hangs: the queue of the
// listening socket is full and nobody accepts, so the kernel drops what comes.
func unanswered(t testing.TB) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*unix.SockaddrInet4).Port
	for range 10 {
		c, err := net.DialTimeout("tcp", hostPort("127.0.0.1", port), short)
		if err != nil {
			return port
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue never fills")
	return 0
}

// readHead reads a request up to its blank line.
func readHead(c net.Conn) error {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == "\r\n" {
			return err
		}
	}
}

// Whatever can be written can be run, and nothing else.
func TestEveryCheckHasAProbe(t *testing.T) {
	n := 0
	for _, s := range expr.Signatures() {
		if calls[s.Name] == nil {
			t.Errorf("%s can be written but not run", s.Name)
		}
		n++
	}
	if n != len(calls) {
		t.Errorf("%d checks can be written, %d run", n, len(calls))
	}
}

func TestCompile(t *testing.T) {
	up, _ := stalls(t, "")
	down := refused(t)
	leavesNothing(t)
	src := strings.NewReplacer("UP", itoa(up), "DOWN", itoa(down))
	for _, c := range []struct{ src, want string }{
		{"tcp_check UP", ""},
		{"tcp_check UP and tcp_check UP, 'localhost'", ""},
		{"tcp_check DOWN or tcp_check UP", ""},
		{"not tcp_check DOWN", ""},
		{"!tcp_check(DOWN) && tcp_check(UP)", ""},
		{"tcp_check UP\nnot tcp_check DOWN", ""},
		{"tcp_check DOWN", "tcp_check DOWN: dial tcp 127.0.0.1:DOWN: connect: connection refused"},
		{"tcp_check UP and tcp_check DOWN", "tcp_check DOWN: dial"},
		{"tcp_check DOWN or tcp_check DOWN", "refused; tcp_check DOWN: dial"},
		{"not tcp_check UP", "not tcp_check UP: it is good"},
		{"tcp_check UP\ntcp_check DOWN", "tcp_check DOWN: dial"},
	} {
		if p := compile(t, src.Replace(c.src)); c.want == "" {
			good(t, p)
		} else {
			bad(t, p, src.Replace(c.want))
		}
	}
}

// A check that hangs is bad, and so is its opposite.
func TestTimeoutIsBadUnderNot(t *testing.T) {
	silent, _ := stalls(t, "")
	full := unanswered(t)
	leavesNothing(t)
	hangs(t, compile(t, "not tcp_check "+itoa(full)))
	hangs(t, compile(t, "not http_get '/', [200], "+itoa(silent)))
	hangs(t, compile(t, "not mysql_check 'root', nil, "+itoa(silent)))
	hangs(t, compile(t, "tcp_check "+itoa(full)+" or tcp_check "+itoa(silent)))
}
