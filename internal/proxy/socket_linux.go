package proxy

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"

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
				setOption(int32(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
			})
		},
		KeepAlive: 15 * time.Second,
	}
	ln, err := lc.Listen(ctx, "tcp", at.String())
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}
