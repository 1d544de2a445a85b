package nameserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	// readSize is the longest packet read; what is longer is cut and thus
	// malformed. A question with cookies and padding stays far below.
	readSize = 4096

	// oobSize holds the control message with the destination of a packet.
	oobSize = 128

	// errorPause is how long a reader waits after an error of its socket, so
	// that one that stays costs no more than a log line a second.
	errorPause = 50 * time.Millisecond
)

// serveUDP answers the packets of one socket until it is closed.
func (s *Server) serveUDP(ctx context.Context, k socket) {
	var (
		in  = make([]byte, readSize)
		out = make([]byte, readSize)
		oob []byte
	)
	if k.wild {
		oob = make([]byte, oobSize)
	}
	for {
		n, oobn, _, from, err := k.udp.ReadMsgUDPAddrPort(in, oob)
		if err != nil {
			if s.readFailed(ctx, "read UDP", k.addr, err) {
				return
			}
			continue
		}
		source := replySource(oob[:oobn])
		l := s.policy.Load().limiter
		known := l != nil && s.hasCookie(in[:n], from.Addr(), time.Now())
		switch v := s.handle(in[:n], out, from, false); {
		case v.reply != nil:
			// A reply that cannot be sent is as good as lost on the way,
			// and the client asks again.
			if reply := s.limit(l, v.reply, from.Addr(), known); reply != nil {
				k.udp.WriteMsgUDPAddrPort(reply, source, from)
			}
		case v.forward != nil:
			v.forward.leaveFrom(source)
			to := replier(&k)
			if l != nil {
				to = &limited{s, &k, l, known}
			}
			reply := s.forward(v.forward, to, out)
			if reply != nil {
				reply = s.limit(l, reply, from.Addr(), known)
			}
			if reply != nil {
				k.udp.WriteMsgUDPAddrPort(reply, source, from)
			}
		}
	}
}

// limited is a replier of a socket that keeps to rate-limit.
type limited struct {
	s     *Server
	k     *socket
	l     *limiter
	known bool
}

func (t *limited) reply(c *client, raw []byte) {
	if raw = t.s.limit(t.l, raw, c.from.Addr(), t.known); raw != nil {
		t.k.reply(c, raw)
	}
}

// readFailed logs the error of a socket and waits a little; it says whether the
// reader is to end.
func (s *Server) readFailed(ctx context.Context, what string, address fmt.Stringer, err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return true
	}
	if s.broken.allow() {
		s.log.Warn("dns: "+what+" failed, trying again", "address", address.String(), "error", err)
	}
	select {
	case <-ctx.Done():
		return true
	case <-time.After(errorPause):
		return false
	}
}
