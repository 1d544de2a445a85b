package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// said collects what the service manager was told, with the time.
type said struct {
	begin time.Time
	mu    sync.Mutex
	when  []time.Duration
	log   bytes.Buffer
}

func (s *said) systemd(every time.Duration) *Systemd {
	s.begin = time.Now()
	return &Systemd{
		Log: slog.New(slog.NewTextHandler(&s.log, nil)), every: every,
		notify: func(state string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if state == "WATCHDOG=1" {
				s.when = append(s.when, time.Since(s.begin))
			}
			return nil
		},
	}
}

func seconds(list ...float64) []time.Duration {
	var out []time.Duration
	for _, s := range list {
		out = append(out, time.Duration(s*float64(time.Second)))
	}
	return out
}

func TestWatch(t *testing.T) {
	dead := errors.New("dead")
	for _, c := range []struct {
		name  string
		alive func(since time.Duration, ctx context.Context) error
		want  []time.Duration // in the first minute, every = 10 s
		log   string          // a line of it, "" for none at all
	}{
		{"alive", func(time.Duration, context.Context) error { return nil }, seconds(0, 10, 20, 30, 40, 50), ""},
		{"slow", func(time.Duration, context.Context) error { time.Sleep(4 * time.Second); return nil }, seconds(4, 14, 24, 34, 44, 54), ""},
		{"dies at 25 s", func(at time.Duration, _ context.Context) error {
			if at > 25*time.Second {
				return dead
			}
			return nil
		}, seconds(0, 10, 20), "level=ERROR msg=\"not alive: the watchdog is not satisfied and restarts this daemon if that lasts\" error=dead"},
		{"hangs at 25 s", func(at time.Duration, ctx context.Context) error {
			if at > 25*time.Second {
				<-ctx.Done()
				time.Sleep(time.Second) // and longer than it should
			}
			return ctx.Err()
		}, seconds(0, 10, 20), "deadline exceeded"},
		{"away from 25 s to 32 s", func(at time.Duration, ctx context.Context) error {
			if 25*time.Second < at && at < 32*time.Second {
				return dead
			}
			return nil
		}, seconds(0, 10, 20, 32, 42, 52), "error=dead"},
		{"hangs from 25 s to 33 s", func(at time.Duration, ctx context.Context) error {
			if 25*time.Second < at && at < 33*time.Second {
				time.Sleep(33*time.Second - at)
			}
			return nil
		}, seconds(0, 10, 20, 33, 40, 50), ""},
		{"never worked", func(time.Duration, context.Context) error { return dead }, seconds(0, 10, 20, 30, 40, 50),
			"level=WARN msg=\"cannot ask myself whether I am alive; the watchdog is satisfied without\" error=dead"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s said
				systemd := s.systemd(10 * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute-1)
				defer cancel()
				if err := systemd.Watch(ctx, func(ctx context.Context) error { return c.alive(time.Since(s.begin), ctx) }); err != nil {
					t.Error(err)
				}
				time.Sleep(2 * time.Second) // what hangs ends
				if !slices.Equal(s.when, c.want) {
					t.Errorf("told at %v, want %v", s.when, c.want)
				}
				if got := s.log.String(); c.log == "" && got != "" || !strings.Contains(got, c.log) {
					t.Errorf("log:\n%swant: %s", got, c.log)
				}
			})
		})
	}
}

// One question that never comes back is asked once.
func TestWatchAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s said
		systemd := s.systemd(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		release := make(chan struct{})
		var asked atomic.Int32
		systemd.Watch(ctx, func(context.Context) error {
			n := asked.Add(1)
			if n > 1 {
				<-release
			}
			return nil
		})
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
		close(release)
	})
}

// What is told reaches a real socket; without one nothing happens.
func TestSystemdSocket(t *testing.T) {
	systemd := &Systemd{Log: slog.New(slog.DiscardHandler)}
	Unsupervised()
	systemd.Ready()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := systemd.Watch(ctx, nil); err != nil || Supervised() {
		t.Errorf("without a manager: %v", err)
	}

	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "40000000")
	for _, c := range []struct {
		tell func()
		want string
	}{
		{systemd.Ready, "READY=1"},
		{systemd.Reloading, "RELOADING=1\nMONOTONIC_USEC="},
		{func() { systemd.Stopping(90 * time.Second) }, "STOPPING=1\nEXTEND_TIMEOUT_USEC=90000000"},
		{func() {
			systemd.Watch(t.Context(), func(context.Context) error { return nil })
		}, "WATCHDOG=1"},
	} {
		done := make(chan struct{})
		go func() { c.tell(); close(done) }()
		buf := make([]byte, 1000)
		n, err := conn.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:n]), c.want) {
			t.Errorf("got %q, %v; want %q", buf[:n], err, c.want)
		}
		if c.want != "WATCHDOG=1" {
			<-done
		}
	}
}
