package proxy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"murakumo/internal/catalog"
)

var errReset = syscall.ECONNRESET

func TestAlternates(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(says(t, "a"), says(t, "b"))
		h.apply(c)
		var got strings.Builder
		for range 10 {
			got.WriteString(h.ask(c))
		}
		if s := got.String(); s != "ababababab" && s != "bababababa" {
			t.Errorf("ten connections went to %s", s)
		}
	})
}

// TestStreams: random streams with pauses and half-closes both ways come out as
// they went in.
func TestStreams(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		// The backend sends a stream of its own beside taking the client's; the
		// first eight octets that it gets are the seed of what both say.
		ln := listen(t)
		serve(t, ln, func(c *net.TCPConn) {
			var s [8]byte
			if _, err := io.ReadFull(c, s[:]); err != nil {
				t.Error(err)
				return
			}
			exchange(t, c, bytes.Clone(s[:]), "backend", "client")
		})
		c := h.listener(ln.Addr())
		h.apply(c)
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				conn := h.dial(c)
				s := fmt.Appendf(nil, "%08x", uint32(seed)+uint32(i))[:8]
				if _, err := conn.Write(s); err != nil {
					t.Error(err)
					return
				}
				exchange(t, conn, s, "client", "backend")
			})
		}
		all.Wait()
		h.eventually("all ended", func() bool { return h.proxy.Stats()[0].Open == 0 })
	})
}

// exchange sends the stream of one side, closes its direction, and compares
// what comes with the other's stream.
func exchange(t *testing.T, c *net.TCPConn, seed []byte, mine, other string) {
	var both sync.WaitGroup
	both.Go(func() {
		rng, data := stream(seed, mine)
		for len(data) > 0 {
			n := min(len(data), 1+rng.IntN(100_000))
			if rng.IntN(8) == 0 {
				time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond) // a pause of the stream, no waiting
			}
			if _, err := c.Write(data[:n]); err != nil {
				t.Errorf("%s: write: %v", mine, err)
				return
			}
			data = data[n:]
		}
		if err := c.CloseWrite(); err != nil {
			t.Errorf("%s: %v", mine, err)
		}
	})
	both.Go(func() {
		rng, want := stream(seed, other)
		got := make([]byte, 0, len(want))
		buf := make([]byte, 200_000)
		for {
			if rng.IntN(8) == 0 {
				time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
			}
			n, err := c.Read(buf[:1+rng.IntN(len(buf)-1)])
			got = append(got, buf[:n]...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Errorf("%s: read after %d octets: %v", mine, len(got), err)
				return
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s got %d octets that differ from the %d of %s", mine, len(got), len(want), other)
		}
	})
	both.Wait()
}

// stream gives what a side says, by the seed: nothing, little or much.
func stream(seed []byte, side string) (*rand.Rand, []byte) {
	source := rand.NewChaCha8(sha256.Sum256(append(bytes.Clone(seed), side...)))
	rng := rand.New(source)
	data := make([]byte, []int{0, rng.IntN(2000), rng.IntN(200_000), rng.IntN(3_000_000)}[rng.IntN(4)])
	source.Read(data)
	return rng, data
}

// TestReset: a reset on one side is one on the other.
func TestReset(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		seen := make(chan error, 1)
		ln := listen(t)
		serve(t, ln, func(c *net.TCPConn) {
			b := make([]byte, 1)
			if _, err := io.ReadFull(c, b); err != nil {
				t.Error(err)
			}
			switch b[0] {
			case 'b': // the backend resets
				c.SetLinger(0)
				c.Close()
			case 'c': // the client is going to
				io.WriteString(c, "ok")
				_, err := c.Read(b)
				seen <- err
			}
		})
		c := h.listener(ln.Addr())
		h.apply(c)

		conn := h.dial(c)
		io.WriteString(conn, "b")
		if _, err := conn.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("the backend reset, the client got %v", err)
		}

		conn = h.dial(c)
		io.WriteString(conn, "c")
		io.ReadFull(conn, make([]byte, 2))
		conn.SetLinger(0)
		conn.Close()
		if err := <-seen; !isReset(err) {
			t.Errorf("the client reset, the backend got %v", err)
		}
	})
}

// TestLastWords: what a backend said before it broke off reaches the client.
func TestLastWords(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		ln := listen(t)
		serve(t, ln, func(c *net.TCPConn) {
			io.ReadFull(c, make([]byte, 10))
			io.WriteString(c, "no more, thank you") // and closes with octets unread: a reset
		})
		c := h.listener(ln.Addr())
		h.apply(c)
		conn := h.dial(c)
		io.WriteString(conn, "0123456789abcdef")
		got, _ := io.ReadAll(conn)
		if string(got) != "no more, thank you" {
			t.Errorf("got %q", got)
		}
	})
}

// TestBackpressure: a reader that does not read stops the sender, and memory
// does not grow by what it sends.
func TestBackpressure(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		release := make(chan struct{})
		got := make(chan int64, 1)
		ln := listen(t)
		serve(t, ln, func(c *net.TCPConn) {
			<-release
			n, _ := io.Copy(io.Discard, c)
			got <- n
		})
		c := h.listener(ln.Addr())
		h.apply(c)
		conn := h.dial(c)
		const most = 1 << 30
		chunk := make([]byte, 1<<20)
		var sent int64
		for sent < most {
			// A second without a taker is a full pipe; a slow machine only
			// makes the figure smaller.
			conn.SetWriteDeadline(time.Now().Add(time.Second))
			n, err := conn.Write(chunk)
			sent += int64(n)
			if err != nil {
				break
			}
		}
		if sent >= most {
			t.Errorf("%d octets were taken while nobody read", sent)
		}
		close(release)
		conn.CloseWrite()
		if n := <-got; n != sent {
			t.Errorf("%d octets sent, %d came", sent, n)
		}
	})
}

// TestSlowReader: small messages that a reader does not take wait here, each in
// a place of its own while others come and go through the same loop.
func TestSlowReader(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		release := make(chan struct{})
		got := make(chan []byte, 1)
		ln := listen(t)
		serve(t, ln, func(c *net.TCPConn) {
			<-release
			c.SetDeadline(time.Now().Add(patience))
			b, err := io.ReadAll(c)
			if err != nil {
				t.Error(err)
			}
			got <- b
		})
		slow, busy := h.listener(ln.Addr()), h.listener(echoes(t))
		slow.Name, busy.Name = "slow", "busy"
		h.proxy.Apply([]Config{slow, busy})
		h.eventually("listening", func() bool { return strings.Count(h.log.String(), "listens on") == 2 })
		h.eventually("backends", func() bool { s := h.proxy.Stats(); return len(s[0].Backends) == 1 && len(s[1].Backends) == 1 })
		sum := map[[32]byte]bool{}
		for i := range cap(got) {
			conn := h.dial(slow)
			rng := rand.NewChaCha8(sha256.Sum256([]byte{byte(i)}))
			var all bytes.Buffer
			// One message after the other, so that each is read by itself,
			// until one is not passed on any more.
			for stuck := false; !stuck; {
				b := make([]byte, 20_000)
				rng.Read(b)
				before := h.proxy.Stats()[0].Backends[0].Sent
				if _, err := conn.Write(b); err != nil {
					t.Fatal(err)
				}
				all.Write(b)
				stuck = true
				for range 300 {
					if h.proxy.Stats()[0].Backends[0].Sent == before+int64(len(b)) {
						stuck = false
						break
					}
					time.Sleep(100 * time.Microsecond) // looking again; nothing depends on how long
				}
			}
			sum[sha256.Sum256(all.Bytes())] = true
			conn.CloseWrite()
		}
		conn := h.dial(busy)
		for range 100 {
			b := bytes.Repeat([]byte("other octets"), 2000)
			go conn.Write(b)
			if _, err := io.ReadFull(conn, make([]byte, len(b))); err != nil {
				t.Fatal(err)
			}
		}
		close(release)
		for range cap(got) {
			if b := <-got; !sum[sha256.Sum256(b)] {
				t.Errorf("%d octets came that nobody sent", len(b))
			}
		}
	})
}

func TestRefusedIsSkipped(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(closedPort(t), says(t, "a"), closedPort(t))
		h.apply(c)
		for range 10 {
			if s := h.ask(c); s != "a" {
				t.Fatalf("got %q", s)
			}
		}
		st := h.proxy.Stats()[0]
		if st.Rejected != 0 {
			t.Errorf("%d clients were rejected", st.Rejected)
		}
		for _, b := range st.Backends {
			// Ejected after its first failure; the probes, a second apart at
			// first, may have found it still closed.
			if b.Total == 0 && (b.Failures < 1 || b.Status != "failing" || !strings.Contains(b.Why, "refused")) {
				t.Errorf("backend %v", b)
			}
		}
		if n := strings.Count(h.log.String(), "fails and is left alone"); n != 2 {
			t.Errorf("%d lines about failing backends, want one each:\n%s", n, h.log)
		}
	})
}

func TestSilentIsSkipped(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(silent(t), says(t, "a"))
		c.ConnectTimeout = 50 * time.Millisecond
		h.apply(c)
		for range 4 {
			if s := h.ask(c); s != "a" {
				t.Fatalf("got %q", s)
			}
		}
	})
}

// silent gives an address that takes no connections and refuses none: a socket
// whose backlog is full.
func silent(t *testing.T) net.Addr {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*syscall.SockaddrInet4).Port}
	for range 8 { // the backlog holds one or two; the rest is not answered
		c, err := net.DialTimeout("tcp", addr.String(), 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the backlog is not full")
	return nil
}

// TestNobody: the client is reset, the log has a line and not one a client.
func TestNobody(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(closedPort(t))
		h.apply(c)
		for range 50 {
			conn, err := net.Dial("tcp", c.Listen.String())
			if err == nil {
				conn.SetDeadline(time.Now().Add(patience))
				_, err = conn.Read(make([]byte, 1))
				conn.Close()
			}
			if !isReset(err) {
				t.Fatalf("the client got %v", err)
			}
		}
		h.eventually("counted", func() bool { return h.proxy.Stats()[0].Rejected == 50 })
		// 50 connections that are refused on loopback may take seconds on a
		// loaded machine, never one each.
		if n := strings.Count(h.log.String(), "no backend took"); n == 0 || n > 25 {
			t.Errorf("%d lines", n)
		}
	})
}

// TestOthersDoNotWait: a client that says nothing, a backend that hangs in its
// connect and one that never reads delay only themselves.
func TestOthersDoNotWait(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		good := h.listener(echoes(t))
		good.Name = "good"
		hanging := h.listener(silent(t))
		hanging.Name, hanging.ConnectTimeout, hanging.DrainTimeout = "hanging", time.Hour, time.Millisecond
		h.proxy.Apply([]Config{good, hanging})
		h.eventually("listening", func() bool { return strings.Count(h.log.String(), "listens on") == 2 })
		for range 20 {
			h.dial(hanging)
			h.dial(good) // and says nothing
		}
		conn := h.dial(good)
		io.WriteString(conn, "hello")
		if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
			t.Error(err)
		}
	})
}

func TestMaxConns(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(echoes(t))
		c.MaxConns = 2
		h.apply(c)
		first, second, third := h.dial(c), h.dial(c), h.dial(c)
		for _, conn := range []net.Conn{first, second, third} {
			io.WriteString(conn, "x")
		}
		for _, conn := range []net.Conn{first, second} {
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if st := h.proxy.Stats()[0]; st.Total != 2 {
			t.Errorf("%d connections were accepted beside max-conns: 2", st.Total)
		}
		first.Close()
		if _, err := io.ReadFull(third, make([]byte, 1)); err != nil {
			t.Errorf("the one in the backlog: %v", err)
		}
	})
}

func TestIdleTimeout(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(echoes(t))
		c.IdleTimeout = 30 * time.Millisecond
		h.apply(c)
		conn := h.dial(c)
		io.WriteString(conn, "x")
		// On a busy machine the time may be over before the echo is there.
		if b, err := io.ReadAll(conn); err != nil && !isReset(err) || !strings.HasPrefix("x", string(b)) {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// TestCut: connections to a member that left are reset, others stay.
func TestCut(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(echoes(t), echoes(t))
		c.Cut = true
		h.apply(c)
		a, b := h.dial(c), h.dial(c)
		for _, conn := range []net.Conn{a, b} {
			io.WriteString(conn, "x")
			io.ReadFull(conn, make([]byte, 1))
		}
		stays := h.proxy.Stats()[0].Backends[0]
		c.Backends = []Backend{{Host: stays.Addr.Addr().String(), Port: stays.Addr.Port(), Weight: 1}}
		h.apply(c)
		cut, kept := 0, 0
		for _, conn := range []net.Conn{a, b} {
			// A write that meets the reset takes the error with it.
			_, err := io.WriteString(conn, "y")
			if err == nil {
				_, err = io.ReadFull(conn, make([]byte, 1))
			}
			switch {
			case err == nil:
				kept++
			case isReset(err) || errors.Is(err, syscall.EPIPE):
				cut++
			default:
				t.Error(err)
			}
		}
		if cut != 1 || kept != 1 {
			t.Errorf("%d cut, %d kept", cut, kept)
		}
	})
}

// TestReload: a backend that is taken out gets no more connections; those that
// it has go on.
func TestReload(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		old := echoes(t)
		c := h.listener(old)
		h.apply(c)
		conn := h.dial(c)
		io.WriteString(conn, "x")
		io.ReadFull(conn, make([]byte, 1))
		fresh := says(t, "fresh")
		c.Backends = []Backend{backend(fresh)}
		h.apply(c)
		h.eventually("the new backend", func() bool {
			return h.proxy.Stats()[0].Backends[0].Addr == fresh.(*net.TCPAddr).AddrPort()
		})
		if s := h.ask(c); s != "fresh" {
			t.Errorf("got %q", s)
		}
		io.WriteString(conn, "y")
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Errorf("the connection from before: %v", err)
		}
		conn.Close()
		// Without listeners: nobody accepts.
		h.proxy.Apply(nil)
		h.eventually("closed", func() bool {
			conn, err := net.Dial("tcp", c.Listen.String())
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
	})
}

// TestDrain: at the end connections may finish, up to drain-timeout.
func TestDrain(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(echoes(t))
		h.apply(c)
		conn := h.dial(c)
		io.WriteString(conn, "x")
		io.ReadFull(conn, make([]byte, 1))
		stopped := make(chan struct{})
		go func() { h.stop(); close(stopped) }()
		h.eventually("no accepting", func() bool {
			conn, err := net.Dial("tcp", c.Listen.String())
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
		io.WriteString(conn, "y")
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Errorf("while draining: %v", err)
		}
		select {
		case <-stopped:
			t.Error("it did not wait for the connection")
		default:
		}
		conn.Close()
		<-stopped
	})
}

func TestDrainTimeout(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(echoes(t))
		c.DrainTimeout = 20 * time.Millisecond
		h.apply(c)
		conn := h.dial(c)
		io.WriteString(conn, "x")
		io.ReadFull(conn, make([]byte, 1))
		h.stop()
		if _, err := conn.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("after drain-timeout the client got %v", err)
		}
	})
}

// TestAddressInUse: it listens as soon as it can.
func TestAddressInUse(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		c := h.listener(says(t, "a"))
		blocker, err := net.Listen("tcp", c.Listen.String())
		if err != nil {
			t.Fatal(err)
		}
		h.proxy.Apply([]Config{c})
		h.eventually("a warning", func() bool {
			st := h.proxy.Stats()
			return len(st) == 1 && strings.Contains(st[0].Error, "in use") && strings.Contains(h.log.String(), "does not listen")
		})
		blocker.Close()
		h.eventually("listening", func() bool { return h.proxy.Stats()[0].Error == "" })
		h.eventually("a backend", func() bool { return len(h.proxy.Stats()[0].Backends) == 1 })
		if s := h.ask(c); s != "a" {
			t.Errorf("got %q", s)
		}
	})
}

// TestComesBack: an ejected backend is found again without a client's try.
func TestComesBack(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		dead := closedPort(t)
		c := h.listener(dead, says(t, "b"))
		h.apply(c)
		h.ask(c)
		h.ask(c)
		h.eventually("ejected", func() bool { return strings.Contains(h.log.String(), "left alone") })
		ln, err := net.ListenTCP("tcp", dead.(*net.TCPAddr))
		if err != nil {
			t.Skipf("somebody else took the port: %v", err)
		}
		serve(t, ln, func(c *net.TCPConn) { io.WriteString(c, "a") })
		h.eventually("good again", func() bool { return strings.Contains(h.log.String(), "is good again") })
		if s := h.ask(c) + h.ask(c); s != "ab" && s != "ba" {
			t.Errorf("got %s", s)
		}
	})
}

func TestProxyHeader(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		heads := make(chan []byte, 1)
		ln := listen(t)
		serve(t, ln, func(c *net.TCPConn) {
			b, _ := io.ReadAll(c)
			heads <- b
		})
		for version := 1; version <= 2; version++ {
			c := h.listener(ln.Addr())
			c.Name, c.SendProxy = fmt.Sprintf("v%d", version), version
			h.apply(c)
			conn := h.dial(c)
			io.WriteString(conn, "payload")
			conn.CloseWrite()
			b := <-heads
			n, err := headerLen(b)
			if err != nil || n == 0 {
				t.Fatalf("version %d: %q: %v", version, b, err)
			}
			from, err := parseHeader(b[:n], netip.AddrPort{})
			if err != nil || from != conn.LocalAddr().(*net.TCPAddr).AddrPort() || string(b[n:]) != "payload" {
				t.Errorf("version %d: %v says it is %v, then %q (%v)", version, conn.LocalAddr(), from, b[n:], err)
			}
		}
	})
}

// TestAcceptProxyHeader: a trusted client speaks for another one, and must.
func TestAcceptProxyHeader(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		heads := make(chan []byte, 1)
		ln := listen(t)
		serve(t, ln, func(c *net.TCPConn) {
			b, _ := io.ReadAll(c)
			heads <- b
		})
		c := h.listener(ln.Addr())
		c.SendProxy, c.AcceptProxyFrom = 1, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		h.apply(c)
		client := netip.MustParseAddrPort("192.0.2.7:4711")
		for version := 1; version <= 2; version++ {
			conn := h.dial(c)
			head := proxyHeader(version, client, c.Listen)
			for _, b := range head { // octet by octet
				conn.Write([]byte{b})
			}
			io.WriteString(conn, "payload")
			conn.CloseWrite()
			b := <-heads
			if !strings.HasPrefix(string(b), "PROXY TCP4 192.0.2.7 ") || !strings.HasSuffix(string(b), "\r\npayload") {
				t.Errorf("version %d: the backend got %q", version, b)
			}
		}
		for _, bad := range []string{"GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 nonsense\r\n", "PROXY " + strings.Repeat("x", 200)} {
			conn := h.dial(c)
			io.WriteString(conn, bad)
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("%.20q was taken: %v", bad, err)
			}
		}
	})
}

// TestTier: the highest tier with an Active record, and nothing of another.
func TestTier(t *testing.T) {
	rec := func(addr string, p catalog.Priority, w uint16, active bool) catalog.Entry {
		a := netip.MustParseAddr(addr)
		return catalog.Entry{Record: catalog.Record{Name: "db", Addr: a, Priority: p, Weight: w, Active: active}}
	}
	elsewhere := func(e catalog.Entry) catalog.Entry { e.Target = "www.example."; return e }
	for _, c := range []struct {
		entries []catalog.Entry
		want    string
	}{
		{nil, ""},
		{[]catalog.Entry{rec("10.0.0.1", catalog.Master, 100, true), rec("10.0.0.2", catalog.Secondary, 1, true), rec("10.0.0.3", catalog.Master, 7, true)}, "10.0.0.1:9*100 10.0.0.3:9*7"},
		{[]catalog.Entry{rec("10.0.0.1", catalog.Master, 100, false), rec("10.0.0.2", catalog.Secondary, 1, true), rec("10.0.0.3", catalog.Backup, 7, true)}, "10.0.0.2:9*1"},
		{[]catalog.Entry{rec("10.0.0.1", catalog.Master, 100, false), rec("10.0.0.3", catalog.Backup, 7, true)}, "10.0.0.3:9*7"},
		{[]catalog.Entry{rec("10.0.0.1", catalog.Master, 100, false)}, ""},
		{[]catalog.Entry{rec("10.0.0.1", catalog.Origin, 0, true)}, "10.0.0.1:9*1"},
		{[]catalog.Entry{elsewhere(rec("10.0.0.1", catalog.Master, 1, true)), rec("10.0.0.2", catalog.Backup, 1, true)}, ""},
		{[]catalog.Entry{elsewhere(rec("10.0.0.1", catalog.Master, 1, false)), rec("10.0.0.2", catalog.Backup, 1, true)}, "10.0.0.2:9*1"},
		{[]catalog.Entry{elsewhere(rec("10.0.0.1", catalog.Master, 1, true)), rec("10.0.0.2", catalog.Master, 1, true)}, "10.0.0.2:9*1"},
	} {
		var got []string
		for _, x := range Tier(&catalog.Name{Name: "db", Entries: c.entries}, 9) {
			got = append(got, fmt.Sprintf("%v*%d", x.Addr, x.Weight))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%v: got %s, want %s", c.entries, s, c.want)
		}
	}
}
