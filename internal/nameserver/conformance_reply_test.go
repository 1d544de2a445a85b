package nameserver

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// lawful holds what is so of every reply.
func lawful(t *testing.T, network string, q posed, raw []byte) {
	t.Helper()
	if raw == nil {
		return
	}
	var m dns.Msg
	fatal(t, m.Unpack(raw))
	if end := wireEnd(t, raw); end != len(raw) {
		t.Errorf("RFC 1035 §4.1: %d octets behind the last record", len(raw)-end)
	}
	if string(raw[:2]) != string(q.wire[:2]) {
		t.Errorf("RFC 1035 §4.1.1: ID %x, asked with %x", raw[:2], q.wire[:2])
	}
	if raw[2]&0x80 == 0 || raw[2]&0x79 != q.wire[2]&0x79 {
		t.Errorf("RFC 1035 §4.1.1: QR, opcode and RD %x, asked with %x", raw[2], q.wire[2])
	}
	if raw[3]&0x40 != 0 {
		t.Error("RFC 1035 §4.1.1: Z is not zero")
	}
	if network == "udp" && len(raw) > q.limit {
		t.Errorf("RFC 6891 §6.2.3: %d octets, at most %d are taken", len(raw), q.limit)
	}
	if network == "tcp" && m.Truncated {
		t.Error("RFC 7766 §5: cut over TCP")
	}
	if !q.whole {
		return
	}
	if len(m.Question) != 1 {
		t.Errorf("RFC 1035 §4.1.2: %d questions in the reply", len(m.Question))
		return
	}
	_, end, err := dns.UnpackDomainName(q.wire, headerSize)
	fatal(t, err)
	if end += 4; string(raw[headerSize:end]) != string(q.wire[headerSize:end]) {
		t.Errorf("RFC 1035 §4.1.2: question %x, asked %x", raw[headerSize:end], q.wire[headerSize:end])
	}
	opts := 0
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			opts++
		}
	}
	if (opts == 1) != q.edns || opts > 1 {
		t.Errorf("RFC 6891 §6.1.1: %d OPT records in the reply, EDNS in the question: %v", opts, q.edns)
	}
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		if rr.Header().Class != dns.ClassINET {
			t.Errorf("RFC 1034 §3.6: class of %v", rr)
		}
	}
	if len(m.Answer)+len(m.Ns) > 0 && m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		t.Errorf("RFC 1034 §4.3.2: records with %s", dns.RcodeToString[m.Rcode])
	}
}

// wireEnd gives the place behind the last record of a message.
func wireEnd(t *testing.T, raw []byte) int {
	t.Helper()
	at := headerSize
	skip := func() {
		var err error
		_, at, err = dns.UnpackDomainName(raw, at)
		fatal(t, err)
	}
	for range binary.BigEndian.Uint16(raw[4:]) {
		skip()
		at += 4
	}
	for i := 6; i < headerSize; i += 2 {
		for range binary.BigEndian.Uint16(raw[i:]) {
			skip()
			at += 10 + int(binary.BigEndian.Uint16(raw[at+8:]))
		}
	}
	return at
}

// inWords puts a reply into words. Records stand in order but for those of a set,
// whose order is random.
func inWords(t *testing.T, raw []byte, q posed) string {
	t.Helper()
	if raw == nil {
		return "nothing"
	}
	var m dns.Msg
	fatal(t, m.Unpack(raw))
	var w strings.Builder
	w.WriteString(dns.RcodeToString[m.Rcode])
	if m.Rcode == dns.RcodeBadVers {
		w.Reset()
		w.WriteString("BADVERS") // the number is that of BADSIG, too
	}
	if m.Opcode != dns.OpcodeQuery {
		fmt.Fprintf(&w, " opcode=%d", m.Opcode)
	}
	for i, flag := range []string{"qr", "aa", "tc", "rd", "ra", "z", "ad", "cd"} {
		bit := []uint16{1 << 15, 1 << 10, 1 << 9, 1 << 8, 1 << 7, 1 << 6, 1 << 5, 1 << 4}[i]
		if binary.BigEndian.Uint16(raw[2:])&bit != 0 {
			w.WriteString(" " + flag)
		}
	}
	w.WriteByte('\n')
	for _, q := range m.Question {
		fmt.Fprintf(&w, "question %s %s %s\n", q.Name, dns.Class(q.Qclass), dns.Type(q.Qtype))
	}
	section := func(name string, rrs []dns.RR) {
		var all []string
		for i, rr := range rrs {
			if soa, ok := rr.(*dns.SOA); ok && strings.EqualFold(soa.Hdr.Name, domain+".") {
				if soa.Serial == 0 {
					t.Error("RFC 1982: serial 0")
				}
				soa.Serial = 1
			}
			if i > 0 && (rr.Header().Rrtype != rrs[i-1].Header().Rrtype || rr.Header().Name != rrs[i-1].Header().Name) {
				slices.Sort(all)
				w.WriteString(strings.Join(all, ""))
				all = nil
			}
			all = append(all, fmt.Sprintf("%-8s %s\n", name, strings.Join(strings.Fields(rr.String()), " ")))
		}
		slices.Sort(all)
		if len(all) > 4 {
			all = []string{fmt.Sprintf("%-8s %d records of one set\n", name, len(all))}
		}
		w.WriteString(strings.Join(all, ""))
	}
	if m.Truncated {
		// Which ones is chance.
		if len(m.Answer) > 0 {
			w.WriteString("answer   some\n")
		}
	} else {
		section("answer", m.Answer)
	}
	section("authority", m.Ns)
	section("extra", slices.DeleteFunc(slices.Clone(m.Extra), func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT }))
	if opt := m.IsEdns0(); opt != nil {
		fmt.Fprintf(&w, "edns     %d v%d", opt.UDPSize(), opt.Version())
		if opt.Do() {
			w.WriteString(" do")
		}
		if rest := opt.Hdr.Ttl & 0x7FFF; rest != 0 {
			fmt.Fprintf(&w, " flags=%04x", rest)
		}
		w.WriteByte('\n')
		for _, o := range opt.Option {
			switch o := o.(type) {
			case *dns.EDNS0_COOKIE:
				if len(o.Cookie) != 2*(clientCookie+serverCookie) || !strings.HasPrefix(o.Cookie, q.cookie) {
					t.Errorf("RFC 7873 §5.2.3: cookie %s for %s", o.Cookie, q.cookie)
				}
				w.WriteString("option   cookie\n")
			case *dns.EDNS0_NSID:
				id, err := hex.DecodeString(o.Nsid)
				fatal(t, err)
				fmt.Fprintf(&w, "option   nsid %s\n", id)
			case *dns.EDNS0_TCP_KEEPALIVE:
				w.WriteString("option   keepalive\n")
			case *dns.EDNS0_EDE:
				fmt.Fprintf(&w, "ede      %d %s\n", o.InfoCode, o.ExtraText)
			default:
				fmt.Fprintf(&w, "option   %d %v\n", o.Option(), o)
			}
		}
	}
	text := strings.ReplaceAll(strings.TrimRight(w.String(), "\n"), " \n", "\n")
	return strings.TrimRight(text, " ")
}
