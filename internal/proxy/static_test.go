package proxy

import (
	"net/netip"
	"testing"
	"time"

	"murakumo/internal/catalog"
)

// TestTierStatic: a thing that several nodes tell of is one backend, and none
// while a check finds it bad.
func TestTierStatic(t *testing.T) {
	rds := catalog.Record{Name: "db", Addr: netip.MustParseAddr("10.0.9.9"), Priority: catalog.Master, Weight: 100, Active: true, Static: true}
	c := catalog.New(catalog.Options{Self: netip.MustParseAddr("10.0.0.1")})
	c.Update(func(own *catalog.Edit) { _ = own.Put(rds) })
	other := catalog.New(catalog.Options{Self: netip.MustParseAddr("10.0.0.2")})
	for _, active := range []bool{true, false, true} {
		rds.Checked, rds.Active = true, active
		other.Update(func(own *catalog.Edit) { _ = own.Put(rds) })
		c.Merge(other.View().Own())
		c.SetStatus(netip.MustParseAddr("10.0.0.2"), catalog.Alive, time.Unix(1, 0))
		want := 0
		if active {
			want = 1
		}
		if got := Tier(c.View().Name("db").Answers(), 3306); len(got) != want {
			t.Errorf("active %v: %v", active, got)
		}
	}
}
