package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSettle: a file is read when nobody has written to it for a moment.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		name   string
		writes int // one each 250 ms
		took   time.Duration
		err    string
	}{
		{"not written to", 0, 300 * time.Millisecond, ""},
		{"written in three parts", 3, 1200 * time.Millisecond, ""},
		{"written without end", 100, 10 * time.Second, "is written to all the time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			synctest.Test(t, func(t *testing.T) {
				write := func(n int) {
					if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
						t.Error(err)
					}
					// The bubble's time, and not the file system's.
					if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
						t.Error(err)
					}
				}
				write(0)
				start := time.Now()
				written := make(chan struct{})
				go func() {
					defer close(written)
					for n := range c.writes {
						time.Sleep(250 * time.Millisecond)
						write(n + 1)
					}
				}()
				err := Settle(t.Context(), path)
				if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
					t.Errorf("%v", err)
				}
				if took := time.Since(start); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				<-written
			})
		})
	}
}

// TestSettleAtOnce: what is old, or not there, needs no wait; and one that would
// wait ends with its context.
func TestSettleAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := Settle(t.Context(), path); err != nil {
			t.Errorf("no file: %v", err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, start.Add(-time.Second), start.Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := Settle(t.Context(), path); err != nil {
			t.Errorf("an old file: %v", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
		if err := os.Chtimes(path, start, start); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Settle(ctx, path); !errors.Is(err, context.Canceled) {
			t.Errorf("ended: %v", err)
		}
	})
}
