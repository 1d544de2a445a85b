package nameserver

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

const (
	// originSize is the longest control message with which a reply leaves from
	// the address that was asked.
	originSize = 40

	// staleTTL is the TTL of records that are answered beyond their time (RFC
	// 8767 §4).
	staleTTL = 30
)

// client is one who asked a question that the resolvers answer: all that his
// reply depends on beside their answer. It is copied into the flight that he
// waits for, so it holds no memory of its caller's but what is said.
type client struct {
	id        uint16
	rd, cd    bool
	edns, do  bool
	limit     uint16 // most octets of the reply
	spelled   spelling
	options   []byte // of the reply's OPT record, the first needed of them also when room is short
	needed    int
	from      netip.AddrPort
	originLen uint8
	origin    [originSize]byte // see replySource
	to        replier
}

// replier takes a reply to where its question came from. It is called once for
// each question, from any goroutine, and must not keep the reply.
type replier interface {
	reply(a *client, raw []byte)
}

// replyFunc is a replier that knows where to.
type replyFunc func(raw []byte)

func (f replyFunc) reply(_ *client, raw []byte) { f(raw) }

// leaveFrom takes the control message with which the reply leaves.
func (a *client) leaveFrom(source []byte) { a.originLen = uint8(copy(a.origin[:], source)) }

// reply sends a reply over UDP. One that cannot be sent is as good as lost on
// the way, and the client asks again.
func (k *socket) reply(a *client, raw []byte) {
	if k.raw != nil {
		k.raw.write(raw, a.origin[:a.originLen], a.from)
		return
	}
	k.udp.WriteMsgUDPAddrPort(raw, a.origin[:a.originLen], a.from)
}

// inquiry is a question for the resolvers with who asks it. Who fills one sets the
// client and calls about, then asks recall, and then ask.
type inquiry struct {
	client
	key   askKey
	group *group  // who is asked
	cache *cache  // what is kept; nil: nothing
	stale *cached // what recall found that is over
	// behind is the question of the client when this one is about the name that it
	// led to, and chain how; nil: it is the client's own.
	behind *query
	chain  []dns.RR
	pooled bool // it goes back to the pool of the server
}

// about sets the question: its name in wire form as it was spelled, its type and its
// bits. The group is nil when nobody is asked for such names.
func (in *inquiry) about(name []byte, qtype uint16, bits byte, to *routes) {
	in.spelled = in.key.setName(name)
	in.key.setQuestion(qtype, bits)
	in.cache, in.group, in.stale = to.cache, to.of(in.key.name()), nil
}

func (q *query) bits() (b byte) {
	if q.edns {
		b |= bitEDNS
	}
	if q.do {
		b |= bitDO
	}
	if q.ad {
		b |= bitAD
	}
	if q.cd {
		b |= bitCD
	}
	return b
}

// compose makes the reply of a message: with its code, its records and AD as
// they came, with the client's spelling. TTLs are less by age, or all staleTTL.
// The reply is in buf when it fits.
func (a *client) compose(buf []byte, m *message, age uint32, stale bool, why *reason) []byte {
	out := append(buf[:0], m.wire...)
	binary.BigEndian.PutUint16(out, a.id)
	flags := binary.BigEndian.Uint16(out[2:]) | flagRA // only who may recurse gets here
	if a.rd {
		flags |= flagRD
	}
	if a.cd {
		flags |= flagCD
	}
	binary.BigEndian.PutUint16(out[2:], flags)
	// Other names that the question's is the end of point to it and are spelled
	// alike; some clients compare octets.
	name := out[headerSize : headerSize+m.name]
	a.spelled.apply(name)
	for i := 0; i < len(m.owners); i += 3 {
		at, from, n := int(m.owners[i]), m.owners[i+1], m.owners[i+2]
		copy(out[at:], name[from:from+n])
	}
	if stale {
		for _, at := range m.ttls {
			binary.BigEndian.PutUint32(out[at:], staleTTL)
		}
	} else if age > 0 {
		for _, at := range m.ttls {
			ttl := out[at : at+4]
			binary.BigEndian.PutUint32(ttl, binary.BigEndian.Uint32(ttl)-age)
		}
	}
	q := query{
		id: a.id, rd: a.rd, cd: a.cd, edns: a.edns, do: a.do, upstream: MayForward,
		limit: int(a.limit), options: a.options, needed: a.needed, why: why,
	}
	rcode := m.rcode
	if rcode > 0xF && !a.edns {
		rcode = dns.RcodeServerFailure // its upper bits are the OPT record's
		out[3] = out[3]&^0xF | dns.RcodeServerFailure
	}
	if len(out)+q.sizeOPT() <= q.limit {
		return q.appendOPT(out, rcode)
	}
	// Too long for this client: the library cuts it.
	var msg dns.Msg
	if msg.Unpack(out) != nil || len(msg.Question) != 1 {
		clear(out[4:headerSize])
		out[3], out[5] = out[3]&^0xF|dns.RcodeServerFailure, 1
		return q.appendOPT(out[:headerSize+m.name+4], dns.RcodeServerFailure)
	}
	q.question, msg.Rcode = msg.Question[0], rcode
	return q.pack(nil, &msg)
}
