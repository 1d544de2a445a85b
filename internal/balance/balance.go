package balance

import (
	"fmt"
	"math/bits"
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
	// Uint64 gives a number of 64 bits, each equally likely.
	Uint64() uint64
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
	if alike(tier) {
		shuffle(tier, n, rng)
		return
	}
	total := weightOf(tier)
	rest, spent := uint64(0), mostSpent
	// The last place needs no draw: one entry is left for it.
	for i := 0; i < min(n, len(tier)-1); i++ {
		takes := bits.Len64(total - 1)
		if spent += takes; spent > mostSpent {
			rest, spent = rng.Uint64(), takes
		}
		var drawn uint64
		drawn, rest = bits.Mul64(rest, total)
		j := i
		for w := weight(tier[j]); drawn >= w; w = weight(tier[j]) {
			drawn -= w
			j++
		}
		total -= weight(tier[j])
		tier[i], tier[j] = tier[j], tier[i]
	}
}

// mostSpent is how many bits of a number are spent on draws, each rounded up. A number
// costs as much as a draw, and a draw among a few records needs some ten bits: it takes
// them from above, and what is below is left for the next. The bits that are never spent keep
// what is drawn equally likely: to one part in 2³², and to one in 2²⁸ where the weights are
// 2³⁶ together, of a million records.
const mostSpent = 32

// Candidate is a record that is drawn from: its weight above its number, which has 8
// bits.
type Candidate uint64

// CandidateOf makes the candidate of a weight, at least 1, and a number.
func CandidateOf(weight uint16, number uint8) Candidate {
	return Candidate(weight)<<8 | Candidate(number)
}

// Number gives the number.
func (c Candidate) Number() uint8 { return uint8(c) }

func (c Candidate) weight() uint64 { return uint64(c >> 8) }

// Draw orders candidates in place as Random orders entries, by the same draws, in half
// the time: it is for a few, of which each answer needs a new order.
func Draw(cs []Candidate, n int, rng Rand) {
	total, differ := uint64(0), uint64(0)
	for _, c := range cs {
		total += c.weight()
		differ |= c.weight() ^ cs[0].weight()
	}
	if differ == 0 {
		shuffle(cs, n, rng)
		return
	}
	last := len(cs) - 1
	rest, spent := uint64(0), mostSpent
	for i := 0; i < min(n, last); i++ {
		takes := bits.Len64(total - 1)
		if spent += takes; spent > mostSpent {
			rest, spent = rng.Uint64(), takes
		}
		var drawn uint64
		drawn, rest = bits.Mul64(rest, total)
		// It is the one with which the sum of the weights exceeds what was drawn. Nobody can
		// foresee which that is, the processor neither, so nothing branches by it: the
		// signs of the differences are counted.
		j, sum := i, uint64(0)
		for _, c := range cs[i:last] {
			sum += c.weight()
			j += int((sum - 1 - drawn) >> 63)
		}
		total -= cs[j].weight()
		cs[i], cs[j] = cs[j], cs[i]
	}
}

// alike says whether all weights are the same, as they are where nobody set any.
func alike(tier []*catalog.Entry) bool {
	for _, e := range tier {
		if weight(e) != weight(tier[0]) {
			return false
		}
	}
	return true
}

// shuffle orders the first n of those that are equals: a draw is a place, and nothing is
// walked.
func shuffle[T any](of []T, n int, rng Rand) {
	rest, spent := uint64(0), mostSpent
	for i := 0; i < min(n, len(of)-1); i++ {
		left := uint64(len(of) - i)
		takes := bits.Len64(left - 1)
		if spent += takes; spent > mostSpent {
			rest, spent = rng.Uint64(), takes
		}
		var drawn uint64
		drawn, rest = bits.Mul64(rest, left)
		j := i + int(drawn)
		of[i], of[j] = of[j], of[i]
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
