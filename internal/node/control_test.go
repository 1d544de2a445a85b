package node_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/config"
	"murakumo/internal/control"
	"murakumo/internal/sim"
)

func attributes(c interface{ Attributes() []control.Attribute }) string {
	var all []string
	for _, a := range c.Attributes() {
		all = append(all, a.Name+"="+a.Value)
	}
	return strings.Join(all, " ")
}

// What -s sets is in force on that node alone; nobody loses a record, no duty
// changes hands, no hook runs.
func TestSetAttribute(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		time.Sleep(30 * time.Second) // until all duties are settled
		before, moves := c.Hosts[0].Table(), len(c.World.Moves())
		for _, set := range []string{
			"node_lifetime=4", "send_interval=0.1", "receive_timeout=1", "node_lifetime=2", "node_lifetime=20", "send_interval=1",
		} {
			name, value, _ := strings.Cut(set, "=")
			for _, h := range c.Hosts {
				a, err := h.Core().SetAttribute(t.Context(), name, value)
				if a != (control.Attribute{Name: name, Value: value}) || err != nil {
					t.Errorf("%s: %v, %v", set, a, err)
				}
			}
			c.Holds(10*time.Second, set, func() string {
				for _, h := range c.Hosts {
					if got := h.Table(); got != before {
						return fmt.Sprintf("%s has another table:\n%s\nbefore:\n%s", h.Addr, got, before)
					}
				}
				return c.Settled(c.Hosts[0])
			})
		}
		if got := c.World.Moves(); len(got) != moves {
			t.Errorf("hooks ran: %q", got[moves:])
		}
		core := c.Hosts[0].Core()
		want := "node_lifetime=20 send_interval=1 receive_timeout=1 log_level=info"
		if got := attributes(core); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		for _, bad := range []struct {
			name, value string
			kind        control.Kind
			says        string
		}{
			{"node_lifetime", "0.4", control.Invalid, "node_lifetime: expected seconds"},
			{"node_lifetime", "1", control.Conflict, "send_interval (1s) would not be less than node_lifetime (1s)"},
			{"send_interval", "20", control.Conflict, "send_interval (20s) would not be less than node_lifetime (20s)"},
			{"log_level", "loud", control.Invalid, "log_level: expected debug"},
			{"port", "53", control.NotFound, "no attribute"},
		} {
			_, err := core.SetAttribute(t.Context(), bad.name, bad.value)
			if err == nil || control.KindOf(err) != bad.kind || !strings.Contains(err.Error(), bad.says) {
				t.Errorf("%s=%s: %v", bad.name, bad.value, err)
			}
		}
		if got := attributes(core); got != want {
			t.Errorf("what was refused is in force: %s", got)
		}

		// And the lifetime counts: the other host's death is known after it.
		core.SetAttribute(t.Context(), "send_interval", "0.3")
		core.SetAttribute(t.Context(), "node_lifetime", "2")
		begin := time.Now()
		c.Hosts[1].Kill() // which waits until all of it has ended
		c.Within(2*time.Second, "the death is known within the new lifetime", func() string {
			if m, _ := core.View().Member(c.Hosts[1].Addr); m.Status != catalog.Dead {
				return m.Status.String()
			}
			return ""
		})
		if took := time.Since(begin); took < time.Second {
			t.Errorf("known after %v: less than half a lifetime", took)
		}
	})
}

// The running configuration has what was added, changed and deleted by hand.
func TestRunning(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		core := c.Hosts[0].Core()
		spec := func(name string, ttl uint32) control.RecordSpec {
			return control.RecordSpec{Name: name, TTL: ttl, Priority: catalog.Backup, Weight: 7}
		}
		if _, err := core.AddRecords(t.Context(), []control.RecordSpec{spec("zz", 1), spec("aa", 2), spec(sim.Service, 3), spec("server-01", 4)}); err != nil {
			t.Fatal(err)
		}
		if _, err := core.SetAttribute(t.Context(), "node_lifetime", "5"); err != nil {
			t.Fatal(err)
		}
		cfg := core.Running()
		alias := func(name string, ttl uint32) config.Alias {
			return config.Alias{Name: name, TTL: ttl, Priority: catalog.Backup, Weight: 7}
		}
		if want := []config.Alias{alias(sim.Service, 3), alias("aa", 2), alias("zz", 1)}; fmt.Sprint(cfg.Aliases) != fmt.Sprint(want) {
			t.Errorf("aliases %+v, want %+v", cfg.Aliases, want)
		}
		if cfg.Host.TTL != 4 || cfg.Gossip.NodeLifetime != 5*time.Second || cfg.Gossip.SendInterval != 300*time.Millisecond {
			t.Errorf("host %+v, gossip %+v", cfg.Host, cfg.Gossip)
		}
		if err := core.DeleteRecords(t.Context(), []string{sim.Service, "aa"}); err != nil {
			t.Fatal(err)
		}
		if got := core.Running().Aliases; len(got) != 1 || got[0] != alias("zz", 1) {
			t.Errorf("aliases after deleting: %+v", got)
		}
		file := string(core.Configuration())
		for text, want := range map[string]bool{"\n  - zz,1,backup,7\n": true, "host: \"10.0.0.1, server-01, 4\"\n": true, "auth-key: \"a key for the simulation\"\n": true, sim.Service: false, "health-check": false} {
			if strings.Contains(file, text) != want {
				t.Errorf("%q in the file: %v\n%s", text, !want, file)
			}
		}
	})
}

// A check on demand is another probe: the schedule's verdicts, the record and the
// duty are what they would be without it.
func TestRunCheck(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		h := c.Hosts[0]
		core := h.Core()
		feed := make(chan control.Event, 10)
		defer watch(t, core, feed)()
		last := func() control.Verdict {
			all := core.Checks()
			if len(all) != 1 || all[0].Name != sim.Service || all[0].Interval != 1 || all[0].Timeout != 1 || all[0].Push || all[0].Last == nil {
				t.Fatalf("checks: %+v", all)
			}
			return *all[0].Last
		}
		// Between two of its own probes the service is broken and mended again.
		scheduled := last()
		c.Within(2*time.Second, "a probe", func() string {
			if last() == scheduled {
				return "none yet"
			}
			return ""
		})
		scheduled = last()
		h.Break()
		for range 20 {
			v, err := core.RunCheck(t.Context(), sim.Service)
			if err != nil || v.Good() || v.Error != "the service does not answer" || v.Name != sim.Service {
				t.Errorf("broken: %+v, %v", v, err)
			}
		}
		h.Mend()
		if v, err := core.RunCheck(t.Context(), sim.Service); err != nil || !v.Good() || v.Error != "" {
			t.Errorf("mended: %+v, %v", v, err)
		}
		if now := last(); now != scheduled {
			t.Errorf("the schedule's last verdict was %+v and is %+v", scheduled, now)
		}
		c.Holds(5*time.Second, "nothing has changed", func() string { return c.Settled(h) })
		if now := last(); now.Time.Sub(scheduled.Time)%time.Second != 0 || !now.Good() {
			t.Errorf("the schedule has shifted: from %v to %v", scheduled.Time, now.Time)
		}
		if _, err := core.RunCheck(t.Context(), "nobody"); control.KindOf(err) != control.NotFound {
			t.Errorf("a check that is none: %v", err)
		}
		if len(feed) > 0 {
			t.Errorf("told: %v", <-feed)
		}
		if all := core.Checks(); all[0].Health != "healthy" {
			t.Errorf("health %s", all[0].Health)
		}
	})
}

// watch passes a core's feed on until its end is called.
func watch(t *testing.T, core interface{ Feed() *control.Feed }, to chan<- control.Event) (end func()) {
	follower := core.Feed().Follow()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer follower.End()
		for {
			select {
			case <-follower.Wake():
				events, _ := follower.Take()
				for _, e := range events {
					to <- e
				}
			case <-stop:
				return
			}
		}
	}()
	return func() { close(stop); <-done }
}

// The feed tells why a check changed its mind and how hooks ended.
func TestFeedOfANode(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		h := c.Hosts[0]
		feed := make(chan control.Event, 10)
		defer watch(t, h.Core(), feed)()
		h.Break()
		var got []string
		for range 2 {
			e := <-feed
			got = append(got, string(e.Kind)+" "+e.String())
		}
		want := []string{
			"health 10.0.0.1 mysql-server: healthy -> unhealthy (transition 1): the service does not answer",
			"hook 10.0.0.1 mysql-server: hook for inactive: ok after 0.7 s (transition 1)",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
		h.Mend()
		if e := <-feed; e.Transition.Status != "healthy" || e.Transition.Error != "" {
			t.Errorf("mended: %v", e)
		}
	})
}

// -c through a node.
func TestClearDead(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		core := c.Hosts[0].Core()
		if n, err := core.ClearDead(t.Context()); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		c.Hosts[1].Kill()
		time.Sleep(15 * time.Second)
		if core.View().Name("server-02") == nil {
			t.Error("the name of the dead is not ours")
		}
		if n, err := core.ClearDead(t.Context()); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if core.View().Name("server-02") != nil {
			t.Error("the name of the dead is still ours")
		}
	})
	// Before gossip runs there is nobody to forget, and it says so.
	pair(t, func(t *testing.T, c *sim.Cluster) {
		c.Hosts[0].Kill()
		core := c.Hosts[0].New()
		if _, err := core.ClearDead(context.Background()); err == nil {
			t.Error("no error")
		}
	})
}
