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

// office is a mailer with a fake sender inside a synctest bubble.
type office struct {
	*Mailer
	log  logbook
	stop context.CancelFunc
	done chan error

	mu    sync.Mutex
	start time.Time
	tries []string // "at recipient number"
}

// newOffice starts a mailer for the recipients whose tries end as send says.
func newOffice(t *testing.T, send Sender, recipients ...string) *office {
	t.Helper()
	o := &office{done: make(chan error, 1), start: time.Now()}
	var err error
	o.Mailer, err = NewMailer(MailConfig{
		Host: "mail.example", Sender: "murakumo@example.org", Recipients: recipients,
		OpenTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
	}, MailOptions{
		HostName: "server-02",
		Log:      o.log.logger(),
		Send: func(ctx context.Context, m Message) error {
			o.mu.Lock()
			o.tries = append(o.tries, fmt.Sprintf("%s %s %d", time.Since(o.start).Round(time.Second),
				m.Recipient, m.Transition.Number))
			o.mu.Unlock()
			return send(ctx, m)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	o.stop = stop
	go func() { o.done <- o.Run(ctx) }()
	return o
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
			`error="the mail server did not take it within 1h0m0s"`)
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
		time.Sleep(15*time.Second - 1) // OpenTimeout + ReadTimeout
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

func TestNewMailerRefuses(t *testing.T) {
	good := MailConfig{Host: "mail.example", Sender: "a@example.org", Recipients: []string{ops}}
	opts := MailOptions{HostName: "server-02"}
	if _, err := NewMailer(good, opts); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*MailConfig, *MailOptions){
		"no host":         func(c *MailConfig, _ *MailOptions) { c.Host = "" },
		"sender":          func(c *MailConfig, _ *MailOptions) { c.Sender = "a@b\r\nRCPT TO:<c@d>" },
		"no recipients":   func(c *MailConfig, _ *MailOptions) { c.Recipients = nil },
		"recipient \"x\"": func(c *MailConfig, _ *MailOptions) { c.Recipients = []string{ops, "x"} },
		"host's name":     func(_ *MailConfig, o *MailOptions) { o.HostName = "a b" },
	} {
		cfg, o := good, opts
		change(&cfg, &o)
		if _, err := NewMailer(cfg, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want …%s…", err, want)
		}
	}
}
