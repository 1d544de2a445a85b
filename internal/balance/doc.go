// Package balance puts the records of one tier into the order in which a
// caller gets them.
//
//	tier := []*catalog.Entry{a, b, c}                        // the Active masters of one name
//	balance.Order(balance.WeightedRandom, tier, 8, at, rng)  // tier[:8] is what is answered
//
// Clients take the first address that works, so the order is the balancing.
//
// WeightedRandom draws without replacement: the chance that a record comes
// first is its share of the tier's weight, and when it is gone the same holds
// among the rest.
//
// FixBySource gives each client host a first address of its own, always the
// same one. Every host asks the daemon that runs on it, so the host that asks
// is the node that answers, and what decides is that node's [Place] among the
// sources. Say that three sources ask for two servers:
//
//	sources, sorted           10.0.0.1   10.0.0.2   10.0.0.3
//	servers, sorted by share  10.0.1.41  10.0.1.42  10.0.1.42
//
// Each server gets as many of the sources as is its share of the weight. Each
// source starts at its server and goes round from there, so that when a server
// is gone its sources move to the next one. FixFirstBySource has the same first
// address and behind it a random order, which spreads them.
//
// The random source is an argument, so that a test can repeat a draw and so
// that nothing here locks. Ordering allocates nothing: it is done once for every
// answered query.
package balance
