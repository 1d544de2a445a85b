package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"murakumo/internal/catalog"
)

// tier makes entries of the given weights; the end of the address is the
// entry's place, so that equal weights stay distinguishable.
func tier(weights ...uint16) []*catalog.Entry {
	var es []*catalog.Entry
	for i, w := range weights {
		es = append(es, &catalog.Entry{Record: catalog.Record{
			Name: "web", Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Weight: w, Active: true,
		}})
	}
	return es
}

// TestRandomShares draws often and compares each share with the law, at a
// tolerance of five standard deviations: the seed is fixed, so this either
// always passes or never.
func TestRandomShares(t *testing.T) {
	const draws = 40_000
	tests := []struct {
		name    string
		weights []uint16
	}{
		{"equal", []uint16{100, 100, 100, 100}},
		{"one to three", []uint16{1, 3}},
		{"light first", []uint16{1, 10, 100}},
		{"heavy first", []uint16{100, 10, 1}},
		{"extremes", []uint16{65535, 65535, 1}},
		{"origins have no weight and are equals", []uint16{0, 0, 0}},
		// Their sums end in many zeros, so that what draws leave of a number does.
		{"as many bits as there are", []uint16{1 << 15, 1 << 15, 1 << 15, 1 << 15, 1 << 14, 1 << 14, 1 << 15, 1 << 15}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			es := tier(tt.weights...)
			first, last := make(map[*catalog.Entry]int), make(map[*catalog.Entry]int)
			pair := make(map[[2]*catalog.Entry]int) // first and second
			order := slices.Clone(es)
			for range draws {
				Random(order, len(order), rng)
				first[order[0]]++
				last[order[len(order)-1]]++
				pair[[2]*catalog.Entry{order[0], order[1]}]++
			}
			var total float64
			share := make([]float64, len(es))
			for i, w := range tt.weights {
				share[i] = max(1, float64(w))
				total += share[i]
			}
			for i, e := range es {
				p := share[i] / total
				near(t, fmt.Sprintf("entry %d first", i), first[e], p, draws)
				near(t, fmt.Sprintf("entry %d last", i), last[e], lastShare(share, i, total), draws)
				for j, f := range es {
					if i != j {
						// Without replacement: the second is drawn
						// from what is left.
						q := p * share[j] / (total - share[i])
						near(t, fmt.Sprintf("entry %d first and %d second", i, j), pair[[2]*catalog.Entry{e, f}], q, draws)
					}
				}
			}
		})
	}
}

// lastShare is the chance that the i-th of some shares comes last: over all sets of others,
// those that are drawn before it or not, by inclusion and exclusion.
func lastShare(share []float64, i int, total float64) float64 {
	others := slices.Delete(slices.Clone(share), i, i+1)
	p := 0.0
	for set := range 1 << len(others) {
		sum, sign := share[i], 1.0
		for k, s := range others {
			if set>>k&1 == 1 {
				sum, sign = sum+s, -sign
			}
		}
		p += sign * share[i] / sum
	}
	return p
}

// TestDraw: candidates are ordered as entries are, from the same draws.
func TestDraw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weight := rapid.Uint16Range(1, rapid.SampledFrom([]uint16{1, 2, 300, 65535}).Draw(t, "most"))
		es := tier(rapid.SliceOfN(weight, 0, 64).Draw(t, "weights")...)
		n := rapid.IntRange(0, 70).Draw(t, "n")
		seed := rapid.Uint64().Draw(t, "seed")
		var cs []Candidate
		for i, e := range es {
			cs = append(cs, CandidateOf(e.Weight, uint8(i)))
		}
		order := slices.Clone(es)
		one, other := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 0))
		Random(order, n, one)
		Draw(cs, n, other)
		for i, c := range cs {
			if es[c.Number()] != order[i] {
				t.Fatalf("place %d has entry %d, and not %v", i, c.Number(), order[i])
			}
		}
		if one.Uint64() != other.Uint64() {
			t.Fatal("not the same numbers were taken")
		}
	})
}

func near(t *testing.T, what string, got int, p float64, draws int) {
	t.Helper()
	want := p * float64(draws)
	if tolerance := 5*math.Sqrt(want*(1-p)) + 1; math.Abs(float64(got)-want) > tolerance {
		t.Errorf("%s: %d of %d draws, want %.0f ± %.0f", what, got, draws, want, tolerance)
	}
}

// TestRandomIsPermutation: whatever the weights and the cut, nothing is lost
// and nothing appears twice.
func TestRandomIsPermutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		es := tier(rapid.SliceOfN(rapid.Uint16(), 0, 40).Draw(t, "weights")...)
		n := rapid.IntRange(0, 50).Draw(t, "n")
		seed := rapid.Uint64().Draw(t, "seed")
		got := slices.Clone(es)
		Random(got, n, rand.New(rand.NewPCG(seed, 0)))
		slices.SortFunc(got, func(a, b *catalog.Entry) int { return a.Addr.Compare(b.Addr) })
		if !slices.Equal(got, es) {
			t.Fatalf("not a permutation: %v", got)
		}
	})
}

// TestRandomCut: cutting does not change the law, only the work. The same
// draws give the same first places.
func TestRandomCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		es := tier(rapid.SliceOfN(rapid.Uint16(), 1, 40).Draw(t, "weights")...)
		n := rapid.IntRange(1, len(es)).Draw(t, "n")
		seed := rapid.Uint64().Draw(t, "seed")
		whole, cut := slices.Clone(es), slices.Clone(es)
		Random(whole, len(es), rand.New(rand.NewPCG(seed, 0)))
		Random(cut, n, rand.New(rand.NewPCG(seed, 0)))
		if !slices.Equal(whole[:n], cut[:n]) {
			t.Fatalf("first %d differ: %v, %v", n, whole[:n], cut[:n])
		}
	})
}

// TestRandomShareOfFirst: of a million draws each record comes first as often as
// its share of the weight is, within 0.3 percentage points.
func TestRandomShareOfFirst(t *testing.T) {
	const draws = 1_000_000
	for _, weights := range [][]uint16{{100, 100}, {300, 100}, {1, 2, 3, 4}, {65535, 1}, {100, 100, 100, 100, 100, 100, 100, 100}, {1000, 500, 250, 125, 60, 30, 20, 15}} {
		t.Run(fmt.Sprint(weights), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			es := tier(weights...)
			first := make(map[*catalog.Entry]int)
			order := slices.Clone(es)
			for range draws {
				Order(WeightedRandom, order, 1, Place{}, rng)
				first[order[0]]++
			}
			total := float64(weightOf(es))
			for i, e := range es {
				got, want := 100*float64(first[e])/draws, 100*float64(weights[i])/total
				if math.Abs(got-want) > 0.3 {
					t.Errorf("entry %d of weight %d: first in %.2f %% of the draws, want %.2f", i, weights[i], got, want)
				}
			}
		})
	}
}

func BenchmarkRandom(b *testing.B) {
	for _, n := range []int{1, 8, 100, 1000} {
		b.Run(fmt.Sprintf("tier=%d", n), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 2))
			es := tier(slices.Repeat([]uint16{100}, n)...)
			b.ReportAllocs()
			for b.Loop() {
				Random(es, 8, rng)
			}
		})
	}
}
