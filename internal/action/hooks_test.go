package action

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"murakumo/internal/failover"
)

// stage is a queue with a fake executor inside a synctest bubble.
type stage struct {
	*Hooks
	log  logbook
	stop context.CancelFunc
	done chan error // Run's result

	mu   sync.Mutex
	runs []string // labels in the order of starts
	ends []Result
}

// newStage starts a queue whose hooks take as long as their executor does.
func newStage(exec Executor) *stage {
	s := &stage{done: make(chan error, 1)}
	s.Hooks = NewHooks(HookOptions{
		Timeout: 10 * time.Second,
		Log:     s.log.logger(),
		Exec: func(ctx context.Context, h Hook) error {
			s.mu.Lock()
			s.runs = append(s.runs, label(h))
			s.mu.Unlock()
			return exec(ctx, h)
		},
		Ended: func(r Result) {
			s.mu.Lock()
			s.ends = append(s.ends, r)
			s.mu.Unlock()
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.done <- s.Run(ctx) }()
	return s
}

// trace gives the ends so far: "Activity/web/1 ok".
func (s *stage) trace() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, r := range s.ends {
		all = append(all, label(r.Hook)+" "+r.Outcome.String())
	}
	return all
}

func (s *stage) wantTrace(t *testing.T, want ...string) {
	t.Helper()
	if got := s.trace(); !slices.Equal(got, want) {
		t.Errorf("ends:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// finish stops the queue and checks that it goes quietly.
func (s *stage) finish(t *testing.T) {
	t.Helper()
	s.stop()
	if err := <-s.done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// takes is an executor whose hooks take that long and then succeed.
func takes(d time.Duration) Executor {
	return func(ctx context.Context, _ Hook) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestNewestWaitingHookWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(takes(5 * time.Second))
		for n, status := range []string{"active", "inactive", "active", "inactive"} {
			s.Enqueue(hook(activity(status, uint64(n+1))))
			synctest.Wait()
		}
		s.wantTrace(t, "Activity/web/2 superseded", "Activity/web/3 superseded")
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		s.wantTrace(t, "Activity/web/2 superseded", "Activity/web/3 superseded",
			"Activity/web/1 ok", "Activity/web/4 ok")
		if want := []string{"Activity/web/1", "Activity/web/4"}; !slices.Equal(s.runs, want) {
			t.Errorf("ran %v, want %v", s.runs, want)
		}
		s.log.want(t, 2, "level=INFO", `msg="hook started: web: `, "command=/hook")
		s.log.want(t, 1, "level=INFO", `msg="hook ended: web: inactive: superseded"`, "transition=2")
		s.log.want(t, 1, "level=INFO", `msg="hook ended: web: active: ok"`, "kind=activity",
			"address=10.0.0.55", "transition=1", "reason=failover", "duration=5s")
		s.finish(t)
	})
}

// TestLanesDoNotWaitForEachOther: a health hook that hangs holds up neither the
// activity hook of the same alias nor any hook of another one.
func TestLanesDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(func(ctx context.Context, h Hook) error {
			if h.Kind == failover.KindHealth && h.Name == "web" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		other := hook(health("unhealthy", 1))
		other.Name = "db"
		s.Enqueue(hook(health("unhealthy", 1)))
		s.Enqueue(hook(activity("inactive", 1)))
		s.Enqueue(other)
		synctest.Wait()
		got := s.trace()
		slices.Sort(got)
		if want := []string{"Activity/web/1 ok", "Health/db/1 ok"}; !slices.Equal(got, want) {
			t.Errorf("ended without waiting: %v, want %v", got, want)
		}
		s.finish(t)
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(takes(time.Hour))
		s.Enqueue(hook(activity("active", 1)))
		quick := hook(health("healthy", 1))
		quick.Timeout = 3 * time.Second
		s.Enqueue(quick)

		time.Sleep(3*time.Second - 1)
		synctest.Wait()
		s.wantTrace(t)
		time.Sleep(1)
		synctest.Wait()
		s.wantTrace(t, "Health/web/1 timed out")

		time.Sleep(7*time.Second - 1)
		synctest.Wait()
		s.wantTrace(t, "Health/web/1 timed out")
		time.Sleep(1)
		synctest.Wait()
		s.wantTrace(t, "Health/web/1 timed out", "Activity/web/1 timed out")
		s.log.want(t, 1, "level=ERROR", `msg="hook ended: web: active: timed out"`, "duration=10s",
			`error="still running after 10s, stopped with its process group"`)
		s.finish(t)
	})
}

func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(func(context.Context, Hook) error { return errBoom })
		s.Enqueue(hook(activity("active", 1)))
		synctest.Wait()
		s.wantTrace(t, "Activity/web/1 failed")
		s.log.want(t, 1, "level=ERROR", `msg="hook ended: web: active: failed"`, "error=boom")
		s.finish(t)
	})
}

// TestNoCommandTakesItsPlace: with no on-inactivate configured, an on-activate
// that still waits is not run after the node has turned inactive.
func TestNoCommandTakesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(takes(time.Second))
		s.Enqueue(hook(activity("active", 1)))
		s.Enqueue(hook(activity("active", 2)))
		s.Enqueue(Hook{Transition: activity("inactive", 3)})
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		s.wantTrace(t, "Activity/web/2 superseded", "Activity/web/1 ok", "Activity/web/3 ok")
		if want := []string{"Activity/web/1"}; !slices.Equal(s.runs, want) {
			t.Errorf("ran %v, want %v", s.runs, want)
		}
		s.log.want(t, 0, "transition=3") // nothing was run: nothing to say
		s.finish(t)
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(takes(5 * time.Second))
		s.Enqueue(hook(activity("active", 1)))
		s.Enqueue(hook(activity("inactive", 2)))
		s.Enqueue(hook(health("unhealthy", 1)))
		synctest.Wait()
		s.finish(t)
		got := s.trace()
		slices.Sort(got)
		want := []string{"Activity/web/1 failed", "Activity/web/2 failed", "Health/web/1 failed"}
		if !slices.Equal(got, want) {
			t.Errorf("ends %v, want %v", got, want)
		}
		for _, r := range s.ends {
			if !errors.Is(r.Err, errStopped) {
				t.Errorf("%s ended with %v", label(r.Hook), r.Err)
			}
		}
		// What comes too late has an end as well.
		s.Enqueue(hook(activity("active", 3)))
		if got := s.trace(); got[len(got)-1] != "Activity/web/3 failed" {
			t.Errorf("ends %v", got)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestDrainHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(takes(5 * time.Second))
		s.Enqueue(hook(activity("inactive", 1)))
		s.Enqueue(hook(activity("active", 2)))
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		err := s.Drain(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 have not") {
			t.Errorf("Drain: %v", err)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		s.wantTrace(t, "Activity/web/1 ok", "Activity/web/2 ok")
		s.finish(t)
	})
}

// TestEnqueueBeforeRun: nothing runs before Run, and nothing is lost.
func TestEnqueueBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var book logbook
		var ran []string
		q := NewHooks(HookOptions{Log: book.logger(), Exec: func(_ context.Context, h Hook) error {
			ran = append(ran, label(h))
			return nil
		}})
		q.Enqueue(hook(activity("active", 1)))
		synctest.Wait()
		if len(ran) != 0 {
			t.Errorf("ran before Run: %v", ran)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.Run(ctx) }()
		if err := q.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if len(ran) != 1 {
			t.Errorf("ran %v", ran)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestHooksLaws drives the whole queue in virtual time: hooks of several lanes
// come at random moments and take random times, some longer than the timeout.
func TestHooksLaws(t *testing.T) {
	type arrival struct {
		Lane  int
		After time.Duration // since the arrival before
		Takes time.Duration
	}
	arrivals := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) arrival {
		return arrival{
			Lane:  rapid.IntRange(0, 2).Draw(t, "lane"),
			After: time.Duration(rapid.IntRange(0, 8).Draw(t, "after")) * time.Second,
			Takes: time.Duration(rapid.IntRange(0, 15).Draw(t, "takes")) * time.Second,
		}
	}), 0, 40)

	outer := t
	rapid.Check(t, func(t *rapid.T) {
		all := arrivals.Draw(t, "arrivals")
		var laws error // of the first law that was broken
		synctest.Test(outer, func(outer *testing.T) {
			var mu sync.Mutex
			books := make(map[laneKey]*ledger)
			note := func(err error) {
				if laws == nil {
					laws = err
				}
			}
			duration := make(map[laneKey]map[uint64]time.Duration)
			var log logbook
			q := NewHooks(HookOptions{
				Timeout: 10*time.Second + time.Millisecond,
				Log:     log.logger(),
				Exec: func(ctx context.Context, h Hook) error {
					key := laneKey{h.Kind, h.Name}
					mu.Lock()
					note(books[key].start(h.Number))
					d := duration[key][h.Number]
					mu.Unlock()
					return takes(d)(ctx, h)
				},
				Ended: func(r Result) {
					mu.Lock()
					defer mu.Unlock()
					key := laneKey{r.Hook.Kind, r.Hook.Name}
					note(books[key].end(r.Hook.Number, r.Outcome))
					slow := duration[key][r.Hook.Number] > 10*time.Second
					if r.Outcome != Superseded && slow != (r.Outcome == TimedOut) {
						note(fmt.Errorf("%s takes %s and ended as %s", label(r.Hook), duration[key][r.Hook.Number], r.Outcome))
					}
				},
			})
			ctx, stop := context.WithCancel(outer.Context())
			done := make(chan error)
			go func() { done <- q.Run(ctx) }()
			for _, a := range all {
				time.Sleep(a.After)
				tr := activity("active", 0)
				switch a.Lane {
				case 1:
					tr = health("healthy", 0)
				case 2:
					tr.Name = "db"
				}
				key := laneKey{tr.Kind, tr.Name}
				mu.Lock()
				if books[key] == nil {
					books[key] = &ledger{}
					duration[key] = make(map[uint64]time.Duration)
				}
				tr.Number = uint64(len(books[key].enqueued) + 1)
				books[key].enqueued = append(books[key].enqueued, tr.Number)
				duration[key][tr.Number] = a.Takes
				mu.Unlock()
				q.Enqueue(hook(tr))
			}
			note(q.Drain(outer.Context()))
			for _, b := range books {
				note(b.closed())
			}
			ended := len(log.with("hook ended: "))
			if ended != len(all) {
				note(fmt.Errorf("%d hooks and %d lines about their ends", len(all), ended))
			}
			stop()
			note(<-done)
		})
		if laws != nil {
			t.Fatal(laws)
		}
	})
}
