package nameserver

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/miekg/dns"
)

// FuzzHandle gives the server any octets as a packet. Whatever they are, it
// must not panic; it says nothing to a reply, and what it says is a reply to
// that packet, well formed, of the size that the client accepts, and with the
// question that was asked.
func FuzzHandle(f *testing.F) {
	addKept(f)
	for _, m := range []*dns.Msg{
		question("web.", dns.TypeA), question("WEB.corp.example.", dns.TypeAAAA), question("web.", dns.TypeANY),
		question("ghost.", dns.TypeA), question("example.org.", dns.TypeMX), question("corp.example.", dns.TypeSOA),
		question("1.0.0.10.in-addr.arpa.", dns.TypePTR), question(`a\.b\000\\.corp.example.`, dns.TypeA), question(".", dns.TypeNS),
		question("example.org.", dns.TypeIXFR).SetIxfr("example.org.", 1, "ns.", "mail."),
		question("web.", dns.TypeA).SetEdns0(4096, true), withA(question("web.", dns.TypeA), "192.0.2.1"),
		new(dns.Msg).SetNotify("example.org."), new(dns.Msg).SetUpdate("example.org."),
	} {
		if m.Opcode == dns.OpcodeQuery && !m.Response && m.IsEdns0() == nil {
			c := m.Copy()
			with(nsid(""), cookie(hisCookie), cookie(hisCookie+hisCookie+hisCookie))(c)
			f.Add(packed(f, c), true, false)
			with(&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte{0, 9, 255, 255}}, nsid(""))(c)
			f.Add(packed(f, c), true, false)
		}
		raw := packed(f, m)
		f.Add(raw, true, false)
		f.Add(raw, false, true)
		f.Add(raw[:len(raw)-3], false, false)
	}
	f.Add([]byte{}, false, false)

	s := newServer(f, Config{Resolvers: resolver1, Rules: Rules{Domain: domain}})
	buf := make([]byte, readSize)
	f.Fuzz(func(t *testing.T, raw []byte, known, tcp bool) {
		from := stranger
		if known {
			from = friend
		}
		before := bytes.Clone(raw)
		v := s.handle(raw, buf, from, tcp)
		if !bytes.Equal(raw, before) {
			t.Fatal("the packet was changed")
		}
		reply := v.reply
		if v.forward != nil {
			if !known || reply != nil {
				t.Fatal("forwarded for a stranger, or answered as well")
			}
			s.forwarder.most = 0
			reply = s.forwarder.ask(v.forward, nil)
		}
		if len(raw) < headerSize || raw[2]&0x80 != 0 {
			if reply != nil {
				t.Fatalf("replied to what must not be replied to: %x", reply)
			}
			return
		}
		checkReply(t, raw, reply, tcp)
	})
}

// checkReply holds the laws of every reply.
func checkReply(t *testing.T, raw, reply []byte, tcp bool) {
	t.Helper()
	var q, r dns.Msg
	if err := r.Unpack(reply); err != nil {
		t.Fatalf("the reply %x: %v", reply, err)
	}
	if !r.Response || r.Id != binary.BigEndian.Uint16(raw) || r.Opcode != int(raw[2]>>3&0xF) {
		t.Fatalf("no reply to this packet: %v", r.MsgHdr)
	}
	limit := udpSize
	if tcp {
		limit = dns.MaxMsgSize
	} else if r.IsEdns0() == nil {
		limit = dns.MinMsgSize
	}
	if len(reply) > limit {
		t.Fatalf("%d octets, limit %d", len(reply), limit)
	}
	if r.Opcode != dns.OpcodeQuery {
		if r.Rcode != dns.RcodeNotImplemented {
			t.Fatalf("opcode %d: %v", r.Opcode, r.MsgHdr)
		}
		return
	}
	if r.Rcode == dns.RcodeFormatError {
		return
	}
	if err := q.Unpack(ignoreOptions(raw)); err != nil {
		t.Fatalf("%s to what cannot be read: %v", dns.RcodeToString[r.Rcode], err)
	}
	if len(q.Question) != 1 || len(r.Question) != 1 || q.Question[0] != r.Question[0] {
		t.Fatalf("asked %v, question of the reply %v", q.Question, r.Question)
	}
	if (q.IsEdns0() == nil) != (r.IsEdns0() == nil) {
		t.Fatal("an OPT record on one side only")
	}
}

// FuzzRelay gives the forwarder any octets as the reply of a resolver: it takes
// them or not, and what the client gets is held to the same laws.
func FuzzRelay(f *testing.F) {
	addKept(f)
	asked := flightKey{name: "example.org.", qtype: dns.TypeA, edns: true}.askKey()
	packet := appendQuestion(nil, &asked, mixed(asked.name(), 0b1010011))
	open := newPending(ticket{}, packet, 0)
	q := question("Example.org.", dns.TypeA)
	plain := withA(question("example.org.", dns.TypeA), "192.0.2.1")
	for _, m := range []*dns.Msg{plain, plain.Copy().SetEdns0(4096, true), question("example.org.", dns.TypeA)} {
		f.Add(packed(f, m), false, false)
		f.Add(packed(f, m), true, true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, edns, tcp bool) {
		if len(raw) >= len(packet) {
			copy(raw[headerSize:], packet[headerSize:headerSize+int(open.length)])
			raw[2] |= 0x80
		}
		var m message
		whole := bytes.Clone(raw)
		if open.judge(raw) != genuine || !m.read(raw, &asked) {
			return
		}
		q := q.Copy()
		if edns {
			q.SetEdns0(1232, false)
		}
		packet := packed(t, q)
		s := newServer(t, Config{Resolvers: resolver1})
		v := s.handle(packet, nil, friend, tcp)
		out := v.forward.compose(nil, &m, 0, false, nil)
		var r dns.Msg
		err := r.Unpack(out)
		if err == nil && r.Rcode == dns.RcodeFormatError {
			return // the resolver's, as it is
		}
		if err != nil {
			// Data of a type that we do not look into is the resolver's, and goes
			// through as it is (RFC 3597 §3); but the message holds together.
			var again message
			copy(whole, out[:4]) // a name in such data can point even at the header
			if new(dns.Msg).Unpack(whole) == nil {
				t.Fatalf("%x became %x: %v", whole, out, err)
			}
			if !again.read(bytes.Clone(out), &asked) {
				t.Fatalf("%x does not hold together", out)
			}
			return
		}
		checkReply(t, packet, out, tcp)
	})
}
