package nameserver

import (
	"hash/maphash"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"murakumo/internal/balance"
	"murakumo/internal/catalog"
)

// Balance is how the addresses of some names are put in order.
type Balance struct {
	// Match says which names. It gets them in lower case and without the
	// domain, and is called from many goroutines. Label is what the log calls
	// them.
	Match func(name string) bool
	Label string
	// Algorithm orders each tier.
	Algorithm balance.Algorithm
	// MaxAnswers is the most addresses of one tier in an answer; 0: that of
	// the rules.
	MaxAnswers int
	// Sources are the names of those who ask, in lower case and without the
	// domain, for an algorithm that goes by them.
	Sources []string
}

// Balancing is how names are balanced: each by the first rule that matches it,
// without one in weighted random order. Nil has no rules. Make it with
// NewBalancing.
type Balancing struct {
	rules []*balancer
	seed  maphash.Seed
	// found remembers which rule is a name's, since a regular expression takes
	// longer than the answer. A name has one place in it, by its hash, which it
	// may lose to another; so it needs no lock and never grows.
	found [1 << 10]atomic.Pointer[finding]
}

// finding is what came of a search.
type finding struct {
	name string
	by   *balancer // nil: no rule
}

// balancer is a rule with what is remembered of it.
type balancer struct {
	Balance
	// stands is where this node was among the sources when it was last asked,
	// told is what the log knows of that.
	stands atomic.Pointer[standing]
	told   atomic.Uint32
}

// standing is where a node is among the sources, and what that was read from.
type standing struct {
	self  netip.Addr
	names []*catalog.Name
	place balance.Place
	how   uint32
}

// The ways to stand among the sources; 0 is for what is not known yet.
const (
	placed = iota + 1
	noSource
	noneOfThem
)

// NewBalancing takes the rules in their order.
func NewBalancing(rules []Balance) *Balancing {
	b := &Balancing{seed: maphash.MakeSeed()}
	for _, r := range rules {
		b.rules = append(b.rules, &balancer{Balance: r})
	}
	return b
}

// of finds the rule of a name, nil for none.
func (b *Balancing) of(name string) *balancer {
	if b == nil || len(b.rules) == 0 {
		return nil
	}
	slot := &b.found[maphash.String(b.seed, name)%uint64(len(b.found))]
	if f := slot.Load(); f != nil && f.name == name {
		return f.by
	}
	f := &finding{name: strings.Clone(name)} // not the question that it is a part of
	f.by = b.rule(name)
	slot.Store(f)
	return f.by
}

// rule is of, without memory: for who asks about every name once.
func (b *Balancing) rule(name string) *balancer {
	if b == nil {
		return nil
	}
	i := slices.IndexFunc(b.rules, func(r *balancer) bool { return r.Match(name) })
	if i < 0 {
		return nil
	}
	return b.rules[i]
}

// standing gives where this node is among the sources. It is read again from the
// table when one of their names has changed there.
func (b *balancer) standing(v *catalog.View) *standing {
	now := b.stands.Load()
	if now != nil && now.self == v.Self() {
		same := true
		for i, s := range b.Sources {
			if v.Name(s) != now.names[i] {
				same = false
				break
			}
		}
		if same {
			return now
		}
	}
	now = look(v, b.Sources)
	b.stands.Store(now)
	return now
}

// look reads where this node is among the sources. Each host counts once, by its
// first address, also when it has several; a static source, which no daemon
// speaks for, counts by its own.
func look(v *catalog.View, sources []string) *standing {
	s := &standing{self: v.Self(), names: make([]*catalog.Name, len(sources))}
	var addrs []netip.Addr
	for i, source := range sources {
		s.names[i] = v.Name(source)
		for _, e := range s.names[i].Answers() {
			switch {
			case !e.Active || e.Priority > catalog.Origin:
			case e.Static:
				addrs = append(addrs, e.Addr)
			default:
				addrs = append(addrs, e.Owner)
			}
		}
	}
	s.place = balance.PlaceOf(s.self, addrs)
	switch {
	case s.place.Known():
		s.how = placed
	case len(addrs) == 0:
		s.how = noSource
	default:
		s.how = noneOfThem
	}
	return s
}

// tell logs that answers are in random order for want of a place, once, and again
// when that has changed: not for every query.
func (b *balancer) tell(log *slog.Logger, how uint32) {
	was := b.told.Load()
	if was == how || !b.told.CompareAndSwap(was, how) {
		return
	}
	about := []any{"destination", b.Label, "algorithm", b.Algorithm.String(), "sources", strings.Join(b.Sources, ", ")}
	switch {
	case how == noSource:
		log.Warn("balancing: no source is Active: answering in random order", about...)
	case how == noneOfThem:
		log.Warn("balancing: this node is none of the Active sources: answering in random order", about...)
	case was != 0:
		log.Info("balancing: this node is one of the sources again", about...)
	}
}

// distinct sorts a tier by address and leaves one record of each address, that
// of the least owner: who goes by shares must not count an address twice because
// two owners publish it.
func distinct(tier []*catalog.Entry) []*catalog.Entry {
	slices.SortStableFunc(tier, func(a, b *catalog.Entry) int { return a.Addr.Compare(b.Addr) })
	return slices.CompactFunc(tier, func(a, b *catalog.Entry) bool { return a.Addr == b.Addr })
}
