package nameserver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

const (
	// optSize is an OPT record without options.
	optSize = 11

	// The lengths of cookies (RFC 7873 §4): the client's, ours, and the most
	// that any server's can have.
	clientCookie = 8
	serverCookie = 16
	mostCookie   = 32

	// How long a cookie of ours holds, and how far ahead of our clock it may
	// be (RFC 9018 §4.3).
	cookieLife  = time.Hour
	cookieAhead = 5 * time.Minute
)

// reason is why an answer is not what was hoped for (RFC 8914).
type reason struct {
	code uint16
	text string
}

var (
	noHealthy     = &reason{dns.ExtendedErrorCodeOther, "no healthy record"}
	hostsGone     = &reason{dns.ExtendedErrorCodeOther, "the hosts of this name are gone"}
	lastGood      = &reason{dns.ExtendedErrorCodeStaleAnswer, "no healthy record: this is the last that was"}
	failOpen      = &reason{dns.ExtendedErrorCodeOther, "no healthy record: these are all there are"}
	endless       = &reason{dns.ExtendedErrorCodeOther, "the CNAMEs behind this name have no end"}
	notAllowed    = &reason{dns.ExtendedErrorCodeProhibited, "allow-recursion does not have this client"}
	notAsked      = &reason{dns.ExtendedErrorCodeProhibited, "allow-query does not have this client"}
	notOurs       = &reason{dns.ExtendedErrorCodeNotAuthoritative, ""}
	notSupported  = &reason{dns.ExtendedErrorCodeNotSupported, ""}
	noResolver    = &reason{dns.ExtendedErrorCodeNoReachableAuthority, "no resolver answered in time"}
	resolversFull = &reason{dns.ExtendedErrorCodeOther, "too many questions wait for the resolvers"}
)

// refusal is why a question of class IN was refused.
func (q *query) refusal() *reason {
	switch {
	case isMeta(q.question.Qtype):
		return notSupported
	case q.upstream == NotForYou && q.rd:
		return notAllowed
	}
	return notOurs
}

// readOptions takes from the OPT record of a question what its reply depends
// on; all other options are ignored (RFC 6891 §6.1.2). It gives the code of a
// reply without an answer, NOERROR for none: FORMERR for a cookie that is none,
// BADCOOKIE for one that we never gave to this client.
func (s *Server) readOptions(q *query, opt *dns.OPT, host string, tcp bool) int {
	var cookie, nsid, keepalive bool
	for _, o := range opt.Option {
		switch o := o.(type) {
		case *dns.EDNS0_COOKIE:
			if cookie { // RFC 7873 §5.2: the first counts
				continue
			}
			cookie = true
			raw, err := hex.DecodeString(o.Cookie)
			n := len(raw)
			if err != nil || n != clientCookie && (n < 2*clientCookie || n > clientCookie+mostCookie) {
				return dns.RcodeFormatError // RFC 7873 §5.2.2
			}
			now, from := time.Now(), q.from.Addr()
			ours := s.cookie(raw[:clientCookie], from, now)
			q.options = binary.BigEndian.AppendUint16(q.options, dns.EDNS0COOKIE)
			q.options = binary.BigEndian.AppendUint16(q.options, clientCookie+serverCookie)
			q.options = append(append(q.options, raw[:clientCookie]...), ours[:]...)
			q.needed = len(q.options)
			// Over TCP the address is no forgery, with or without a cookie.
			if !tcp && n > clientCookie && !s.isOurs(raw, from, now) {
				return dns.RcodeBadCookie // RFC 7873 §5.2.4
			}
		case *dns.EDNS0_NSID:
			nsid = true
		case *dns.EDNS0_TCP_KEEPALIVE:
			keepalive = tcp // RFC 7828 §3.2.1: over UDP it means nothing
		}
	}
	if keepalive { // RFC 7828 §3.1: in tenths of a second
		q.options = binary.BigEndian.AppendUint16(q.options, dns.EDNS0TCPKEEPALIVE)
		q.options = binary.BigEndian.AppendUint16(q.options, 2)
		q.options = binary.BigEndian.AppendUint16(q.options, uint16(s.idle/(100*time.Millisecond)))
	}
	if nsid && host != "" { // RFC 5001 §2.2
		q.options = binary.BigEndian.AppendUint16(q.options, dns.EDNS0NSID)
		q.options = binary.BigEndian.AppendUint16(q.options, uint16(len(host)))
		q.options = append(q.options, host...)
	}
	return dns.RcodeSuccess
}

// cookie makes our cookie for a client: in the form of RFC 9018 §4, but with a
// hash of the standard library, for no other server has to check it.
func (s *Server) cookie(client []byte, from netip.Addr, at time.Time) (c [serverCookie]byte) {
	c[0] = 1
	binary.BigEndian.PutUint32(c[4:], uint32(at.Unix()))
	mac := hmac.New(sha256.New, s.secret[:])
	mac.Write(client)
	mac.Write(c[:8])
	addr := from.Unmap().As16()
	mac.Write(addr[:])
	copy(c[8:], mac.Sum(nil))
	return c
}

// isOurs says whether we gave this client the cookie, which has the client's own
// before ours, not long ago.
func (s *Server) isOurs(cookie []byte, from netip.Addr, now time.Time) bool {
	if len(cookie) != clientCookie+serverCookie {
		return false
	}
	client, ours := cookie[:clientCookie], cookie[clientCookie:]
	at := binary.BigEndian.Uint32(ours[4:])
	// The difference is right also when the seconds wrap (RFC 9018 §4.3).
	age := time.Duration(int32(uint32(now.Unix())-at)) * time.Second
	want := s.cookie(client, from, time.Unix(int64(at), 0))
	return hmac.Equal(ours, want[:]) && -cookieAhead <= age && age <= cookieLife
}

// sizeOPT is how many octets appendOPT appends.
func (q *query) sizeOPT() int {
	if !q.edns {
		return 0
	}
	n := optSize + len(q.options)
	if q.why != nil {
		n += 6 + len(q.why.text)
	}
	return n
}

// appendOPT appends the OPT record to a reply (RFC 6891 §6.1.2), if the question
// had one, with the upper bits of the code. The caller sees to it that there is room.
func (q *query) appendOPT(reply []byte, rcode int) []byte {
	if !q.edns {
		return reply
	}
	binary.BigEndian.PutUint16(reply[10:], binary.BigEndian.Uint16(reply[10:])+1)
	b := append(reply, 0) // the root
	b = binary.BigEndian.AppendUint16(b, dns.TypeOPT)
	b = binary.BigEndian.AppendUint16(b, udpSize)
	flags := uint32(rcode) >> 4 << 24
	if q.do { // RFC 3225 §3
		flags |= flagDO
	}
	b = binary.BigEndian.AppendUint32(b, flags)
	length := len(b)
	b = append(append(b, 0, 0), q.options...)
	if why := q.why; why != nil {
		b = binary.BigEndian.AppendUint16(b, dns.EDNS0EDE)
		b = binary.BigEndian.AppendUint16(b, uint16(2+len(why.text)))
		b = binary.BigEndian.AppendUint16(b, why.code)
		b = append(b, why.text...)
	}
	binary.BigEndian.PutUint16(b[length:], uint16(len(b)-length-2))
	return b
}

// room is a record as long as what appendOPT appends, which the library leaves
// room for when it cuts a message.
func (q *query) room() []dns.RR {
	if !q.edns {
		return nil
	}
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	if n := q.sizeOPT() - optSize; n > 0 { // and then at least the head of an option
		opt.Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Data: make([]byte, n-4)}}
	}
	return []dns.RR{opt}
}
