package gossip

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSplitLine(t *testing.T) {
	for _, c := range []struct {
		line  string
		level slog.Level
		text  string
	}{
		{"[ERR] memberlist: Decrypt packet failed: x from=10.0.0.9:1\n", slog.LevelError, "Decrypt packet failed: x from=10.0.0.9:1"},
		{"[ERROR] memberlist: a", slog.LevelError, "a"},
		{"[WARN] memberlist: a", slog.LevelWarn, "a"},
		{"[INFO] memberlist: a", slog.LevelInfo, "a"},
		{"[DEBUG] memberlist: a", slog.LevelDebug, "a"},
		{"Err: Could not set the deadline: x", slog.LevelWarn, "Err: Could not set the deadline: x"},
		{"[ERR] memberlist: \xff" + strings.Repeat("a", 1000), slog.LevelError, "?" + strings.Repeat("a", maxLine-1) + "…"},
		{"", slog.LevelWarn, ""},
	} {
		if level, text := splitLine(c.line); level != c.level || text != c.text {
			t.Errorf("splitLine(%q) = %v, %q; want %v, %q", c.line, level, text, c.level, c.text)
		}
	}
}

func TestLibraryLinesOncePerSecondAndKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := logger{slog.New(slog.NewTextHandler(&out, nil)), new(throttle)}
		std := l.std()
		lines := func() []string {
			defer out.Reset()
			return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		}
		for i := range 10 {
			std.Printf("[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.%d:10870", i)
		}
		std.Printf("[WARN] memberlist: something else")
		std.Printf("[DEBUG] memberlist: not enabled")
		got := lines()
		if len(got) != 2 || !strings.Contains(got[0], "level=ERROR") || !strings.Contains(got[0], "from=10.0.0.0") ||
			!strings.Contains(got[0], "an auth-key that this node has not") || !strings.Contains(got[1], "something else") {
			t.Errorf("got %q", got)
		}
		time.Sleep(time.Second - 1)
		std.Printf("[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.7:10870")
		if got := lines(); got[0] != "" {
			t.Errorf("within the second: %q", got)
		}
		time.Sleep(1)
		std.Printf("[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.8:10870")
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "suppressed=10") {
			t.Errorf("after the second: %q", got)
		}
	})
}

func TestThrottleForgetsKinds(t *testing.T) {
	var th throttle
	now := time.Now()
	for i := range 10 * maxKinds {
		th.allow(strings.Repeat("x", i), now)
	}
	if len(th.kinds) > maxKinds {
		t.Errorf("%d kinds, want at most %d", len(th.kinds), maxKinds)
	}
}
