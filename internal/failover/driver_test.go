package failover

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
)

var (
	self = netip.MustParseAddr("10.0.0.55")
	peer = netip.MustParseAddr("10.0.0.133")
)

// recorder is a shell that keeps what it is asked for.
type recorder struct {
	mu  sync.Mutex
	log bytes.Buffer
	did []Transition
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *recorder) shell() Shell {
	return Shell{
		Act: func(t Transition) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.did = append(r.did, t)
		},
		Log: slog.New(slog.NewTextHandler(r, nil)),
	}
}

func (r *recorder) acts() []Transition {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Transition(nil), r.did...)
}

func (r *recorder) logged(line string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(r.log.String(), line)
}

func TestHealthSteps(t *testing.T) {
	rule := HealthRule{Rise: 2, Fall: 3}
	for _, c := range []struct {
		name     string
		init     Health
		verdicts string // g good, b bad
		want     string // what each verdict led to: - nothing, i initial, h/u turned
		end      Health
	}{
		{"the first verdict alone decides", HealthUnknown, "g", "i", Healthy},
		{"the first verdict alone decides, bad", HealthUnknown, "b", "i", Unhealthy},
		{"falls after three in a row", Healthy, "bbb", "--u", Unhealthy},
		{"a good one between starts the count anew", Healthy, "bbgbb", "-----", Healthy},
		{"rises after two in a row", Unhealthy, "gbgg", "---h", Healthy},
		{"there and back", HealthUnknown, "gbbbgg", "i--u-h", Healthy},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := HealthState{Health: c.init, Number: 7}
			got := ""
			for _, v := range c.verdicts {
				var effects []Effect
				s, effects = StepHealth(rule, s, v == 'g')
				switch {
				case len(effects) == 0:
					got += "-"
				case effects[0].Initial:
					got += "i"
				default:
					got += effects[0].Status[:1]
				}
			}
			if got != c.want || s.Health != c.end {
				t.Errorf("verdicts %s: got %s and %v, want %s and %v", c.verdicts, got, s.Health, c.want, c.end)
			}
			if turns := uint64(strings.Count(got, "h") + strings.Count(got, "u")); s.Number != 7+turns {
				t.Errorf("number %d after %d transitions from 7", s.Number, turns)
			}
		})
	}
}

func TestHealthDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		var mu sync.Mutex
		var published []Health
		broken := false
		d := NewHealthDriver(HealthDriver{
			Name: "web", Addr: func() netip.Addr { return self }, Rule: HealthRule{Interval: 5 * time.Second, Timeout: time.Second, Rise: 2, Fall: 2},
			Probe: func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				if broken {
					return errors.New("connection refused")
				}
				return nil
			},
			Publish: func(h Health) { mu.Lock(); defer mu.Unlock(); published = append(published, h) },
			Shell:   r.shell(),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		if !r.logged("initial health: web: healthy") || len(r.acts()) != 0 {
			t.Fatalf("at the start: %s", r.log.String())
		}
		mu.Lock()
		broken = true
		mu.Unlock()
		time.Sleep(10*time.Second - time.Millisecond)
		synctest.Wait()
		if got := r.acts(); len(got) != 0 {
			t.Fatalf("after one bad probe: %v", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		got := r.acts()
		if len(got) != 1 || got[0].Status != "unhealthy" || got[0].Previous != "healthy" || got[0].Number != 1 || got[0].Name != "web" || got[0].Addr != self {
			t.Fatalf("after two bad probes: %+v", got)
		}
		if !r.logged("health condition changed: web: unhealthy") || !r.logged("connection refused") {
			t.Errorf("the log does not say why: %s", r.log.String())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(published) != 2 || published[0] != Healthy || published[1] != Unhealthy {
			t.Errorf("published %v", published)
		}
	})
}

// TestProbeThatIgnoresItsContext: the verdict is bad at the deadline, no second
// probe starts beside the first, and the first one's late answer counts for
// nothing.
func TestProbeThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		var started atomic.Int32
		stuck := make(chan struct{})
		d := NewHealthDriver(HealthDriver{
			Name: "web", Addr: func() netip.Addr { return self }, Rule: HealthRule{Interval: 2 * time.Second, Timeout: time.Second, Rise: 1, Fall: 2, Init: Healthy},
			Probe: func(context.Context) error {
				if started.Add(1) == 1 {
					<-stuck
				}
				return nil
			},
			Publish: func(Health) {}, Shell: r.shell(),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := r.acts(); started.Load() != 1 || len(got) != 1 || got[0].Status != "unhealthy" {
			t.Fatalf("%d probes, transitions %+v", started.Load(), got)
		}
		close(stuck) // its nil is two verdicts late
		synctest.Wait()
		if got := r.acts(); len(got) != 1 {
			t.Fatalf("a late answer counted: %+v", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := r.acts(); started.Load() != 2 || len(got) != 2 || got[1].Status != "healthy" {
			t.Fatalf("%d probes, transitions %+v", started.Load(), got)
		}
		cancel()
		<-done
	})
}

// dutyCluster is a catalog with our backup and a peer's master of mysql-server.
func dutyCluster() *catalog.Catalog {
	cat := catalog.New(catalog.Options{Self: self})
	cat.Update(func(own *catalog.Edit) {
		own.Put(catalog.Record{Name: "server-02", Addr: self, TTL: 60, Priority: catalog.Origin, Active: true})
		own.Put(catalog.Record{Name: "mysql-server", Addr: self, TTL: 60, Priority: catalog.Backup, Weight: 100, Active: true})
	})
	master := catalog.New(catalog.Options{Self: peer})
	master.Update(func(own *catalog.Edit) {
		own.Put(catalog.Record{Name: "mysql-server", Addr: peer, TTL: 60, Priority: catalog.Master, Weight: 100, Active: true, Duty: catalog.DutyActive})
	})
	cat.Merge(master.View().Own())
	cat.SetStatus(peer, catalog.Alive, time.Now())
	return cat
}

func TestDutyDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cat := dutyCluster()
		var r recorder
		type pub struct {
			d     catalog.Duty
			n     uint64
			begun bool
		}
		var published []pub
		var memory Memory
		d := NewDutyDriver(DutyDriver{
			Name: "mysql-server", Addr: self, Catalog: cat, Memory: Memory{Number: 41}, Remember: func(m Memory) { memory = m },
			Rule:    DutyRule{StartDelay: 60 * time.Second, Interval: 10 * time.Second, Active: 2, Inactive: 2},
			Publish: func(s Standing, begun bool) { published = append(published, pub{s.Duty, s.Number, begun}) },
			Shell:   r.shell(),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		time.Sleep(60*time.Second - time.Millisecond)
		synctest.Wait()
		if r.logged("activity") {
			t.Fatalf("a round before the start delay: %s", r.log.String())
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if !r.logged("initial activity: mysql-server: inactive") {
			t.Fatalf("after the first round: %s", r.log.String())
		}
		// Changes of the table wake the driver and count no round.
		cat.SetStatus(peer, catalog.Dead, time.Now())
		for range 5 {
			cat.Update(func(own *catalog.Edit) {
				rec, _ := own.Get(catalog.Key{Name: "mysql-server", Addr: self})
				rec.TTL++
				own.Put(rec)
			})
			synctest.Wait()
		}
		time.Sleep(20*time.Second - time.Millisecond)
		synctest.Wait()
		if got := r.acts(); len(got) != 0 {
			t.Fatalf("after one round: %+v", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		got := r.acts()
		if len(got) != 1 || got[0].Status != "active" || got[0].Reason != ReasonFailover || got[0].Number != 42 || got[0].Kind != KindActivity {
			t.Fatalf("after two rounds: %+v", got)
		}
		if !r.logged("activity condition changed: mysql-server: active") || !r.logged("no higher tier Active, 2 rounds in a row") {
			t.Errorf("the log does not say why: %s", r.log.String())
		}
		if err := d.Release(ctx, ReasonShutdown); err != nil {
			t.Fatal(err)
		}
		if got := r.acts(); len(got) != 2 || got[1].Status != "inactive" || got[1].Reason != ReasonShutdown {
			t.Fatalf("after the release: %+v", got)
		}
		time.Sleep(time.Minute) // still nobody else; but a released driver stays off duty
		synctest.Wait()
		if got := r.acts(); len(got) != 2 {
			t.Fatalf("a round after the shutdown: %+v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := []pub{{catalog.DutyInactive, 41, false}, {catalog.DutyActive, 42, true}, {catalog.DutyInactive, 43, true}}
		if len(published) != 3 || published[0] != want[0] || published[1] != want[1] || published[2] != want[2] {
			t.Errorf("published %v, want %v", published, want)
		}
		if memory.Number != 43 || memory.Activated != 42 {
			t.Errorf("remembered %+v", memory)
		}
		if err := d.Release(t.Context(), ReasonManual); !errors.Is(err, ErrStopped) {
			t.Errorf("release of an ended driver: %v", err)
		}
	})
}

// TestLook reads the facts that a step needs from a real table.
func TestLook(t *testing.T) {
	cat := dutyCluster()
	f := Look(cat.View(), "mysql-server")
	if !f.Present || !f.Active || f.Priority != catalog.Backup || f.Rival != peer || f.OnDuty() {
		t.Errorf("beside an Active master: %+v", f)
	}
	if m := f.Members[peer]; !m.Alive || m.Duty != catalog.DutyActive {
		t.Errorf("the master: %+v", m)
	}
	cat.SetStatus(peer, catalog.Dead, time.Now())
	f = Look(cat.View(), "mysql-server")
	if f.Rival.IsValid() || !f.OnDuty() {
		t.Errorf("beside a dead master: %+v", f)
	}
	if m, ok := f.Members[peer]; !ok || m.Alive || m.Duty != catalog.DutyActive {
		t.Errorf("the dead master: %+v", m)
	}
	if f := Look(cat.View(), "server-02"); f.Present || f.OnDuty() {
		t.Errorf("an origin has no duty: %+v", f)
	}
	if f := Look(cat.View(), "nobody"); f.Present || f.OnDuty() {
		t.Errorf("an unknown name: %+v", f)
	}
}
