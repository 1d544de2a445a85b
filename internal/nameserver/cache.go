package nameserver

import (
	"bytes"
	"hash/maphash"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/miekg/dns"
)

const (
	// cacheOctets is the most memory that answers of resolvers take: some
	// twenty thousand of the usual size, more names than a host asks for.
	cacheOctets = 8 << 20

	// cacheShards is how many parts the cache has, each with a lock of its
	// own, so that workers seldom meet at one.
	cacheShards = 16

	// cachedOverhead is what an answer costs beside its octets: its entries in
	// map and list, and their share of what the map keeps free.
	cachedOverhead = 350

	// The longest that answers are kept, whatever their TTL: a day, and an hour
	// for "there is none" (RFC 2308 §5 has seen up to three work well).
	maxPositive = 24 * time.Hour
	maxNegative = time.Hour

	// maxStale is how long an answer is of use beyond its time, while nobody
	// can say what is true now (RFC 8767 §5 wants one to three days).
	maxStale = 24 * time.Hour
)

// cache keeps answers of the resolvers for as long as these said, and then for the
// case that they do not answer. It holds messages and not records, so what a
// resolver says of one name is never an answer about another. Names of ours are
// not in it: they are not forwarded.
type cache struct {
	seed   maphash.Seed
	most   int // octets of a shard
	shards [cacheShards]shard
}

type shard struct {
	mu     sync.Mutex // guards what follows
	lru    *simplelru.LRU[uint64, *cached]
	octets int
}

// newCache makes a cache of so many octets at most.
func newCache(octets int) *cache {
	c := &cache{seed: maphash.MakeSeed(), most: octets / cacheShards}
	for i := range c.shards {
		s := &c.shards[i]
		// The library bounds the number, which is not what memory is about; a
		// bound by octets is kept in put.
		s.lru, _ = simplelru.NewLRU(max(1, c.most/cachedOverhead), func(_ uint64, v *cached) {
			s.octets -= v.size()
		})
	}
	return c
}

// get gives what the resolvers of a group answered to a question, and how old it
// is in nanoseconds; nil when there is nothing or it is of no use any more. Its
// time may be over, see cached.life. The key is one of forCache.
func (c *cache) get(key *askKey, g *group, now int64) (*cached, int64) {
	hash := maphash.Bytes(c.seed, key.bytes())
	s := &c.shards[hash%cacheShards]
	s.mu.Lock()
	v, ok := s.lru.Get(hash)
	s.mu.Unlock()
	// Two keys with one hash are as good as none.
	if !ok || v.group != g || !bytes.Equal(v.key, key.bytes()) {
		return nil, 0
	}
	age := now - v.at
	if age < 0 || age >= v.life+int64(maxStale) {
		return nil, 0
	}
	return v, age
}

// put keeps an answer, if it is of a kind that may be kept. To make room, what
// was not asked for the longest goes. The key is one of forCache.
func (c *cache) put(key *askKey, g *group, m *message, now int64) {
	life := m.lifetime()
	if life < time.Second {
		return
	}
	v := newCached(key, g, m, now, life)
	size := v.size()
	if size > c.most {
		return
	}
	hash := maphash.Bytes(c.seed, key.bytes())
	s := &c.shards[hash%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lru.Remove(hash)
	s.lru.Add(hash, v)
	s.octets += size
	for s.octets > c.most {
		s.lru.RemoveOldest()
	}
}

// lifetime says for how long a message answers its question; 0 for one that may
// not be kept. It goes as a whole, so it lives as long as the shortest of its
// records.
func (m *message) lifetime() time.Duration {
	if m.tc || m.rcode != dns.RcodeSuccess && m.rcode != dns.RcodeNameError {
		return 0
	}
	if m.rcode == dns.RcodeSuccess && m.answered {
		return min(time.Duration(m.ttl)*time.Second, maxPositive)
	}
	// There is no such name, or none with such a record, perhaps at the end of
	// aliases. A SOA says for how long that is true; without one it may be a
	// referral, or anything (RFC 2308 §5).
	if !m.soa {
		return 0
	}
	return min(time.Duration(min(m.ttl, m.soaTTL))*time.Second, maxNegative)
}
