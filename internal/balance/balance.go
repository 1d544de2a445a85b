// Package balance puts the records of one tier into the order in which a
// caller gets them.
//
//	tier := []*catalog.Entry{a, b, c}     // the Active masters of one name
//	balance.Random(tier, 8, rng)          // tier[:8] is what is answered
//
// Clients take the first address that works, so the order is the balancing:
// the chance that a record comes first has to be its share of the tier's
// weight, and when it is gone the same must hold among the rest. That is a
// weighted random order without replacement.
//
// The random source is an argument, so that a test can repeat a draw and so
// that nothing here locks. Nothing here allocates: this runs once for every
// answered query.
package balance

import "murakumo/internal/catalog"

// Rand is where the draws come from; *rand.Rand of math/rand/v2 is one.
// Balancing is no secret, so it need not be a cryptographic source.
type Rand interface {
	// Uint64N gives a number in [0, n), each equally likely. n is never 0.
	Uint64N(n uint64) uint64
}

// Random orders the entries of one tier in place, by weighted draws without
// replacement. Only the first n places are drawn, because an answer is cut to
// n addresses and a draw walks the tier; what stands behind them is the rest
// in no particular order. An n beyond the tier's length orders all of it.
//
// An origin has no weight; it counts as 1, so that the addresses of a host are
// equals among themselves.
func Random(tier []*catalog.Entry, n int, rng Rand) {
	// A weight is at most 65535, so it would take 2⁴⁸ entries to overflow.
	var total uint64
	for _, e := range tier {
		total += weight(e)
	}
	// The last place needs no draw: one entry is left for it.
	for i := 0; i < min(n, len(tier)-1); i++ {
		draw := rng.Uint64N(total)
		j := i
		for w := weight(tier[j]); draw >= w; w = weight(tier[j]) {
			draw -= w
			j++
		}
		total -= weight(tier[j])
		tier[i], tier[j] = tier[j], tier[i]
	}
}

func weight(e *catalog.Entry) uint64 { return max(1, uint64(e.Weight)) }
