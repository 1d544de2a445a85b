package nameserver

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// cached is an answer of a resolver as a packet, ready but for what differs from
// client to client: identifier, bits, the spelling of the question, the OPT
// record, and the TTLs, which count down. But for claimed it is never changed.
type cached struct {
	message
	key   []byte
	group *group
	at    int64 // when it came
	life  int64 // how long it holds, at least a second; nanoseconds
	// claimed: somebody is asking anew.
	claimed atomic.Bool
}

// Nanoseconds, so that age and life are of one kind.
const leastRefreshed = int64(10 * time.Second)

// newCached makes an answer to keep of a resolver's message, which is copied.
func newCached(key *askKey, g *group, m *message, now int64, life time.Duration) *cached {
	v := &cached{message: m.clone(), key: slices.Clone(key.bytes()), group: g, at: now, life: int64(life)}
	if v.soa {
		// Who keeps a negative answer goes by this TTL (RFC 2308 §5).
		ttl := v.wire[v.soaAt : v.soaAt+4]
		binary.BigEndian.PutUint32(ttl, min(trueTTL(binary.BigEndian.Uint32(ttl)), v.soaTTL))
	}
	return v
}

// clone copies a message with all that it holds, in one piece of memory.
func (m *message) clone() message {
	c := *m
	c.wire = slices.Clip(slices.Clone(m.wire))
	places := make([]uint16, 0, len(m.ttls)+len(m.owners))
	places = append(append(places, m.ttls...), m.owners...)
	c.ttls, c.owners = places[:len(m.ttls):len(m.ttls)], places[len(m.ttls):]
	return c
}

// size is how many octets an answer takes.
func (v *cached) size() int {
	return cachedOverhead + len(v.key) + cap(v.wire) + 2*(len(v.ttls)+len(v.owners))
}

// wantsRefresh says whether the answer is to be asked for anew, of which only one
// is told: what is still asked for in the last tenth of its time would soon be
// missing. It is no use for times so short that most of it is the question's.
func (v *cached) wantsRefresh(age int64) bool {
	return v.life >= leastRefreshed && age >= v.life-v.life/10 && v.claimed.CompareAndSwap(false, true)
}

// excuse says why an answer is older than its time.
func (v *cached) excuse() *reason {
	if v.rcode == dns.RcodeNameError {
		return staleNone
	}
	return staleAnswer
}

var (
	staleAnswer = &reason{dns.ExtendedErrorCodeStaleAnswer, "no resolver has an answer now"}
	staleNone   = &reason{dns.ExtendedErrorCodeStaleNXDOMAINAnswer, "no resolver has an answer now"}
)
