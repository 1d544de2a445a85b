package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStarved: descriptors run out under clients. The connections that there
// are go on, accepting is tried a few times a second and not in a circle, the
// log says so at most once a second, and accepting goes on when there are
// descriptors again. The proxy is a process of its own, whose limit is low; its
// clients and backends are ours.
func TestStarved(t *testing.T) {
	if backend := os.Getenv("MURAKUMO_TEST_STARVED"); backend != "" {
		starved(t, os.Getenv("MURAKUMO_TEST_ENGINE"), netip.MustParseAddrPort(backend))
		return
	}
	for name := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testStarved(t, name)
		})
	}
}

// starved is the process with the low limit: its log is on its standard output,
// and it ends when its standard input does.
func starved(t *testing.T, engine string, to netip.AddrPort) {
	p := New(Options{Log: slog.New(slog.NewTextHandler(os.Stdout, nil))})
	p.engine = engines[engine]
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	c := Config{
		Name: "web", Listen: freePort(t), ConnectTimeout: patience, MaxConns: 10000,
		Backends: []Backend{{Host: to.Addr().String(), Port: to.Port(), Weight: 1}},
	}
	p.Apply([]Config{c})
	eventually(t, "listening", func() bool {
		conn, err := net.Dial("tcp", c.Listen.String())
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	eventually(t, "no connection", func() bool { return p.Stats()[0].Open == 0 })
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: uint64(len(open)) + 21, Max: uint64(len(open)) + 21}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("ready on %s\n", c.Listen)
	io.Copy(io.Discard, os.Stdin)
	cancel()
	running.Wait()
}

func testStarved(t *testing.T, engine string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithTimeout(t.Context(), 2*patience)
	defer end()
	cmd := exec.CommandContext(ctx, self, "-test.run=^TestStarved$", "-test.count=1", "-test.timeout=5m")
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "MURAKUMO_TEST_STARVED="+echoes(t).String(), "MURAKUMO_TEST_ENGINE="+engine)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	out := bufio.NewScanner(stdout)
	// said gives the next line of the proxy's that matches.
	said := func(re *regexp.Regexp) []string {
		for out.Scan() {
			if m := re.FindStringSubmatch(out.Text()); m != nil {
				return m
			}
		}
		t.Fatalf("the proxy has ended without a line like %q", re)
		return nil
	}
	listen := said(regexp.MustCompile(`^ready on (\S+)$`))[1]

	// One that is served, then more than there are descriptors for.
	good, err := net.Dial("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	good.SetDeadline(time.Now().Add(2 * patience))
	ping(t, good)
	// Each comes again when it is reset.
	ctx, cancel := context.WithCancel(ctx)
	var crowd sync.WaitGroup
	for range 40 {
		crowd.Go(func() {
			for ctx.Err() == nil {
				if c, err := net.Dial("tcp", listen); err == nil {
					stop := context.AfterFunc(ctx, func() { c.Close() })
					io.Copy(io.Discard, c)
					stop()
					c.Close()
				}
			}
		})
	}
	defer crowd.Wait()
	defer cancel()
	var last time.Time
	for range 3 {
		line := said(regexp.MustCompile(`^time=(\S+) .*cannot accept connections now.*"others since the last line"=(\d+)`))
		at, err := time.Parse(time.RFC3339Nano, line[1])
		if err != nil {
			t.Fatal(err)
		}
		// Ten tries a second by each of a few loops: a circle has a hundred thousand.
		if held, _ := strconv.Atoi(line[2]); held > 2000 {
			t.Errorf("%d tries between two lines", held)
		}
		if since := at.Sub(last); since < 900*time.Millisecond {
			t.Errorf("a line %v after the one before", since)
		}
		last = at
		ping(t, good)
	}
	cancel()
	eventually(t, "accepting again", func() bool {
		c, err := net.Dial("tcp", listen)
		if err != nil {
			return false
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, "ping"); err != nil {
			return false
		}
		_, err = io.ReadFull(c, make([]byte, 4))
		return err == nil
	})
	ping(t, good)

}
