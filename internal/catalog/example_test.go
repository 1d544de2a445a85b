package catalog_test

import (
	"fmt"
	"net/netip"
	"time"

	"murakumo/internal/catalog"
)

var (
	server1 = netip.MustParseAddr("10.0.0.133")
	server2 = netip.MustParseAddr("10.0.0.55")
)

func Example() {
	// server-01 publishes an alias.
	one := catalog.New(catalog.Options{Self: server1})
	one.Update(func(own *catalog.Edit) {
		err := own.Put(catalog.Record{
			Name: "mysql-server", Addr: server1, TTL: 60,
			Priority: catalog.Master, Weight: 100, Active: true,
		})
		if err != nil {
			fmt.Println(err)
		}
	})

	// Its set travels to server-02, which shows it once it knows that
	// server-01 is alive.
	two := catalog.New(catalog.Options{Self: server2})
	set, err := catalog.DecodeSet(one.View().Own().Encode(), 1000)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(two.Merge(set))
	two.SetStatus(server1, catalog.Alive, time.Unix(0, 0))
	for _, e := range two.View().Name("mysql-server").Entries() {
		fmt.Println(e.Addr, e.Priority, e.Active)
	}

	// server-01 dies: nothing is answered, but the name stays ours.
	two.SetStatus(server1, catalog.Dead, time.Unix(30, 0))
	name := two.View().Name("mysql-server")
	fmt.Println(len(name.Entries()), "visible,", len(name.Hidden()), "hidden")
	two.Expire(time.Unix(30, 0).Add(24*time.Hour), 24*time.Hour)
	fmt.Println("ours a day later:", two.View().Name("mysql-server") != nil)
	// Output:
	// replaced
	// 10.0.0.133 Master true
	// 0 visible, 1 hidden
	// ours a day later: false
}

func ExampleSet_Delta() {
	one := catalog.New(catalog.Options{Self: server1})
	add := func(name string) *catalog.Set {
		return one.Update(func(own *catalog.Edit) {
			if err := own.Put(catalog.Record{Name: name, Addr: server1, Priority: catalog.Origin, Active: true}); err != nil {
				fmt.Println(err)
			}
		}).Own()
	}
	two := catalog.New(catalog.Options{Self: server2})
	two.Merge(add("server-01"))

	// A peer that holds an earlier version gets the difference only.
	held, _ := two.View().Member(server1)
	if delta, ok := add("db").Delta(held.Set.Version()); ok {
		fmt.Println("from", delta.From(), "to", delta.To(), two.MergeDelta(delta))
	}
	// One that knows nothing asks for the whole set.
	three := catalog.New(catalog.Options{Self: netip.MustParseAddr("10.0.0.77")})
	if delta, ok := add("web").Delta(2); ok {
		fmt.Println(three.MergeDelta(delta))
	}
	// Output:
	// from 1 to 2 replaced
	// need full
}

func ExampleView_Diff() {
	c := catalog.New(catalog.Options{Self: server1})
	web := catalog.Record{Name: "web", Addr: server1, Priority: catalog.Master, Weight: 1, Active: true}
	before := c.Update(func(own *catalog.Edit) { _ = own.Put(web) })

	web.Active = false
	c.Update(func(own *catalog.Edit) { _ = own.Put(web) })

	<-before.Superseded() // there is a later view
	for change := range c.View().Diff(before) {
		fmt.Println(change.Key().Name, change.Old.Active, "to", change.New.Active)
	}
	// Output:
	// web true to false
}

func ExampleEdit_ByName() {
	c := catalog.New(catalog.Options{Self: server1})
	c.Update(func(own *catalog.Edit) {
		for _, a := range []string{"10.0.0.133", "2001:db8::133"} {
			_ = own.Put(catalog.Record{Name: "web", Addr: netip.MustParseAddr(a), Priority: catalog.Master, Weight: 1})
		}
	})
	// A verdict of the health check holds for all addresses of an alias.
	v := c.Update(func(own *catalog.Edit) {
		for _, r := range own.ByName("web") {
			r.Active = true
			_ = own.Put(r)
		}
	})
	for _, e := range v.Name("web").Of(server1) {
		fmt.Println(e.Addr, e.Active)
	}
	// Output:
	// 10.0.0.133 true
	// 2001:db8::133 true
}

func ExampleMerge() {
	c := catalog.New(catalog.Options{Self: server1})
	older := c.View().Own()
	newer := c.Update(func(own *catalog.Edit) {
		_ = own.Put(catalog.Record{Name: "server-01", Addr: server1, Priority: catalog.Origin})
	}).Own()
	fmt.Println(catalog.Merge(older, newer) == catalog.Merge(newer, older))
	fmt.Println(catalog.Merge(nil, older).Version(), catalog.Merge(older, newer).Version())
	// Output:
	// true
	// 0 1
}
