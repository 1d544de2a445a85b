package nameserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestTCPPipelining: questions on one connection are answered as the answers
// are ready, and those asked before the client closed its side all the same.
func TestTCPPipelining(t *testing.T) {
	release := make(chan struct{})
	addr := serve(t, Config{Resolvers: via(
		upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
			<-release
			answerA(w, r, "192.0.2.1")
		}),
	)})
	c := dial(t, "tcp", addr)
	send(t, c, question("example.org.", dns.TypeA), question("db.", dns.TypeA), question("spare.", dns.TypeA))
	for _, want := range []string{"db.", "spare."} {
		if r := receive(t, c); r.Question[0].Name != want {
			t.Fatalf("got %v, want %s", r.Question, want)
		}
	}
	fatal(t, c.Conn.(*net.TCPConn).CloseWrite())
	close(release)
	if r := receive(t, c); r.Question[0].Name != "example.org." || len(r.Answer) != 1 {
		t.Fatalf("got %v", r)
	}
	if _, err := c.ReadMsg(); err != io.EOF {
		t.Errorf("after the last answer: %v, want EOF", err)
	}
}

// TestTCPPipelinedBound: one connection does not take all places of questions
// that wait for resolvers. What it asks beyond its own waits in its socket.
func TestTCPPipelinedBound(t *testing.T) {
	const all = 3 * maxPipelined
	var now, most atomic.Int64
	full, release := make(chan struct{}), make(chan struct{})
	var once sync.Once // after the release there may be as many again
	var names sync.Map // on a busy machine some are asked again
	addr := serve(t, Config{Resolvers: via(
		upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
			if _, again := names.LoadOrStore(strings.ToLower(r.Question[0].Name), true); !again {
				n := now.Add(1)
				defer now.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				if n == maxPipelined {
					once.Do(func() { close(full) })
				}
			}
			<-release
			answerA(w, r, "192.0.2.1")
		}),
	)})
	c := dial(t, "tcp", addr)
	go func() {
		for i := range all {
			c.WriteMsg(question(fmt.Sprintf("%d.example.", i), dns.TypeA))
		}
	}()
	<-full
	for range 200 { // time for one more, if there were to be one
		ask(t, "udp", addr, question("db.", dns.TypeA))
	}
	if n := most.Load(); n > maxPipelined {
		t.Errorf("%d questions of one connection waited at once, want at most %d", n, maxPipelined)
	}
	close(release)
	for range all {
		if r := receive(t, c); len(r.Answer) != 1 {
			t.Fatalf("got %v", r)
		}
	}
}

// TestTCPManyPipelined: however much is asked at once, each question has its
// answer.
func TestTCPManyPipelined(t *testing.T) {
	const all = 10000
	c := dial(t, "tcp", serve(t, Config{}))
	go func() {
		m := question("db.", dns.TypeA)
		for i := range all {
			m.Id = uint16(i)
			c.WriteMsg(m)
		}
	}()
	for i := range all {
		if r := receive(t, c); r.Id != uint16(i) || len(r.Answer) != 1 {
			t.Fatalf("answer %d: %v", i, r)
		}
	}
}

// TestTCPIdle: who sends nothing, or octet by octet, is cut off.
func TestTCPIdle(t *testing.T) {
	addr := serve(t, Config{}, func(s *Server) { s.idle = time.Second })
	t.Run("nothing after a question", func(t *testing.T) {
		c := dial(t, "tcp", addr)
		send(t, c, question("db.", dns.TypeA))
		receive(t, c)
		if _, err := c.ReadMsg(); err != io.EOF {
			t.Errorf("%v, want EOF", err)
		}
	})
	t.Run("octet by octet", func(t *testing.T) {
		c := dial(t, "tcp", addr)
		cut := make(chan struct{})
		go func() {
			io.Copy(io.Discard, c.Conn)
			close(cut)
		}()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range 200 { // 4 s
			select {
			case <-cut:
				return
			case <-tick.C:
				c.Conn.Write([]byte{1}) // fails once it is cut
			}
		}
		t.Error("still connected")
	})
}

// TestTCPLong: what no question needs to be is refused like what is cut over UDP,
// and the connection goes on.
func TestTCPLong(t *testing.T) {
	c := dial(t, "tcp", serve(t, Config{}))
	long := append(packed(t, question("db.", dns.TypeA)), make([]byte, 60000)...)
	binary.BigEndian.PutUint16(long[10:], 1) // a record of all the rest
	binary.BigEndian.PutUint16(long[len(long)-60000+9:], 60000-11)
	_, err := c.Write(long)
	fatal(t, err)
	if r := receive(t, c); r.Rcode != dns.RcodeFormatError {
		t.Errorf("got %v", r)
	}
	send(t, c, question("db.", dns.TypeA))
	if r := receive(t, c); len(r.Answer) != 1 {
		t.Errorf("after it: %v", r)
	}
}

// untilIdle waits until so many connections are idle.
func untilIdle(t *testing.T, conns *connections, want int) {
	t.Helper()
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		conns.mu.Lock()
		n := conns.idle.Len()
		conns.mu.Unlock()
		if n == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections are idle, want %d", n, want)
		}
	}
}

// TestTCPLimit: when all places are taken the connection that is idle for longest
// is closed, one that waits for an answer never.
func TestTCPLimit(t *testing.T) {
	var conns *connections
	log := &logBuffer{}
	asked, release := make(chan struct{}), make(chan struct{})
	addr := serve(t, Config{Log: log.logger(), Resolvers: via(
		upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
			asked <- struct{}{}
			<-release
			answerA(w, r, "192.0.2.1")
		}),
	)}, func(s *Server) {
		conns = newConnections(3, 3)
		s.conns = conns
	})
	answered := func(c *dns.Conn) {
		t.Helper()
		send(t, c, question("db.", dns.TypeA))
		if r := receive(t, c); len(r.Answer) != 1 {
			t.Fatalf("got %v", r)
		}
		untilIdle(t, conns, 2) // the reply comes a moment before
	}
	waits, first, second := dial(t, "tcp", addr), dial(t, "tcp", addr), dial(t, "tcp", addr)
	send(t, waits, question("example.org.", dns.TypeA))
	<-asked
	answered(first)
	answered(second)
	answered(first) // so the second is idle for longer

	third := dial(t, "tcp", addr)
	answered(third)
	if _, err := second.ReadMsg(); err == nil {
		t.Fatal("the connection that was idle for longest is still there")
	}
	answered(first)
	if !strings.Contains(log.String(), "too many TCP connections") {
		t.Errorf("log: %s", log)
	}
	close(release)
	if r := receive(t, waits); len(r.Answer) != 1 {
		t.Errorf("the one that waited got %v", r)
	}
}

// TestTCPAllWait: nobody is cut off who waits for an answer, not even for a
// client with a new question; and there is room again when one has it.
func TestTCPAllWait(t *testing.T) {
	var conns *connections
	asked, release := make(chan struct{}), make(chan struct{})
	addr := serve(t, Config{Resolvers: via(
		upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
			asked <- struct{}{}
			<-release
			answerA(w, r, "192.0.2.1")
		}),
	)}, func(s *Server) {
		conns = newConnections(1, 1)
		s.conns = conns
	})
	waits := dial(t, "tcp", addr)
	send(t, waits, question("example.org.", dns.TypeA))
	<-asked
	if _, err := dial(t, "tcp", addr).ReadMsg(); err == nil {
		t.Fatal("a second connection was served")
	}
	close(release)
	if r := receive(t, waits); len(r.Answer) != 1 {
		t.Fatalf("got %v", r)
	}
	untilIdle(t, conns, 1)
	c := dial(t, "tcp", addr)
	send(t, c, question("db.", dns.TypeA))
	if r := receive(t, c); len(r.Answer) != 1 {
		t.Errorf("got %v", r)
	}
}

// TestConnections: each client has its share, of which its own oldest gives way;
// only when all places are taken others' do.
func TestConnections(t *testing.T) {
	table := newConnections(5, 2)
	closed := map[string]bool{}
	open := map[string]*connection{}
	add := func(name, from string) bool {
		c, _ := table.add(closer{func() { closed[name] = true }}, netip.MustParseAddr(from))
		if c != nil {
			open[name] = c
		}
		return c != nil
	}
	state := func() string {
		var gone []string
		for _, n := range []string{"a1", "a2", "a3", "b1", "c1", "d1", "e1", "f1"} {
			if closed[n] {
				gone = append(gone, n)
			}
		}
		return fmt.Sprintf("%d open, closed %v", table.open, gone)
	}
	step := func(what string, want string) {
		t.Helper()
		if got := state(); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	add("b1", "10.0.0.2")
	add("a1", "10.0.0.1")
	add("a2", "::ffff:10.0.0.1")
	step("each its own", "3 open, closed []")
	add("a3", "10.0.0.1")
	step("one more than its share", "3 open, closed [a1]")
	add("c1", "2001:db8::1%eth0")
	add("d1", "2001:db8::ffff:1")
	step("one network of IPv6 is one client", "5 open, closed [a1]")
	table.waiting(open["b1"])
	add("e1", "2001:db8:0:1::1")
	step("all places taken: the oldest that does not wait", "5 open, closed [a1 a2]")
	table.remove(open["a1"])
	step("one that was closed ends", "5 open, closed [a1 a2]")
	table.waiting(open["b1"])
	table.answered(open["b1"])
	add("f1", "10.0.0.9")
	step("it still waits for another answer", "5 open, closed [a1 a2 a3]")
	table.answered(open["b1"])
	for _, n := range []string{"c1", "d1", "e1", "f1"} {
		table.waiting(open[n])
	}
	table.makeRoom()
	step("it has both", "4 open, closed [a1 a2 a3 b1]")
	for _, n := range []string{"c1", "d1", "e1", "f1"} {
		table.remove(open[n])
	}
	step("all ended", "0 open, closed [a1 a2 a3 b1]")
	if len(table.hosts) != 0 || table.idle.Len() != 0 {
		t.Errorf("left behind: %v, %d idle", table.hosts, table.idle.Len())
	}
}

// closer is a connection that can only be closed.
type closer struct{ fn func() }

func (c closer) Close() error { c.fn(); return nil }

// TestTCPFlood: many thousand connections that send nothing, or octet by octet,
// take no more than their places and little memory, and neither questions over
// UDP nor a new one over TCP go without an answer.
func TestTCPFlood(t *testing.T) {
	var limit syscall.Rlimit
	fatal(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	flood := int(min(10000, limit.Cur-maxConns-500))
	if flood < 3*maxConns {
		t.Fatalf("a limit of %d open files is too low for a flood: raise it (ulimit -n)", limit.Cur)
	}
	s := newServer(t, Config{Bind: []netip.Addr{netip.IPv4Unspecified()}})
	start(t, s)
	port := s.Addrs()[0].Port()
	at := netip.AddrPortFrom(loopback, port)

	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	bounds := func(when string) {
		t.Helper()
		s.conns.mu.Lock()
		defer s.conns.mu.Unlock()
		most := 0
		for _, n := range s.conns.hosts {
			most = max(most, n)
		}
		if s.conns.open > maxConns || most > maxConnsOfHost {
			t.Fatalf("%s: %d connections are open, %d of one client", when, s.conns.open, most)
		}
	}
	udp := dial(t, "udp", at)
	before := memory()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	frame := binary.BigEndian.AppendUint16(nil, 30000) // of which little comes
	for i := range flood {
		// One client has a third of them, the rest come from all over.
		host := netip.AddrFrom4([4]byte{127, 0, 1, 1})
		if i%3 > 0 {
			host = netip.AddrFrom4([4]byte{127, 0, 2, byte(1 + i%250)})
		}
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(host, 0)), Timeout: patience}
		c, err := d.Dial("tcp", at.String())
		fatal(t, err)
		conns = append(conns, c)
		if i%2 == 0 {
			c.Write(frame)
		}
		if i%100 == 0 {
			for _, c := range conns[max(0, len(conns)-3*maxConns):] {
				if i%200 == 0 {
					c.Write([]byte{0}) // fails on those that are closed
				}
			}
			fatal(t, udp.SetDeadline(time.Now().Add(patience)))
			send(t, udp, question("db.", dns.TypeA))
			if r := receive(t, udp); len(r.Answer) != 1 {
				t.Fatalf("over UDP, after %d: %v", i, r)
			}
			bounds(fmt.Sprintf("after %d", i))
		}
	}
	if r := ask(t, "tcp", at, question("db.", dns.TypeA)); len(r.Answer) != 1 {
		t.Errorf("over TCP: %v", r)
	}
	// A connection costs a goroutine and what it reads into; the client's half is
	// in this process, too.
	used := int64(memory()) - int64(before)
	t.Logf("%d connections, of which %d are open: %d MiB more are used", flood, maxConns, used>>20)
	if used > int64(flood*4<<10+maxConns*64<<10) {
		t.Error("that is too much")
	}
}

// TestTCPDoesNotRead: a client that asks and does not read keeps nobody from the
// answers of resolvers, and is cut off when too much waits for it.
func TestTCPDoesNotRead(t *testing.T) {
	text := strings.Repeat("x", 200)
	addr := serve(t, Config{Resolvers: via(
		upstream(t, func(w dns.ResponseWriter, r *dns.Msg) {
			m, texts := new(dns.Msg).SetReply(r), 5 // which fit into a packet
			if _, udp := w.RemoteAddr().(*net.UDPAddr); !udp {
				texts = 250
			} else if r.Question[0].Qtype == dns.TypeSPF {
				m.Truncated, texts = true, 0
			}
			for i := range texts {
				m.Answer = append(m.Answer, &dns.TXT{
					Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1},
					Txt: []string{fmt.Sprint(i) + text},
				})
			}
			w.WriteMsg(m)
		}),
	)}, func(s *Server) { s.slow = time.Hour }) // or it would end by itself
	// asks asks without an end, and gives the error that ends it: having waited for
	// so long when the server does not read, either.
	asks := func(qtype uint16, wait time.Duration) error {
		d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		}}
		c, err := d.Dial("tcp", addr.String())
		fatal(t, err)
		t.Cleanup(func() { c.Close() })
		conn := &dns.Conn{Conn: c}
		for i := 0; ; i++ {
			c.SetDeadline(time.Now().Add(wait))
			if err := conn.WriteMsg(question(fmt.Sprintf("%d.example.", i), qtype).SetEdns0(1232, false)); err != nil {
				return err
			}
		}
	}
	others := func() {
		t.Helper()
		udp := dial(t, "udp", addr)
		for i := range 100 {
			send(t, udp, question(fmt.Sprintf("%d.example.net.", i), dns.TypeTXT).SetEdns0(1232, false))
			if r := receive(t, udp); len(r.Answer) != 5 {
				t.Fatalf("got %v", r)
			}
		}
	}
	if err := asks(dns.TypeTXT, time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("packets: %v, want the server to read no more", err)
	}
	others()
	if err := asks(dns.TypeSPF, patience); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("64 times 50 KiB: still connected")
	}
	others()
}
