package nameserver

import (
	"net/netip"
	"strings"
)

const (
	reverse4 = ".in-addr.arpa"
	reverse6 = ".ip6.arpa"
)

// parseReverse reads the reverse name of a single address (RFC 1035 §3.5, RFC
// 3596 §2.5), in lower case and without the dot at its end. Shorter ones, which
// name networks, are nothing we know of.
func parseReverse(name string) (netip.Addr, bool) {
	if s, ok := strings.CutSuffix(name, reverse4); ok {
		return parseReverse4(s)
	}
	if s, ok := strings.CutSuffix(name, reverse6); ok {
		return parseReverse6(s)
	}
	return netip.Addr{}, false
}

func parseReverse4(s string) (netip.Addr, bool) {
	var ip [4]byte
	for i := 3; i >= 0; i-- {
		label, rest, more := strings.Cut(s, ".")
		if more != (i > 0) {
			return netip.Addr{}, false
		}
		n, ok := parseOctet(label)
		if !ok {
			return netip.Addr{}, false
		}
		ip[i], s = n, rest
	}
	return netip.AddrFrom4(ip), true
}

// parseOctet reads 0 … 255 written in the one way that it is written.
func parseOctet(s string) (byte, bool) {
	if s == "" || len(s) > 3 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return byte(n), n <= 255
}

func parseReverse6(s string) (netip.Addr, bool) {
	var ip [16]byte
	// 32 nibbles, each with a dot before the next.
	if len(s) != 63 {
		return netip.Addr{}, false
	}
	for i := range 32 {
		c := s[2*i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return netip.Addr{}, false
		}
		if i < 31 && s[2*i+1] != '.' {
			return netip.Addr{}, false
		}
		// The first nibble is the lower half of the last byte.
		ip[15-i/2] |= c << (4 * (i % 2))
	}
	return netip.AddrFrom16(ip), true
}
