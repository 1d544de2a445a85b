package gossip

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"murakumo/internal/catalog"
)

// removalMemory is how long a statement is remembered, and passed on, by each
// node's own clock. The age travels, never a time, so clocks of two hosts are
// not compared.
const removalMemory = 24 * time.Hour

// removals are the operators' statements about nodes: for each target the
// latest. It is safe for concurrent use, since memberlist asks it from its own
// goroutines.
type removals struct {
	// forgets are those about what dead nodes have published.
	forgets forgets

	mu sync.Mutex // guards m
	m  map[catalog.Owner]statement
}

type statement struct {
	removal           // age is not used
	since   time.Time // when it was said, by this host's monotonic clock
}

// compare orders statements about one target: the higher counter wins, between
// equal ones the removal. The rest only makes all nodes keep the same one.
func (r removal) compare(o removal) int {
	truth := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(r.counter, o.counter), cmp.Compare(truth(r.removed), truth(o.removed)),
		r.by.Compare(o.by), strings.Compare(r.unknown, o.unknown))
}

// merge takes in a statement that arrived and tells whether it is news, to be
// passed on and acted upon.
func (r *removals) merge(in removal, now time.Time) bool {
	if in.age >= removalMemory {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	since := now.Add(-in.age)
	old, known := r.m[in.target]
	if known {
		switch c := in.compare(old.removal); {
		case c < 0:
			return false
		case c == 0:
			// The way between two nodes takes time that no age counts. The
			// oldest copy is right, else a statement could outlive itself.
			if since.Before(old.since) {
				old.since = since
				r.m[in.target] = old
			}
			return false
		}
	}
	in.age = 0
	r.set(statement{in, since})
	return true
}

func (r *removals) set(s statement) {
	if r.m == nil {
		r.m = make(map[catalog.Owner]statement)
	}
	r.m[s.target] = s
}

// say makes the next statement about a target.
func (r *removals) say(target catalog.Owner, removed bool, by catalog.Owner, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set(statement{removal{target: target, counter: r.m[target].counter + 1, removed: removed, by: by}, now})
}

// get gives the statement about a target with its present age.
func (r *removals) get(target catalog.Owner, now time.Time) (removal, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.m[target]
	s.age = now.Sub(s.since)
	return s.removal, ok
}

// removed tells whether a node is out of the cluster.
func (r *removals) removed(o catalog.Owner) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m[o].removed
}

// all gives all statements with their present ages, sorted by target.
func (r *removals) all(now time.Time) []removal {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []removal
	for _, s := range r.m {
		s.age = max(0, now.Sub(s.since))
		all = append(all, s.removal)
	}
	slices.SortFunc(all, func(a, b removal) int { return a.target.Compare(b.target) })
	return all
}

// expire forgets old statements and gives the targets that are not removed any
// more because of it, sorted.
func (r *removals) expire(now time.Time) []catalog.Owner {
	r.mu.Lock()
	defer r.mu.Unlock()
	var free []catalog.Owner
	for o, s := range r.m {
		if now.Sub(s.since) < removalMemory {
			continue
		}
		delete(r.m, o)
		if s.removed {
			free = append(free, o)
		}
	}
	slices.SortFunc(free, catalog.Owner.Compare)
	return free
}
