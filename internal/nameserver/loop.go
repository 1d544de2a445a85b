package nameserver

import (
	crand "crypto/rand"
	"encoding/hex"
	"hash/maphash"
	"time"

	"github.com/miekg/dns"
)

// A resolver may send our questions back to us, straight or by way of others: two
// daemons that name each other, a forwarder that was told to ask us. Identical
// questions in flight are one, so such a question does not go round for ever, but
// it holds its place until its time is up, and each retry does so again.
//
// To find out, a resolver is asked for a name that nobody can know of. If that
// question is then asked of us, it came by way of this resolver. It is asked at
// the start, and when there is a sign: the resolver's own host wants to have
// something forwarded to it, or a question with more than one asker got no answer.

const (
	// loopLabel is in the names that are asked for, under the suffix.
	loopLabel = "murakumo-loop"

	// loopPause is how long a resolver that sends questions back is not asked;
	// then it is looked at again before it is.
	loopPause = 30 * time.Second

	// The least time between two looks at one resolver, which doubles with each
	// that found nothing up to the most.
	leastLoopGap = 10 * time.Second
	mostLoopGap  = 10 * time.Minute
)

// loopWatch is what is known about a resolver's loops.
type loopWatch struct {
	next int64         // no look before this
	gap  time.Duration // to the one after
}

// suspect looks for a loop when the host of a resolver asks for something that is
// to be forwarded to it.
func (f *forwarder) suspect(in *inquiry, g *group, now int64, o *outbox) {
	from := in.from.Addr()
	for _, r := range g.resolvers {
		if r.addr.Addr() == from {
			f.probeLoop(r, g, now, o)
		}
	}
}

// probeLoop asks a resolver for a name that nobody knows, unless that was lately.
func (f *forwarder) probeLoop(r *resolver, g *group, now int64, o *outbox) {
	if now < r.loop.next || f.closed || f.waiting >= f.most {
		return
	}
	r.loop.gap = min(max(2*r.loop.gap, leastLoopGap), mostLoopGap)
	r.loop.next = now + int64(r.loop.gap)
	var id [16]byte
	crand.Read(id[:]) // never fails
	name := hex.EncodeToString(id[:]) + "." + loopLabel + "."
	if g.suffix != "" {
		name += g.suffix + "."
	}
	var wire [maxWireName + 1]byte
	n, err := dns.PackDomainName(name, wire[:], 0, nil, false)
	if err != nil {
		return // the suffix is so long that there is no room below it
	}
	var key askKey
	key.setName(wire[:n])
	key.setQuestion(dns.TypeA, 0)
	fl := f.begin(&key, maphash.Bytes(f.seed, key.bytes()), g, nil, now, 0)
	fl.probing = r
	fl.order = append(fl.order, r)
	f.probes[string(key.name())] = fl
	f.advance(fl, now, o)
}

// loopFound notes that the question of a flight that looks for a loop came back.
// All that waits for the resolver goes on without it.
func (f *forwarder) loopFound(probe *flight, now int64, o *outbox) {
	r := probe.probing
	if r.health.loops <= now {
		o.note(func() {
			f.log.Error("resolver sends our questions back to us, so it is not asked: " + r.String() +
				": see whom it forwards to, or take it out of resolver")
		})
	}
	r.health.loops = now + int64(loopPause)
	r.loop.next, r.loop.gap = r.health.loops, 0
	f.end(probe)
	var stuck []*flight
	for _, fl := range f.live {
		for i := range fl.tries {
			if y := &fl.tries[i]; y.to == r && !y.over {
				y.over = true
				stuck = append(stuck, fl)
				break
			}
		}
	}
	for _, fl := range stuck {
		f.advance(fl, now, o)
	}
}

// noLoop notes that a question that looks for a loop was answered by the
// resolver, or by others behind it.
func (f *forwarder) noLoop(probe *flight) { f.end(probe) }

// allLoop says whether all resolvers send questions back.
func (g *group) allLoop() bool {
	for _, r := range g.resolvers {
		if r.stands != looping {
			return false
		}
	}
	return true
}

var loops = &reason{dns.ExtendedErrorCodeOther, "the resolvers send our questions back to us"}
