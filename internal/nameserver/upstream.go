package nameserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// errMismatch is a reply over TCP that does not belong to its question. Over
// UDP such a reply is not an error but a packet of somebody else's making, and
// the real one is still waited for.
var errMismatch = errors.New("the reply belongs to another question")

// exchange asks one resolver until ctx is done. alive says that it answered
// over UDP, even if the answer was cut and could not be had over TCP then.
func exchange(ctx context.Context, addr string, key flightKey) (msg *dns.Msg, alive bool, err error) {
	msg, err = roundTrip(ctx, "udp", addr, key)
	if err != nil {
		return nil, false, fmt.Errorf("ask over UDP: %w", err)
	}
	if msg.Truncated {
		if msg, err = roundTrip(ctx, "tcp", addr, key); err != nil {
			return nil, true, fmt.Errorf("the answer was truncated, ask over TCP: %w", err)
		}
	}
	return msg, true, nil
}

// roundTrip sends one question and waits for its reply. A forger must guess 16
// bits of identifier from a cryptographic source and the port that the system
// drew for this one question, send from the resolver's address (the socket is
// connected) and repeat the question (RFC 5452 §9).
func roundTrip(ctx context.Context, network, addr string, key flightKey) (*dns.Msg, error) {
	asked := key.message()
	packet, err := asked.Pack()
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// Also the deadline of ctx ends up here.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	if network == "tcp" {
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(packet)))
		if _, err := conn.Write(append(framed, packet...)); err != nil {
			return nil, err
		}
		var buf bytes.Buffer
		raw, err := readFrame(conn, &buf)
		if err != nil {
			return nil, err
		}
		if msg := accept(asked, raw); msg != nil {
			return msg, nil
		}
		return nil, errMismatch
	}
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	raw := make([]byte, readSize)
	for {
		n, err := conn.Read(raw)
		if err != nil {
			return nil, err
		}
		if msg := accept(asked, raw[:n]); msg != nil {
			return msg, nil
		}
	}
}

// accept reads a reply; nil when it is not the reply to what was asked. The
// question is compared octet by octet: we ask in lower case, which nobody has a
// reason to change.
func accept(asked *dns.Msg, raw []byte) *dns.Msg {
	if len(raw) < headerSize || binary.BigEndian.Uint16(raw) != asked.Id {
		return nil
	}
	var msg dns.Msg
	if msg.Unpack(raw) != nil || !msg.Response || msg.Opcode != dns.OpcodeQuery {
		return nil
	}
	if !slices.Equal(msg.Question, asked.Question) {
		return nil
	}
	return &msg
}

// message makes the question for a resolver, with an identifier of its own. It
// has an OPT record when the client's had one, so that a resolver which does
// not know EDNS is dealt with by who asked.
func (key flightKey) message() *dns.Msg {
	var id [2]byte
	rand.Read(id[:]) // never fails
	m := &dns.Msg{
		MsgHdr: dns.MsgHdr{
			Id: binary.BigEndian.Uint16(id[:]), RecursionDesired: true,
			AuthenticatedData: key.ad, CheckingDisabled: key.cd,
		},
		Question: []dns.Question{{Name: key.name, Qtype: key.qtype, Qclass: dns.ClassINET}},
	}
	if key.edns {
		m.SetEdns0(udpSize, key.do)
	}
	return m
}

// relay turns a resolver's message, nil for none, into the reply for q: with
// its code, its records and AD as they came, with q's spelling, and without what
// was only between us and the resolver. It leaves the message alone.
func (q *query) relay(m *dns.Msg) *dns.Msg {
	if m == nil {
		return &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}}
	}
	return relayed(q.question.Name, m)
}

// relayed is a resolver's message with its records as far as they are for the
// client, the question's name spelled as name.
func relayed(name string, m *dns.Msg) *dns.Msg {
	out := &dns.Msg{
		// AA is the resolver's word about itself, not ours.
		MsgHdr: dns.MsgHdr{Rcode: m.Rcode, AuthenticatedData: m.AuthenticatedData},
		Answer: respell(name, m.Answer),
		Ns:     respell(name, m.Ns),
	}
	for _, rr := range m.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			out.Extra = append(out.Extra, rr)
		}
	}
	return out
}

// respell gives the records with the question's spelling where they have its
// name. Some clients compare octets.
func respell(name string, rrs []dns.RR) []dns.RR {
	var out []dns.RR
	for i, rr := range rrs {
		if has := rr.Header().Name; has != name && strings.EqualFold(has, name) {
			if out == nil {
				out = slices.Clone(rrs)
			}
			out[i] = dns.Copy(rr)
			out[i].Header().Name = name
		}
	}
	if out == nil {
		return rrs
	}
	return out
}
