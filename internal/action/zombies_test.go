package action

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestNoZombies is not parallel: children of other tests would be counted.
func TestNoZombies(t *testing.T) {
	const runs = 200
	hangs := script(t, "exec sleep 60\n")
	var log logbook
	ended := make(chan Result, runs)
	q := NewHooks(HookOptions{Log: log.logger(), Ended: func(r Result) { ended <- r }})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	for i := range runs {
		h := hook(activity("active", 1))
		h.Name = "web" + strconv.Itoa(i%4)
		h.Command = []string{"true"}
		if i%50 == 0 {
			h.Command, h.Timeout = []string{hangs}, 20*time.Millisecond
		}
		q.Enqueue(h)
		if i%4 == 3 { // as many lanes as hooks, so that none is superseded
			if err := q.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	close(ended)
	outcomes := make(map[Outcome]int)
	for r := range ended {
		outcomes[r.Outcome]++
	}
	if outcomes[OK] != runs-runs/50 || outcomes[TimedOut] != runs/50 {
		t.Errorf("outcomes: %v", outcomes)
	}
	if z := zombies(t); len(z) > 0 {
		t.Errorf("zombies of ours: %v", z)
	}
}

// zombies lists our dead children that nobody has waited for.
func zombies(t *testing.T) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	var found []string
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (name) state ppid …
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if slices.Equal(f[:2], []string{"Z", strconv.Itoa(os.Getpid())}) {
			found = append(found, path)
		}
	}
	return found
}
