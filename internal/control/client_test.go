package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
)

func TestClientRoundTrip(t *testing.T) {
	n := fourRecords(t)
	c, _ := serve(t, n)
	ctx := t.Context()

	if got, err := c.Records(ctx, "BACKUP"); err != nil || lines(got) != "  10.0.0.55 mysql-server backup 100 active\n" {
		t.Errorf("records: %v, %v", got, err)
	}
	if got, err := c.Records(ctx, "no such & thing=?#"); err != nil || len(got) != 0 {
		t.Errorf("records of an odd phrase: %v, %v", got, err)
	}
	got, err := c.AddRecords(ctx,
		RecordSpec{Name: "web", TTL: 0, Priority: catalog.Master, Weight: 1},
		RecordSpec{Name: "db", TTL: 5, Priority: catalog.Secondary, Weight: 2})
	if err != nil || lines(got) != "* 10.0.0.133 web master 1 active\n* 10.0.0.133 db secondary 2 active\n" {
		t.Errorf("add: %v, %v", got, err)
	}
	if err := c.DeleteRecords(ctx, "web", "db"); err != nil {
		t.Errorf("delete: %v", err)
	}
	err = c.DeleteRecords(ctx, "server-01")
	if KindOf(err) != Conflict || err.Error() != "original host name cannot be deleted" {
		t.Errorf("delete the origin: %v", err)
	}
	if got, err := c.Nodes(ctx); err != nil || len(got) != 2 || got[1].Name != "server-01" || !got[1].Own {
		t.Errorf("nodes: %v, %v", got, err)
	}
	if err := c.AddNodes(ctx, "10.0.0.9", "[fd00::9]:10870"); err != nil {
		t.Errorf("add nodes: %v", err)
	}
	if err := c.DeleteNodes(ctx, "10.0.0.9", "[fd00::9]:10870"); err != nil {
		t.Errorf("delete nodes: %v", err)
	}
	if got, want := strings.Join(n.hosts, " "), "10.0.0.9 [fd00::9]:10870 -10.0.0.9 -[fd00::9]:10870"; got != want {
		t.Errorf("hosts: %s, want %s", got, want)
	}
	if got, want := lines(Table(n.View())), lines(Table(fourRecords(t).View())); got != want {
		t.Errorf("left in the table:\n%s", got)
	}
}

// What makes no sense is refused without asking, in the daemon's own words.
func TestClientChecksFirst(t *testing.T) {
	ctx := t.Context()
	c := NewClient(filepath.Join(shortDir(t), "nobody"))
	_, phrase := c.Records(ctx, "(")
	_, weight := c.AddRecords(ctx, RecordSpec{Name: "web", Priority: catalog.Master})
	_, twice := c.AddRecords(ctx, RecordSpec{Name: "web", Priority: catalog.Master, Weight: 1}, RecordSpec{Name: "WEB", Priority: catalog.Master, Weight: 1})
	for _, c := range []struct {
		err  error
		want string
	}{
		{phrase, "phrase \"(\" is no regular expression"},
		{weight, "records[0].weight: 0 is not in 1 … 65535"},
		{twice, "records[1].name: \"web\" is named twice"},
		{c.DeleteRecords(ctx, "a b"), "has a character that is not allowed"},
		{c.DeleteRecords(ctx), "the list is empty"},
		{c.AddNodes(ctx, "a:b:c"), "expected an address or a name"},
		{c.DeleteNodes(ctx, "a", "a"), "\"a\" is named twice"},
	} {
		if c.err == nil || KindOf(c.err) != Invalid || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("got %v, want %s", c.err, c.want)
		}
	}
}

// answerWith makes a listener at path that answers every connection with text.
func answerWith(t *testing.T, path, text string) {
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(c).ReadString('\n')
			io.WriteString(c, text)
			c.Close()
		}
	}()
}

func TestClientSaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, path string)
		want    string // %s is the path
	}{
		{"missing", func(*testing.T, string) {}, "no control socket %s: is murakumo running? -S or its `socket:` says where it listens"},
		{"dead", deadSocket, "nobody listens on %s: murakumo ended without removing it, or it is no socket; start murakumo, or name another socket with -S"},
		{"a file", func(t *testing.T, path string) { os.WriteFile(path, nil, 0o600) }, "nobody listens on %s: "},
		{"datagrams", func(t *testing.T, path string) {
			c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
		}, "%s is a socket of another kind, not murakumo's"},
		{"hangs up", func(t *testing.T, path string) { answerWith(t, path, "") }, "murakumo on %s hung up: it is ending, or it serves only root and its own user"},
		{"another program", func(t *testing.T, path string) {
			answerWith(t, path, "HTTP/1.1 200 OK\r\nServer: docker\r\nContent-Length: 0\r\n\r\n")
		}, "what answers on %s is not murakumo"},
		{"no HTTP", func(t *testing.T, path string) { answerWith(t, path, "220 mail.example.org ESMTP\r\n") }, "ask murakumo on %s: "},
		{"half an answer", func(t *testing.T, path string) {
			answerWith(t, path, "HTTP/1.1 200 OK\r\nServer: murakumo/1\r\nContent-Length: 99\r\n\r\n{\"nodes\":[")
		}, "murakumo on %s hung up"},
		{"an answer without a sentence", func(t *testing.T, path string) {
			answerWith(t, path, "HTTP/1.1 502 Bad Gateway\r\nServer: murakumo/1\r\nContent-Length: 5\r\n\r\nsorry")
		}, "murakumo answered 502 Bad Gateway"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(shortDir(t), "s")
			c.prepare(t, path)
			want := strings.ReplaceAll(c.want, "%s", path)
			client := NewClient(path)
			if _, err := client.Nodes(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("Nodes:\ngot  %v\nwant %s", err, want)
			}
			if c.name == "half an answer" {
				return // is a whole, if empty, stream
			}
			err := client.Watch(t.Context(), func(Event) error { return nil })
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("Watch:\ngot  %v\nwant %s", err, want)
			}
		})
	}
}

// Permission is a matter of the directory or the socket; root has it always.
func TestClientWithoutPermission(t *testing.T) {
	c := NewClient("/run/s")
	c.dial = func(context.Context) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", os.ErrPermission)}
	}
	_, err := c.Nodes(t.Context())
	if want := "no permission for /run/s: ask as root or as the user that murakumo runs as"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A daemon that accepts and never answers is given up on in time, and one's own
// cancelling stays what it is.
func TestClientTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go io.Copy(io.Discard, c)
			}
		}()
		c := NewClient("/run/s")
		c.dial = l.dial
		for _, ask := range []struct {
			name  string
			after time.Duration
			do    func(context.Context) error
		}{
			{"list", 10 * time.Second, func(ctx context.Context) error { _, err := c.Records(ctx, ""); return err }},
			{"add", 25 * time.Second, func(ctx context.Context) error {
				_, err := c.AddRecords(ctx, RecordSpec{Name: "a", Priority: catalog.Backup, Weight: 1})
				return err
			}},
			{"delete", 25 * time.Second, func(ctx context.Context) error { return c.DeleteRecords(ctx, "a") }},
			{"join", 25 * time.Second, func(ctx context.Context) error { return c.AddNodes(ctx, "a") }},
			{"watch", 45 * time.Second, func(ctx context.Context) error { return c.Watch(ctx, nil) }},
		} {
			start := time.Now()
			err := ask.do(t.Context())
			if took := time.Since(start); took != ask.after {
				t.Errorf("%s: took %v, want %v", ask.name, took, ask.after)
			}
			if want := fmt.Sprintf("murakumo on /run/s is silent: no answer within %v; its log may say why", ask.after); err == nil || err.Error() != want {
				t.Errorf("%s: got %v, want %s", ask.name, err, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Nodes(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's own deadline: %v", err)
		}
	})
}

func TestReadEvents(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       string // what was told
		err        string
	}{
		{"two and a heartbeat", "event: ready\ndata: {}\n\n: still here\n\nevent: changed\ndata: {\"time\":\"2026-11-23T00:00:00Z\"}\n\n", "ready changed", "EOF"},
		{"of a later version", "event: moon\ndata: {\"phase\":3}\n\n", "moon", "EOF"},
		{"cut within one", "event: ready\ndata: {}\n\nevent: changed\n", "ready", "EOF"},
		{"garbage", "event: ready\ndata: nonsense\n\n", "", "read an event: "},
		{"endless", "event: " + strings.Repeat("x", maxBody), "", "token too long"},
	} {
		var told []string
		err := readEvents(strings.NewReader(c.text), func(e Event) error {
			told = append(told, e.String())
			return nil
		}, func() {})
		if got := strings.Join(told, " "); got != c.want || err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %q, %v; want %q, %s", c.name, got, err, c.want, c.err)
		}
	}
}

func ExampleClient_Watch() {
	c := NewClient("/run/murakumo/murakumo.sock")
	err := c.Watch(context.Background(), func(e Event) error {
		_, err := fmt.Println(e.Time.Format(time.TimeOnly), e)
		return err
	})
	fmt.Println(err)
}
