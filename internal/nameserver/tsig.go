package nameserver

import (
	"errors"

	"github.com/miekg/dns"
)

// flagTCOctet is TC in the header's third octet.
const flagTCOctet = flagTC >> 8

// unknownKey tells what no program prints of the TSIG record itself.
var unknownKey = &reason{dns.ExtendedErrorCodeNotSupported, "signed with a TSIG key, and no key is known here"}

// signature gives the TSIG record of a question, nil for none. There is one at most,
// and nothing behind it (RFC 8945 §5.1).
func signature(m *dns.Msg) (*dns.TSIG, error) {
	for i, rr := range m.Extra {
		if sig, ok := rr.(*dns.TSIG); ok {
			if i < len(m.Extra)-1 {
				return nil, errors.New("a TSIG record that is not the last")
			}
			if sig.Algorithm == "" { // the library takes data that ends anywhere
				return nil, errors.New("a TSIG record without data")
			}
			return sig, nil
		}
	}
	return nil, nil
}

// refuseKey is the reply to a signed question, whatever it asks for: its key is none of
// ours, for we have none. The reply says so in a TSIG record without a signature (RFC 8945
// §5.2.1, §5.3.2). An answer without it would say less: the client drops that, and
// tells of a signature that it misses.
//
// The time is the client's: a clock is for who signs.
func (q *query) refuseKey(buf []byte, asked *dns.TSIG) []byte {
	q.why = unknownKey
	reply := q.pack(buf, &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeNotAuth}})
	sig := &dns.TSIG{
		Hdr:       dns.RR_Header{Name: asked.Hdr.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: asked.Algorithm, TimeSigned: asked.TimeSigned, Fudge: asked.Fudge,
		OrigId: q.id, Error: dns.RcodeBadKey,
	}
	end := len(reply)
	whole := append(reply, make([]byte, dns.Len(sig))...)
	at, err := dns.PackRR(sig, whole, end, nil, false)
	if err != nil || at > q.limit {
		// Names that fill a packet. Over TCP there is room.
		reply[2] |= flagTCOctet
		return reply
	}
	whole[11]++ // additional records: an OPT at most was there before
	return whole[:at]
}
