package action

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"murakumo/internal/failover"
)

// logbook collects log lines, as the text handler writes them, without times.
type logbook struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	awaits chan struct{} // closed by the next line; nil when nobody waits
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.awaits != nil {
		close(l.awaits)
		l.awaits = nil
	}
	return l.buf.Write(p)
}

// await returns when n lines contain all the parts, and fails the test after a
// minute without.
func (l *logbook) await(t *testing.T, n int, parts ...string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		l.mu.Lock()
		if l.awaits == nil {
			l.awaits = make(chan struct{})
		}
		next := l.awaits
		l.mu.Unlock()
		if len(l.with(parts...)) >= n {
			return
		}
		select {
		case <-next:
		case <-deadline:
			t.Fatalf("waited a minute for %d lines with %q; the log:\n%s", n, parts, strings.Join(l.with(), "\n"))
		}
	}
}

// logger gives the logger that writes here.
func (l *logbook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// with gives the lines that contain all the parts.
func (l *logbook) with(parts ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.buf.String()) {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(line, p)
		}
		if all {
			found = append(found, strings.TrimRight(line, "\n"))
		}
	}
	return found
}

// want fails the test unless exactly n lines contain all the parts.
func (l *logbook) want(t *testing.T, n int, parts ...string) {
	t.Helper()
	if found := l.with(parts...); len(found) != n {
		t.Errorf("%d log lines with %q, want %d; the log:\n%s",
			len(found), parts, n, strings.Join(l.with(), "\n"))
	}
}

// activity and health make transitions of the alias web at 10.0.0.55.
func activity(status string, number uint64) failover.Transition {
	previous := map[string]string{"active": "inactive", "inactive": "active"}[status]
	return failover.Transition{
		Kind: failover.KindActivity, Name: "web", Addr: netip.MustParseAddr("10.0.0.55"),
		Status: status, Previous: previous, Reason: failover.ReasonFailover, Number: number,
	}
}

func health(status string, number uint64) failover.Transition {
	previous := map[string]string{"healthy": "unhealthy", "unhealthy": "healthy"}[status]
	return failover.Transition{
		Kind: failover.KindHealth, Name: "web", Addr: netip.MustParseAddr("10.0.0.55"),
		Status: status, Previous: previous, Reason: failover.ReasonFailover, Number: number,
	}
}

// hook gives a transition a command that a fake executor can be glad of.
func hook(tr failover.Transition) Hook { return Hook{Transition: tr, Command: []string{"/hook"}} }

// label names a hook in traces: Activity/web/3.
func label(h Hook) string { return fmt.Sprintf("%s/%s/%d", h.Kind, h.Name, h.Number) }
