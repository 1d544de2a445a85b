package nameserver

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"murakumo/internal/catalog"
)

// Emptiness is what is answered for a name that has no Active record.
type Emptiness uint8

const (
	// NoData: nothing. Whoever asks goes elsewhere, or fails at once.
	NoData Emptiness = iota
	// LastGood: what was Active last, for lastGoodLife at most.
	LastGood
	// FailOpen: all records, as if all were Active. For services of which half a
	// one is better than none, or whose checks are not to be trusted that far.
	FailOpen
)

// WhenEmpty is what is answered for some names when they have no Active record.
type WhenEmpty struct {
	// Match says which names. It gets them in lower case and without the domain,
	// and is called from many goroutines.
	Match  func(name string) bool
	Answer Emptiness
}

const (
	// lastGoodLife is how long what was good counts as better than nothing.
	lastGoodLife = 10 * time.Minute
	// doubtfulTTL is the most that an answer of records that are not Active is
	// kept, in seconds: there may be a better one soon.
	doubtfulTTL = 5
)

// whenEmpty gives the policy of a name: that of the first rule that matches.
func (r *Rules) whenEmpty(name string) Emptiness {
	i := slices.IndexFunc(r.WhenEmpty, func(w WhenEmpty) bool { return w.Match(name) })
	if i < 0 {
		return NoData
	}
	return r.WhenEmpty[i].Answer
}

// entries gives those by which a name is answered, and their tiers. When none of
// its own is Active they are what the policy says, as if Active, and why says so.
func (r *Rules) entries(v *catalog.View, n *catalog.Name) (es []catalog.Entry, tiers []catalog.Priority, why *reason) {
	es = n.Answers()
	tiers = activeTiers(es)
	if len(tiers) > 0 || len(r.WhenEmpty) == 0 {
		return es, tiers, nil
	}
	switch r.whenEmpty(n.Name()) {
	case LastGood:
		if was := r.last.of(n.Name()); len(was) > 0 {
			return was, activeTiers(was), lastGood
		}
	case FailOpen:
		if all := everyone(v, n); len(all) > 0 {
			return all, tiersOf(all), failOpen
		}
	}
	return es, nil, nil
}

// aliases are all tiers but that of a host's own name.
var aliases = []catalog.Priority{catalog.Master, catalog.Secondary, catalog.Backup}

// tiersOf gives all tiers, in their order. A host's own name does not compete with
// aliases.
func tiersOf(es []catalog.Entry) []catalog.Priority {
	if slices.ContainsFunc(es, func(e catalog.Entry) bool { return e.Priority != catalog.Origin }) {
		return aliases
	}
	return itself
}

// everyone gives the records of a name, those of hosts that are dead or have left
// included. Of one that an operator has removed it is known that it is gone.
func everyone(v *catalog.View, n *catalog.Name) []catalog.Entry {
	es := slices.Clone(n.Answers())
	for _, e := range n.Hidden() {
		if m, _ := v.Member(e.Owner); m.Status != catalog.Removed {
			es = append(es, e)
		}
	}
	return doubtful(es)
}

// doubtful lets entries count, which it changes, but not for long.
func doubtful(es []catalog.Entry) []catalog.Entry {
	for i := range es {
		es[i].Active, es[i].TTL = true, min(es[i].TTL, doubtfulTTL)
	}
	return es
}

// memory knows what was Active last of the names that have nothing Active now and
// whose policy is LastGood. Who follows the table writes it, alone; who asks reads it
// and never waits.
type memory struct{ now atomic.Pointer[remembered] }

// remembered is what is known when the table is as seen. It is never changed.
type remembered struct {
	seen *catalog.View
	lost map[string]loss
}

// loss is what a name had, and when it was found to be gone.
type loss struct {
	entries []catalog.Entry
	at      time.Time
}

// of gives what a name had that has nothing Active now. A nil memory knows nothing.
func (m *memory) of(name string) []catalog.Entry {
	if m == nil {
		return nil
	}
	known := m.now.Load()
	if known == nil {
		return nil
	}
	// Who asks may be faster than who follows.
	if was := known.seen.Name(name).Answers(); activeTiers(was) != nil {
		return doubtful(active(was))
	}
	l, ok := known.lost[name]
	if !ok || time.Since(l.at) >= lastGoodLife {
		return nil
	}
	return doubtful(slices.Clone(l.entries))
}

// active gives the entries that are, in a slice of its own.
func active(es []catalog.Entry) []catalog.Entry {
	return slices.DeleteFunc(slices.Clone(es), func(e catalog.Entry) bool { return !e.Active })
}

// learn takes in what became of the table. Views that came and went since the last
// call are as if they had not been. It is not for many goroutines at once.
func (m *memory) learn(v *catalog.View, r *Rules) {
	known := m.now.Load()
	if known == nil || !slices.ContainsFunc(r.WhenEmpty, func(w WhenEmpty) bool { return w.Answer == LastGood }) {
		m.now.Store(&remembered{seen: v})
		return
	}
	now := time.Now()
	lost := maps.Clone(known.lost)
	names := map[string]bool{}
	for c := range v.Diff(known.seen) {
		names[c.Key().Name] = true
	}
	for name := range names {
		was, is := known.seen.Name(name).Answers(), v.Name(name)
		switch {
		case is == nil || activeTiers(is.Answers()) != nil:
			delete(lost, name)
		case activeTiers(was) != nil && r.whenEmpty(name) == LastGood:
			if lost == nil {
				lost = map[string]loss{}
			}
			lost[name] = loss{active(was), now}
		}
	}
	maps.DeleteFunc(lost, func(_ string, l loss) bool { return now.Sub(l.at) >= lastGoodLife })
	m.now.Store(&remembered{seen: v, lost: lost})
}

// remember follows the table until ctx is done.
func (s *Server) remember(ctx context.Context) {
	for {
		v := s.view()
		s.memory.learn(v, &s.policy.Load().rules)
		select {
		case <-ctx.Done():
			return
		case <-v.Superseded():
		}
	}
}
