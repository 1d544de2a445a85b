package failover

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
)

// prober is a probe that can be broken and counts.
type prober struct {
	mu      sync.Mutex
	broken  bool
	started []time.Duration // since its beginning
	ended   int             // that gave their own answer
	since   time.Time
	takes   time.Duration
}

func newProber(takes time.Duration) *prober { return &prober{since: time.Now(), takes: takes} }

func (p *prober) probe(ctx context.Context) error {
	p.mu.Lock()
	p.started = append(p.started, time.Since(p.since))
	broken := p.broken
	p.mu.Unlock()
	select {
	case <-time.After(p.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended++
	if broken {
		return errors.New("refused")
	}
	return nil
}

func (p *prober) spoil() { p.mu.Lock(); p.broken = true; p.mu.Unlock() }

func (p *prober) starts() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Duration(nil), p.started...)
}

func (p *prober) ends() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// health runs a driver on a probe, with two bad ones in a row to fall.
func health(t *testing.T, p *prober, f func(t *testing.T, d *HealthDriver, r *recorder)) {
	synctest.Test(t, func(t *testing.T) {
		p.since = time.Now()
		r := new(recorder)
		d := NewHealthDriver(HealthDriver{
			Name: "web", Addr: func() netip.Addr { return self }, Rule: HealthRule{Interval: 10 * time.Second, Timeout: 5 * time.Second, Rise: 2, Fall: 2},
			Probe: p.probe, Publish: func(Health) {}, Shell: r.shell(),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		f(t, d, r)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		d.Change(d.Rule, nil) // of one that has ended: no more than nothing
	})
}

// TestChangedRule: what was counted stays counted, the probe under way goes on,
// and the next one comes an interval after the last.
func TestChangedRule(t *testing.T) {
	p := newProber(3 * time.Second)
	health(t, p, func(t *testing.T, d *HealthDriver, r *recorder) {
		time.Sleep(5 * time.Second)
		p.spoil()
		time.Sleep(6 * time.Second) // the second probe is under way, and will be bad
		d.Change(HealthRule{Interval: 4 * time.Second, Timeout: time.Second, Rise: 2, Fall: 2}, nil)
		time.Sleep(2*time.Second - time.Millisecond)
		synctest.Wait()
		if got := p.starts(); len(got) != 2 || len(r.acts()) != 0 {
			t.Fatalf("probes at %v, transitions %+v", got, r.acts())
		}
		// At 13 s the one that was under way gives its answer, at 14 s the next
		// begins and has a second: the second bad one in a row.
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		if got := p.starts(); len(got) != 3 || got[2] != 14*time.Second {
			t.Errorf("probes at %v", got)
		}
		if got := r.acts(); len(got) != 1 || got[0].Status != "unhealthy" {
			t.Errorf("transitions %+v", got)
		}
	})
}

// TestChangedAgainAndAgain: however often the rule is changed, probes come when
// they are due.
func TestChangedAgainAndAgain(t *testing.T) {
	p := newProber(time.Millisecond)
	health(t, p, func(t *testing.T, d *HealthDriver, r *recorder) {
		rule := d.Rule
		for range 30 {
			time.Sleep(time.Second)
			rule.Fall++
			d.Change(rule, nil)
		}
		synctest.Wait()
		if got := p.starts(); len(got) != 4 || got[3] != 30*time.Second {
			t.Errorf("probes at %v", got)
		}
	})
}

// TestChangedProbe: the verdict stays, the count begins anew, and the answer of
// the probe that was under way belongs to nobody.
func TestChangedProbe(t *testing.T) {
	p := newProber(3 * time.Second)
	health(t, p, func(t *testing.T, d *HealthDriver, r *recorder) {
		time.Sleep(5 * time.Second)
		p.spoil()
		time.Sleep(16 * time.Second) // one bad probe, a second under way
		other := newProber(0)
		other.spoil()
		d.Change(d.Rule, other.probe)
		synctest.Wait()
		if got := other.starts(); len(got) != 1 || got[0] != 0 {
			t.Fatalf("the new probe ran at %v", got)
		}
		time.Sleep(10*time.Second - time.Millisecond)
		synctest.Wait()
		if ended, started := p.ends(), len(p.starts()); ended != 2 || started != 3 {
			t.Errorf("the old probe ended by itself %d times of %d", ended, started)
		}
		if got := r.acts(); len(got) != 0 {
			t.Fatalf("after one bad answer of the new probe: %+v", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := r.acts(); len(got) != 1 || got[0].Status != "unhealthy" || got[0].Previous != "healthy" {
			t.Errorf("after two: %+v", got)
		}
	})
}

// TestHealthResumes: what an earlier run knew stands until probes contradict it.
func TestHealthResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		p := newProber(0)
		p.spoil()
		published := make(chan Health, 9)
		d := NewHealthDriver(HealthDriver{
			Name: "web", Addr: func() netip.Addr { return self }, Rule: HealthRule{Interval: time.Second, Timeout: time.Second, Rise: 2, Fall: 2},
			Probe: p.probe, Number: 6, Resume: Healthy, Publish: func(h Health) { published <- h }, Shell: r.shell(),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		if len(published) != 1 || <-published != Healthy || len(r.acts()) != 0 || !r.logged("health resumed: web: healthy") {
			t.Errorf("transitions %+v, log %s", r.acts(), r.log.String())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := r.acts(); len(got) != 1 || got[0].Number != 7 {
			t.Errorf("after two bad probes: %+v", got)
		}
		cancel()
		<-done
	})
}

// duty runs a driver for our backup beside a peer's Active master.
func duty(t *testing.T, d DutyDriver, f func(t *testing.T, d *DutyDriver, cat *catalog.Catalog, r *recorder)) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		d.Name, d.Addr, d.Catalog = "mysql-server", self, dutyCluster()
		d.Remember, d.Publish, d.Shell = func(Memory) {}, func(Standing, bool) {}, r.shell()
		driver := NewDutyDriver(d)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- driver.Run(ctx) }()
		f(t, driver, d.Catalog, r)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		driver.Change(d.Rule)
	})
}

// TestChangedDutyRule: the rounds that were counted stay counted, and the next
// one comes an interval after the last.
func TestChangedDutyRule(t *testing.T) {
	rule := DutyRule{StartDelay: 20 * time.Second, Interval: 10 * time.Second, Active: 3, Inactive: 2}
	duty(t, DutyDriver{Rule: rule}, func(t *testing.T, d *DutyDriver, cat *catalog.Catalog, r *recorder) {
		time.Sleep(5 * time.Second)
		rule.StartDelay = 6 * time.Second
		d.Change(rule) // the first round comes at 6 s
		time.Sleep(time.Second)
		synctest.Wait()
		if !r.logged("initial activity: mysql-server: inactive") {
			t.Fatalf("no round after the new start delay: %s", r.log.String())
		}
		cat.SetStatus(peer, catalog.Dead, time.Now())
		time.Sleep(14 * time.Second) // 20 s: one round, at 16 s
		rule.Interval, rule.Active = 5*time.Second, 2
		d.Change(rule) // the next at 21 s is the second
		time.Sleep(time.Second - time.Millisecond)
		synctest.Wait()
		if got := r.acts(); len(got) != 0 {
			t.Fatalf("after one round: %+v", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := r.acts(); len(got) != 1 || got[0].Status != "active" {
			t.Errorf("after two rounds: %+v", got)
		}
	})
}

// TestDutyResumes: a duty that an earlier run kept stands without a hook, and
// rounds take it back like any other.
func TestDutyResumes(t *testing.T) {
	d := DutyDriver{
		Rule:   DutyRule{StartDelay: 5 * time.Second, Interval: time.Second, Active: 2, Inactive: 2, Init: catalog.DutyInactive},
		Resume: catalog.DutyActive, Memory: Memory{Number: 9, Activated: 9, Covered: map[catalog.Owner]uint64{peer: 0}},
	}
	duty(t, d, func(t *testing.T, d *DutyDriver, cat *catalog.Catalog, r *recorder) {
		cat.SetStatus(peer, catalog.Dead, time.Now()) // as it was when the duty was taken
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := r.acts(); len(got) != 0 || !r.logged("activity resumed: mysql-server: active") {
			t.Fatalf("transitions %+v, log %s", got, r.log.String())
		}
		cat.SetStatus(peer, catalog.Alive, time.Now())
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := r.acts(); len(got) != 1 || got[0].Status != "inactive" || got[0].Number != 10 || got[0].Reason != ReasonReturn {
			t.Errorf("after the master's return: %+v", got)
		}
	})
}
