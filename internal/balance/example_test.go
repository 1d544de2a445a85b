package balance_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

func ExampleRandom() {
	entry := func(addr string, weight uint16) *catalog.Entry {
		return &catalog.Entry{Record: catalog.Record{Name: "web", Addr: netip.MustParseAddr(addr), Weight: weight}}
	}
	tier := []*catalog.Entry{entry("10.0.0.1", 300), entry("10.0.0.2", 100)}
	rng := rand.New(rand.NewPCG(1, 2))
	first := map[netip.Addr]int{}
	for range 1000 {
		balance.Random(tier, 1, rng)
		first[tier[0].Addr]++
	}
	fmt.Println(first[netip.MustParseAddr("10.0.0.1")] > 2*first[netip.MustParseAddr("10.0.0.2")])
	// Output: true
}

func ExampleOrder() {
	entry := func(addr string) *catalog.Entry {
		return &catalog.Entry{Record: catalog.Record{Name: "db", Addr: netip.MustParseAddr(addr), Weight: 100}}
	}
	sources := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
	for _, self := range []string{"10.0.0.1", "10.0.0.2"} {
		tier := []*catalog.Entry{entry("10.0.1.41"), entry("10.0.1.42")}
		balance.Order(balance.FixBySource, tier, 8, balance.PlaceOf(netip.MustParseAddr(self), sources), nil)
		fmt.Println(self, "asks", tier[0].Addr, "first")
	}
	// Output:
	// 10.0.0.1 asks 10.0.1.41 first
	// 10.0.0.2 asks 10.0.1.42 first
}
