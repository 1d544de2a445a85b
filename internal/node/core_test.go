package node_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/control"
	"murakumo/internal/node"
	"murakumo/internal/sim"
)

// pair runs f beside two settled nodes, server-01 with the master and server-02
// with the secondary of sim.Service.
func pair(t *testing.T, f func(t *testing.T, c *sim.Cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := sim.NewCluster(t, 2)
		c.Start()
		defer c.Stop()
		c.World.Place(c.Hosts[0].Addr)
		c.Within(30*time.Second, "both come up", func() string { return c.Settled(c.Hosts[0]) })
		f(t, c)
	})
}

func own(h *sim.Host, name string) []catalog.Record {
	var recs []catalog.Record
	for r := range h.View().Own().Records() {
		if r.Name == name {
			recs = append(recs, r)
		}
	}
	return recs
}

// TestVerdictBelongsToTheCheck: adding an alias by hand does not make a failing
// service Active, and one that was deleted gets back what its checks say.
func TestVerdictBelongsToTheCheck(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		h, ctx := c.Hosts[0], t.Context()
		h.Break()
		c.Within(15*time.Second, "the other takes over", func() string { return c.Settled(c.Hosts[1]) })
		if _, err := h.Core().AddRecords(ctx, []control.RecordSpec{{Name: sim.Service, TTL: 30, Priority: catalog.Master, Weight: 7}}); err != nil {
			t.Fatal(err)
		}
		if r := own(h, sim.Service); len(r) != 1 || r[0].Active || r[0].TTL != 30 || r[0].Weight != 7 || r[0].Duty != catalog.DutyInactive {
			t.Fatalf("added again: %+v", r)
		}
		if err := h.Core().DeleteRecords(ctx, []string{sim.Service}); err != nil {
			t.Fatal(err)
		}
		h.Mend()
		time.Sleep(10 * time.Second)
		if r := own(h, sim.Service); len(r) != 0 {
			t.Fatalf("a check brought a deleted alias back: %+v", r)
		}
		if _, err := h.Core().AddRecords(ctx, []control.RecordSpec{{Name: sim.Service, TTL: 60, Priority: catalog.Master, Weight: 100}}); err != nil {
			t.Fatal(err)
		}
		if r := own(h, sim.Service); len(r) != 1 || !r[0].Active {
			t.Fatalf("the check is good: %+v", r)
		}
		c.Within(15*time.Second, "the duty returns", func() string { return c.Settled(h) })
	})
}

// TestDeleteLetsTheDutyGo: the hook runs before the name is gone, and the next
// host takes over.
func TestDeleteLetsTheDutyGo(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		if err := c.Hosts[0].Core().DeleteRecords(t.Context(), []string{sim.Service}); err != nil {
			t.Fatal(err)
		}
		if n := len(c.World.Moves()); n != 1 {
			t.Errorf("deleted although its hook had not ended: %q", c.World.Moves())
		}
		c.Within(12*time.Second, "the secondary takes over", func() string { return c.Settled(c.Hosts[1]) })
		if len(own(c.Hosts[0], sim.Service)) != 0 {
			t.Error("the record is still there")
		}
		if moves := c.World.Moves(); !slices.ContainsFunc(moves, func(m string) bool {
			return strings.Contains(m, c.Hosts[0].Addr.String()+" inactive manual")
		}) {
			t.Errorf("hooks: %q", moves)
		}
	})
}

func TestWhatCannotBeChanged(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		core, ctx := c.Hosts[0].Core(), t.Context()
		for _, x := range []struct {
			what string
			err  error
			kind control.Kind
			text string
		}{
			{"the origin", core.DeleteRecords(ctx, []string{"server-01"}), control.Conflict, "original host name cannot be deleted"},
			{"nobody's name", core.DeleteRecords(ctx, []string{"nobody"}), control.NotFound, "no alias nobody"},
			{"one of two", core.DeleteRecords(ctx, []string{sim.Service, "nobody"}), control.NotFound, "no alias nobody"},
			{"an unknown node", core.DeleteNodes(ctx, []string{"10.9.9.9"}), control.NotFound, "no node 10.9.9.9"},
			{"an unknown host name", core.DeleteNodes(ctx, []string{"server-77"}), control.NotFound, "no node is named server-77"},
		} {
			if x.err == nil || control.KindOf(x.err) != x.kind || !strings.Contains(x.err.Error(), x.text) {
				t.Errorf("%s: %v (kind %v)", x.what, x.err, control.KindOf(x.err))
			}
		}
		if _, err := core.AddRecords(ctx, []control.RecordSpec{
			{Name: "fine", TTL: 60, Priority: catalog.Master, Weight: 100},
			{Name: "not fine", TTL: 60, Priority: catalog.Master, Weight: 100},
		}); control.KindOf(err) != control.Invalid {
			t.Errorf("a malformed name: %v", err)
		}
		if len(own(c.Hosts[0], "fine"))+len(own(c.Hosts[0], "not fine")) != 0 {
			t.Error("half of a refused command was carried out")
		}
		if len(own(c.Hosts[0], sim.Service)) != 1 {
			t.Error("a refused deletion deleted")
		}
		// The origin's TTL may change, its priority not.
		recs, err := core.AddRecords(ctx, []control.RecordSpec{{Name: "server-01", TTL: 5, Priority: catalog.Backup, Weight: 3}})
		if err != nil || len(recs) != 1 || recs[0].Priority != catalog.Origin || recs[0].TTL != 5 || recs[0].Weight != 0 {
			t.Errorf("the origin: %+v, %v", recs, err)
		}
	})
}

// TestRemoved: a living node that is removed hands over and ends with the
// reason; by its host's name as well as by its address.
func TestRemoved(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		if err := c.Hosts[1].Core().DeleteNodes(t.Context(), []string{"server-01"}); err != nil {
			t.Fatal(err)
		}
		c.Within(10*time.Second, "it ends", func() string {
			if c.Hosts[0].Ended() == nil {
				return "it still runs"
			}
			return ""
		})
		if err := c.Hosts[0].Ended(); !errors.Is(err, node.ErrRemoved) {
			t.Errorf("it ended with %v", err)
		}
		c.Within(12*time.Second, "the other takes over", func() string { return c.Settled(c.Hosts[1]) })
		if n := c.Hosts[1].View().Name("server-01"); n == nil || len(n.Entries()) != 0 {
			t.Errorf("records of a removed node: %+v", n)
		}
	})
}

// TestFailedStart: a node that cannot take part in the cluster runs no hook, for
// another daemon may be on duty under this very address.
func TestFailedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sim.NewCluster(t, 1)
		core := c.Hosts[0].NewActive()
		stop := errors.New("no socket")
		err := core.Run(t.Context(), func(context.Context) error { return stop })
		if !errors.Is(err, stop) {
			t.Errorf("ended with %v", err)
		}
		if moves := c.World.Moves(); len(moves) != 0 {
			t.Errorf("hooks: %q", moves)
		}
		time.Sleep(15 * time.Second) // as in Cluster.Stop
	})
}

// TestServeFails: when what serves the outside fails, the node hands over and
// tells why.
func TestServeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sim.NewCluster(t, 1)
		core := c.Hosts[0].New()
		err := core.Run(t.Context(), func(context.Context) error { return context.DeadlineExceeded })
		if err == nil || !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
			t.Errorf("ended with %v", err)
		}
		time.Sleep(15 * time.Second) // as in Cluster.Stop
	})
}

// TestStopOrder: at a stop the aliases turn Inactive first, then the hook runs
// with its reason, and the goodbye comes last.
func TestStopOrder(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		stopping, other := c.Hosts[0], c.Hosts[1]
		status := func() (active bool, member catalog.Status) {
			for _, e := range other.View().Name(sim.Service).Entries() {
				active = active || e.Owner == stopping.Addr && e.Active
			}
			m, _ := other.View().Member(stopping.Addr)
			return active, m.Status
		}
		stopped := make(chan struct{})
		go func() { stopping.Shutdown(); close(stopped) }()
		// The hook takes 700 ms; half a second is enough for the news.
		time.Sleep(500 * time.Millisecond)
		if active, member := status(); active || member != catalog.Alive {
			t.Errorf("while the hook runs: active %v, member %v", active, member)
		}
		if n := len(c.World.Moves()); n != 0 {
			t.Fatalf("hooks ended too early: %q", c.World.Moves())
		}
		<-stopped
		if moves := c.World.Moves(); len(moves) != 1 || !strings.Contains(moves[0], stopping.Addr.String()+" inactive shutdown") {
			t.Errorf("hooks: %q", moves)
		}
		c.Within(time.Second, "the goodbye is heard", func() string {
			if _, member := status(); member != catalog.Left {
				return member.String()
			}
			return ""
		})
	})
}
