package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// The PROXY protocol tells a backend who the client is: a header before the
// first octet, as text (version 1) or binary (version 2).
// https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt

const (
	maxHeader1 = 107       // §2.1, with the line's end
	maxHeader2 = 16 + 2048 // §2.2 allows 64 KiB of extensions; nobody needs them
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
)

var errHeader = errors.New("the client did not begin with a PROXY header, which accept-proxy-from expects of it")

// proxyHeader gives the header for a connection that a client made to an
// address of ours.
func proxyHeader(version int, from, to netip.AddrPort) []byte {
	h := proxyproto.HeaderProxyFromAddrs(byte(version), net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to))
	b, err := h.Format()
	if err != nil {
		// Only of addresses that are none: the header without an address.
		h = &proxyproto.Header{Version: byte(version), Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
		b, _ = h.Format()
	}
	return b
}

// headerLen gives how many of the octets are the header, 0 when more have to
// come before that is known.
func headerLen(b []byte) (int, error) {
	if n := min(len(b), len(signature2)); string(b[:n]) == signature2[:n] {
		if len(b) < 16 {
			return 0, nil
		}
		n := 16 + int(binary.BigEndian.Uint16(b[14:]))
		switch {
		case n > maxHeader2:
			return 0, fmt.Errorf("the client's PROXY header has %d octets: at most %d are taken", n, maxHeader2)
		case len(b) < n:
			return 0, nil
		}
		return n, nil
	}
	if n := min(len(b), len("PROXY ")); string(b[:n]) != "PROXY "[:n] {
		return 0, errHeader
	}
	if i := bytes.IndexByte(b[:min(len(b), maxHeader1)], '\n'); i >= 0 {
		return i + 1, nil
	}
	if len(b) >= maxHeader1 {
		return 0, errHeader
	}
	return 0, nil
}

// parseHeader gives the client that a whole header names; the sender itself
// when it speaks for nobody (LOCAL, UNKNOWN).
func parseHeader(b []byte, sender netip.AddrPort) (netip.AddrPort, error) {
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		return sender, fmt.Errorf("the client's PROXY header: %w", err)
	}
	if a, ok := h.SourceAddr.(*net.TCPAddr); ok && h.Command.IsProxy() {
		from := a.AddrPort()
		return netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), nil
	}
	return sender, nil
}
