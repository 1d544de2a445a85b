package balance

import (
	"fmt"
	"strings"

	"murakumo/internal/catalog"
)

// Algorithm is a way to order a tier.
type Algorithm uint8

// The algorithms, in the order of their names below.
const (
	WeightedRandom   Algorithm = iota // random, the default
	FixBySource                       // fix_by_src
	FixFirstBySource                  // fix_by_src2
)

// Names are the words for the algorithms in a configuration, each at its
// algorithm's number.
var Names = [...]string{WeightedRandom: "random", FixBySource: "fix_by_src", FixFirstBySource: "fix_by_src2"}

// String gives random, fix_by_src or fix_by_src2.
func (a Algorithm) String() string {
	if int(a) < len(Names) {
		return Names[a]
	}
	return fmt.Sprintf("Algorithm(%d)", uint8(a))
}

// BySource says whether the algorithm needs a Place.
func (a Algorithm) BySource() bool { return a == FixBySource || a == FixFirstBySource }

// ParseAlgorithm reads the name of an algorithm, in any case.
func ParseAlgorithm(s string) (Algorithm, error) {
	for a, name := range Names {
		if strings.EqualFold(s, name) {
			return Algorithm(a), nil
		}
	}
	return 0, fmt.Errorf("algorithm %q: expected %s", s, strings.Join(Names[:], ", "))
}

// Rand is where the draws come from; *rand.Rand of math/rand/v2 is one.
// Balancing is no secret, so it need not be a cryptographic source.
type Rand interface {
	// Uint64N gives a number in [0, n), each equally likely. n is never 0.
	Uint64N(n uint64) uint64
}

// Order orders the entries of one tier in place. What stands behind the first
// n places need not be in order, since an answer is cut there; an n beyond the
// tier's length orders all of it. Without a place the algorithms by source are
// WeightedRandom, since nothing then tells one host from another.
//
// For the algorithms by source each address stands in the tier once.
func Order(a Algorithm, tier []*catalog.Entry, n int, at Place, rng Rand) {
	switch {
	case !a.BySource() || !at.Known():
		Random(tier, n, rng)
	case a == FixBySource:
		Fixed(tier, at)
	default:
		Fixed(tier, at)
		if n > 1 && len(tier) > 1 {
			Random(tier[1:], n-1, rng)
		}
	}
}

// Random orders the entries of one tier in place, by weighted draws without
// replacement. Only the first n places are drawn, because an answer is cut to
// n addresses and a draw walks the tier; what stands behind them is the rest
// in no particular order. An n beyond the tier's length orders all of it.
//
// An origin has no weight; it counts as 1, so that the addresses of a host are
// equals among themselves.
func Random(tier []*catalog.Entry, n int, rng Rand) {
	total := weightOf(tier)
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

// weightOf adds up. A weight is at most 65535, so it would take 2⁴⁸ entries to
// overflow.
func weightOf(tier []*catalog.Entry) (total uint64) {
	for _, e := range tier {
		total += weight(e)
	}
	return total
}
