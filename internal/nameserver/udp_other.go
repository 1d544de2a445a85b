//go:build !linux

package nameserver

import (
	"context"
	"net/netip"
)

// serveUDP answers the packets of one socket until it is closed.
func (s *Server) serveUDP(ctx context.Context, k *socket) { s.serveUDPPortably(ctx, k) }

// rawUDP is no socket here.
type rawUDP struct{}

func (k *socket) take() error { return nil }

func (k *socket) interrupt() {} // who reads is interrupted when it is closed

func (r *rawUDP) close() {}

func (r *rawUDP) write(_, _ []byte, _ netip.AddrPort) {}

func (s *Server) widen() (restore func()) { return func() {} }
