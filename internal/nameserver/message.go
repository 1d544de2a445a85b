package nameserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

const (
	headerSize = 12

	// udpSize is the most octets of a reply over UDP, whatever the client
	// offers, and what we offer in turn: it fits the least MTU of IPv6, and
	// fragments get lost and forged (RFC 9715 §3.2).
	udpSize = 1232

	// The bits of the header's second word (RFC 1035 §4.1.1, RFC 4035 §3).
	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagRA = 1 << 7
	flagAD = 1 << 5
	flagCD = 1 << 4
	// The bit of the OPT record's TTL field (RFC 6891 §6.1.4).
	flagDO = 1 << 15
)

// query is a parsed question with what its reply depends on.
type query struct {
	id uint16
	// rd, ad and cd are the client's header bits of these names.
	rd, ad, cd bool
	// edns: the question had an OPT record, so the reply has one; do is its
	// DNSSEC OK bit.
	edns, do bool
	// options are those of the reply's OPT record as they go out, the first
	// needed octets of them also when room is short; why is nil when there is
	// nothing to explain.
	options []byte
	needed  int
	why     *reason
	// limit is the most octets of the reply.
	limit    int
	question dns.Question
	from     netip.AddrPort
	upstream Upstream
}

// verdict is what came of a packet: a reply, or a question for the resolvers, or
// over TCP a zone to be sent, or nothing when nothing may be said.
type verdict struct {
	reply    []byte
	forward  *inquiry
	transfer *transfer
}

// handle decides about one packet, and answers what needs no resolver. It
// refuses in the order of cost, the cheapest first. The reply is in buf when it
// fits; raw is not kept.
func (s *Server) handle(raw, buf []byte, from netip.AddrPort, tcp bool) verdict {
	// A reply is never replied to, nor is what has no identifier: two servers
	// could keep each other busy for ever.
	if len(raw) < headerSize || binary.BigEndian.Uint16(raw[2:])&flagQR != 0 {
		return verdict{}
	}
	if opcode := raw[2] >> 3 & 0xF; opcode != dns.OpcodeQuery {
		return verdict{reply: headerOnly(buf, raw, dns.RcodeNotImplemented)}
	}
	var msg dns.Msg
	var sig *dns.TSIG
	opt, err := unpackQuery(&msg, raw)
	if err == nil {
		sig, err = signature(&msg)
	}
	if err != nil {
		if s.malformed.allow() {
			s.log.Info("malformed query", "client", from, "error", err)
		}
		return verdict{reply: headerOnly(buf, raw, dns.RcodeFormatError)}
	}

	q := &query{
		id: msg.Id, rd: msg.RecursionDesired, ad: msg.AuthenticatedData, cd: msg.CheckingDisabled,
		limit: dns.MinMsgSize, question: msg.Question[0], from: from,
	}
	if opt != nil {
		q.edns, q.do = true, opt.Do()
		q.limit = min(max(dns.MinMsgSize, int(opt.UDPSize())), udpSize)
	}
	if tcp {
		q.limit = dns.MaxMsgSize
	}
	now := s.policy.Load()
	// Whether this client may recurse also decides about RA in every reply.
	switch {
	case !now.routes.any():
		q.upstream = NoUpstream
	case now.rules.mayRecurse(from.Addr()):
		q.upstream = MayForward
	default:
		q.upstream = NotForYou
	}

	if opt != nil && opt.Version() != 0 {
		return verdict{reply: q.pack(buf, &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeBadVers}})}
	}
	if opt != nil {
		if rcode := s.readOptions(q, opt, now.rules.nsid, tcp); rcode != dns.RcodeSuccess {
			return verdict{reply: q.pack(buf, &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: rcode}})}
		}
	}
	if !now.rules.mayAsk(from.Addr()) {
		q.why = notAsked
		return verdict{reply: q.pack(buf, &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeRefused}})}
	}
	if sig != nil {
		return verdict{reply: q.refuseKey(buf, sig)}
	}
	if q.question.Qclass != dns.ClassINET {
		q.why = notSupported
		return verdict{reply: q.pack(buf, &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeRefused}})}
	}
	if t := q.question.Qtype; t == dns.TypeAXFR || t == dns.TypeIXFR {
		return s.answerTransfer(q, &msg, buf, now, tcp)
	}
	up := q.upstream
	if up == MayForward && !q.rd {
		up = NotForYou
	}
	v := s.view()
	r := Answer(v, &now.rules, s.rng, q.question, up)
	if r.Forward {
		in := s.inquiry(q, r, now.routes)
		if in.group != nil {
			if reply := s.forwarder.recall(in, buf); reply != nil {
				reply = in.joined(reply)
				s.inquiries.Put(in)
				return verdict{reply: reply}
			}
			return verdict{forward: in}
		}
		s.inquiries.Put(in)
		r = Answer(v, &now.rules, s.rng, q.question, NoUpstream)
	}
	if q.why = r.why; r.Rcode == dns.RcodeRefused {
		q.why = q.refusal()
	}
	if r.by != nil {
		r.by.tell(s.log, r.stands)
	}
	msg = dns.Msg{
		MsgHdr: dns.MsgHdr{Rcode: r.Rcode, Authoritative: r.Authoritative},
		Answer: r.Answer,
		Ns:     r.Authority,
		Extra:  r.Additional,
	}
	return verdict{reply: q.pack(buf, &msg)}
}

// unpackQuery reads a packet with one question and gives its OPT record, nil
// for none. The library forgives counts that are wrong; we do not, for what
// follows is then not what the sender meant.
func unpackQuery(msg *dns.Msg, raw []byte) (*dns.OPT, error) {
	count := func(i int) int { return int(binary.BigEndian.Uint16(raw[4+2*i:])) }
	qd, an, ns, ar := count(0), count(1), count(2), count(3)
	if qd != 1 { // RFC 9619
		return nil, fmt.Errorf("%d questions, want 1", qd)
	}
	// A question comes without records, but for the SOA of an IXFR, an OPT
	// and a TSIG. More is work that somebody wants us to have.
	if an > 0 || ns > 1 || ar > 2 {
		return nil, fmt.Errorf("a question with %d, %d and %d records", an, ns, ar)
	}
	if err := msg.Unpack(ignoreOptions(raw)); err != nil {
		return nil, err
	}
	if len(msg.Question) != 1 || len(msg.Ns) != ns || len(msg.Extra) != ar {
		return nil, errors.New("shorter than its header says")
	}
	if msg.Question[0].Qclass == 0 {
		// What ends within the question has none: the library takes it for
		// whole. No question is of this class (RFC 6895 §3.2).
		return nil, errors.New("a question without a class")
	}
	var opt *dns.OPT
	for _, rr := range msg.Extra {
		o, ok := rr.(*dns.OPT)
		if !ok {
			continue
		}
		if opt != nil { // RFC 6891 §6.1.1
			return nil, errors.New("two OPT records")
		}
		if o.Hdr.Name != "." { // RFC 6891 §6.1.2
			return nil, errors.New("an OPT record that is not at the root")
		}
		opt = o
	}
	return opt, nil
}

// headerOnly makes the reply to a packet of which nothing but the header is
// trusted. It has an OPT record if one is found (RFC 6891 §6.1.1), for without it
// the client would think that EDNS is what we do not know (RFC 6891 §7).
func headerOnly(buf, raw []byte, rcode int) []byte {
	buf = append(buf[:0], raw[:headerSize]...)
	buf[2] = buf[2]&0x79 | 0x80 // keep opcode and RD, set QR
	buf[3] = byte(rcode)
	clear(buf[4:])
	if flags, ok := flagsOfOPT(raw); ok {
		q := query{edns: true, do: flags&flagDO != 0, limit: dns.MinMsgSize}
		buf = q.appendOPT(buf, 0)
	}
	return buf
}

// pack completes m, which has the sections and the bits of an answer, to the
// reply for this query and packs it, into buf when it fits. It changes m, not
// the records in it.
func (q *query) pack(buf []byte, m *dns.Msg) []byte {
	m.Id, m.Response = q.id, true
	m.RecursionDesired, m.CheckingDisabled = q.rd, q.cd
	m.RecursionAvailable = q.upstream == MayForward
	m.Question = []dns.Question{q.question}
	rcode := m.Rcode
	if rcode > 0xF && !q.edns {
		rcode = dns.RcodeServerFailure // its upper bits are the OPT record's
	}
	m.Rcode = rcode & 0xF
	m.Compress = true
	out, err := m.PackBuffer(buf)
	if err == nil && len(out)+q.sizeOPT() > q.limit && len(m.Extra) > 0 {
		// Without additional records nothing that was asked for is missing (RFC
		// 2181 §9).
		m.Extra = nil
		out, err = m.PackBuffer(buf)
	}
	if err == nil && len(out)+q.sizeOPT() > q.limit {
		// Without what the client can do without it may fit; else TC tells the
		// client to come again over TCP.
		q.options, q.why = q.options[:q.needed], nil
		m.Extra = q.room()
		m.Truncate(q.limit)
		m.Extra, m.Compress = nil, true
		out, err = m.PackBuffer(buf)
	}
	if err != nil {
		// Only the records of an upstream can be such that they can be read
		// but not written again.
		*m = dns.Msg{MsgHdr: m.MsgHdr, Question: m.Question}
		rcode = dns.RcodeServerFailure
		m.Rcode, m.AuthenticatedData = rcode, false
		out, _ = m.PackBuffer(buf) // a question that we have read
	}
	return q.appendOPT(out, rcode)
}
