package nameserver

import (
	"hash/maphash"
	"slices"
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
)

// cache keeps answers of the resolvers for as long as these said. It holds
// messages and not records, so what a resolver says of one name is never an
// answer about another. Names of ours are not in it: they are not forwarded.
type cache struct {
	seed   maphash.Seed
	most   int // octets of a shard
	shards [cacheShards]shard
}

type shard struct {
	mu     sync.Mutex // guards what follows
	lru    *simplelru.LRU[cacheKey, *cached]
	octets int
}

// cacheKey is what a kept answer may depend on. Not so the presence of an OPT
// record: it is between us and whom we talk to.
type cacheKey struct {
	name  string // in lower case
	qtype uint16
	// do and cd are the client's bits; ad says that it wants to know whether
	// the answer is authentic, by AD or by DO (RFC 6840 §5.7).
	do, ad, cd bool
}

func (key flightKey) cacheKey() cacheKey {
	return cacheKey{name: key.name, qtype: key.qtype, do: key.do, ad: key.ad || key.do, cd: key.cd}
}

// newCache makes a cache of so many octets at most.
func newCache(octets int) *cache {
	c := &cache{seed: maphash.MakeSeed(), most: octets / cacheShards}
	for i := range c.shards {
		s := &c.shards[i]
		// The library bounds the number, which is not what memory is about; a
		// bound by octets is kept in put.
		s.lru, _ = simplelru.NewLRU(max(1, c.most/cachedOverhead), func(k cacheKey, v *cached) {
			s.octets -= v.size(k)
		})
	}
	return c
}

func (c *cache) shard(key cacheKey) *shard {
	return &c.shards[maphash.Comparable(c.seed, key)%cacheShards]
}

// get gives what is kept for a question, and since how many seconds; nil when
// there is nothing or its time is over.
func (c *cache) get(key cacheKey, now time.Time) (*cached, uint32) {
	s := c.shard(key)
	s.mu.Lock()
	v, ok := s.lru.Get(key)
	s.mu.Unlock()
	if !ok {
		return nil, 0
	}
	age := now.Sub(v.at)
	if age < 0 || age >= v.life {
		return nil, 0
	}
	return v, uint32(age / time.Second)
}

// put keeps an answer, if it is of a kind that may be kept. To make room, what
// was not asked for the longest goes.
func (c *cache) put(key flightKey, m *dns.Msg, now time.Time) {
	v := newCached(key, m, now)
	if v == nil {
		return
	}
	k := key.cacheKey()
	size := v.size(k)
	if size > c.most {
		return
	}
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lru.Remove(k)
	s.lru.Add(k, v)
	s.octets += size
	for s.octets > c.most {
		s.lru.RemoveOldest()
	}
}

// size is how many octets an answer takes.
func (v *cached) size(k cacheKey) int {
	return cachedOverhead + len(k.name) + cap(v.wire) + 2*cap(v.ttls)
}

// lifetime says for how long a message of a resolver answers a question; 0 for
// one that may not be kept.
func lifetime(qtype uint16, m *dns.Msg) time.Duration {
	if m.Truncated || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return 0
	}
	// The message goes as a whole, so it lives as long as the shortest of its
	// records.
	ttl, most := uint32(maxPositive/time.Second), maxPositive
	for _, rrs := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range rrs {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				ttl = min(ttl, trueTTL(h.Ttl))
			}
		}
	}
	answered := slices.ContainsFunc(m.Answer, func(rr dns.RR) bool {
		return qtype == dns.TypeANY || rr.Header().Rrtype == qtype
	})
	if m.Rcode == dns.RcodeNameError || !answered {
		// There is no such name, or none with such a record, perhaps at the end
		// of aliases. A SOA says for how long that is true; without one it may
		// be a referral, or anything (RFC 2308 §5).
		i := slices.IndexFunc(m.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA })
		if i < 0 {
			return 0
		}
		ttl, most = min(ttl, trueTTL(m.Ns[i].(*dns.SOA).Minttl)), maxNegative
	}
	return min(time.Duration(ttl)*time.Second, most)
}

// trueTTL reads a TTL as RFC 2181 §8 wants it: one with the highest bit is 0.
func trueTTL(ttl uint32) uint32 {
	if ttl > 1<<31-1 {
		return 0
	}
	return ttl
}
