package control

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"murakumo/internal/catalog"
)

func told(events []Event) string {
	var b strings.Builder
	for _, e := range events {
		b.WriteString(e.String() + "\n")
	}
	return b.String()
}

func TestChanges(t *testing.T) {
	at := time.Unix(1000, 0)
	web := catalog.Record{Name: "web", Addr: self, TTL: 60, Priority: catalog.Master, Weight: 100, Active: true}
	with := func(f func(*catalog.Record)) catalog.Record { r := web; f(&r); return r }
	for _, c := range []struct {
		name string
		do   func(n *fakeNode)
		want string
	}{
		{"nothing", func(n *fakeNode) {}, ""},
		{"an alias", func(n *fakeNode) {
			n.put(t, catalog.Record{Name: "db", Addr: self, TTL: 5, Priority: catalog.Backup, Weight: 7})
		}, "10.0.0.133 db: added: ttl 5, backup, weight 7, inactive\n"},
		{"activity", func(n *fakeNode) { n.put(t, with(func(r *catalog.Record) { r.Active = false })) },
			"10.0.0.133 web: active -> inactive\n"},
		{"duty", func(n *fakeNode) {
			n.put(t, with(func(r *catalog.Record) { r.Duty, r.Transition = catalog.DutyActive, 4 }))
		}, "10.0.0.133 web: duty undefined -> active (transition 4)\n"},
		{"duty again", func(n *fakeNode) { n.put(t, with(func(r *catalog.Record) { r.Transition = 5 })) },
			"10.0.0.133 web: duty undefined again (transition 5)\n"},
		{"a hook that ended is no change of the table as it is shown",
			func(n *fakeNode) { n.put(t, with(func(r *catalog.Record) { r.Acted = 5 })) }, ""},
		{"several aspects", func(n *fakeNode) {
			n.put(t, with(func(r *catalog.Record) {
				r.TTL, r.Priority, r.Weight, r.Active, r.Duty, r.Transition = 30, catalog.Secondary, 5, false, catalog.DutyInactive, 1
			}))
		}, "10.0.0.133 web: ttl 60 -> 30, master -> secondary, weight 100 -> 5\n" +
			"10.0.0.133 web: active -> inactive\n" +
			"10.0.0.133 web: duty undefined -> inactive (transition 1)\n"},
		{"what an alias has beside its address", func(n *fakeNode) {
			n.put(t, with(func(r *catalog.Record) { r.Port = 80; *r = r.WithText("\x03a=b") }))
		}, "10.0.0.133 web: port 0 -> 80, txt [] -> [\"a=b\"]\n"},
		{"a name that becomes another's", func(n *fakeNode) {
			n.put(t, with(func(r *catalog.Record) { *r = r.WithTarget("www.example.") }))
		}, "10.0.0.133 web: cname none -> www.example.\n"},
		{"an alias with all of it", func(n *fakeNode) {
			n.put(t, catalog.Record{Name: "db", Addr: self, TTL: 5, Priority: catalog.Backup, Weight: 7, Port: 1}.WithText("\x01\x1b"),
				catalog.Record{Name: "dc", Addr: self, TTL: 5, Priority: catalog.Backup, Weight: 7}.WithTarget("db"))
		}, "10.0.0.133 db: added: ttl 5, backup, weight 7, port 1, txt [\"\\x1b\"], inactive\n" +
			"10.0.0.133 dc: added: ttl 5, backup, weight 7, cname db, inactive\n"},
		{"deleted", func(n *fakeNode) {
			n.Update(func(own *catalog.Edit) { own.Delete(web.Key()) })
		}, "10.0.0.133 web: gone\n"},
		{"a member is lost", func(n *fakeNode) { n.SetStatus(peer, catalog.Dead, at) },
			"node 10.0.0.55 server-02: lost\n10.0.0.55 mysql-server: gone\n10.0.0.55 server-02: gone\n"},
		{"a member leaves", func(n *fakeNode) { n.SetStatus(peer, catalog.Left, at) },
			"node 10.0.0.55 server-02: left\n10.0.0.55 mysql-server: gone\n10.0.0.55 server-02: gone\n"},
		{"a member is removed", func(n *fakeNode) { n.SetStatus(peer, catalog.Removed, at) },
			"node 10.0.0.55 server-02: removed\n10.0.0.55 mysql-server: gone\n10.0.0.55 server-02: gone\n"},
		{"a member joins", func(n *fakeNode) {
			six := netip.MustParseAddr("fd00::6")
			n.hear(t, six, catalog.Record{Name: "six", Addr: six, TTL: 60, Priority: catalog.Origin, Active: true})
		}, "node fd00::6 six: joined\nfd00::6 six: added: ttl 60, origin, active\n"},
		{"a member joins without records", func(n *fakeNode) { n.SetStatus(netip.MustParseAddr("10.0.0.9"), catalog.Alive, at) },
			"node 10.0.0.9: joined\n"},
		{"a member heard of as dead", func(n *fakeNode) { n.SetStatus(netip.MustParseAddr("10.0.0.9"), catalog.Dead, at) }, ""},
		{"a member comes and goes unseen", func(n *fakeNode) {
			n.SetStatus(peer, catalog.Dead, at)
			n.SetStatus(peer, catalog.Alive, at)
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := fourRecords(t)
			n.put(t, web)
			was := n.View()
			c.do(n)
			events := Changes(was, n.View(), at)
			if got := told(events); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			for _, e := range events {
				if !e.Time.Equal(at) {
					t.Errorf("%v: time %v", e, e.Time)
				}
			}
		})
	}
}

func TestChangesOfDeadMember(t *testing.T) {
	n := fourRecords(t)
	n.SetStatus(peer, catalog.Dead, time.Unix(1, 0))
	was := n.View()
	n.SetStatus(peer, catalog.Removed, time.Unix(2, 0))
	if got, want := told(Changes(was, n.View(), time.Unix(3, 0))), "node 10.0.0.55 server-02: removed\n"; got != want {
		t.Errorf("removed after death: got %q, want %q", got, want)
	}
	was = n.View()
	n.Forget(peer)
	if got := told(Changes(was, n.View(), time.Unix(3, 0))); got != "" {
		t.Errorf("forgotten: got %q, want nothing", got)
	}
}

// Whatever happens between two views, one who knows the first table and is told
// the changes knows the second.
func TestChangesLeadFromOneTableToTheOther(t *testing.T) {
	names := []string{"a", "b", "c"}
	owners := []netip.Addr{peer, netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fd00::7")}
	rapid.Check(t, func(t *rapid.T) {
		own := catalog.New(catalog.Options{Self: self})
		others := map[netip.Addr]*catalog.Catalog{}
		for _, o := range owners {
			others[o] = catalog.New(catalog.Options{Self: o})
		}
		step := func() {
			c := own
			o := self
			if who := rapid.IntRange(0, len(owners)).Draw(t, "who"); who > 0 {
				o = owners[who-1]
				c = others[o]
			}
			k := catalog.Key{Name: rapid.SampledFrom(names).Draw(t, "name"), Addr: o}
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				c.Update(func(own *catalog.Edit) { own.Delete(k) })
			case 1:
				own.SetStatus(o, rapid.SampledFrom([]catalog.Status{catalog.Alive, catalog.Dead, catalog.Left, catalog.Removed}).Draw(t, "status"), time.Unix(1, 0))
			default:
				r := catalog.Record{Name: k.Name, Addr: k.Addr, TTL: rapid.Uint32Range(0, 2).Draw(t, "ttl"), Priority: catalog.Master,
					Weight: rapid.Uint16Range(1, 2).Draw(t, "weight"), Active: rapid.Bool().Draw(t, "active"),
					Duty: catalog.Duty(rapid.IntRange(0, 2).Draw(t, "duty")), Transition: rapid.Uint64Range(0, 2).Draw(t, "transition")}
				c.Update(func(own *catalog.Edit) { _ = own.Put(r) })
			}
			if c != own {
				own.Merge(c.View().Own())
			}
		}
		for range rapid.IntRange(0, 20).Draw(t, "before") {
			step()
		}
		was := own.View()
		for range rapid.IntRange(0, 20).Draw(t, "between") {
			step()
		}
		now := own.View()

		type key struct {
			owner netip.Addr
			name  string
		}
		known := map[key]Record{}
		for _, r := range Table(was) {
			known[key{r.Owner, r.Name}] = r
		}
		for _, e := range Changes(was, now, time.Unix(2, 0)) {
			switch {
			case e.Record == nil:
			case e.Kind == EventRecordGone:
				delete(known, key{e.Record.Owner, e.Record.Name})
			default:
				known[key{e.Record.Owner, e.Record.Name}] = *e.Record
			}
		}
		got := []Record{}
		for _, r := range known {
			got = append(got, r)
		}
		slices.SortFunc(got, compareRecords)
		if want := Table(now); !reflect.DeepEqual(got, want) {
			t.Fatalf("got\n%swant\n%s", lines(got), lines(want))
		}
	})
}
