package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"murakumo/internal/catalog"
)

// servers makes a tier of last octets, x:w meaning weight w.
func servers(t *testing.T, text string) []*catalog.Entry {
	t.Helper()
	var es []*catalog.Entry
	for _, word := range strings.Fields(text) {
		octet, weight, weighted := strings.Cut(word, ":")
		if !weighted {
			weight = "100"
		}
		o, err := strconv.ParseUint(octet, 10, 8)
		if err != nil {
			t.Fatal(err)
		}
		w, err := strconv.ParseUint(weight, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, &catalog.Entry{Record: catalog.Record{
			Name: "web", Addr: netip.AddrFrom4([4]byte{10, 0, 1, byte(o)}), Weight: uint16(w), Active: true,
		}})
	}
	return es
}

func octets(es []*catalog.Entry) string {
	var words []string
	for _, e := range es {
		words = append(words, strconv.Itoa(int(e.Addr.As4()[3])))
	}
	return strings.Join(words, " ")
}

// TestFixBySource: the lists that the sources see, the first source's first.
func TestFixBySource(t *testing.T) {
	for _, tt := range []struct{ servers, lists string }{
		{"41 42 43", "41 42 43 | 42 43 41 | 43 41 42"},
		{"41 42", "41 42 | 42 41 | 42 41"},
		{"41:300 42:100", "41 42 | 41 42 | 42 41"},
		{"41:1 42:1000", "42 41 | 42 41 | 42 41"},
		{"41 42 43 44 45", "43 44 45 41 42 | 44 45 41 42 43 | 45 41 42 43 44"},

		{"41", "41 | 41 | 41 | 41"},
		{"41", "41"},
		{"41 42 43", "41 42 43"},                                  // 0.33 each: one is missing
		{"41 42 43", "42 43 41 | 43 41 42"},                       // 0.67 each: one too many
		{"41 42 43", "41 42 43 | 41 42 43 | 42 43 41 | 43 41 42"}, // 1.33 each: one is missing
		{"41:1 42:1 43:1000", "43 41 42 | 43 41 42 | 43 41 42"},   // what has no share has nothing to give
		{"41:1 42:100 43:100", "41 42 43 | 42 43 41 | 43 41 42"},  // 0.01, 1.49, 1.49: the missing one goes to the first
		{"41:200 42:100 43:100", "41 42 43 | 41 42 43 | 42 43 41 | 43 41 42"},
	} {
		want := strings.Split(tt.lists, " | ")
		for i, list := range want {
			// In whatever order the table has them.
			for _, shuffle := range []func([]*catalog.Entry){func([]*catalog.Entry) {}, slices.Reverse[[]*catalog.Entry]} {
				es := servers(t, tt.servers)
				shuffle(es)
				Order(FixBySource, es, len(es), Place{i, len(want)}, nil)
				if got := octets(es); got != list {
					t.Errorf("%s, source %d of %d: %s, want %s", tt.servers, i+1, len(want), got, list)
				}
			}
		}
	}
}

// anyTier draws up to 40 entries with different addresses, sorted by them.
func anyTier(t *rapid.T) []*catalog.Entry {
	return tier(rapid.SliceOfN(rapid.Uint16Range(1, math.MaxUint16), 1, 40).Draw(t, "weights")...)
}

// TestFixBySourceLaws: each source gets every server, each server starts as many
// lists as is its share, and sources that are neighbours start at the same or
// at neighbouring servers.
func TestFixBySourceLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sorted := anyTier(t)
		places := rapid.IntRange(1, 200).Draw(t, "sources")
		starts := make([]int, len(sorted)) // by server
		before := 0
		for i := range places {
			got := slices.Clone(sorted)
			rand.Shuffle(len(got), func(a, b int) { got[a], got[b] = got[b], got[a] })
			Order(FixBySource, got, len(got), Place{i, places}, nil)
			first := slices.Index(sorted, got[0])
			if want := append(slices.Clone(sorted[first:]), sorted[:first]...); !slices.Equal(got, want) {
				t.Fatalf("source %d: %s does not go round %s", i, octets(got), octets(sorted))
			}
			if first < before {
				t.Fatalf("source %d starts at server %d, the one before it at %d", i, first, before)
			}
			before = first
			starts[first]++
		}
		// The rule once more, by fractions: each share is rounded, half up; what
		// is then missing or too much is added or taken one by one.
		total, sum := 0.0, 0
		for _, e := range sorted {
			total += float64(e.Weight)
		}
		want := make([]int, len(sorted))
		for i, e := range sorted {
			want[i] = int(math.Floor(float64(places)*float64(e.Weight)/total + 0.5))
			sum += want[i]
		}
		for i := 0; sum < places; i, sum = (i+1)%len(want), sum+1 {
			want[i]++
		}
		for i := 0; sum > places; i = (i + 1) % len(want) {
			if want[i] > 0 {
				want[i]--
				sum--
			}
		}
		if !slices.Equal(starts, want) {
			t.Fatalf("%d sources start at the servers %v times, want %v", places, starts, want)
		}
	})
}

// TestMovedSource: when a source is replaced by one of another address, only
// the sources between the two addresses may get another first server, and that
// is the one of their neighbour.
func TestMovedSource(t *testing.T) {
	at := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}) }
	rapid.Check(t, func(t *rapid.T) {
		servers := anyTier(t)
		numbers := rapid.SliceOfNDistinct(rapid.IntRange(0, 500), 2, 60, rapid.ID[int]).Draw(t, "sources")
		left, joined, stay := numbers[0], rapid.IntRange(0, 500).Draw(t, "joined"), numbers[1:]
		if slices.Contains(numbers, joined) {
			t.Skip()
		}
		first := func(self int, sources ...int) netip.Addr {
			var addrs []netip.Addr
			for _, n := range sources {
				addrs = append(addrs, at(n))
			}
			es := slices.Clone(servers)
			Order(FixBySource, es, 1, PlaceOf(at(self), addrs), nil)
			return es[0].Addr
		}
		before, after := append(slices.Clone(stay), left), append(slices.Clone(stay), joined)
		for _, self := range stay {
			was, is := first(self, before...), first(self, after...)
			if between := min(left, joined) < self && self < max(left, joined); !between && was != is {
				t.Fatalf("%d became %d, and %d went from %v to %v", left, joined, self, was, is)
			}
		}
	})
}

// TestFixFirstBySource: the first as with fix_by_src, the rest at random, and
// all of it a permutation.
func TestFixFirstBySource(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sorted := anyTier(t)
		at := Place{rapid.IntRange(0, 19).Draw(t, "index"), 20}
		n := rapid.IntRange(1, 50).Draw(t, "n")
		seed := rapid.Uint64().Draw(t, "seed")
		fixed, got := slices.Clone(sorted), slices.Clone(sorted)
		Order(FixBySource, fixed, n, at, nil)
		Order(FixFirstBySource, got, n, at, rand.New(rand.NewPCG(seed, 0)))
		rest := slices.Clone(fixed[1:])
		Random(rest, n-1, rand.New(rand.NewPCG(seed, 0)))
		if got[0] != fixed[0] || !slices.Equal(got[1:], rest) {
			t.Fatalf("%s, want %s and then %s", octets(got), octets(fixed[:1]), octets(rest))
		}
		slices.SortFunc(got, func(a, b *catalog.Entry) int { return a.Addr.Compare(b.Addr) })
		if !slices.Equal(got, sorted) {
			t.Fatalf("not a permutation: %s", octets(got))
		}
	})
	const draws = 40_000
	rng := rand.New(rand.NewPCG(1, 2))
	second := map[netip.Addr]int{}
	es := servers(t, "41 42:300 43:100")
	for range draws {
		Order(FixFirstBySource, es, 2, Place{0, 5}, rng)
		second[es[1].Addr]++
	}
	near(t, "the heavier second", second[netip.MustParseAddr("10.0.1.42")], 0.75, draws)
	near(t, "the lighter second", second[netip.MustParseAddr("10.0.1.43")], 0.25, draws)
}

// TestNowhere: who is no source gets a random order.
func TestNowhere(t *testing.T) {
	for _, a := range []Algorithm{FixBySource, FixFirstBySource} {
		es, want := servers(t, "41 42 43 44"), servers(t, "41 42 43 44")
		Order(a, es, 4, Place{}, rand.New(rand.NewPCG(1, 2)))
		Random(want, 4, rand.New(rand.NewPCG(1, 2)))
		if octets(es) != octets(want) {
			t.Errorf("%v: %s, want %s", a, octets(es), octets(want))
		}
	}
}

func TestPlaceOf(t *testing.T) {
	addrs := func(text string) (as []netip.Addr) {
		for _, w := range strings.Fields(text) {
			as = append(as, netip.MustParseAddr(w))
		}
		return as
	}
	for _, tt := range []struct {
		self, sources string
		want          Place
	}{
		{"10.0.0.1", "10.0.0.1", Place{0, 1}},
		{"10.0.0.10", "10.0.0.10 10.0.0.9 10.0.0.1", Place{2, 3}},
		{"10.0.0.2", "10.0.0.3 10.0.0.2 10.0.0.3 10.0.0.1 10.0.0.1", Place{1, 3}},
		{"fd00::1", "10.0.0.1 fd00::1 10.0.0.2", Place{2, 3}},
		{"10.0.0.4", "10.0.0.3 10.0.0.5", Place{}},
		{"10.0.0.4", "", Place{}},
	} {
		if got := PlaceOf(netip.MustParseAddr(tt.self), addrs(tt.sources)); got != tt.want {
			t.Errorf("%s among %s: %v, want %v", tt.self, tt.sources, got, tt.want)
		}
	}
}

func TestAlgorithms(t *testing.T) {
	for a := WeightedRandom; a <= FixFirstBySource; a++ {
		if got, err := ParseAlgorithm(strings.ToUpper(a.String())); err != nil || got != a {
			t.Errorf("%v: %v, %v", a, got, err)
		}
		if a.BySource() != strings.HasPrefix(a.String(), "fix_by_src") {
			t.Errorf("%v: by source %v", a, a.BySource())
		}
	}
	_, err := ParseAlgorithm("round_robin")
	if want := `algorithm "round_robin": expected random, fix_by_src, fix_by_src2`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestOrderAllocatesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	es := tier(100, 100, 50, 50, 10, 10, 1, 1)
	for a := WeightedRandom; a <= FixFirstBySource; a++ {
		if n := testing.AllocsPerRun(100, func() { Order(a, es, 8, Place{2, 7}, rng) }); n != 0 {
			t.Errorf("%v: %v allocations, want 0", a, n)
		}
	}
}

func BenchmarkFixed(b *testing.B) {
	for _, n := range []int{1, 8, 100} {
		b.Run(fmt.Sprintf("tier=%d", n), func(b *testing.B) {
			es := tier(slices.Repeat([]uint16{100}, n)...)
			b.ReportAllocs()
			for b.Loop() {
				Order(FixBySource, es, 8, Place{3, 10}, nil)
			}
		})
	}
}
