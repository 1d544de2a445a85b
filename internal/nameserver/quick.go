package nameserver

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"unsafe"

	"github.com/miekg/dns"

	"murakumo/internal/balance"
)

// quick answers the common question from a snapshot, octet for octet as handle does,
// and allocates nothing. What is not common it leaves to handle. There is one for each
// worker.
type quick struct {
	s   *Server
	rng balance.Rand
	// key is the name that is asked for, in wire form and lower case, without the
	// root; text is what is before the domain, as the table has names.
	key, text [maxWireName]byte
	// in is the question for the resolvers, when answer has found that it is one.
	in inquiry
	// What is drawn from, and what came of it.
	candidates [mostInTier]balance.Candidate
	order      [mostInTier]uint8
}

func newQuick(s *Server) *quick { return &quick{s: s, rng: s.rng} }

// common is a common question: one of class IN about a name of the letters, digits,
// hyphens and underscores that names of hosts are made of, alone or with an OPT record
// without options that mean something to us over UDP.
type common struct {
	qtype    uint16
	end      int // of the question
	edns, do bool
	limit    int // the most octets of the reply
	name     int // the length of the name, without the root
	last     int // where its last label begins
	bare     int // what is before the domain; the length of the name when it is not under it
	under    bool
}

// lowerOf has the lower case of what is common in a name, 0 for everything else.
var lowerOf = func() (t [256]byte) {
	for c := range t {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			t[c] = byte(c)
		case 'A' <= c && c <= 'Z':
			t[c] = byte(c) + 'a' - 'A'
		}
	}
	return t
}()

// mostCommonName is the longest name that is common. No reply to it is near to what
// some limit of names would change.
const mostCommonName = 200

// read takes apart a packet that is a common question, and no other.
func (k *quick) read(a *common, raw []byte) bool {
	if len(raw) < headerSize+1+4 || len(raw) > udpSize {
		return false
	}
	// QR and the opcode are 0; one question, no record but one additional one.
	if raw[2]&0xF8 != 0 || binary.BigEndian.Uint64(raw[4:])&^1 != 1<<48 {
		return false
	}
	n, last := 0, 0
	for {
		// What is before the end of the packet is checked label by label.
		l := int(raw[headerSize+n])
		if l == 0 {
			break
		}
		if l > 63 || n+1+l > mostCommonName || headerSize+n+1+l >= len(raw) {
			return false
		}
		last = n
		k.key[n] = byte(l)
		n++
		label, to := raw[headerSize+n:headerSize+n+l], k.key[n:n+l]
		for i, c := range label {
			c = lowerOf[c]
			if c == 0 {
				return false
			}
			to[i] = c
		}
		n += l
	}
	a.name, a.last = n, last
	at := headerSize + n + 1
	if n == 0 || len(raw) < at+4 || raw[at+2] != 0 || raw[at+3] != dns.ClassINET {
		return false
	}
	a.qtype = binary.BigEndian.Uint16(raw[at:])
	a.end = at + 4
	a.edns, a.do, a.limit = false, false, dns.MinMsgSize
	if raw[11] == 0 {
		return a.end == len(raw)
	}
	return a.readOPT(raw[a.end:])
}

// readOPT takes apart all that is behind the question.
func (a *common) readOPT(b []byte) bool {
	if len(b) < optSize || b[0] != 0 || b[1] != 0 || b[2] != byte(dns.TypeOPT) {
		return false
	}
	// The upper bits of the code and the version are 0, and of the flags DO alone is
	// known.
	flags := binary.BigEndian.Uint32(b[5:])
	if flags&^flagDO != 0 || optSize+int(binary.BigEndian.Uint16(b[9:])) != len(b) {
		return false
	}
	for options := b[optSize:]; len(options) > 0; {
		if len(options) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(options), 4+int(binary.BigEndian.Uint16(options[2:]))
		if n > len(options) || code == dns.EDNS0COOKIE || code == dns.EDNS0NSID || code == dns.EDNS0TCPKEEPALIVE {
			return false
		}
		options = options[n:]
	}
	a.edns, a.do = true, flags&flagDO != 0
	a.limit = min(max(dns.MinMsgSize, int(binary.BigEndian.Uint16(b[3:]))), udpSize)
	return true
}

// split finds the domain at the end of the name.
func (k *quick) split(a *common, domain []byte) {
	a.bare, a.under = a.name, false
	cut := a.name - len(domain)
	if len(domain) == 0 || cut < 0 || !bytes.Equal(k.key[cut:a.name], domain) {
		return
	}
	// The digit at the beginning of a label's end may look like the length of one.
	for at := 0; at <= cut; at += 1 + int(k.key[at]) {
		if at == cut {
			a.bare, a.under = cut, true
			return
		}
	}
}

// answer gives the reply to a packet that came over UDP, in buf, which has room for
// readSize octets; nil: ask handle.
func (k *quick) answer(raw, buf []byte, from netip.Addr) []byte {
	s := k.s
	k.in.group = nil
	t, v, now := s.ready.Load(), s.view(), s.policy.Load()
	if t == nil || t.view != v || t.policy != now {
		return nil
	}
	var a common
	r := &now.rules
	if !k.read(&a, raw) {
		return nil
	}
	if isMeta(a.qtype) || a.qtype == dns.TypeANY || a.qtype == dns.TypeTXT || a.qtype == 0 || !r.mayAsk(from) {
		return nil
	}
	k.split(&a, t.zone.domain)
	if a.bare == 0 { // the domain itself
		return nil
	}
	recursion := now.routes.any() && r.mayRecurse(from)
	flags := uint16(flagQR|flagAA) | binary.BigEndian.Uint16(raw[2:])&(flagRD|flagCD)
	if recursion {
		flags |= flagRA
	}
	out := buf[:a.end]
	copy(out, raw[:a.end])
	binary.BigEndian.PutUint16(out[2:], flags)
	clear(out[6:headerSize])

	if found := t.find(k.key[:a.bare]); found != nil {
		if a.qtype == dns.TypeA || a.qtype == dns.TypeAAAA {
			out = k.addresses(t, out, found, a.qtype)
		} else {
			out = out[:a.end] // it has no other record
		}
		if out != nil && len(out) == a.end {
			out = t.zone.deny(out, &a, raw)
		}
		return a.finish(out)
	}
	if string(k.key[a.last:a.name]) == "\x04arpa" {
		if !t.reverse {
			return nil
		}
		if out = k.pointer(t, out, &a, raw); out == nil {
			k.onward(&a, raw, from, now, v)
		}
		return a.finish(out)
	}
	if !a.under || now.routes.any() && !r.DomainOwned || k.key[1] == '_' {
		k.onward(&a, raw, from, now, v)
		return nil // not ours, or a service
	}
	text := k.bareText(&a)
	if v.Name(text) != nil || v.Below(text) {
		return nil
	}
	out[3] |= dns.RcodeNameError
	return a.finish(t.zone.deny(out, &a, raw))
}

// bareText gives what is before the domain as the table has it. It is good until the
// next question.
func (k *quick) bareText(a *common) string {
	n := copy(k.text[:], k.key[1:a.bare])
	for at := int(k.key[0]); at < n; at += 1 + int(k.key[at+1]) {
		k.text[at] = '.'
	}
	return unsafe.String(&k.text[0], n)
}

// finish appends the OPT record, if the question had one. Of a reply that is too long
// handle knows what to do.
func (a *common) finish(out []byte) []byte {
	if out == nil {
		return nil
	}
	if a.edns {
		out = append(out, 0, 0, byte(dns.TypeOPT), udpSize>>8, udpSize&0xFF, 0, 0, 0, 0, 0, 0)
		if a.do {
			out[len(out)-4] = flagDO >> 8
		}
		out[11] = 1
	}
	if len(out) > a.limit {
		return nil
	}
	return out
}

// pointer appends the name of an address; nil where handle decides.
func (k *quick) pointer(t *snapshot, out []byte, a *common, raw []byte) []byte {
	key := k.text[:1+16]
	key[0] = 0
	if n := readReverse(key[1:], k.key[:a.name]); n == 0 {
		return nil
	} else {
		key = key[:1+n]
	}
	found := t.find(key)
	if found == nil {
		return nil
	}
	if a.qtype != dns.TypePTR {
		return t.zone.deny(out, a, raw)
	}
	name, domain := found[4:], t.zone.domain
	if len(name)+len(domain)+1 > maxWireName {
		return nil
	}
	out = append(out, 0xC0, headerSize, 0, byte(dns.TypePTR), 0, dns.ClassINET)
	out = append(out, found[:4]...)
	n := len(name) + len(domain) + 1
	out = append(out, byte(n>>8), byte(n))
	out = append(append(append(out, name...), domain...), 0)
	out[7] = 1
	return out
}

// readReverse reads the reverse name of an address, in wire form and lower case, into
// to, which has 16 octets, and gives how many the address has; 0 for what is none.
func readReverse(to, name []byte) int {
	const end4, end6 = "\x07in-addr\x04arpa", "\x03ip6\x04arpa"
	if n := len(name) - len(end4); n > 0 && string(name[n:]) == end4 {
		at := 0
		for i := 3; i >= 0; i-- {
			if at >= n {
				return 0
			}
			l := int(name[at])
			if l > 3 || at+1+l > n {
				return 0
			}
			v := 0
			for j, c := range name[at+1 : at+1+l] {
				if c < '0' || c > '9' || j == 0 && c == '0' && l > 1 {
					return 0
				}
				v = 10*v + int(c-'0')
			}
			if v > 255 {
				return 0
			}
			to[i] = byte(v)
			at += 1 + l
		}
		if at != n {
			return 0
		}
		return 4
	}
	n := len(name) - len(end6)
	if n != 2*32 || string(name[n:]) != end6 {
		return 0
	}
	clear(to)
	for i := range 32 {
		c := name[2*i+1]
		switch {
		case name[2*i] != 1:
			return 0
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return 0
		}
		to[15-i/2] |= c << (4 * (i % 2))
	}
	return 16
}

// zone is what denials are made of.
type zone struct {
	domain []byte // in wire form without the root; none: no SOA
	host   []byte // the server's name likewise, without the domain
	// near are the labels before the domain that the library would shorten names of
	// the SOA by, and end is the last one of the domain.
	near [2]string
	end  []byte
	ok   bool // false: leave it to handle
	tail [5 * 4]byte
	ttl  uint32
}

// hostmaster is the mailbox of the SOA.
const hostmaster = "hostmaster"

func newZone(r *Rules, serial uint32) zone {
	z := zone{ttl: r.NegativeTTL, ok: true}
	if r.Domain == "" {
		return z
	}
	z.domain = appendWire(nil, r.Domain)
	z.ok = r.fits(hostmaster) && r.fits(r.Host)
	z.near = [2]string{hostmaster, hostmaster}
	if r.Host != "" {
		z.host = appendWire(nil, r.Host)
		z.near[1] = lastLabel(r.Host)
		z.ok = z.ok && z.near[1] != hostmaster
	}
	end := lastLabel(r.Domain)
	z.end = append([]byte{byte(len(end))}, end...)
	for i, c := range [...]uint32{serial, 3600, 600, 1209600, r.NegativeTTL} { // see Rules.soa
		binary.BigEndian.PutUint32(z.tail[4*i:], c)
	}
	return z
}

// deny appends the SOA to a reply that has nothing else, shortened as the library does
// it: it knows names again that are spelled alike. nil: handle does it.
func (z *zone) deny(out []byte, a *common, raw []byte) []byte {
	if !z.ok {
		return nil
	}
	if len(z.domain) == 0 {
		return out
	}
	name := raw[headerSize : headerSize+a.name]
	domain := 0xC000 | uint16(len(out))
	if a.under {
		if !bytes.Equal(name[a.bare:], z.domain) {
			return nil
		}
		before := lastOf(name[:a.bare])
		if string(before) == z.near[0] || string(before) == z.near[1] {
			return nil
		}
		domain = 0xC000 | uint16(headerSize+a.bare)
		out = binary.BigEndian.AppendUint16(out, domain)
	} else {
		if bytes.Equal(name[a.last:], z.end) {
			return nil
		}
		out = append(append(out, z.domain...), 0)
	}
	out = append(out, 0, byte(dns.TypeSOA), 0, dns.ClassINET)
	out = binary.BigEndian.AppendUint32(out, z.ttl)
	out = binary.BigEndian.AppendUint16(out, uint16(len(z.host)+2+1+len(hostmaster)+2+5*4))
	out = binary.BigEndian.AppendUint16(append(out, z.host...), domain)
	out = append(append(out, byte(len(hostmaster))), hostmaster...)
	out = binary.BigEndian.AppendUint16(out, domain)
	out = append(out, z.tail[:]...)
	out[9] = 1
	return out
}

// lastOf gives the last label of a name in wire form without the root.
func lastOf(name []byte) []byte {
	at := 0
	for {
		next := at + 1 + int(name[at])
		if next >= len(name) {
			return name[at+1:]
		}
		at = next
	}
}
