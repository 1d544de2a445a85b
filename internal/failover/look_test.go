package failover

import (
	"net/netip"
	"testing"
	"time"

	"murakumo/internal/catalog"
)

// TestLookStatic: a static record before us is where DNS points, so we are not
// on duty; but nobody has a duty for it. When a check finds it bad, the duty is
// ours.
func TestLookStatic(t *testing.T) {
	self, a, b, rds := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("10.0.9.9")
	table := func(checked, active bool) *catalog.View {
		c := catalog.New(catalog.Options{Self: self})
		c.Update(func(own *catalog.Edit) {
			_ = own.Put(catalog.Record{Name: "db", Addr: self, Priority: catalog.Backup, Weight: 100, Active: true})
		})
		for _, r := range []struct {
			owner catalog.Owner
			catalog.Record
		}{
			{a, catalog.Record{Name: "db", Addr: rds, Priority: catalog.Master, Weight: 100, Active: true, Static: true}},
			{b, catalog.Record{Name: "db", Addr: rds, Priority: catalog.Master, Weight: 100, Active: active, Static: true, Checked: checked}},
		} {
			other := catalog.New(catalog.Options{Self: r.owner})
			other.Update(func(own *catalog.Edit) { _ = own.Put(r.Record) })
			c.Merge(other.View().Own())
			c.SetStatus(r.owner, catalog.Alive, time.Unix(1, 0))
		}
		return c.View()
	}
	for _, tt := range []struct {
		what            string
		checked, active bool
		onDuty          bool
	}{
		{"nobody checks", false, true, false},
		{"a good check", true, true, false},
		{"a bad check", true, false, true},
	} {
		f := Look(table(tt.checked, tt.active), "db")
		if !f.Present || !f.Active || f.Priority != catalog.Backup {
			t.Errorf("%s: our own record: %+v", tt.what, f)
		}
		if f.OnDuty() != tt.onDuty {
			t.Errorf("%s: on duty %v, rival %v", tt.what, f.OnDuty(), f.Rival)
		}
		if len(f.Members) != 0 {
			t.Errorf("%s: members %v, of a thing that has no duty", tt.what, f.Members)
		}
	}
}
