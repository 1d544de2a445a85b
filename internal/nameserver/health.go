package nameserver

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

const (
	// attemptTime is how long one resolver may take before it counts as one
	// that does not answer, totalTime how long all of them may take together:
	// clients give up after 5 s (resolv.conf(5)), and a SERVFAIL that comes
	// before tells them to try another server while they still can.
	attemptTime = 2 * time.Second
	totalTime   = 4 * time.Second

	// probeEvery is the least time between two probes of a resolver that is
	// asked last.
	probeEvery = time.Second

	// The bounds of the usual time of a resolver, and what it is taken for
	// before there was an answer. Below the least a hedge would be for the
	// scheduler's whims.
	leastUsual = 10 * time.Millisecond
	mostUsual  = time.Second
	firstUsual = 400 * time.Millisecond

	// A resolver is in doubt when so many questions to it have no answer and it
	// was silent for so long, or for thrice its usual time.
	doubtAsked = 3
	doubtTime  = 300 * time.Millisecond

	// slowTime and slowTimes: a resolver is slow when its usual time is more
	// than both the former and so many times that of the quickest.
	slowTime  = 200 * time.Millisecond
	slowTimes = 4

	// How long resolvers of which none answers are left alone: from, to.
	leastPause = 500 * time.Millisecond
	mostPause  = 4 * time.Second
)

// condition is how a resolver is doing. Those that do better are asked first.
type condition uint8

const (
	well    condition = iota
	slow              // much slower than another
	doubted           // does not answer what it was asked lately
	failed            // did not answer within attemptTime, or said that it is not there
	looping           // sends our questions back to us: never asked
)

// health is what is known of a resolver. The zero value is that of one of which
// nothing is known. Times are nanoseconds of one clock; nothing here reads it.
type health struct {
	// mean and spread are of the time to an answer (as RFC 6298 §2 has them);
	// 0: there was none.
	mean, spread time.Duration
	// since is when the first question was sent after the last answer, 0 when
	// there was none; unanswered is how many these are.
	since      int64
	unanswered int
	answered   int64 // when the last answer came
	down       bool  // failed, and told so
	probed     int64 // when it was last asked for its health's sake
	// pause is how long it is left alone when all are down, and until when.
	pause  time.Duration
	paused int64
	// loops: until when it is not asked because it sends questions back.
	loops int64
}

// asked notes that a question was sent.
func (h *health) asked(now int64) {
	if h.unanswered++; h.since == 0 {
		h.since = now
	}
}

// hears notes an answer to what was sent at a time. It reports whether the
// resolver had failed before.
func (h *health) hears(sent, now int64) (back bool) {
	took := time.Duration(now - sent)
	if h.mean == 0 {
		h.mean, h.spread = max(took, 1), took/2
	} else {
		h.spread += ((h.mean - took).Abs() - h.spread) / 4
		h.mean = max(h.mean+(took-h.mean)/8, 1)
	}
	h.since, h.unanswered, h.answered, h.pause, h.paused = 0, 0, now, 0, 0
	back, h.down = h.down, false
	return back
}

// misses notes that what was sent at a time got no answer in time, or an error.
// It reports whether that is news. When others have been answered since, it was
// a packet that got lost.
func (h *health) misses(sent, now int64) (news bool) {
	if h.answered > sent || h.down {
		return false
	}
	h.down = true
	h.pause = leastPause
	h.paused = now + int64(h.pause)
	return true
}

// usual is how long it takes to an answer, with what is usual above the mean.
func (h *health) usual() time.Duration {
	if h.mean == 0 {
		return firstUsual
	}
	return min(max(h.mean+4*h.spread, leastUsual), mostUsual)
}

// stands judges the resolver; least is the usual time of the quickest of its
// kind.
func (h *health) stands(least time.Duration, now int64) condition {
	silent := time.Duration(0)
	if h.since != 0 {
		silent = time.Duration(now - h.since)
	}
	switch {
	case h.loops > now:
		return looping
	case h.down || silent >= attemptTime:
		return failed
	case h.unanswered >= doubtAsked && silent > max(doubtTime, 3*h.usual()):
		return doubted
	case h.usual() > slowTime && h.usual() > slowTimes*least && h.mean != 0:
		return slow
	}
	return well
}

// due says, when all resolvers are down, whether this one is to be asked again.
// It then is not for another while.
func (h *health) due(now int64) bool {
	if now < h.paused {
		return false
	}
	h.pause = min(max(2*h.pause, leastPause), mostPause)
	h.paused = now + int64(h.pause)
	return true
}

// group is the resolvers of one suffix, in the order of the configuration, each
// with its health; the forwarder's lock guards them.
type group struct {
	suffix    string
	resolvers []*resolver
	// tokens are what hedges cost: each question brings a tenth of one, so
	// hedges are that share of the load whatever a day is like.
	tokens float64
	quiet  throttle // of the line that says that nobody answers
}

const (
	hedgeShare = 0.1
	mostTokens = 20
)

// hedges says whether a question may be sent to one more resolver although the
// one before may still answer.
func (g *group) hedges() bool {
	if g.tokens < 1 {
		return false
	}
	g.tokens--
	return true
}

// order gives the resolvers in the order in which a question asks them, by what
// they stand for and then as configured, and those that are to be probed beside.
// A single one is asked twice, for a packet may be lost. When all are down, only
// those are asked that it is time for; none then means that there is no answer.
func (g *group) order(order, probes []*resolver, now int64) (_, _ []*resolver) {
	least := mostUsual
	for _, r := range g.resolvers {
		if r.health.mean != 0 {
			least = min(least, r.health.usual())
		}
	}
	best := looping
	for _, r := range g.resolvers {
		if r.stands = r.health.stands(least, now); r.stands < looping {
			order = append(order, r)
		}
		best = min(best, r.stands)
	}
	if len(order) == 0 {
		return order, probes
	}
	if best == failed {
		order = slices.DeleteFunc(order, func(r *resolver) bool { return !r.health.due(now) })
		return order, probes
	}
	slices.SortStableFunc(order, func(a, b *resolver) int { return cmp.Compare(a.stands, b.stands) })
	// Asked last means never asked while the others answer. But it was put first
	// for a reason (perhaps it alone knows the internal names), so it is probed
	// beside.
	for _, r := range order[1:] {
		if r.stands > order[0].stands && now-r.health.probed >= int64(probeEvery) {
			r.health.probed = now
			probes = append(probes, r)
		}
	}
	if len(order) == 1 {
		order = append(order, order[0])
	}
	return order, probes
}

// silence is the error of a resolver that did not answer.
func silence(limit time.Duration) error {
	return fmt.Errorf("no answer within %v", limit)
}
