package nameserver

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// posed is a question as it goes out.
type posed struct {
	server   string
	networks []string
	wire     []byte
	limit    int // octets of a reply over UDP
	edns     bool
	cookie   string
	whole    bool // a header with one question that can be read
}

// questionOf makes a question of words: NAME TYPE [CH|ANY|…] and
//
//	@SERVER +udp +tcp              where
//	+norec +ad +cd +aa +tc +ra +z  bits of the header
//	+qr +opcode=N +id=N
//	+edns[=SIZE] +do +version=N    an OPT record, which the options bring along
//	+nsid +cookie=HEX +opt=CODE:HEX +padding=N +keepalive +ednsflags=HEX
//	+badopt                        it is not at the root
//	+opts=N                        so many of them
//	+tsig=NAME                     a signature with that key, behind what is there
//	+questions=N +records=N        how many there are
//	+counts=A,B,C,D                what the header says, whatever there is
//	+cut=N +trailing=HEX           octets at the end, less or more
//	+rawname=HEX                   the octets of the name
//	+raw=HEX                       the whole packet
func questionOf(t *testing.T, words string) posed {
	t.Helper()
	q := posed{server: "owned", networks: []string{"udp", "tcp"}, limit: dns.MinMsgSize, whole: true}
	m := new(dns.Msg)
	m.Id, m.RecursionDesired = 0x1234, true
	f := strings.Fields(words)
	question := dns.Question{Name: f[0], Qclass: dns.ClassINET}
	var known bool
	if question.Qtype, known = dns.StringToType[f[1]]; !known {
		n, err := strconv.ParseUint(strings.TrimPrefix(f[1], "TYPE"), 10, 16)
		fatal(t, err)
		question.Qtype = uint16(n)
	}
	m.Question = []dns.Question{question}
	number := func(text string) int {
		n, err := strconv.ParseInt(text, 0, 32)
		fatal(t, err)
		return int(n)
	}
	octets := func(text string) []byte {
		b, err := hex.DecodeString(text)
		fatal(t, err)
		return b
	}
	opt := func() *dns.OPT {
		if m.IsEdns0() == nil {
			m.SetEdns0(1232, false)
			q.edns, q.limit = true, 1232
		}
		return m.IsEdns0()
	}
	var finish []func([]byte) []byte
	for _, word := range f[2:] {
		word, value, _ := strings.Cut(word, "=")
		switch word {
		case "+udp", "+tcp":
			q.networks = []string{word[1:]}
		case "+norec":
			m.RecursionDesired = false
		case "+ad":
			m.AuthenticatedData = true
		case "+cd":
			m.CheckingDisabled = true
		case "+aa":
			m.Authoritative = true
		case "+tc":
			m.Truncated = true
		case "+ra":
			m.RecursionAvailable = true
		case "+z":
			m.Zero = true
		case "+qr":
			m.Response = true
		case "+opcode":
			m.Opcode = number(value)
			q.whole = false
		case "+id":
			m.Id = uint16(number(value))
		case "+edns":
			o := opt()
			if value != "" {
				o.SetUDPSize(uint16(number(value)))
			}
			q.limit = min(max(dns.MinMsgSize, int(o.UDPSize())), udpSize)
		case "+do":
			opt().SetDo()
		case "+version":
			opt().SetVersion(uint8(number(value)))
		case "+ednsflags":
			o := opt()
			o.Hdr.Ttl = o.Hdr.Ttl&0xFFFF0000 | uint32(binary.BigEndian.Uint16(octets(value)))
		case "+nsid":
			opt().Option = append(opt().Option, nsid(""))
		case "+cookie":
			opt().Option = append(opt().Option, cookie(value))
			q.cookie = value[:min(len(value), 16)]
		case "+keepalive":
			opt().Option = append(opt().Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
		case "+padding":
			opt().Option = append(opt().Option, &dns.EDNS0_PADDING{Padding: make([]byte, number(value))})
		case "+opt":
			code, data, _ := strings.Cut(value, ":")
			opt().Option = append(opt().Option, &dns.EDNS0_LOCAL{Code: uint16(number(code)), Data: octets(data)})
		case "+badopt":
			opt().Hdr.Name = "x."
			q.whole = false
		case "+opts":
			for range number(value) - 1 {
				m.Extra = append(m.Extra, opt())
			}
			q.whole = q.whole && number(value) < 2
		case "+tsig":
			m.Extra = append(m.Extra, &dns.TSIG{
				Hdr: dns.RR_Header{Name: value, Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Algorithm: dns.HmacSHA256,
				TimeSigned: 1700000000, Fudge: 300, MACSize: 32, MAC: strings.Repeat("ab", 32), OrigId: m.Id,
			})
		case "+questions":
			m.Question = slices.Repeat(m.Question[:1], number(value))
			q.whole = false
		case "+records":
			for range number(value) {
				m.Answer = append(m.Answer, rr(t, "web.corp.example. 60 IN A 192.0.2.1"))
			}
			q.whole = false
		case "+counts":
			finish = append(finish, func(b []byte) []byte {
				for i, n := range strings.Split(value, ",") {
					binary.BigEndian.PutUint16(b[4+2*i:], uint16(number(n)))
				}
				return b
			})
			q.whole = false
		case "+cut":
			finish = append(finish, func(b []byte) []byte { return b[:number(value)] })
			q.whole = false
		case "+trailing":
			finish = append(finish, func(b []byte) []byte { return append(b, octets(value)...) })
		case "+rawname":
			finish = append(finish, func(b []byte) []byte {
				_, end, err := dns.UnpackDomainName(b, headerSize)
				fatal(t, err)
				return slices.Concat(b[:headerSize], octets(value), b[end:])
			})
			q.whole = false
		case "+raw":
			finish = append(finish, func([]byte) []byte { return octets(value) })
			q.whole = false
		default:
			if class, ok := dns.StringToClass[word]; ok {
				m.Question[0].Qclass = class
			} else if name, ok := strings.CutPrefix(word, "@"); ok {
				q.server = name
			} else {
				t.Fatalf("%s: %s?", words, word)
			}
		}
	}
	if _, err := signature(m); err != nil {
		q.whole = false
	}
	var err error
	q.wire, err = m.Pack()
	fatal(t, err)
	for _, fn := range finish {
		q.wire = fn(q.wire)
	}
	return q
}
