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
