package action

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// office is a Notices with fake senders inside a synctest bubble.
type office struct {
	*Notices
	log  logbook
	stop context.CancelFunc
	done chan error

	mu    sync.Mutex
	start time.Time
	tries []string // "at recipient number"
}

// newOffice starts notices to the recipients whose tries end as send says.
func newOffice(t *testing.T, send Sender, recipients ...string) *office {
	t.Helper()
	o := &office{done: make(chan error, 1), start: time.Now()}
	var err error
	if o.Notices, err = NewNotices("server-02", o.log.logger()); err != nil {
		t.Fatal(err)
	}
	o.Use(o.routes(send, recipients...))
	ctx, stop := context.WithCancel(context.Background())
	o.stop = stop
	go func() { o.done <- o.Run(ctx) }()
	return o
}

// routes makes routes whose tries are written down.
func (o *office) routes(send Sender, recipients ...string) (routes []Route) {
	for _, r := range recipients {
		routes = append(routes, Route{Key: r, To: r, Limit: 15 * time.Second, Send: func(ctx context.Context, m Message) error {
			o.mu.Lock()
			o.tries = append(o.tries, fmt.Sprintf("%s %s %d", time.Since(o.start).Round(time.Second),
				m.Recipient, m.Transition.Number))
			o.mu.Unlock()
			return send(ctx, m)
		}})
	}
	return routes
}

func (o *office) finish(t *testing.T) {
	t.Helper()
	o.stop()
	if err := <-o.done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func (o *office) tried() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.tries)
}

// hangs is a Sender that gives up only with its context.
func hangs(ctx context.Context, _ Message) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

const ops, boss = "ops@example.org", "boss@example.org"

func TestNoticesAreSentInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, func(context.Context, Message) error { return nil }, ops)
		o.Notify(health("unhealthy", 1))
		o.Notify(activity("inactive", 2))
		o.Notify(health("healthy", 3))
		synctest.Wait()
		want := []string{"0s ops@example.org 1", "0s ops@example.org 2", "0s ops@example.org 3"}
		if got := o.tried(); !slices.Equal(got, want) {
			t.Errorf("tries %v, want %v", got, want)
		}
		o.log.want(t, 1, "level=INFO", `msg="sent the notice: unhealthy"`, "kind=health",
			"address=10.0.0.55", "transition=1", "name=web", "recipient=ops@example.org")
		o.log.want(t, 3, `msg="sent the notice: `)
		o.finish(t)
		o.log.want(t, 0, "lost")
	})
}

// TestNoticeIsRetried: a server that is down for a while gets everything, in
// order, once it is back; meanwhile one line says so.
func TestNoticeIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		o := newOffice(t, func(context.Context, Message) error {
			if !up.Load() {
				return errBoom
			}
			return nil
		}, ops)
		o.Notify(health("unhealthy", 1))
		o.Notify(health("healthy", 2))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		tries := o.tried()
		// 1+2+4+8+16+32 s and then a try a minute; jitter at most doubles it.
		if len(tries) < 15 || len(tries) > 32 {
			t.Errorf("%d tries in 10 minutes: %v", len(tries), tries)
		}
		o.log.want(t, 1, "level=WARN", "could not send the notice, it will be tried again: unhealthy", "error=boom")
		o.log.want(t, len(tries)-1, "level=DEBUG", "could not send the notice")

		up.Store(true)
		time.Sleep(lastRetry)
		synctest.Wait()
		o.log.want(t, 1, `msg="sent the notice: unhealthy"`)
		o.log.want(t, 1, `msg="sent the notice: healthy"`)
		if got := o.tried(); !strings.HasSuffix(got[len(got)-2], " 1") || !strings.HasSuffix(got[len(got)-1], " 2") {
			t.Errorf("not in order: %v", got)
		}
		o.finish(t)
	})
}

func TestNoticeExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, func(context.Context, Message) error { return errBoom }, ops)
		o.Notify(health("unhealthy", 1))
		time.Sleep(time.Hour - 1)
		synctest.Wait()
		o.log.want(t, 0, "dropped the notice")
		time.Sleep(1)
		synctest.Wait()
		o.log.want(t, 1, "level=ERROR", `msg="dropped the notice: unhealthy"`, "name=web", "transition=1",
			`error="not taken within 1h0m0s, the last try: boom"`)
		o.finish(t)
		o.log.want(t, 0, "lost")
	})
}

// TestRefusedNoticeIsDropped: a refusal is final and holds up nothing.
func TestRefusedNoticeIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, func(_ context.Context, m Message) error {
			if m.Transition.Number == 1 {
				return fmt.Errorf("RCPT TO: %w: 550 no such user", ErrRefused)
			}
			return nil
		}, ops)
		o.Notify(health("unhealthy", 1))
		o.Notify(health("healthy", 2))
		synctest.Wait()
		want := []string{"0s ops@example.org 1", "0s ops@example.org 2"}
		if got := o.tried(); !slices.Equal(got, want) {
			t.Errorf("tries %v, want %v", got, want)
		}
		o.log.want(t, 1, "level=ERROR", `msg="dropped the notice: unhealthy"`, "550 no such user")
		o.log.want(t, 1, `msg="sent the notice: healthy"`)
		o.finish(t)
	})
}

// TestHangingServerDelaysNobody: Notify returns, each try ends by its limit, and
// the other recipients have their mail.
func TestHangingServerDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, func(ctx context.Context, m Message) error {
			if m.Recipient == boss {
				return hangs(ctx, m)
			}
			return nil
		}, boss, ops)
		for n := range uint64(3) {
			o.Notify(health("unhealthy", n+1))
		}
		synctest.Wait()
		o.log.want(t, 3, `msg="sent the notice: unhealthy"`, "recipient=ops@example.org")
		time.Sleep(15*time.Second - 1) // Route.Limit
		synctest.Wait()
		o.log.want(t, 0, "could not send the notice")
		time.Sleep(1)
		synctest.Wait()
		o.log.want(t, 1, "could not send the notice", "recipient=boss@example.org")
		o.finish(t)
		o.log.want(t, 1, "level=ERROR", "notices were lost", "count=3")
	})
}

func TestFullQueueDropsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, hangs, ops)
		for n := range uint64(maxNotices + 1) {
			o.Notify(health("unhealthy", n+1))
			if n == 0 {
				synctest.Wait() // number 1 is on its way
			}
		}
		o.log.want(t, 1, "level=ERROR", `msg="dropped the notice: unhealthy"`, "transition=2 ",
			"1000 newer ones wait")
		o.finish(t)
		o.log.want(t, 1, "notices were lost", "count=1000")
	})
}

// TestLastTry: at the end what waits for a retry is tried once more, at once.
func TestLastTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		o := newOffice(t, func(context.Context, Message) error {
			if !up.Load() {
				return errBoom
			}
			return nil
		}, ops)
		o.Notify(health("unhealthy", 1))
		o.Notify(activity("inactive", 2))
		time.Sleep(20 * time.Minute)
		up.Store(true)
		synctest.Wait()
		at := time.Now()
		o.finish(t)
		if took := time.Since(at); took != 0 {
			t.Errorf("the last tries took %s", took)
		}
		o.log.want(t, 2, `msg="sent the notice: `)
		o.log.want(t, 0, "lost")
	})
}

// TestLastTryIsBounded: the end comes after 2 s, also when the server hangs.
func TestLastTryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, hangs, ops, boss)
		o.Notify(activity("inactive", 1))
		o.Notify(activity("active", 2))
		synctest.Wait()
		at := time.Now()
		o.finish(t)
		if took := time.Since(at); took != lastTry {
			t.Errorf("the end took %s, want %s", took, lastTry)
		}
		o.log.want(t, 1, "notices were lost", "count=4")

		// Too late is said as well.
		o.Notify(activity("inactive", 3))
		o.log.want(t, 2, "dropped the notice: inactive", "transition=3", "the daemon has stopped")
	})
}

// TestLastTryWaitsForWhatIsUnderWay: a server that needs a second is given it.
func TestLastTryWaitsForWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, func(ctx context.Context, _ Message) error {
			return takes(time.Second)(ctx, Hook{})
		}, ops)
		o.Notify(activity("inactive", 1))
		synctest.Wait()
		o.finish(t)
		o.log.want(t, 1, "sent the notice: inactive")
		o.log.want(t, 0, "lost")
	})
}

func TestUnsafeNoticeIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, func(context.Context, Message) error { return nil }, ops)
		bad := activity("active", 1)
		bad.Name = "web\r\nBcc: everybody@example.org"
		o.Notify(bad)
		synctest.Wait()
		o.finish(t)
		if got := o.tried(); len(got) != 0 {
			t.Errorf("tries: %v", got)
		}
		o.log.want(t, 1, "level=ERROR", "dropped a notice")
	})
}

func TestNoticesNeedAName(t *testing.T) {
	if _, err := NewNotices("a b", nil); err == nil || !strings.Contains(err.Error(), "host's name") {
		t.Errorf("%v", err)
	}
}

// TestUseMendsARoute: what waits is sent at once when the way to it changes,
// and not before the back-off would have had it tried again.
func TestUseMendsARoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := func(context.Context, Message) error { return errBoom }
		o := newOffice(t, broken, ops, boss)
		o.Notify(health("unhealthy", 1))
		o.Notify(health("healthy", 2))
		time.Sleep(20 * time.Minute) // a minute between tries by now
		synctest.Wait()
		tries := len(o.tried())
		good := func(context.Context, Message) error { return nil }
		o.Use(append(o.routes(good, ops), o.routes(broken, boss)...))
		synctest.Wait()
		got := o.tried()[tries:]
		slices.Sort(got)
		want := []string{"20m0s boss@example.org 1", "20m0s ops@example.org 1", "20m0s ops@example.org 2"}
		if !slices.Equal(got, want) {
			t.Errorf("tries at once: %v, want %v", got, want)
		}
		o.finish(t)
		o.log.want(t, 1, "notices were lost", "count=2")
	})
}

// TestUseTakesRoutesOutAndIn: of a destination that is gone each notice has its
// line, also the one that is on its way; a new one gets what happens from then on.
func TestUseTakesRoutesOutAndIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, hangs, boss)
		o.Notify(health("unhealthy", 1))
		o.Notify(health("healthy", 2))
		synctest.Wait()
		at := time.Now()
		o.Use(o.routes(func(context.Context, Message) error { return nil }, ops))
		synctest.Wait()
		o.log.want(t, 1, "level=ERROR", "dropped the notice: unhealthy", "transition=1", "taken out of the configuration")
		o.log.want(t, 1, "level=ERROR", "dropped the notice: healthy", "transition=2", "taken out of the configuration")
		o.Notify(health("unhealthy", 3))
		synctest.Wait()
		want := []string{"0s boss@example.org 1", "0s ops@example.org 3"}
		if got := o.tried(); !slices.Equal(got, want) {
			t.Errorf("tries %v, want %v", got, want)
		}
		o.Use(nil)
		o.Notify(health("healthy", 4))
		o.finish(t)
		if took := time.Since(at); took != 0 {
			t.Errorf("it took %s", took)
		}
		o.log.want(t, 2, "dropped the notice")
		o.log.want(t, 1, "sent the notice")
		o.log.want(t, 0, "lost")
	})
}

// TestNewsOfTheLastMoment: what is handed over before Run looks, or after the
// end has begun, has an end.
func TestNewsOfTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		n, err := NewNotices("server-02", log.logger())
		if err != nil {
			t.Fatal(err)
		}
		n.Use([]Route{{Key: ops, To: ops, Limit: time.Second, Send: func(context.Context, Message) error { return nil }}})
		n.Notify(activity("inactive", 1))
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
		log.want(t, 1, "sent the notice: inactive")
		log.want(t, 0, "lost")
	})
}

// TestTryEndsWithItsNews: a limit of hours keeps no notice beyond its hour.
func TestTryEndsWithItsNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, hangs)
		routes := o.routes(hangs, ops)
		routes[0].Limit = 5 * time.Hour
		o.Use(routes)
		o.Notify(health("unhealthy", 1))
		time.Sleep(time.Minute)
		o.Notify(health("healthy", 2))
		time.Sleep(59*time.Minute - 1)
		synctest.Wait()
		o.log.want(t, 0, "dropped the notice")
		time.Sleep(1)
		synctest.Wait()
		o.log.want(t, 1, "level=ERROR", "dropped the notice: unhealthy", "not taken within 1h0m0s, the last try: context deadline exceeded")
		time.Sleep(time.Minute)
		synctest.Wait()
		o.log.want(t, 1, "level=ERROR", "dropped the notice: healthy")
		if got := len(o.tried()); got != 2 {
			t.Errorf("%d tries", got)
		}
		o.finish(t)
		o.log.want(t, 0, "lost")
	})
}

// TestRetryAfter: who asks for time gets it, within reason.
func TestRetryAfter(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		30 * time.Second: 30 * time.Second,
		24 * time.Hour:   maxAsked,
	} {
		synctest.Test(t, func(t *testing.T) {
			first := true
			o := newOffice(t, func(context.Context, Message) error {
				if first {
					first = false
					return fmt.Errorf("429: %w", RetryAfter(asked))
				}
				return nil
			}, ops)
			o.Notify(health("unhealthy", 1))
			time.Sleep(want - 1)
			synctest.Wait()
			o.log.want(t, 0, "sent the notice")
			time.Sleep(1)
			synctest.Wait()
			o.log.want(t, 1, "sent the notice")
			o.finish(t)
		})
	}
}
