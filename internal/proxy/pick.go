package proxy

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
)

// Algorithm is how a pool chooses.
type Algorithm uint8

// The algorithms.
const (
	// RoundRobin takes the members in turn, by weight and without bunching
	// (smooth weighted round robin: weights 5, 1, 1 give a a b a c a a).
	RoundRobin Algorithm = iota
	// Random draws by weight.
	Random
	// LeastConn takes the member with the fewest connections for its weight,
	// of equals the one that was picked longest ago.
	LeastConn
	// Source gives a client address always the same member (weighted
	// rendezvous hashing): when one of n goes only its own clients move.
	Source
)

var algorithms = []string{"round_robin", "random", "least_conn", "source"}

// Algorithms gives the names, in the order of the constants.
func Algorithms() []string { return algorithms }

// String gives the name as the file has it.
func (a Algorithm) String() string {
	if int(a) < len(algorithms) {
		return algorithms[a]
	}
	return fmt.Sprintf("algorithm %d", a)
}

// pick chooses among the members that are ejected, or among those that are not.
// Callers hold mu.
func (p *Pool) pick(client netip.Addr, tried []*Member, ejected bool) *Member {
	switch p.algorithm {
	case Random:
		return p.random(tried, ejected)
	case LeastConn:
		return p.leastConn(tried, ejected)
	case Source:
		return p.source(client, tried, ejected)
	}
	return p.roundRobin(tried, ejected)
}

func (p *Pool) roundRobin(tried []*Member, ejected bool) *Member {
	var best *Member
	total := 0
	for _, m := range p.members {
		if !m.usable(tried, ejected) {
			continue
		}
		m.current += m.weight
		total += m.weight
		if best == nil || m.current > best.current {
			best = m
		}
	}
	if best != nil {
		best.current -= total
	}
	return best
}

func (p *Pool) random(tried []*Member, ejected bool) *Member {
	var total uint64
	for _, m := range p.members {
		if m.usable(tried, ejected) {
			total += uint64(m.weight)
		}
	}
	if total == 0 {
		return nil
	}
	draw := p.rand(total)
	for _, m := range p.members {
		if !m.usable(tried, ejected) {
			continue
		}
		if draw < uint64(m.weight) {
			return m
		}
		draw -= uint64(m.weight)
	}
	return nil
}

func (p *Pool) leastConn(tried []*Member, ejected bool) *Member {
	var best *Member
	for _, m := range p.members {
		if !m.usable(tried, ejected) {
			continue
		}
		if best == nil {
			best = m
			continue
		}
		// a/b < c/d, for the connections that each would have
		mine := (m.Active.Load() + 1) * int64(best.weight)
		its := (best.Active.Load() + 1) * int64(m.weight)
		if mine < its || mine == its && m.picked < best.picked {
			best = m
		}
	}
	return best
}

func (p *Pool) source(client netip.Addr, tried []*Member, ejected bool) *Member {
	var best *Member
	most := math.Inf(-1)
	for _, m := range p.members {
		if !m.usable(tried, ejected) {
			continue
		}
		// -w / ln h, h even in (0, 1): the greatest falls on a member with
		// the share of its weight, whatever the others are.
		h := (float64(hash(client, m.Addr)>>11) + 0.5) / (1 << 53)
		if score := -float64(m.weight) / math.Log(h); score > most {
			best, most = m, score
		}
	}
	return best
}

// hash mixes a client and a backend. It is the same on every host and in every
// run, so that two proxies send a client to the same member. FNV-1a over the
// octets, then the finalizer of SplitMix64, since FNV alone is uneven in its
// upper bits.
func hash(client netip.Addr, backend netip.AddrPort) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	c, b := client.Unmap().As16(), backend.Addr().Unmap().As16()
	for _, x := range c {
		h = (h ^ uint64(x)) * prime
	}
	for _, x := range b {
		h = (h ^ uint64(x)) * prime
	}
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], backend.Port())
	for _, x := range port {
		h = (h ^ uint64(x)) * prime
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
