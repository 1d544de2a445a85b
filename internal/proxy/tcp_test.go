package proxy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
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
	engines := maps.Clone(engines)
	// One loop, so that both listeners' connections are read into one buffer.
	engines["native"] = func() (engine, error) { return newEngine(1) }
	eachOf(t, engines, func(t *testing.T, h *harness) {
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
	elsewhere := func(e catalog.Entry) catalog.Entry { e.Record = e.WithTarget("www.example."); return e }
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
		for _, x := range Tier(c.entries, 9) {
			got = append(got, fmt.Sprintf("%v*%d", x.Addr, x.Weight))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%v: got %s, want %s", c.entries, s, c.want)
		}
	}
}
