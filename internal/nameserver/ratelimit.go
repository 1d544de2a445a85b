package nameserver

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// limiterSets and limiterWays make the table of a limiter: 64 Ki accounts of 24
	// octets, whatever is asked. It is as if each were kept while those that are in
	// use are not many times more.
	limiterSets = 1 << 14
	limiterWays = 4
	// limiterLocks guard the sets, each its share.
	limiterLocks = 64
)

// limiter bounds how many equal answers a network gets in a second over UDP, whose
// sender may be forged: who has an answer sent to somebody else cannot have many of
// them sent. A network is a /24, or of IPv6 a /56. Its account of an answer has as
// many as rate at most, and gets as many in a second.
type limiter struct {
	rate, slip int
	seed       maphash.Seed
	locks      [limiterLocks]sync.Mutex
	sets       [limiterSets][limiterWays]account
}

// account is what a network may still get of an answer.
type account struct {
	key   uint64
	at    int64   // when it was last used, Unix nanoseconds; 0: never
	left  float32 // answers, at that time
	above uint32  // answers since it was empty
}

// fate is what becomes of an answer.
type fate uint8

// An answer is sent; or, in its place, one that has nothing but TC, for who has
// really asked to come again over TCP; or none.
const (
	sent fate = iota
	slipped
	dropped
)

func newLimiter(rate, slip int) *limiter {
	return &limiter{rate: rate, slip: slip, seed: maphash.MakeSeed()}
}

// decide says what becomes of a reply to a client.
func (l *limiter) decide(client netip.Addr, reply []byte, now time.Time) fate {
	key := l.key(client, reply)
	n := key % limiterSets
	lock := &l.locks[n%limiterLocks]
	lock.Lock()
	defer lock.Unlock()
	a := l.account(&l.sets[n], key, now)
	if a.left >= 1 {
		a.left--
		a.above = 0
		return sent
	}
	a.above++
	if l.slip > 0 && a.above%uint32(l.slip) == 0 {
		return slipped
	}
	return dropped
}

// account gives the account of a key with what is in it now. Where there is none, it
// takes the place of the one with the most in it: of those that are empty none is
// forgotten for one that is not.
func (l *limiter) account(set *[limiterWays]account, key uint64, now time.Time) *account {
	rate, at := float32(l.rate), now.UnixNano()
	fullest := &set[0]
	for i := range set {
		a := &set[i]
		if a.at == 0 {
			a.left = rate
		} else if d := at - a.at; d > 0 { // a clock that was set back gives nothing
			a.left = float32(math.Min(float64(rate), float64(a.left)+float64(d)/float64(time.Second)*float64(rate)))
		}
		a.at = at
		if a.key == key {
			return a
		}
		if a.left > fullest.left {
			fullest = a
		}
	}
	*fullest = account{key: key, at: at, left: rate}
	return fullest
}

// key puts together what is counted as one: to a network, the same records of one
// name and type; no such record of a name; no such name below a zone, of which there
// can be any number; an error of one kind.
func (l *limiter) key(client netip.Addr, reply []byte) uint64 {
	bits := 24
	if client = client.Unmap().WithZone(""); client.Is6() {
		bits = 56
	}
	network, _ := client.Prefix(bits) // in the range of its family
	address := network.Addr().As16()

	var h maphash.Hash
	h.SetSeed(l.seed)
	h.Write(address[:])
	rcode := reply[3] & 0xF
	h.WriteByte(rcode)
	question, end := foldQuestion(reply)
	answers := binary.BigEndian.Uint16(reply[6:]) > 0
	switch {
	case rcode == dns.RcodeSuccess && answers:
		h.Write(question[:end])
	case rcode == dns.RcodeSuccess:
		h.WriteByte(0)
		h.Write(question[:max(0, end-4)]) // without type and class
	case rcode == dns.RcodeNameError && !answers && binary.BigEndian.Uint16(reply[8:]) > 0:
		// The owner of the SOA is the zone.
		zone, _, _ := dns.UnpackDomainName(reply, headerSize+end)
		h.WriteString(dns.CanonicalName(zone))
	}
	return h.Sum64()
}

// foldQuestion gives the question of a reply in lower case, and how long it is; 0 when
// there is none.
func foldQuestion(reply []byte) (question [255 + 4]byte, n int) {
	if binary.BigEndian.Uint16(reply[4:]) != 1 {
		return question, 0
	}
	for n = headerSize; n < len(reply) && reply[n] != 0 && reply[n] < 64; n += 1 + int(reply[n]) {
	}
	n = min(n+1+4, len(reply)) - headerSize
	if n > len(question) {
		return question, 0 // no name is so long
	}
	for i, c := range reply[headerSize : headerSize+n] {
		if 'A' <= c && c <= 'Z' && i < n-4 {
			c += 'a' - 'A' // the length of a label is less than any letter
		}
		question[i] = c
	}
	return question, n
}

// cut makes of a reply one without records, with TC. It changes reply.
func cut(reply []byte) []byte {
	_, n := foldQuestion(reply)
	opt := findOPT(reply)
	out := reply[:headerSize+n]
	out[2] = out[2]&^0x04 | 0x02 // not AA, but TC
	out[3] &^= 0x20              // nor AD
	clear(out[6:headerSize])
	if opt >= 0 {
		out = append(out, reply[opt:opt+optSize]...)
		clear(out[len(out)-2:]) // without options
		out[11] = 1
	}
	return out
}

// limit gives what is sent over UDP in place of a reply, nil for nothing. Exempt are
// clients on this host, whom nobody outside can forge, and those that are known to get
// what is sent to them (RFC 7873 §6).
func (s *Server) limit(l *limiter, reply []byte, client netip.Addr, known bool) []byte {
	if l == nil || known || client.Unmap().IsLoopback() {
		return reply
	}
	what := l.decide(client, reply, time.Now())
	if what == sent {
		return reply
	}
	if s.limited.allow() {
		s.log.Warn("rate-limit: a network asks for the same too often over UDP", "client", client)
	}
	if what == slipped {
		return cut(reply)
	}
	return nil
}

// hasCookie says whether a question has a cookie that we gave to its client.
func (s *Server) hasCookie(raw []byte, client netip.Addr, now time.Time) bool {
	at := findOPT(raw)
	if at < 0 {
		return false
	}
	for options := raw[at+optSize:]; len(options) >= 4; {
		n := int(binary.BigEndian.Uint16(options[2:]))
		if len(options) < 4+n {
			break
		}
		if binary.BigEndian.Uint16(options) == dns.EDNS0COOKIE {
			return s.isOurs(options[4:4+n], client, now)
		}
		options = options[4+n:]
	}
	return false
}
