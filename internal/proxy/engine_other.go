//go:build !linux

package proxy

import (
	"context"
	"net"
	"net/netip"
)

func newEngine(int) (engine, error) { return newGoroutines(), nil }

func listenTCP(ctx context.Context, at netip.AddrPort) (*net.TCPListener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp"+family(at), at.String())
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

func listenUDP(ctx context.Context, at netip.AddrPort) (*net.UDPConn, error) {
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, "udp"+family(at), at.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

func answerFrom([]byte) []byte { return nil }
