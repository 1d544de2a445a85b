package nameserver

import (
	"encoding/binary"
	"math/bits"

	"github.com/miekg/dns"
)

// What goes between clients and resolvers is looked through and patched where it
// lies; only what must be cut or put together anew goes through the library.

const (
	// maxWireName is the longest name in wire form (RFC 1035 §2.3.4).
	maxWireName = 255
	// keySize is the longest askKey.
	keySize = maxWireName + 3

	// The bits of a question that a resolver's answer may depend on.
	bitEDNS = 1 << 0
	bitDO   = 1 << 1
	bitAD   = 1 << 2
	bitCD   = 1 << 3
)

// askKey is a question for the resolvers: the name in wire form and lower case,
// the type, and the bits.
type askKey struct {
	b [keySize]byte
	n int
}

func (k *askKey) bytes() []byte { return k.b[:k.n] }
func (k *askKey) name() []byte  { return k.b[:k.n-3] }
func (k *askKey) qtype() uint16 { return binary.BigEndian.Uint16(k.b[k.n-3:]) }
func (k *askKey) bits() byte    { return k.b[k.n-1] }

// setName takes a name in wire form and gives how it was spelled.
func (k *askKey) setName(name []byte) spelling {
	k.n = len(name) + 3
	return fold(k.b[:], name)
}

func (k *askKey) setQuestion(qtype uint16, bits byte) {
	binary.BigEndian.PutUint16(k.b[k.n-3:], qtype)
	k.b[k.n-1] = bits
}

// forCache gives the key under which the answer is kept. The presence of an OPT
// record is between us and whom we talk to; AD and DO both ask whether the answer
// is authentic (RFC 6840 §5.7).
func (k *askKey) forCache() askKey {
	c := *k
	b := c.bits() &^ bitEDNS
	if b&bitDO != 0 {
		b |= bitAD
	}
	c.b[c.n-1] = b
	return c
}

// text is the name for people.
func (k *askKey) text() string {
	name, _, err := dns.UnpackDomainName(k.name(), 0)
	if err != nil {
		return "?"
	}
	return name
}

// spelling has a bit for each octet of a name in wire form that is a capital.
// The lengths of labels, at most 63, are none.
type spelling [4]uint64

// fold copies a name in wire form to lower case and gives its spelling.
func fold(to, name []byte) (s spelling) {
	for i, c := range name {
		if c-'A' < 26 {
			c += 'a' - 'A'
			s[i>>6] |= 1 << (i & 63)
		}
		to[i] = c
	}
	return s
}

// apply spells a name that is in lower case.
func (s *spelling) apply(name []byte) {
	for w, set := range s {
		for ; set != 0; set &= set - 1 {
			name[w<<6+bits.TrailingZeros64(set)] -= 'a' - 'A'
		}
	}
}

// mixed gives the spelling of a lower-case name whose letters are capitals as
// the random bits say, from the lowest one on and around.
func mixed(name []byte, random uint64) (s spelling) {
	for i, c := range name {
		if c-'a' < 26 {
			s[i>>6] |= random & 1 << (i & 63)
			random = bits.RotateLeft64(random, -1)
		}
	}
	return s
}

// endOfName gives the end of the name at off. Pointers lead back only, to a name
// that ends, and all of it is at most 255 octets, so the walk is short.
func endOfName(msg []byte, off int) (end int, ok bool) {
	length := 0
	for at := off; ; {
		if at >= len(msg) {
			return 0, false
		}
		switch c := int(msg[at]); {
		case c == 0:
			if end == 0 {
				end = at + 1
			}
			return end, length+1 <= maxWireName
		case c < 64:
			if length += c + 1; length >= maxWireName {
				return 0, false
			}
			at += c + 1
		case c >= 0xC0:
			if at+1 >= len(msg) {
				return 0, false
			}
			to := c&0x3F<<8 | int(msg[at+1])
			if to >= off || to < headerSize {
				return 0, false
			}
			if end == 0 {
				end = at + 2
			}
			// Each jump goes before the one ahead of it, so there is an end.
			off, at = to, to
		default:
			return 0, false
		}
	}
}

// message is a resolver's reply, looked through. Its slices can be used again.
type message struct {
	// wire is the message without its OPT record and what is behind the last
	// record. Of the header's bits it has QR, AD and the code. The question's
	// name is in lower case.
	wire  []byte
	rcode int // with the upper bits of the OPT record
	name  int // length of the question's name
	// ttls are the places of the TTLs. owners are what of the question's name
	// stands in names of records once more: place, place in the name, length.
	ttls, owners []uint16

	tc bool
	// What lifetime goes by.
	ttl       uint32 // the least
	answered  bool   // has a record of the type
	soa       bool   // has a SOA in the authority section,
	soaAt     int    // whose TTL is at this place
	soaTTL    uint32 // and which says this for negative answers
	signature bool   // has a record at the end that signs the whole
	twoOPT    bool
}

// read looks through a reply with one question, whose name is name in lower case
// but for its spelling; false for what is malformed. It changes raw in place.
func (m *message) read(raw []byte, key *askKey) bool {
	*m = message{ttls: m.ttls[:0], owners: m.owners[:0], ttl: 1<<31 - 1, name: len(key.name())}
	count := func(i int) int { return int(binary.BigEndian.Uint16(raw[4+2*i:])) }
	at := headerSize + m.name + 4
	if len(raw) < at || count(0) != 1 {
		return false
	}
	qtype := key.qtype()
	flags := binary.BigEndian.Uint16(raw[2:])
	m.rcode, m.tc = int(flags&0xF), flags&flagTC != 0
	copy(raw[headerSize:], key.name())
	end, optAt, last := at, 0, false // last: the OPT record is behind all others
	sections := [3]int{count(1), count(2), count(3)}
	for section, n := range sections {
		for range n {
			owner := at
			var ok bool
			if at, ok = endOfName(raw, at); !ok || at+10 > len(raw) {
				return false
			}
			rrtype := binary.BigEndian.Uint16(raw[at:])
			ttlAt := at + 4
			size := int(binary.BigEndian.Uint16(raw[at+8:]))
			data := at + 10
			if at = data + size; at > len(raw) || !validData(raw[:at], data, rrtype) {
				return false
			}
			if rrtype == dns.TypeOPT {
				if section != 2 || raw[owner] != 0 {
					return false
				}
				m.twoOPT = m.twoOPT || optAt > 0
				optAt, last = owner, true
				m.rcode |= int(raw[ttlAt]) << 4
				continue
			}
			end, last = at, false
			if rrtype == dns.TypeTSIG || rrtype == dns.TypeSIG {
				m.signature = true
			}
			m.ttls = append(m.ttls, uint16(ttlAt))
			m.owner(raw, owner, key.name())
			ttl := trueTTL(binary.BigEndian.Uint32(raw[ttlAt:]))
			m.ttl = min(m.ttl, ttl)
			switch {
			case section == 0 && (rrtype == qtype || qtype == dns.TypeANY):
				m.answered = true
			case section == 1 && rrtype == dns.TypeSOA && !m.soa:
				m.soa, m.soaAt = true, ttlAt
				m.soaTTL = trueTTL(binary.BigEndian.Uint32(raw[at-4:]))
			}
		}
	}
	switch {
	case optAt > 0 && last && !m.twoOPT:
		end = optAt
		binary.BigEndian.PutUint16(raw[10:], uint16(sections[2]-1))
	case optAt > 0 || m.signature:
		return m.rebuild(raw[:at], key)
	}
	binary.BigEndian.PutUint16(raw[2:], flagQR|flags&(flagAD|0xF))
	m.wire = raw[:end]
	return true
}

// owner looks whether the name at a place, which is whole, is the question's, and
// notes the labels of it that stand there.
func (m *message) owner(raw []byte, at int, name []byte) {
	before := len(m.owners)
	for i := 0; ; {
		c := int(raw[at])
		if c >= 0xC0 {
			if at = c&0x3F<<8 | int(raw[at+1]); at == headerSize && i == 0 {
				return // as nearly all do
			}
			continue
		}
		n := c + 1
		if i+n > len(name) || !foldEqual(raw[at:at+n], name[i:i+n]) {
			m.owners = m.owners[:before]
			return
		}
		if at >= headerSize+len(name) && c > 0 {
			copy(raw[at:], name[i:i+n])
			m.owners = append(m.owners, uint16(at), uint16(i), uint16(n))
		}
		if c == 0 {
			return
		}
		i, at = i+n, at+n
	}
}

// rebuild puts a message together anew without the records that were between
// us and the resolver, which others stand behind.
func (m *message) rebuild(raw []byte, key *askKey) bool {
	var msg dns.Msg
	if m.twoOPT || msg.Unpack(raw) != nil {
		return false
	}
	var extra []dns.RR
	for _, rr := range msg.Extra {
		switch rr.Header().Rrtype {
		case dns.TypeOPT, dns.TypeTSIG, dns.TypeSIG:
		default:
			extra = append(extra, rr)
		}
	}
	// One that signs an answer, of old, is nothing that goes on without it.
	rcode := m.rcode
	msg.Extra, msg.Rcode, msg.Compress = extra, rcode&0xF, true
	for _, rrs := range [][]dns.RR{msg.Answer, msg.Ns} {
		for _, rr := range rrs {
			if t := rr.Header().Rrtype; t == dns.TypeTSIG || t == dns.TypeSIG {
				return false
			}
		}
	}
	packed, err := msg.Pack()
	if err != nil || !m.read(packed, key) {
		return false
	}
	m.rcode = rcode
	return true
}

// validData says whether the record data at the end of msg is of the form that
// its type has, as far as we, or who must cut the message, look into it.
func validData(msg []byte, at int, rrtype uint16) bool {
	var ok bool
	size := len(msg) - at
	switch rrtype {
	case dns.TypeA:
		return size == 4
	case dns.TypeAAAA:
		return size == 16
	case dns.TypeMX:
		at += 2
	case dns.TypeSRV:
		at += 6
	case dns.TypeCNAME, dns.TypeNS, dns.TypePTR, dns.TypeDNAME:
	case dns.TypeSOA:
		if at, ok = endOfName(msg, at); !ok {
			return false
		}
		at, ok = endOfName(msg, at)
		return ok && at+20 == len(msg)
	default:
		return true
	}
	at, ok = endOfName(msg, at)
	return ok && at == len(msg)
}

// foldEqual says whether a is b, which is in lower case, but for its spelling.
func foldEqual(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if c-'A' < 26 {
			c += 'a' - 'A'
		}
		if c != b[i] {
			return false
		}
	}
	return true
}

// trueTTL reads a TTL as RFC 2181 §8 wants it: one with the highest bit is 0.
func trueTTL(ttl uint32) uint32 {
	if ttl > 1<<31-1 {
		return 0
	}
	return ttl
}

// appendQuestion makes the packet that asks a resolver: the key's question in a
// spelling, with identifier 0.
func appendQuestion(b []byte, key *askKey, s spelling) []byte {
	flags, extra := uint16(flagRD), byte(0)
	if key.bits()&bitAD != 0 {
		flags |= flagAD
	}
	if key.bits()&bitCD != 0 {
		flags |= flagCD
	}
	if key.bits()&bitEDNS != 0 {
		extra = 1
	}
	b = append(b, 0, 0, byte(flags>>8), byte(flags), 0, 1, 0, 0, 0, 0, 0, extra)
	b = append(b, key.name()...)
	s.apply(b[headerSize:])
	b = append(binary.BigEndian.AppendUint16(b, key.qtype()), 0, dns.ClassINET)
	if extra == 1 {
		// An OPT record only when the client had one, so that a resolver
		// which does not know EDNS is dealt with by who asked.
		b = append(b, 0, 0, byte(dns.TypeOPT), udpSize>>8, udpSize&0xFF, 0, 0, 0, 0, 0, 0)
		if key.bits()&bitDO != 0 {
			b[len(b)-4] = flagDO >> 8
		}
	}
	return b
}

// bare makes a message of nothing but the key's question and a code.
func (m *message) bare(key *askKey, rcode int) {
	b := append(m.wire[:0], 0, 0, flagQR>>8, byte(rcode), 0, 1, 0, 0, 0, 0, 0, 0)
	b = append(b, key.name()...)
	b = append(binary.BigEndian.AppendUint16(b, key.qtype()), 0, dns.ClassINET)
	*m = message{wire: b, rcode: rcode, name: len(key.name()), ttls: m.ttls[:0], owners: m.owners[:0]}
}
