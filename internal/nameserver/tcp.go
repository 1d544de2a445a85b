package nameserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxConns is how many TCP connections are open at a time, of all bind
	// addresses; one more is closed at once, so that its client turns to
	// another server instead of waiting.
	maxConns = 1000

	// tcpIdle is how long a connection may take for a whole question, from
	// the moment the one before was read (RFC 7766 §6.2.3 wants seconds).
	// Octet by octet is no way around it. It is longer than a forwarded
	// question takes, so no answer finds its connection closed.
	tcpIdle = 10 * time.Second

	// tcpWrite is how long a client may take to accept a reply.
	tcpWrite = 5 * time.Second
)

func (s *Server) serveTCP(ctx context.Context, k socket) {
	for {
		conn, err := k.tcp.AcceptTCP()
		if err != nil {
			if s.readFailed(ctx, "accept TCP", k, err) {
				return
			}
			continue
		}
		select {
		case s.conns <- struct{}{}:
		default:
			conn.Close()
			if s.overfull.allow() {
				s.log.Warn("too many TCP connections: closing new ones", "open", maxConns)
			}
			continue
		}
		s.wg.Go(func() {
			defer func() { <-s.conns }()
			s.serveConn(ctx, conn)
		})
	}
}

// serveConn answers the questions of one connection, in any order as the
// answers are ready, until the client closes it or keeps it idle.
func (s *Server) serveConn(ctx context.Context, conn *net.TCPConn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	var pending sync.WaitGroup
	defer func() {
		// A client may close its side when it has asked; what it asked for
		// is still written.
		pending.Wait()
		stop()
		conn.Close()
	}()

	var (
		from = conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		in   bytes.Buffer
		mu   sync.Mutex // guards writing: one reply goes out after another
	)
	write := func(reply []byte) {
		framed := make([]byte, 2, 2+len(reply))
		binary.BigEndian.PutUint16(framed, uint16(len(reply)))
		framed = append(framed, reply...)
		mu.Lock()
		defer mu.Unlock()
		conn.SetWriteDeadline(time.Now().Add(tcpWrite))
		if _, err := conn.Write(framed); err != nil {
			conn.Close() // half a reply may be out: the stream is spoilt
		}
	}
	for {
		conn.SetReadDeadline(time.Now().Add(s.idle))
		raw, err := readFrame(conn, &in)
		if err != nil {
			return
		}
		switch v := s.handle(raw, nil, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), true); {
		case v.reply != nil:
			write(v.reply)
		case v.forward != nil:
			pending.Add(1)
			s.forward(ctx, v.forward, func(reply []byte) {
				defer pending.Done()
				write(reply)
			})
		default:
			return // what may not be answered is no client's
		}
	}
}

// readFrame reads one message with its length before it (RFC 1035 §4.2.2). The
// buffer grows with what arrives, not with what is announced, and the message
// is in it until the next call.
func readFrame(r io.Reader, buf *bytes.Buffer) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint16(size[:]))
	buf.Reset()
	if got, err := buf.ReadFrom(io.LimitReader(r, n)); err != nil {
		return nil, err
	} else if got < n {
		return nil, io.ErrUnexpectedEOF
	}
	return buf.Bytes(), nil
}
