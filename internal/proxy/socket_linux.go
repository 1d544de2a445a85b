package proxy

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// listenTCP takes a listening socket. What is set on it its connections have,
// too: small messages are not held back, and a peer that is gone without a word
// is noticed.
func listenTCP(ctx context.Context, at netip.AddrPort) (*net.TCPListener, error) {
	lc := net.ListenConfig{
		Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) {
				setOption(int32(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
				keepAlive(int32(fd))
			})
		},
	}
	ln, err := lc.Listen(ctx, "tcp"+family(at), at.String())
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// listenUDP takes a socket that tells to which of our addresses a datagram came.
func listenUDP(ctx context.Context, at netip.AddrPort) (*net.UDPConn, error) {
	lc := net.ListenConfig{
		Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) {
				setOption(int32(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
				setOption(int32(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
			})
		},
	}
	conn, err := lc.ListenPacket(ctx, "udp"+family(at), at.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// answerFrom makes of a datagram's control message the one that answers from
// the address it was sent to. The interface is left to the routing table.
func answerFrom(control []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			info := (*unix.Inet4Pktinfo)(unsafe.Pointer(unsafe.SliceData(m.Data)))
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: info.Spec_dst})
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			info := *(*unix.Inet6Pktinfo)(unsafe.Pointer(unsafe.SliceData(m.Data)))
			if !netip.AddrFrom16(info.Addr).IsLinkLocalUnicast() {
				info.Ifindex = 0
			}
			return unix.PktInfo6(&info)
		}
	}
	return nil
}
