package balance

import (
	"net/netip"
	"slices"

	"murakumo/internal/catalog"
)

// Place is where a host stands among the sources: the Index-th, from 0, of Of,
// counted in the order of their addresses. The zero Place is nowhere.
type Place struct{ Index, Of int }

// Known says whether the place is one.
func (p Place) Known() bool { return p.Of > 0 }

// PlaceOf gives the place of an address among those of the sources, which may
// be in any order and there more than once; the zero Place when it is not one
// of them. It sorts sources in place.
func PlaceOf(self netip.Addr, sources []netip.Addr) Place {
	slices.SortFunc(sources, netip.Addr.Compare)
	sources = slices.Compact(sources)
	i, there := slices.BinarySearchFunc(sources, self, netip.Addr.Compare)
	if !there {
		return Place{}
	}
	return Place{i, len(sources)}
}

// Fixed orders the entries of one tier in place by their addresses, round from
// the one at which the place starts. The place is known, and each address
// stands in the tier once.
func Fixed(tier []*catalog.Entry, at Place) {
	slices.SortFunc(tier, func(a, b *catalog.Entry) int { return a.Addr.Compare(b.Addr) })
	if i := start(tier, at); i > 0 {
		// Three reversals turn a list without another one beside it.
		slices.Reverse(tier[:i])
		slices.Reverse(tier[i:])
		slices.Reverse(tier)
	}
}

// start gives the index of the entry that is first for a place: the places are
// dealt out in order, to each entry as many as is its share. The tier is sorted
// by address.
func start(tier []*catalog.Entry, at Place) int {
	total, places := weightOf(tier), uint64(at.Of)
	share := func(e *catalog.Entry) uint64 { // rounded, half a place up
		return (2*places*weight(e) + total) / (2 * total)
	}
	var dealt uint64
	for _, e := range tier {
		dealt += share(e)
	}
	// Rounding makes each share wrong by half a place at most. So no more than
	// half of the entries, one place each, have to get one or to give one up,
	// and of those that gained by rounding, which have one to give, there are
	// twice as many as are too many: going round once is enough.
	missing, extra := places-min(places, dealt), dealt-min(places, dealt)
	end := uint64(0)
	for i, e := range tier {
		n := share(e)
		switch {
		case missing > 0:
			n++
			missing--
		case extra > 0 && n > 0:
			n--
			extra--
		}
		if end += n; uint64(at.Index) < end {
			return i
		}
	}
	return 0 // an empty tier
}
