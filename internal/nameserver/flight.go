package nameserver

import (
	"time"

	"github.com/miekg/dns"
)

const (
	// staleAfter is when who waits is told what is known of old, if anything
	// (RFC 8767 §5, client response timer).
	staleAfter = 1800 * time.Millisecond

	// maxTries bounds how often a question is asked.
	maxTries = 8
)

// flight is one question on its way to the resolvers, with all who wait for its
// answer. The forwarder's lock guards it. It is used again: gen tells what
// belongs to one use from what belongs to another.
type flight struct {
	key    askKey
	hash   uint64
	gen    uint32
	place  int // in forwarder.live
	group  *group
	cache  *cache // where the answer goes; nil: nowhere
	order  []*resolver
	next   int // of order
	tries  []try
	askers []client
	places int // of the forwarder that it takes
	// start is when it began, due when there is something to decide next.
	start, due int64
	hedge      int64 // not before this
	stale      *cached
	told       bool // the askers have what is stale
	// unhelpful is the first answer of a resolver that cannot tell, copied.
	unhelpful *message
	// probing is the resolver that is looked at for a loop.
	probing *resolver
}

// try is one sending of a flight's question.
type try struct {
	to     *resolver
	sent   int64
	random uint64 // of the spelling
	stream bool
	over   bool // answered or failed
	late   bool // counted as a failure
}

// limit is how long one of the flight's tries may take.
func (fl *flight) limit() int64 {
	return int64(min(attemptTime, totalTime/time.Duration(max(len(fl.order), 1))))
}

// move decides what is next for a flight: it gives the resolver to ask, nil for
// none, and whether it is over without an answer. missed gets those whose time
// is up, once each. It leaves in due when to be called again.
func (fl *flight) move(now int64, missed func(*try)) (ask *resolver, over bool) {
	end := fl.start + int64(totalTime)
	if now >= end {
		for i := range fl.tries {
			if y := &fl.tries[i]; !y.over && !y.late && now-y.sent >= fl.limit() {
				y.late = true
				missed(y)
			}
		}
		return nil, true
	}
	fl.due = end
	if fl.stale != nil && !fl.told {
		fl.due = min(fl.due, fl.start+int64(staleAfter))
	}
	var last *try // the latest that is still waited for
	for i := range fl.tries {
		y := &fl.tries[i]
		switch up := y.sent + fl.limit(); {
		case y.over || y.late:
		case now >= up:
			y.late = true // an answer is still taken
			missed(y)
		default:
			fl.due = min(fl.due, up)
			last = y
		}
	}
	for fl.next < len(fl.order) && fl.order[fl.next].health.loops > now {
		fl.next++
	}
	if fl.next == len(fl.order) || len(fl.tries) == maxTries {
		if r := fl.lost(); last == nil && r != nil {
			fl.due = min(fl.due, now+fl.limit())
			return r, false
		}
		return nil, last == nil
	}
	next := fl.order[fl.next]
	switch {
	case last == nil:
	case last.to == next: // a lost packet takes its time to show
		return nil, false
	default:
		// The one who was asked takes longer than usual. If it seems to be
		// silent, its load is no matter; else there is a bound.
		usual := int64(last.to.health.usual())
		at := max(fl.hedge, last.sent+usual)
		if now >= at && last.to.health.stands(mostUsual, now) < doubted && !fl.group.hedges() {
			fl.hedge = now + usual
			at = fl.hedge
		}
		if now < at {
			fl.due = min(fl.due, at)
			return nil, false
		}
	}
	fl.next++
	fl.due = min(fl.due, now+fl.limit())
	if fl.next < len(fl.order) && fl.order[fl.next] != next {
		fl.due = min(fl.due, max(fl.hedge, now+int64(next.health.usual())))
	}
	return next, false
}

// lost gives the one resolver that was silent while all others cannot be asked,
// once: a packet may have been lost.
func (fl *flight) lost() (r *resolver) {
	if fl.unhelpful != nil || len(fl.tries) < 2 || len(fl.tries) == maxTries {
		return nil
	}
	for i := range fl.tries {
		if y := &fl.tries[i]; !y.over {
			if r != nil {
				return nil
			}
			r = y.to
		}
	}
	return r
}

// isUnhelpful reports the codes with which a resolver says that it cannot tell,
// not that there is nothing to tell: another may know. They are answers all the
// same: whoever asks for a broken zone could otherwise turn us away from the
// resolver that knows the internal names.
func isUnhelpful(rcode int) bool {
	return rcode == dns.RcodeServerFailure || rcode == dns.RcodeRefused || rcode == dns.RcodeNotImplemented
}
