package nameserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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

	// tooOld is the age from which packets are taken out unanswered when there are too
	// many, and how long a worker may take for a few before it looks whether it was
	// kept from its work.
	tooOld = 5 * time.Millisecond
)

// worker answers packets of one socket, one after the other.
type worker struct {
	s       *Server
	k       *socket
	quick   *quick
	in, out []byte
}

func (s *Server) newWorker(k *socket) *worker {
	return &worker{s: s, k: k, quick: newQuick(s), in: make([]byte, readSize), out: make([]byte, readSize)}
}

// reply gives what to send for a packet, nil for nothing yet or at all. source is the
// control message with which replies leave from the address that was asked. The reply
// is good until the next call.
func (w *worker) reply(raw []byte, from netip.AddrPort, source []byte) []byte {
	s := w.s
	l := s.policy.Load().limiter
	known := l != nil && s.hasCookie(raw, from.Addr(), time.Now())
	reply := w.quick.answer(raw, w.out, from.Addr())
	in := &w.quick.in
	if reply == nil && in.group != nil {
		in.from = from
		reply = s.forwarder.recall(in, w.out)
	} else if reply == nil {
		v := s.handle(raw, w.out, from, false)
		in, reply = v.forward, v.reply
	}
	if reply == nil && in != nil {
		in.leaveFrom(source)
		to := replier(w.k)
		if l != nil {
			to = &limited{s, w.k, l, known}
		}
		reply = s.forward(in, to, w.out)
	}
	if reply == nil {
		return nil
	}
	return s.limit(l, reply, from.Addr(), known)
}

// serveUDPPortably answers the packets of one socket until it is closed, by what the
// standard library has.
func (s *Server) serveUDPPortably(ctx context.Context, k *socket) {
	w := s.newWorker(k)
	var oob []byte
	if k.wild {
		oob = make([]byte, oobSize)
	}
	for {
		n, oobn, _, from, err := k.udp.ReadMsgUDPAddrPort(w.in, oob)
		if err != nil {
			if s.readFailed(ctx, "read UDP", k.addr, err) {
				return
			}
			continue
		}
		source := replySource(oob[:oobn])
		if reply := w.reply(w.in[:n], from, source); reply != nil {
			// A reply that cannot be sent is as good as lost on the way,
			// and the client asks again.
			k.udp.WriteMsgUDPAddrPort(reply, source, from)
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
