package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
)

// follow starts a Watch and gives its events; the channel's end is Watch's.
func follow(t *testing.T, ctx context.Context, c *Client) (events chan Event, ended chan error) {
	t.Helper()
	events, ended = make(chan Event), make(chan error, 1)
	go func() {
		ended <- c.Watch(ctx, func(e Event) error {
			select {
			case events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	if e := <-events; e.Kind != EventReady || e.Member.Address != self || e.Member.Name != "server-01" {
		t.Errorf("first event: %v", e)
	}
	return events, ended
}

func TestWatch(t *testing.T) {
	n := fourRecords(t)
	c, _ := serve(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	events, ended := follow(t, ctx, c)

	start := time.Now()
	if _, err := c.AddRecords(ctx, RecordSpec{Name: "web", TTL: 30, Priority: catalog.Master, Weight: 5}); err != nil {
		t.Fatal(err)
	}
	e := <-events
	if got, want := e.String(), "10.0.0.133 web: added: ttl 30, master, weight 5, active"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if e.Kind != EventRecordAdded || !e.Record.Own || e.Time.Before(start.Add(-time.Second)) || e.Time.After(time.Now()) {
		t.Errorf("got %+v", e)
	}
	n.SetStatus(peer, catalog.Dead, time.Now())
	var got []string
	for range 3 {
		e := <-events
		got = append(got, e.String())
	}
	if g, w := strings.Join(got, "; "), "node 10.0.0.55 server-02: lost; 10.0.0.55 mysql-server: gone; 10.0.0.55 server-02: gone"; g != w {
		t.Errorf("got %s, want %s", g, w)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Watch after its end: %v", err)
	}
}

func TestWatchPassesOnItsCallersError(t *testing.T) {
	c, _ := serve(t, newFakeNode(t))
	broken := errors.New("broken pipe")
	if err := c.Watch(t.Context(), func(Event) error { return broken }); err != broken {
		t.Errorf("got %v", err)
	}
}

// Streams end at once when the server does, and their readers hear of it.
func TestServerEndsStreamsAtOnce(t *testing.T) {
	c, stop := serve(t, newFakeNode(t))
	_, ended := follow(t, t.Context(), c)
	start := time.Now()
	stop()
	if took := time.Since(start); took >= endPatience {
		t.Errorf("took %v", took)
	}
	err := <-ended
	if err == nil || !strings.Contains(err.Error(), "is stopping") || KindOf(err) != Unavailable {
		t.Errorf("the reader hears %v", err)
	}
	if _, err := os.Lstat(c.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// Requests under way are answered before Run returns; those that take too long
// are cancelled.
func TestServerEndWaitsForRequests(t *testing.T) {
	t.Run("answered", func(t *testing.T) {
		begun, finish := make(chan struct{}), make(chan struct{})
		n := newFakeNode(t)
		n.before = func(context.Context, string, []string) error {
			close(begun)
			<-finish
			return nil
		}
		c, stop := serve(t, n)
		answered := make(chan error, 1)
		go func() { answered <- c.AddNodes(context.Background(), "10.0.0.9") }()
		<-begun
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		// The end has begun when the socket is gone.
		for {
			if _, err := net.Dial("unix", c.path); err != nil {
				break
			}
		}
		close(finish)
		if err := <-answered; err != nil {
			t.Errorf("got %v", err)
		}
		<-stopped
	})
	t.Run("cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			begun := make(chan struct{})
			var cancelled time.Duration
			var start time.Time
			n := newFakeNode(t)
			n.before = func(ctx context.Context, _ string, _ []string) error {
				close(begun)
				<-ctx.Done()
				cancelled = time.Since(start)
				return ctx.Err()
			}
			c, stop := servePipe(t, n)
			go c.AddNodes(context.Background(), "10.0.0.9")
			<-begun
			start = time.Now()
			stop()
			if cancelled != endPatience {
				t.Errorf("cancelled after %v", cancelled)
			}
		})
	})
}

// servePipe is serve in a bubble.
func servePipe(t *testing.T, node Node) (*Client, func()) {
	l := newPipeListener()
	s := &Server{l: l, path: "pipe", h: newHandler(node, noLog), log: noLog}
	c := NewClient("pipe")
	c.dial = l.dial
	return c, runServer(t, s)
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		c, _ := servePipe(t, n)
		conn, err := c.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /v1/events HTTP/1.1\r\nHost: m\r\n\r\n")
		in := bufio.NewReader(conn)
		next := func(prefix string) time.Duration {
			start := time.Now()
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(line, prefix) {
					return time.Since(start)
				}
			}
		}
		next("event: ready")
		for range 100 { // far beyond the deadlines of ordinary requests
			if after := next(": "); after != heartbeat {
				t.Fatalf("a heartbeat after %v, want %v", after, heartbeat)
			}
		}
		n.put(t, catalog.Record{Name: "web", Addr: self, Priority: catalog.Master, Weight: 1})
		if after := next("event: record-added"); after != 0 {
			t.Errorf("told %v late", after)
		}
	})
}

// A stream outlives any silence of the table, and is given up on when the
// heartbeats stop.
func TestWatchSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		c, _ := servePipe(t, n)
		ctx, cancel := context.WithCancel(t.Context())
		events, ended := follow(t, ctx, c)
		time.Sleep(time.Hour)
		n.put(t, catalog.Record{Name: "web", Addr: self, Priority: catalog.Master, Weight: 1})
		if e := <-events; e.Kind != EventRecordAdded {
			t.Errorf("got %v", e)
		}
		cancel()
		<-ended

		// A daemon that was stopped (SIGSTOP) accepts and says nothing.
		silent := newPipeListener()
		defer silent.Close()
		c.dial = silent.dial
		go func() {
			conn, err := silent.Accept()
			if err == nil {
				defer conn.Close()
				bufio.NewReader(conn).ReadString('\n')
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nServer: murakumo/1\r\n\r\nevent: ready\ndata: {}\n\n")
				io.Copy(io.Discard, conn)
			}
		}()
		start := time.Now()
		err := c.Watch(t.Context(), func(Event) error { return nil })
		if took := time.Since(start); took != silencePatience {
			t.Errorf("gave up after %v", took)
		}
		if err == nil || !strings.Contains(err.Error(), "murakumo on pipe is silent: no answer within 45s") {
			t.Errorf("got %v", err)
		}
	})
}

// A reader that takes nothing is told the newest state when it reads again: the
// states between cost nothing, neither memory nor the others' time.
func TestSlowReaderGetsTheLatestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		c, _ := servePipe(t, n)
		events, _ := follow(t, t.Context(), c)
		put := func(ttl uint32) {
			n.put(t, catalog.Record{Name: "web", Addr: self, TTL: ttl, Priority: catalog.Master, Weight: 1})
		}
		put(1)
		first := <-events
		for ttl := range uint32(10_000) {
			put(ttl + 2)
			if ttl%100 == 0 {
				synctest.Wait() // let the stream write what it can
			}
		}
		seen, last := 0, first
		for last.Record.TTL != 10_001 {
			last = <-events
			seen++
		}
		// What fits into the few buffers on the way is told step by step.
		if seen > 200 {
			t.Errorf("%d events were kept for a reader that did not read", seen)
		}
		if last.Record.TTL != 10_001 {
			t.Errorf("last: %v", last)
		}
	})
}

// A reader that takes nothing for a minute loses its place.
func TestStoppedReaderIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		l := newPipeListener()
		h := newHandler(n, noLog)
		runServer(t, &Server{l: l, path: "pipe", h: h, log: noLog})
		conn, err := l.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /v1/events HTTP/1.1\r\nHost: m\r\n\r\n")
		synctest.Wait()
		time.Sleep(streamPatience - time.Millisecond)
		synctest.Wait()
		if len(h.streams) != 1 {
			t.Error("cut off before its time")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if len(h.streams) != 0 {
			t.Error("still open")
		}
	})
}

// Forgotten followers do not keep an operator from looking.
func TestStreamLimit(t *testing.T) {
	c, _ := serve(t, newFakeNode(t))
	ctx, cancel := context.WithCancel(t.Context())
	var ends []chan error
	for range maxStreams {
		_, ended := follow(t, ctx, c)
		ends = append(ends, ended)
	}
	err := c.Watch(ctx, func(Event) error { return nil })
	if err == nil || KindOf(err) != Unavailable || !strings.Contains(err.Error(), "32 event streams are open already") {
		t.Errorf("one more: %v", err)
	}
	if _, err := c.Records(ctx, ""); err != nil {
		t.Errorf("a command beside them: %v", err)
	}
	cancel()
	for _, ended := range ends {
		<-ended
	}
}

// who dawdles over a request is cut off.
func TestSlowRequests(t *testing.T) {
	for _, c := range []struct {
		name, begin string
		after       time.Duration
	}{
		{"nothing at all", "", 5 * time.Second},
		{"half a header", "GET /v1/records HTTP/1.1\r\nHo", 5 * time.Second},
		{"half a body", "POST /v1/records HTTP/1.1\r\nHost: m\r\nContent-Length: 9\r\n\r\n{", 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, _ := servePipe(t, newFakeNode(t))
				conn, err := client.dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				start := time.Now()
				go io.WriteString(conn, c.begin)
				io.Copy(io.Discard, conn)
				if took := time.Since(start); took < c.after || took > c.after+time.Second {
					t.Errorf("cut off after %v, want %v", took, c.after)
				}
			})
		})
	}
}

// No request holds up another one.
func TestRequestsRunSideBySide(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	n := newFakeNode(t)
	n.before = func(context.Context, string, []string) error {
		close(begun)
		<-finish
		return nil
	}
	c, _ := serve(t, n)
	joined := make(chan error, 1)
	go func() { joined <- c.AddNodes(context.Background(), "10.0.0.9") }()
	<-begun
	for range 100 {
		if _, err := c.Records(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	close(finish)
	if err := <-joined; err != nil {
		t.Error(err)
	}
}
