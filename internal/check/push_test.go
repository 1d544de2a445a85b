package check

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPush(10 * time.Second)
		probe := func() <-chan error {
			got := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				got <- p.Probe(ctx)
			}()
			synctest.Wait()
			return got
		}
		for _, good := range []bool{true, false} {
			got := probe()
			if err := p.Report(t.Context(), good); err != nil {
				t.Fatal(err)
			}
			if err := <-got; (err == nil) != good {
				t.Errorf("reported %v, got %v", good, err)
			}
		}
		// Silence until the last moment, and beyond it.
		got := probe()
		time.Sleep(10*time.Second - 1)
		if err := p.Report(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if err := <-got; err != nil {
			t.Error(err)
		}
		got = probe()
		time.Sleep(10 * time.Second)
		if err := <-got; !errors.Is(err, context.DeadlineExceeded) || err.Error() != "no report for 10s" {
			t.Errorf("got %v", err)
		}
		// A report of the past is no report of now.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Report(ctx, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("taken by nobody: %v", err)
		}
		got = probe()
		time.Sleep(10 * time.Second)
		if err := <-got; err == nil {
			t.Error("a report that was given up counted")
		}
		// A probe that comes late leaves the report to the next one.
		over, stop := context.WithCancel(t.Context())
		stop()
		reported := make(chan error, 1)
		go func() { reported <- p.Report(t.Context(), true) }()
		synctest.Wait()
		for range 100 {
			if err := p.Probe(over); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
		}
		if err := <-probe(); err != nil {
			t.Error(err)
		}
		if err := <-reported; err != nil {
			t.Error(err)
		}
		// Nobody waits for what nobody probes.
		retired := make(chan error, 1)
		go func() { retired <- p.Report(t.Context(), true) }()
		synctest.Wait()
		p.Retire()
		if err := <-retired; !errors.Is(err, ErrRetired) {
			t.Errorf("got %v", err)
		}
	})
}
