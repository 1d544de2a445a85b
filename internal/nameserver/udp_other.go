//go:build !linux

package nameserver

import "context"

// serveUDP answers the packets of one socket until it is closed.
func (s *Server) serveUDP(ctx context.Context, k *socket) { s.serveUDPPortably(ctx, k) }

func (k *socket) interrupt() {} // who reads is interrupted when it is closed
