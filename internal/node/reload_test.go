package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/config"
	"murakumo/internal/control"
	"murakumo/internal/sim"
)

// reload changes a host's file and makes its daemon take it in.
func reload(t *testing.T, h *sim.Host, edit func(*config.Config)) {
	t.Helper()
	h.Edit(edit)
	if err := h.Reload(); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func addByHand(t *testing.T, h *sim.Host, name string, ttl uint32) {
	t.Helper()
	if _, err := h.Core().AddRecords(t.Context(), []control.RecordSpec{{Name: name, TTL: ttl, Priority: catalog.Master, Weight: 100}}); err != nil {
		t.Fatal(err)
	}
}

// TestReloadTakesAnAliasOut: it is Inactive at once, its hook runs once, its
// record is there until that has ended, and its checks end with it.
func TestReloadTakesAnAliasOut(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		h := c.Hosts[0]
		start := time.Now()
		reload(t, h, func(cfg *config.Config) { cfg.Aliases, cfg.HealthChecks, cfg.ActivityChecks = nil, nil, nil })
		if r := own(h, sim.Service); len(r) != 1 || r[0].Active || r[0].Duty != catalog.DutyInactive {
			t.Fatalf("while its hook runs: %+v", r)
		}
		c.Within(12*time.Second, "the secondary takes over", func() string { return c.Settled(c.Hosts[1]) })
		if r := own(h, sim.Service); len(r) != 0 {
			t.Errorf("still there: %+v", r)
		}
		n := 0
		for _, m := range c.World.Moves() {
			if strings.Contains(m, h.Addr.String()+" inactive manual") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("its hook ran %d times: %q", n, c.World.Moves())
		}
		h.Break()
		time.Sleep(10 * time.Second)
		if len(h.Logged(start, "health condition changed")) > 0 {
			t.Error("its health check goes on")
		}
		for _, line := range []string{"changed: alias.mysql-server", "changed: health-check.mysql-server.interval", `msg="alias taken out: mysql-server"`, "msg=reloaded"} {
			if len(h.Logged(start, line)) != 1 {
				t.Errorf("no line %q in\n%s", line, h.Log(start))
			}
		}

		// And back again: a new check, which has to see for itself.
		h.Mend()
		reload(t, h, func(cfg *config.Config) {
			cfg.Aliases = []config.Alias{{Name: sim.Service, TTL: 60, Priority: catalog.Master, Weight: 100}}
			cfg.HealthChecks = c.Hosts[1].File().HealthChecks
			cfg.ActivityChecks = c.Hosts[1].File().ActivityChecks
		})
		c.Within(20*time.Second, "the master has it again", func() string { return c.Settled(h) })
		last := 0
		for _, m := range c.World.Moves() {
			f := strings.Fields(m)
			if n, _ := strconv.Atoi(f[len(f)-1]); f[1] == h.Addr.String() {
				if n <= last {
					t.Errorf("transition %d after %d: %q", n, last, c.World.Moves())
				}
				last = n
			}
		}
		h.Break()
		c.Within(15*time.Second, "its new check works", func() string { return c.Settled(c.Hosts[1]) })
	})
}

// TestReloadTakesAnAliasBack: one that is named again while its hook still runs
// stays, with its checks.
func TestReloadTakesAnAliasBack(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		h := c.Hosts[0]
		before := h.File()
		reload(t, h, func(cfg *config.Config) { cfg.Aliases, cfg.HealthChecks, cfg.ActivityChecks = nil, nil, nil })
		time.Sleep(100 * time.Millisecond) // its hook takes 700 ms
		reload(t, h, func(cfg *config.Config) { *cfg = *before })
		if r := own(h, sim.Service); len(r) != 1 || !r[0].Active {
			t.Fatalf("named again: %+v", r)
		}
		time.Sleep(2 * time.Second) // the hook has ended
		if r := own(h, sim.Service); len(r) != 1 || !r[0].Active {
			t.Fatalf("after the hook of its leave: %+v", r)
		}
		c.Within(15*time.Second, "it is on duty again", func() string { return c.Settled(h) })
		h.Break()
		c.Within(15*time.Second, "its checks work", func() string { return c.Settled(c.Hosts[1]) })
	})
}

// TestReloadAndTheOperatorsHand: what mrkmctl did stays until the file says
// something new about it.
func TestReloadAndTheOperatorsHand(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		h := c.Hosts[0]
		alias := func(name string, ttl uint32) config.Alias {
			return config.Alias{Name: name, TTL: ttl, Priority: catalog.Master, Weight: 100}
		}
		ttl := func(name string) string {
			r := own(h, name)
			if len(r) == 0 {
				return "none"
			}
			return fmt.Sprint(r[0].TTL)
		}
		expect := func(when, want string) {
			t.Helper()
			got := ""
			for _, name := range []string{"file", "hand", "deleted", "changed"} {
				got += name + " " + ttl(name) + " "
			}
			if strings.TrimSpace(got) != want {
				t.Errorf("%s: %s\nwant %s", when, got, want)
			}
		}
		service := h.File().Aliases
		with := func(more ...config.Alias) func(*config.Config) {
			return func(cfg *config.Config) { cfg.Aliases = append(service[:len(service):len(service)], more...) }
		}
		reload(t, h, with(alias("file", 60), alias("deleted", 60), alias("changed", 60)))
		addByHand(t, h, "hand", 5)
		addByHand(t, h, "changed", 5)
		if err := h.Core().DeleteRecords(t.Context(), []string{"deleted"}); err != nil {
			t.Fatal(err)
		}
		reload(t, h, func(cfg *config.Config) { cfg.MaxIPNum = 3 })
		expect("the file is the same about them", "file 60 hand 5 deleted none changed 5")
		reload(t, h, with(alias("file", 60), alias("deleted", 61), alias("changed", 62), alias("hand", 63)))
		expect("the file names them anew", "file 60 hand 63 deleted 61 changed 62")
		addByHand(t, h, "changed", 5)
		reload(t, h, with(alias("file", 60), alias("deleted", 61), alias("hand", 63)))
		expect("the file has it no more", "file 60 hand 63 deleted 61 changed none")
		c.Within(time.Second, "all is well", func() string { return c.Settled(h) })
	})
}

// TestReloadLeavesChecksAlone: a check that is the same goes on counting over
// reloads, and its duty does not move.
func TestReloadLeavesChecksAlone(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		h := c.Hosts[0]
		reload(t, h, func(cfg *config.Config) { cfg.HealthChecks[0].Rule.Fall = 10 }) // 10 s
		time.Sleep(2 * time.Second)
		before := len(c.World.Moves())
		h.Break()
		start := time.Now()
		for i := range 12 {
			time.Sleep(time.Second)
			reload(t, h, func(cfg *config.Config) {
				cfg.MaxIPNum = 10 + i
				cfg.Aliases = append(cfg.Aliases[:1:1], config.Alias{Name: fmt.Sprintf("other-%d", i), TTL: 60, Priority: catalog.Master, Weight: 1})
				// Another check comes and goes beside it.
				cfg.HealthChecks = append(cfg.HealthChecks[:1:1], cfg.HealthChecks[0])
				cfg.HealthChecks[1].Name = cfg.Aliases[1].Name
				// What is done at a change is no part of what is asked.
				cfg.HealthChecks[0].OnActivate = config.Command{fmt.Sprint("hook ", i)}
			})
		}
		at := h.Logged(start, "health condition changed: mysql-server: unhealthy")
		if len(at) != 1 || at[0].Sub(start) < 9*time.Second || at[0].Sub(start) > 11*time.Second {
			t.Fatalf("unhealthy at %v after the break at %v:\n%s", at, start, h.Log(start))
		}
		for _, m := range c.World.Moves()[before:] {
			if !strings.Contains(m, "failover") {
				t.Errorf("a hook ran because of a reload: %s", m)
			}
		}
		c.Within(15*time.Second, "the secondary takes over", func() string { return c.Settled(c.Hosts[1]) })
		h.Mend()
		c.Within(15*time.Second, "and gives back", func() string { return c.Settled(h) })
	})
}

// TestReloadChangesAndAddsChecks: nothing turns because the file was edited.
func TestReloadChangesAndAddsChecks(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		h := c.Hosts[0]
		moves := len(c.World.Moves())
		health, activity := h.File().HealthChecks, h.File().ActivityChecks
		calm := func(when string) {
			t.Helper()
			c.Holds(8*time.Second, when, func() string {
				if len(c.World.Moves()) != moves {
					return "a hook ran"
				}
				if r := own(h, sim.Service); len(r) != 1 || !r[0].Active {
					return fmt.Sprintf("%+v", r)
				}
				return ""
			})
		}
		reload(t, h, func(cfg *config.Config) {
			cfg.HealthChecks[0].Command = config.Command{"another"}
			cfg.HealthChecks[0].Rule.Interval = 2 * time.Second
			cfg.ActivityChecks[0].Rule.Interval = time.Second
			cfg.ActivityChecks[0].Rule.StartDelay = time.Minute
		})
		calm("changed")
		if r := own(h, sim.Service); r[0].Duty != catalog.DutyActive {
			t.Errorf("the duty was lost: %+v", r)
		}
		reload(t, h, func(cfg *config.Config) { cfg.HealthChecks, cfg.ActivityChecks = nil, nil })
		if r := own(h, sim.Service); r[0].Duty != catalog.DutyUndefined {
			t.Errorf("a duty without an activity check: %+v", r)
		}
		h.Break()
		calm("taken out, it is Active whatever happens")
		// A check that comes to an alias which is answered does not hide it until
		// it has asked; its word counts then.
		h.Mend()
		h.Slow(500 * time.Millisecond)
		reload(t, h, func(cfg *config.Config) { cfg.HealthChecks, cfg.ActivityChecks = health, activity })
		calm("added")
		c.Within(10*time.Second, "it is on duty", func() string { return c.Settled(h) })
		h.Break()
		c.Within(15*time.Second, "the check works", func() string { return c.Settled(c.Hosts[1]) })
	})
}

// TestReloadRefused: a reload that cannot be done whole does nothing, and every
// mistake is in the log.
func TestReloadRefused(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		h, core := c.Hosts[0], c.Hosts[0].Core()
		time.Sleep(10 * time.Second) // all have had their first rounds
		table := h.Table()
		base := h.File()
		refuse := func(what string, edit func(*config.Config), lines ...string) {
			t.Helper()
			start := time.Now()
			h.Edit(edit)
			if err := h.Reload(); err == nil {
				t.Errorf("%s: no error", what)
			}
			h.Edit(func(cfg *config.Config) { *cfg = *base })
			synctest.Wait()
			if now := h.Table(); now != table {
				t.Errorf("%s: the table changed to\n%s", what, now)
			}
			for _, line := range append(lines, "not reloaded: nothing was changed") {
				if len(h.Logged(start, line)) != 1 {
					t.Errorf("%s: no line %q in\n%s", what, line, h.Log(start))
				}
			}
			if log := h.Log(start); strings.Contains(log, "msg=\"changed:") {
				t.Errorf("%s: the log says that something changed:\n%s", what, log)
			}
			time.Sleep(time.Second) // so that logs do not mix
		}
		more := func(cfg *config.Config, name string) {
			cfg.Aliases = append(cfg.Aliases, config.Alias{Name: name, TTL: 60, Priority: catalog.Master, Weight: 1})
		}
		refuse("an alias that cannot be published", func(cfg *config.Config) { more(cfg, "fine"); more(cfg, "not fine") }, "not fine")
		refuse("too many records", func(cfg *config.Config) { cfg.MaxRecords = 2; more(cfg, "fine") }, "max-records: 2")
		refuse("an initial node that is none", func(cfg *config.Config) { more(cfg, "fine"); cfg.InitialNodes = []string{"a b"} }, "is no host")
		refuse("an empty key", func(cfg *config.Config) { more(cfg, "fine"); cfg.AuthKeys = []string{""} }, "auth-key")
		refuse("mail to nobody", func(cfg *config.Config) {
			more(cfg, "fine")
			cfg.Notification = &config.Notification{Host: "h", Sender: "not an address", Recipients: []string{"a@example.org"}}
		}, "notification")
		refuse("the name of the host as an alias", func(cfg *config.Config) { cfg.Host.Name = "renamed"; more(cfg, "server-01") }, "server-01 cannot be an alias")

		// A file with mistakes, all of which are told, and one that is cut off.
		start := time.Now()
		path := filepath.Join(t.TempDir(), "murakumo.yml")
		whole := "auth-key: a key for the simulation\nhost: 10.0.0.1, server-01\nalias: [mysql-server, fine]\nmax-ip-num: 0\nport: dns\nlog-level: [info]\n"
		load := func() (*config.Config, error) { return config.Load(path, config.Options{}) }
		for name, text := range map[string]string{"mistakes": whole, "half": whole[:len(whole)-2], "cut off in a word": whole[:40], "empty": ""} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var mistakes config.Errors
			if err := core.Reload(load); !errors.As(err, &mistakes) {
				t.Errorf("%s: %v", name, err)
			}
			for _, m := range mistakes {
				if len(h.Logged(start, m.Message[:10])) == 0 {
					t.Errorf("%s: %s is not in the log:\n%s", name, m, h.Log(start))
				}
			}
		}
		if now := h.Table(); now != table {
			t.Errorf("a file with mistakes changed the table to\n%s", now)
		}
		if err := core.Reload(func() (*config.Config, error) { return nil, errors.New("no such file") }); err == nil {
			t.Error("a file that is not there: no error")
		}
	})
}

// TestReloadWhatNeedsARestart: it is named, and the rest is taken in.
func TestReloadWhatNeedsARestart(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		h := c.Hosts[0]
		for range 2 { // it is named again each time
			start := time.Now()
			reload(t, h, func(cfg *config.Config) {
				cfg.Port, cfg.Socket, cfg.WorkingDir, cfg.Gossip.Port = 5353, "/run/other", "/srv", 10871
				cfg.Host.Name, cfg.Host.TTL = "renamed", 7
				cfg.HookTimeout = 11 * time.Second
			})
			for _, key := range []string{"port", "socket", "working-dir", "gossip-port", "host"} {
				if len(h.Logged(start, "not changed while running, restart to have it: "+key+`"`)) != 1 {
					t.Errorf("%s is not named in\n%s", key, h.Log(start))
				}
			}
			if r := own(h, "server-01"); len(r) != 1 || r[0].TTL != 7 {
				t.Errorf("the TTL of the host's own name: %+v", r)
			}
			time.Sleep(time.Second)
		}
		// The state is still where it was.
		h.Pause()
		h.Edit(func(cfg *config.Config) { cfg.WorkingDir, cfg.Host.Name = c.Hosts[0].Disk(), "server-01" })
		h.Start()
		c.Within(10*time.Second, "it is back", func() string { return c.Settled(h) })
	})
}

// TestReloadTunesGossip: the times of gossip change without anybody leaving, and
// what mrkmctl -s set stays where the file is the same.
func TestReloadTunesGossip(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		start := time.Now()
		for _, h := range c.Hosts {
			reload(t, h, func(cfg *config.Config) { cfg.Gossip.NodeLifetime = 4 * time.Second })
		}
		c.Holds(10*time.Second, "nothing happens", func() string { return c.Settled(c.Hosts[0]) })
		for _, h := range c.Hosts {
			if len(h.Logged(start, "node lost")) > 0 {
				t.Errorf("%s lost somebody:\n%s", h.Addr, h.Log(start))
			}
		}
		c.Hosts[0].Kill()
		c.Within(5*time.Second, "the death is known within the new lifetime", func() string {
			if m, _ := c.Hosts[1].View().Member(c.Hosts[0].Addr); m.Status != catalog.Dead {
				return m.Status.String()
			}
			return ""
		})
		c.Hosts[0].Start()
		c.Within(30*time.Second, "it is back", func() string { return c.Settled(c.Hosts[0]) })
	})
}

// TestReloadOutsideOfRun: before a node runs and after it, nothing is taken in.
func TestReloadOutsideOfRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sim.NewCluster(t, 1)
		core := c.Hosts[0].New()
		load := func() (*config.Config, error) { return c.Hosts[0].File(), nil }
		if err := core.Reload(load); err == nil {
			t.Error("before Run: no error")
		}
		err := core.Run(t.Context(), func(context.Context) error { return errServe })
		if !errors.Is(err, errServe) {
			t.Error(err)
		}
		if err := core.Reload(load); err == nil {
			t.Error("after Run: no error")
		}
		time.Sleep(15 * time.Second) // as in Cluster.Stop
	})
}

var errServe = errors.New("no socket")
