// Package sim is for tests only: a lossy network in memory, so that a cluster
// can live many virtual minutes in a few real seconds inside a testing/synctest
// bubble.
//
//	synctest.Test(t, func(t *testing.T) {
//		network := sim.NewNetwork(1)
//		a := network.Listen(netip.MustParseAddrPort("10.0.0.1:10870")) // a gossip.Transport
//		b := network.Listen(netip.MustParseAddrPort("10.0.0.2:10870"))
//		heal := network.Cut(sim.Partition([]netip.Addr{a.Addr()}, []netip.Addr{b.Addr()}))
//		…
//		heal()
//		b.Crash()
//	})
//
// What it promises, and why:
//
//   - Nothing ever blocks a sender. The mock network of the gossip library has
//     unbuffered channels: the first silent node blocks its peers for good, and
//     the bubble deadlocks. Here a full inbox drops, as a socket does.
//   - A cut is one-way unless told otherwise. Packets vanish; a dial hangs until
//     its timeout, also when the cut heals meanwhile (the pessimistic reading of
//     a lost SYN); an existing connection stalls, and goes on after the healing
//     if its deadlines let it.
//   - A crash is a host without power: dials hang, connections stall. A shutdown
//     is a process that ended on a living host: dials are refused, connections
//     end.
//   - Virtual time is not determinism: the gossip library draws its peers at
//     random. Tests assert bounds and outcomes, not traces.
package sim
