package nameserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const (
	// maxConns is how many TCP connections are open at a time, of all bind
	// addresses, and maxConnsOfHost of one client: enough for a busy resolver,
	// or for many hosts behind one address, and never all.
	maxConns       = 1000
	maxConnsOfHost = 100

	// maxPipelined is how many questions of one connection wait for resolvers at
	// a time. The next is not read before one of them has its answer.
	maxPipelined = 64

	// maxBacklog is how many octets of replies from resolvers a connection may leave
	// unread.
	maxBacklog = 1 << 18

	// tcpIdle is how long a connection may take for a whole question, from
	// the moment the one before was read (RFC 7766 §6.2.3 wants seconds).
	// Octet by octet is no way around it. It is longer than a forwarded
	// question takes, so no answer finds its connection closed.
	tcpIdle = 10 * time.Second

	// tcpWrite is how long a client may take to accept a reply, or one message
	// of a zone.
	tcpWrite = 5 * time.Second
)

// questions has room for what a connection is reading: only one that is in the
// middle of a message has any.
var questions = sync.Pool{New: func() any { return new([readSize]byte) }}

// serveTCP accepts the connections of one listener until it is closed. With secure,
// they begin with TLS.
func (s *Server) serveTCP(ctx context.Context, l *net.TCPListener, secure bool) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				s.conns.makeRoom()
			}
			if s.readFailed(ctx, "accept TCP", l.Addr(), err) {
				return
			}
			continue
		}
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		c, crowded := s.conns.add(conn, from.Addr())
		if crowded && s.overfull.allow() {
			s.log.Warn("too many TCP connections: closing those that are idle for longest",
				"most", s.conns.most, "most of a client", s.conns.share, "client", from.Addr(), "accepted", c != nil)
		}
		if c == nil { // its client turns to another server instead of waiting
			conn.Close()
			continue
		}
		s.wg.Go(func() {
			defer s.conns.remove(c)
			if !secure {
				s.serveConn(ctx, c, conn, from, nil)
			} else if t, err := s.secure(ctx, conn); err == nil {
				s.serveConn(ctx, c, t, from, padded)
			}
		})
	}
}

// serveConn answers the questions of one connection, in any order as the
// answers are ready, until the client closes it or keeps it idle, or another one
// needs its place. It reads and writes conn, which may be a layer above c. Where pad
// is not nil, replies go through it for who wants that.
func (s *Server) serveConn(ctx context.Context, c *connection, conn net.Conn, from netip.AddrPort, pad func([]byte) []byte) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	var pending sync.WaitGroup
	defer func() {
		// A client may close its side when it has asked; what it asked for
		// is still written.
		pending.Wait()
		stop()
		conn.Close()
	}()

	var (
		in     = newFrames(conn)
		places = make(chan struct{}, maxPipelined)
		mu     sync.Mutex // guards writing: one reply goes out after another
		late   backlog
	)
	write := func(reply []byte) bool {
		framed := make([]byte, 2, 2+len(reply))
		binary.BigEndian.PutUint16(framed, uint16(len(reply)))
		framed = append(framed, reply...)
		mu.Lock()
		defer mu.Unlock()
		conn.SetWriteDeadline(time.Now().Add(s.slow))
		if _, err := conn.Write(framed); err != nil {
			c.Close() // half a reply may be out: the stream is spoilt
			return false
		}
		return true
	}
	// answer reads a question and answers it, or has it answered; false: the
	// connection has ended.
	answer := func() bool {
		conn.SetReadDeadline(time.Now().Add(s.idle))
		size, err := in.size()
		if err != nil {
			return false
		}
		room := questions.Get().(*[readSize]byte)
		defer questions.Put(room)
		raw, err := in.message(size, room[:])
		if err != nil {
			return false
		}
		finish := func(reply []byte) []byte { return reply }
		if pad != nil && wantsPadding(raw) {
			finish = pad
		}
		s.conns.waiting(c)
		v := s.handle(raw, nil, from, true)
		if v.forward == nil {
			defer s.conns.answered(c)
			switch {
			case v.transfer != nil:
				return s.sendTransfer(v.transfer, func(reply []byte) bool { return write(finish(reply)) })
			case v.reply != nil:
				return write(finish(v.reply))
			}
			return false // what may not be answered is no client's
		}
		places <- struct{}{}
		pending.Add(1)
		done := replyFunc(func(reply []byte) {
			waits, idle := late.add(finish(reply))
			if waits > maxBacklog {
				c.Close() // it asks and does not read
			}
			if !idle {
				return
			}
			s.wg.Go(func() {
				for reply := late.next(); reply != nil; reply = late.next() {
					write(reply)
					<-places
					s.conns.answered(c)
					pending.Done()
				}
			})
		})
		if reply := s.forward(v.forward, done, nil); reply != nil {
			done(reply)
		}
		return true
	}
	for answer() {
	}
}

// backlog has the replies from resolvers that a connection has not taken yet. Who
// brings them brings those of all clients, and must not wait for one.
type backlog struct {
	mu      sync.Mutex // guards what follows
	replies [][]byte
	octets  int
	busy    bool // somebody takes them out
}

// add puts a copy of a reply in. It says how many octets wait, and whether nobody
// takes them out: then the caller is to see that somebody does.
func (b *backlog) add(reply []byte) (octets int, idle bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replies = append(b.replies, bytes.Clone(reply))
	b.octets += len(reply)
	idle, b.busy = !b.busy, true
	return b.octets, idle
}

// next takes the first reply out, nil when there is none: then nobody takes them out
// any more.
func (b *backlog) next() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.replies) == 0 {
		b.replies, b.busy = nil, false
		return nil
	}
	reply := b.replies[0]
	b.replies, b.octets = b.replies[1:], b.octets-len(reply)
	return reply
}

// frames reads the questions of a connection, each with its length before it (RFC 1035
// §4.2.2). While one arrives octet by octet, it has itself woken when it is whole and not
// by each octet: ten thousand such connections would take a fifth of a CPU.
type frames struct {
	conn net.Conn
	raw  syscall.RawConn // nil: the system cannot know what is whole
	from int             // from how many octets on it is woken
}

// newFrames reads a connection that a listener of listenPair accepted, or what is above one.
func newFrames(conn net.Conn) *frames {
	f := &frames{conn: conn, from: headerSize}
	if t, ok := conn.(*net.TCPConn); ok {
		f.raw, _ = t.SyscallConn() // without it, as by TLS
	}
	return f
}

// size reads the length of the next message.
func (f *frames) size() (int, error) {
	var b [2]byte
	err := f.fill(b[:])
	return int(binary.BigEndian.Uint16(b[:])), err
}

// message reads a message of n octets into buf. What is longer is cut, as over UDP, and thus
// malformed; its rest is read, too, so that the next message begins where it should.
func (f *frames) message(n int, buf []byte) ([]byte, error) {
	raw := buf[:min(n, len(buf))]
	if err := f.fill(raw); err != nil {
		return nil, err
	}
	if n -= len(raw); n > 0 {
		room := questions.Get().(*[readSize]byte)
		defer questions.Put(room)
		for ; n > 0; n -= min(n, readSize) {
			if err := f.fill(room[:min(n, readSize)]); err != nil {
				return nil, err
			}
		}
	}
	// No message is shorter than its header. One that says it is is no question.
	return raw, f.wake(headerSize)
}

// fill reads as much as there is room for.
func (f *frames) fill(b []byte) error {
	for len(b) > 0 {
		n, err := f.conn.Read(b)
		if b = b[n:]; len(b) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f.wake(len(b)); err != nil {
			return err
		}
	}
	return nil
}

// wake has it woken from so many octets on.
func (f *frames) wake(octets int) error {
	if f.raw == nil || f.from == octets {
		return nil
	}
	f.from = octets
	return wakeFrom(f.raw, octets)
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
