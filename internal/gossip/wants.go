package gossip

import (
	"maps"
	"slices"
	"time"

	"murakumo/internal/catalog"
)

// wants are the sets that exist in newer versions than we hold, and whom to ask
// for them. There is one question under way per owner; after an answer that
// does not come, another node is asked. When none answers the want is dropped:
// the periodic exchange will bring it up again.
type wants map[catalog.Owner]*want

type want struct {
	best    held            // the newest that is known to exist
	holders []catalog.Owner // who said that they have it, newest word first
	full    bool            // a delta led nowhere: ask for the whole set
	tries   int
	next    time.Time // when to ask (again)
}

const (
	maxTries   = 5
	maxHolders = 4
)

// patience is how long to wait for the answer to a question, for the n-th try.
// An answer comes within a few round trips; a large set over a slow line may
// take longer, so it doubles.
func patience(try int) time.Duration { return time.Second << try }

// note takes in that a node has a set that is newer than ours. from is the
// earliest time to ask.
func (w wants) note(h held, holder catalog.Owner, from time.Time) {
	x := w[h.owner]
	if x == nil {
		x = &want{best: h, next: from}
		w[h.owner] = x
	}
	if h.newer(x.best.version, x.best.hash) {
		// Who has only the older one is no help.
		x.best, x.holders = h, nil
		if from.Before(x.next) && x.tries == 0 {
			x.next = from
		}
	} else if x.best.newer(h.version, h.hash) {
		return
	}
	if i := slices.Index(x.holders, holder); i >= 0 {
		x.holders = slices.Delete(x.holders, i, i+1)
	}
	x.holders = slices.Insert(x.holders, 0, holder)
	x.holders = x.holders[:min(len(x.holders), maxHolders)]
}

// refused makes the next question about an owner one for the whole set, and at
// once.
func (w wants) refused(o catalog.Owner, now time.Time) {
	if x := w[o]; x != nil {
		x.full, x.next = true, now
	}
}

// got takes back the want for an owner when the set that we hold now is as new
// as what was wanted.
func (w wants) got(o catalog.Owner, version, hash uint64) {
	if x := w[o]; x != nil && !x.best.newer(version, hash) {
		delete(w, o)
	}
}

// due gives the questions to ask now: for each node the sets to ask it for.
// view tells what we hold, alive who can be asked.
func (w wants) due(now time.Time, self catalog.Owner, view *catalog.View, alive func(catalog.Owner) bool) map[catalog.Owner][]held {
	asks := make(map[catalog.Owner][]held)
	for _, o := range slices.SortedFunc(maps.Keys(w), catalog.Owner.Compare) {
		x := w[o]
		if now.Before(x.next) {
			continue
		}
		to, ok := x.whom(self, alive)
		if !ok || x.tries >= maxTries {
			delete(w, o)
			continue
		}
		q := held{owner: o}
		if m, known := view.Member(o); known && m.Set != nil && !x.full {
			q.version, q.hash = m.Set.Version(), m.Set.Hash()
		}
		asks[to] = append(asks[to], q)
		x.next = now.Add(patience(x.tries))
		x.tries++
	}
	return asks
}

// whom chooses the node to ask: first those who said that they have the set,
// then its owner; in turn.
func (x *want) whom(self catalog.Owner, alive func(catalog.Owner) bool) (catalog.Owner, bool) {
	var able []catalog.Owner
	for _, o := range append(slices.Clone(x.holders), x.best.owner) {
		if o != self && alive(o) && !slices.Contains(able, o) {
			able = append(able, o)
		}
	}
	if len(able) == 0 {
		return catalog.Owner{}, false
	}
	return able[x.tries%len(able)], true
}

// next gives the time of the next question, zero when there is none.
func (w wants) nextDue() time.Time {
	var first time.Time
	for _, x := range w {
		if first.IsZero() || x.next.Before(first) {
			first = x.next
		}
	}
	return first
}
