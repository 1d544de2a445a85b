package nameserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// streamIdle is how long a connection to a resolver is kept without a reply
	// (RFC 7766 §6.2.3, RFC 7858 §3.4).
	streamIdle = 10 * time.Second

	// streamQueue is how many questions wait to be written to one.
	streamQueue = 1024
)

var (
	errMismatch  = errors.New("the reply belongs to another question")
	errMalformed = errors.New("the reply is malformed")
	errCongested = errors.New("too many questions wait for the connection")
)

// stream asks one resolver over a connection that is kept, one question after the
// other without waiting for answers (RFC 7766 §6.2.1.1).
type stream struct {
	f *forwarder
	r *resolver

	mu   sync.Mutex // guards what follows, and what is open at its connections
	conn *streamConn
}

// streamConn is one connection.
type streamConn struct {
	s      *stream
	out    chan []byte
	ctx    context.Context
	cancel context.CancelFunc

	open  map[uint16]*streamed
	since int64 // when the first was asked after the last reply; 0: none was
	heard bool  // there was a reply
	over  bool
}

// streamed is a question that is open at a connection.
type streamed struct {
	pending
	frame []byte
}

func newStream(f *forwarder, r *resolver) *stream { return &stream{f: f, r: r} }

// ask sends a question. What comes of it is told to the forwarder; an error, that
// nothing will.
func (s *stream) ask(q *sending) error {
	frame := make([]byte, 2+q.size)
	binary.BigEndian.PutUint16(frame, uint16(q.size))
	copy(frame[2:], q.packet[:q.size])
	p := &streamed{pending: newPending(q.ticket, frame[2:], q.at), frame: frame}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.put(p); err != nil {
		return s.failure(err)
	}
	return nil
}

// put hands a question to the connection, or to a new one. The lock is held.
func (s *stream) put(p *streamed) error {
	c := s.conn
	if c != nil && c.since != 0 && p.sent-c.since > int64(attemptTime) {
		c.leave() // nothing comes of it any more
		c = nil
	}
	if c == nil || c.over {
		c = &streamConn{s: s, out: make(chan []byte, streamQueue), open: map[uint16]*streamed{}}
		c.ctx, c.cancel = context.WithCancel(s.f.ctx)
		if c.ctx.Err() != nil {
			return errClosed
		}
		s.conn = c
		s.f.spawn(c.run)
	}
	id := uint16(s.f.dice.uint64())
	for c.open[id] != nil {
		id = uint16(s.f.dice.uint64())
	}
	p.id = id
	binary.BigEndian.PutUint16(p.frame[2:], id)
	select {
	case c.out <- p.frame:
	default:
		return errCongested
	}
	c.open[id] = p
	if c.since == 0 {
		c.since = p.sent
	}
	return nil
}

// leave ends a connection. The lock is held.
func (c *streamConn) leave() {
	c.over = true
	if c.s.conn == c {
		c.s.conn = nil
	}
	c.cancel()
}

func (s *stream) failure(err error) error {
	return fmt.Errorf("ask over %s: %w", s.r.network(), err)
}

// run connects and writes what there is to ask, until the connection ends.
func (c *streamConn) run() {
	err := c.talk()
	s := c.s
	s.mu.Lock()
	c.leave()
	open, now := c.open, s.f.now()
	c.open = nil
	var failed []*streamed
	for _, p := range open {
		// Some resolvers close a connection after so many answers. What is open is
		// asked over another, as long as each has brought one at least.
		if !c.heard || now-p.sent >= int64(totalTime) || s.put(p) != nil {
			failed = append(failed, p)
		}
	}
	s.mu.Unlock()
	if err == nil {
		err = errors.New("the connection was closed")
	}
	for _, p := range failed {
		o := s.f.outboxes.Get().(*outbox)
		s.f.unanswered(s.r, p.ticket, p.sent, s.failure(err), o)
		s.f.flush(o)
	}
}

func (c *streamConn) talk() error {
	dial, cancel := context.WithTimeout(c.ctx, attemptTime)
	conn, err := c.s.r.connect(dial, c.s.f.roots)
	cancel()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(c.ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	reading := make(chan error, 1)
	c.s.f.spawn(func() {
		reading <- c.read(conn)
		c.cancel()
	})
	var buf []byte
	for {
		select {
		case <-c.ctx.Done():
			conn.Close()
			return <-reading
		case frame := <-c.out:
			buf = append(buf[:0], frame...)
		}
		for more := true; more && len(buf) < 8<<10; {
			select {
			case frame := <-c.out:
				buf = append(buf, frame...)
			default:
				more = false
			}
		}
		conn.SetWriteDeadline(time.Now().Add(attemptTime))
		if _, err := conn.Write(buf); err != nil {
			c.cancel()
			conn.Close()
			<-reading
			return err
		}
	}
}

// read takes replies until the connection ends; nil: because it was idle.
func (c *streamConn) read(conn net.Conn) error {
	var buf bytes.Buffer
	for {
		conn.SetReadDeadline(time.Now().Add(streamIdle))
		raw, err := readFrame(conn, &buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || c.ctx.Err() != nil {
				return nil
			}
			return err
		}
		c.received(raw)
	}
}

func (c *streamConn) received(raw []byte) {
	if len(raw) < headerSize {
		return
	}
	s := c.s
	s.mu.Lock()
	c.heard, c.since = true, 0
	id := binary.BigEndian.Uint16(raw)
	p := c.open[id]
	delete(c.open, id)
	s.mu.Unlock()
	if p == nil {
		return
	}
	o := s.f.outboxes.Get().(*outbox)
	var err error
	switch p.judge(raw) {
	case foreign:
		err = errMismatch
	case misspelled:
		// Nobody can forge that here: it does not keep the case.
		s.f.folds(s.r, o)
		fallthrough
	case genuine:
		if !s.f.answered(s.r, p.ticket, p.sent, raw, o) {
			err = errMalformed
		}
	}
	if err != nil {
		s.f.unanswered(s.r, p.ticket, p.sent, s.failure(err), o)
	}
	s.f.flush(o)
}

// network names how the resolver is reached over a connection.
func (t target) network() string {
	if t.tls {
		return "TLS"
	}
	return "TCP"
}

// connect opens a connection to the resolver. roots are whom its certificate may be
// signed by; nil: whom the system trusts.
func (r *resolver) connect(ctx context.Context, roots *x509.CertPool) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", r.addr.String())
	if err != nil || !r.tls {
		return conn, err
	}
	t := tls.Client(conn, &tls.Config{
		ServerName: r.name, RootCAs: roots, InsecureSkipVerify: r.name == "",
		MinVersion: tls.VersionTLS12, ClientSessionCache: r.sessions, // RFC 8310 §9
	})
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}
