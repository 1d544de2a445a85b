package nameserver

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"
)

// codeOfNobody is an option code for local use (RFC 6891 §9), which the library
// reads as octets and no more.
const codeOfNobody = 65001

// readOptionCodes are the options that mean something to us.
var readOptionCodes = []uint16{dns.EDNS0COOKIE, dns.EDNS0NSID, dns.EDNS0TCPKEEPALIVE}

// flagsOfOPT gives the flags of the OPT record in a packet of which not all can be read;
// false when there is none, or what is before it cannot be read.
func flagsOfOPT(raw []byte) (flags uint32, ok bool) {
	at := headerSize
	for range binary.BigEndian.Uint16(raw[4:]) {
		if at = skipName(raw, at) + 4; at > len(raw) {
			return 0, false
		}
	}
	for i := 6; i < headerSize; i += 2 {
		for range binary.BigEndian.Uint16(raw[i:]) {
			name := at
			if at = skipName(raw, at); at+10 > len(raw) {
				return 0, false
			}
			if i == 10 && raw[name] == 0 && binary.BigEndian.Uint16(raw[at:]) == dns.TypeOPT {
				return binary.BigEndian.Uint32(raw[at+4:]), true
			}
			at += 10 + int(binary.BigEndian.Uint16(raw[at+8:]))
		}
	}
	return 0, false
}

// ignoreOptions gives the packet of a question with the code of nobody for all
// options that mean nothing to us, in a copy if there are any: the library reads
// many, and refuses the message when one of them is not as its RFC wants it, while a
// server that does not know an option has to ignore it (RFC 6891 §6.1.2), whatever is
// in it. What is malformed otherwise stays for the library to find.
func ignoreOptions(raw []byte) []byte {
	if binary.BigEndian.Uint16(raw[10:]) == 0 {
		return raw // no additional records
	}
	copied := false
	at := skipName(raw, headerSize) + 4 // one question
	records := 0
	for i := 6; i < headerSize; i += 2 {
		records += int(binary.BigEndian.Uint16(raw[i:]))
	}
	for range records {
		at = skipName(raw, at)
		if at+10 > len(raw) {
			return raw
		}
		rtype := binary.BigEndian.Uint16(raw[at:])
		data := at + 10
		at = data + int(binary.BigEndian.Uint16(raw[at+8:]))
		if at > len(raw) {
			return raw
		}
		for rtype == dns.TypeOPT && data+4 <= at {
			if !slices.Contains(readOptionCodes, binary.BigEndian.Uint16(raw[data:])) {
				if !copied {
					raw, copied = slices.Clone(raw), true
				}
				binary.BigEndian.PutUint16(raw[data:], codeOfNobody)
			}
			data += 4 + int(binary.BigEndian.Uint16(raw[data+2:]))
		}
	}
	return raw
}

// skipName gives the place behind a name, beyond the end when it has none.
func skipName(raw []byte, at int) int {
	for at < len(raw) {
		switch n := int(raw[at]); {
		case n == 0:
			return at + 1
		case n >= 0x40: // a pointer, or what is none of ours to read
			return at + 2
		default:
			at += 1 + n
		}
	}
	return len(raw) + 1
}
