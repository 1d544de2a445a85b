package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"murakumo/internal/config"
	"murakumo/internal/node"
)

// startNode runs a real daemon in this process until the test ends, and gives its
// socket. The file lacks what every node has.
func startNode(t *testing.T, file string) (socket string) {
	t.Helper()
	return startNodeAt(t, "127.0.0.133", "server-01", freePort("127.0.0.133"), file)
}

func startNodeAt(t *testing.T, address, name string, gossip int, file string) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "mrkm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	cfg, err := config.Parse("node.yml", fmt.Appendf(nil, `
auth-key: a key for these tests
host: %s, %s
address: %s
port: %d
gossip-port: %d
socket: %s
working-dir: %s
%s`, address, name, address, freePort(address), gossip, socket, dir, file), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(cfg, node.Env{Log: slog.New(slog.DiscardHandler)}, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the node: %v", err)
		}
	})
	return socket
}

// A check on demand that takes its time, beside a hundred mrkmctl -L in a row:
// the service answers it only when the last of them has ended, so that if one of
// them waited for the check, neither would end. The check's own schedule has its
// verdict from before, and it and the record stay as they are, although the one
// on demand is bad.
func TestListsBesideACheck(t *testing.T) {
	asked, lists := make(chan struct{}), make(chan struct{})
	first := true
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if first { // the schedule's, which asks again in five minutes
			first = false
			return
		}
		close(asked)
		<-lists
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer service.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(service.URL, "http://"), ":")
	socket := startNode(t, fmt.Sprintf(`
alias: web
health-check:
  web: {interval: 300, timeout: 300, unhealthy: 1, script: "http_get '/', [200], %s"}
`, port))
	list := func() string {
		status, out, talk := runHere("-S", socket, "-L", "web")
		if status != 0 {
			t.Fatalf("-L: %d %s", status, talk)
		}
		return out
	}
	for !strings.Contains(list(), " Active    web\n") {
	}

	type result struct {
		status    int
		out, talk string
	}
	checked := make(chan result, 1)
	go func() {
		status, out, talk := runHere("-S", socket, "--check", "web")
		checked <- result{status, out, talk}
	}()
	<-asked
	for range 100 {
		list()
	}
	select {
	case r := <-checked:
		t.Errorf("the check ended before the lists: %+v", r)
	default:
	}
	close(lists)
	r := <-checked
	if r.status != 1 || !strings.HasPrefix(r.out, "web: bad after ") || !strings.Contains(r.out, "503") || r.talk != "" {
		t.Errorf("--check: %+v", r)
	}
	if out := list(); !strings.Contains(out, " Active    web\n") {
		t.Errorf("the record has changed:\n%s", out)
	}
}

// A reader of --watch that takes nothing is no reason for anybody to wait.
func TestWatcherThatDoesNotRead(t *testing.T) {
	socket := startNode(t, "alias: web\n")
	ctx, interrupt := context.WithCancel(t.Context())
	stuck := make(chan struct{})
	begun := make(chan struct{}, 1)
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"-S", socket, "--watch", "--json"}, writerFunc(func(p []byte) (int, error) {
			begun <- struct{}{}
			<-stuck
			return len(p), nil
		}), io.Discard)
	}()
	<-begun
	for i := range 500 {
		if status, _, talk := runHere("-S", socket, "-A", fmt.Sprintf("web,%d", i)); status != 0 {
			t.Fatalf("-A: %d %s", status, talk)
		}
	}
	interrupt()
	close(stuck)
	for {
		select {
		case <-begun:
			continue
		case status := <-ended:
			if status != 0 {
				t.Errorf("status %d", status)
			}
		}
		break
	}
}
