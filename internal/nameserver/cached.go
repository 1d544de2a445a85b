package nameserver

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// cached is an answer of a resolver as a packet, ready but for what differs from
// client to client: identifier, bits, the spelling of the question, the OPT
// record, and the TTLs, which count down. It is never changed.
type cached struct {
	wire []byte
	ttls []uint16 // where the TTLs stand in wire
	at   time.Time
	life time.Duration // at least a second
}

// newCached makes an answer to keep of a resolver's message; nil when it may not
// be kept or cannot be.
func newCached(key flightKey, m *dns.Msg, now time.Time) *cached {
	life := lifetime(key.qtype, m)
	if life < time.Second {
		return nil
	}
	out := relayed(key.name, m)
	for i, rr := range out.Ns {
		// Who keeps a negative answer goes by this TTL (RFC 2308 §5).
		if soa, ok := rr.(*dns.SOA); ok && soa.Hdr.Ttl > soa.Minttl {
			soa = dns.Copy(soa).(*dns.SOA)
			soa.Hdr.Ttl = soa.Minttl
			out.Ns = slices.Clone(out.Ns)
			out.Ns[i] = soa
		}
	}
	out.Response = true
	out.Question = []dns.Question{{Name: key.name, Qtype: key.qtype, Qclass: dns.ClassINET}}
	out.Compress = true // and the question's name, where records have it, is a pointer to it
	wire, err := out.Pack()
	if err != nil {
		return nil
	}
	v := &cached{wire: slices.Clip(slices.Clone(wire)), at: now, life: life}
	if v.ttls, err = findTTLs(v.wire); err != nil {
		return nil
	}
	return v
}

// findTTLs gives the places of the TTLs in a message of one question.
func findTTLs(wire []byte) ([]uint16, error) {
	records := 0
	for i := 6; i < headerSize; i += 2 {
		records += int(binary.BigEndian.Uint16(wire[i:]))
	}
	_, at, err := dns.UnpackDomainName(wire, headerSize)
	if err != nil {
		return nil, err
	}
	at += 4
	ttls := make([]uint16, 0, records)
	for range records {
		if _, at, err = dns.UnpackDomainName(wire, at); err != nil {
			return nil, err
		}
		ttls = append(ttls, uint16(at+4)) // behind type and class
		at += 10 + int(binary.BigEndian.Uint16(wire[at+8:]))
	}
	return ttls, nil
}

// fromCache makes the reply for q from what is kept, nil when there is nothing.
// It is in buf when it fits.
func (q *query) fromCache(buf []byte, now time.Time) []byte {
	if q.forwarder.cache == nil {
		return nil
	}
	v, age := q.forwarder.cache.get(q.key().cacheKey(), now)
	if v == nil {
		return nil
	}
	out := append(buf[:0], v.wire...)
	// The name is the same but for its case, so it fits in its place, and all
	// pointers to it echo its spelling.
	if _, err := dns.PackDomainName(q.question.Name, out, headerSize, nil, false); err != nil {
		return nil
	}
	for _, at := range v.ttls {
		ttl := out[at : at+4]
		binary.BigEndian.PutUint32(ttl, binary.BigEndian.Uint32(ttl)-age)
	}
	binary.BigEndian.PutUint16(out, q.id)
	flags := binary.BigEndian.Uint16(out[2:]) | flagRA // only who may recurse gets here
	if q.rd {
		flags |= flagRD
	}
	if q.cd {
		flags |= flagCD
	}
	binary.BigEndian.PutUint16(out[2:], flags)
	if len(out)+q.sizeOPT() <= q.limit {
		return q.appendOPT(out, dns.RcodeSuccess)
	}
	// Too long for this client: the library cuts it.
	var m dns.Msg
	if m.Unpack(out) != nil {
		return nil
	}
	return q.pack(buf, &m)
}
