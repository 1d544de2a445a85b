package node_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/check"
	"murakumo/internal/config"
	"murakumo/internal/control"
	"murakumo/internal/node"
	"murakumo/internal/sim"
)

// logLines keeps what a node says.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logLines) has(line string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), line)
}

// pushFile is the configuration of a node whose alias web has this health check,
// or none if that is empty.
func pushFile(t *testing.T, dir, health string) *config.Config {
	t.Helper()
	if health != "" {
		health = "web: " + health
	}
	cfg, err := config.Parse("f", fmt.Appendf(nil, `
auth-key: a key for the simulation
host: 10.0.0.1, server-01
domain: example.com
working-dir: %s
alias: [web, db, plain]
health-check:
  %s
  db: {script: tcp_check 80}
`, dir, health), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// pushed runs f beside a node whose alias web has this health check.
func pushed(t *testing.T, health string, f func(t *testing.T, core *node.Core, log *logLines)) {
	t.Helper()
	cfg := pushFile(t, t.TempDir(), health)
	synctest.Test(t, func(t *testing.T) {
		var log logLines
		endpoint := sim.NewNetwork(1).Listen(netip.MustParseAddrPort("10.0.0.1:10870"))
		core, err := node.NewCore(cfg, node.Env{
			Log: slog.New(slog.NewTextHandler(&log, nil)), Transport: endpoint,
			Probe: func(config.HealthCheck) check.Probe {
				return func(context.Context) error { return nil }
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- core.Run(ctx, nil) }()
		synctest.Wait()
		f(t, core, &log)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		endpoint.Crash()
		time.Sleep(15 * time.Second) // as in Cluster.Stop
	})
}

// active says whether the record of web is.
func active(t *testing.T, core *node.Core) bool {
	t.Helper()
	synctest.Wait()
	for r := range core.View().Own().Records() {
		if r.Name == "web" {
			return r.Active
		}
	}
	t.Fatal("there is no record")
	return false
}

// Each report is one verdict, and so is each ttl of silence; the counters count
// both alike.
func TestPushCheck(t *testing.T) {
	const ttl = 30 * time.Second
	pushed(t, "{ttl: 30, healthy: 2, unhealthy: 2}", func(t *testing.T, core *node.Core, log *logLines) {
		report := func(good bool) {
			t.Helper()
			if err := core.Report(t.Context(), "web", good); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(want bool, when string) {
			t.Helper()
			if active(t, core) != want {
				t.Fatalf("%s: Active is %v", when, !want)
			}
		}
		expect(false, "before the first report")
		time.Sleep(ttl - time.Millisecond)
		report(true)
		expect(true, "the first report alone decides")

		// Silence: a bad verdict after each ttl.
		time.Sleep(2*ttl - time.Millisecond)
		expect(true, "after almost two ttls of silence")
		time.Sleep(time.Millisecond)
		expect(false, "after two ttls of silence")
		if !log.has(`health condition changed: web: unhealthy`) || !log.has("no report for 30s") {
			t.Errorf("the log does not say why: %s", log.text.String())
		}

		// Good reports count up.
		report(true)
		expect(false, "one good report after silence")
		report(true)
		expect(true, "two good reports")

		// A report begins the ttl anew and the count of bad ones too.
		for range 5 {
			time.Sleep(2*ttl - time.Millisecond)
			report(true)
		}
		expect(true, "a good report just before the second ttl is over, each time")

		// Bad reports count without a wait, together with silence.
		report(false)
		expect(true, "one bad report")
		report(true)
		time.Sleep(time.Second)
		report(false)
		expect(true, "bad, good, bad")
		time.Sleep(ttl - time.Millisecond)
		expect(true, "a bad report and almost a ttl of silence")
		time.Sleep(time.Millisecond)
		expect(false, "a bad report and a ttl of silence")
		report(true)
		report(true)
		report(false)
		report(false)
		expect(false, "two bad reports in one moment")
		if !log.has("the application reported that it is not well") {
			t.Errorf("the log does not say why: %s", log.text.String())
		}
	})
}

// With unhealthy: 1 silence is noticed after one ttl; a node that starts and
// hears nothing settles on unhealthy, and init-status bridges the time.
func TestPushCheckFromTheStart(t *testing.T) {
	pushed(t, "{ttl: 30, unhealthy: 1, init-status: active}", func(t *testing.T, core *node.Core, log *logLines) {
		if !active(t, core) {
			t.Error("init-status: active")
		}
		time.Sleep(30*time.Second - time.Millisecond)
		if !active(t, core) {
			t.Error("not Active before the ttl is over")
		}
		time.Sleep(time.Millisecond)
		if active(t, core) {
			t.Error("Active after a ttl of silence")
		}
	})
	pushed(t, "{ttl: 30}", func(t *testing.T, core *node.Core, log *logLines) {
		time.Sleep(30 * time.Second)
		if active(t, core) || !log.has("initial health: web: unhealthy") {
			t.Errorf("after a ttl of silence: %s", log.text.String())
		}
	})
}

// Many reports at once are many verdicts, and none is lost.
func TestPushCheckManyAtOnce(t *testing.T) {
	pushed(t, "{ttl: 1, unhealthy: 60}", func(t *testing.T, core *node.Core, _ *logLines) {
		if err := core.Report(t.Context(), "web.example.com", true); err != nil {
			t.Fatal(err)
		}
		bad := func(n int) {
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					if err := core.Report(t.Context(), "web", false); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		}
		bad(59)
		if !active(t, core) {
			t.Error("59 bad reports count as more")
		}
		bad(1)
		if active(t, core) {
			t.Error("60 bad reports count as less")
		}
	})
}

// Who reports where nobody listens is told so.
func TestReportRefused(t *testing.T) {
	pushed(t, "{ttl: 30}", func(t *testing.T, core *node.Core, _ *logLines) {
		for _, c := range []struct {
			name string
			kind control.Kind
			text string
		}{
			{"db", control.Conflict, "the health check of db asks by itself and takes no reports; for reports the file has ttl in place of its script or command"},
			{"plain", control.NotFound, "no health check of plain on this node"},
			{"nobody", control.NotFound, "no health check of nobody on this node"},
		} {
			err := core.Report(t.Context(), c.name, true)
			if err == nil || control.KindOf(err) != c.kind || err.Error() != c.text {
				t.Errorf("%s: %v (%v)", c.name, err, control.KindOf(err))
			}
		}
		if active(t, core) {
			t.Error("a refused report counted")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		// Taken at once or not at all; either way it returns.
		_ = core.Report(ctx, "web", true)
	})
}

// A reload that changes what is counted or done leaves a push check as it is;
// another ttl or another kind begins to wait anew, with the state kept; one that
// is gone takes no reports. Whoever reports meanwhile is not left waiting.
func TestPushCheckReload(t *testing.T) {
	pushed(t, "{ttl: 30, unhealthy: 2}", func(t *testing.T, core *node.Core, log *logLines) {
		dir := t.TempDir()
		reload := func(health string) {
			t.Helper()
			if err := core.Reload(func() (*config.Config, error) { return pushFile(t, dir, health), nil }); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		report := func(good bool) {
			t.Helper()
			if err := core.Report(t.Context(), "web", good); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(want bool, when string) {
			t.Helper()
			if active(t, core) != want {
				t.Fatalf("%s: Active is %v", when, !want)
			}
		}
		time.Sleep(time.Second) // of two within a millisecond, the ttl begins at its end
		report(true)
		time.Sleep(29 * time.Second)
		reload("{ttl: 30, unhealthy: 1}")
		time.Sleep(time.Second - time.Millisecond)
		expect(true, "a ttl that went on over a reload, not over yet")
		time.Sleep(time.Millisecond)
		expect(false, "a ttl that went on over a reload")

		report(true)
		report(true)
		expect(true, "two reports")
		reload("{ttl: 10, unhealthy: 1}")
		expect(true, "another ttl")
		time.Sleep(10*time.Second - time.Millisecond)
		expect(true, "almost another ttl")
		time.Sleep(time.Millisecond)
		expect(false, "another ttl of silence")

		reload("{script: tcp_check 80, healthy: 1}")
		expect(true, "a script")
		if err := core.Report(t.Context(), "web", false); control.KindOf(err) != control.Conflict {
			t.Errorf("reported to a script: %v", err)
		}
		reload("{ttl: 10, unhealthy: 1}")
		expect(true, "reports again")
		report(false)
		expect(false, "a bad report")

		reload("")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := core.Report(ctx, "web", true); control.KindOf(err) != control.NotFound {
			t.Errorf("reported to no check: %v", err)
		}
	})
}
