package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// udpIdle is how long a session without datagrams lasts where idle-timeout is 0:
// UDP has no other end.
const udpIdle = time.Minute

// sessions are the clients of a UDP listener. A client address has a session: a
// socket connected to its backend, so that answers find their way back.
type sessions struct {
	*service
	conn    *net.UDPConn
	crowded throttle

	mu       sync.Mutex // guards byClient
	byClient map[netip.AddrPort]*session
}

type session struct {
	client netip.AddrPort
	member *Member
	conn   *net.UDPConn
	// source says from which of our addresses to answer; nil: the system's
	// choice.
	source []byte
}

// runUDP serves datagrams until ctx is done.
func (s *service) runUDP(ctx context.Context) {
	conn := s.bindUDP(ctx)
	if conn == nil {
		return
	}
	s.log.Info(fmt.Sprintf("proxy %s: listens on %s (UDP)", s.name, s.cfg.Load().Listen))
	all := &sessions{service: s, conn: conn, byClient: map[netip.AddrPort]*session{}}
	s.setCut(all.cut)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var answering sync.WaitGroup
	all.read(&answering)
	all.cut(func(*Member) bool { return true })
	answering.Wait()
}

func (s *service) bindUDP(ctx context.Context) *net.UDPConn {
	for {
		conn, err := listenUDP(ctx, s.cfg.Load().Listen)
		if err == nil {
			s.problem.Store(nil)
			return conn
		}
		if !s.waitToBind(ctx, err) {
			return nil
		}
	}
}

// read takes the clients' datagrams until the socket is closed.
func (s *sessions) read(answering *sync.WaitGroup) {
	buf, control := make([]byte, maxDatagram), make([]byte, 128)
	for {
		n, oob, _, client, err := s.conn.ReadMsgUDPAddrPort(buf, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // of one datagram: an answer of ours that nobody took
		}
		for range maxTries {
			ses := s.of(client, control[:oob], answering)
			if ses == nil || s.pass(ses, buf[:n]) {
				break
			}
		}
	}
}

// maxTries bounds to how many backends one datagram is given that do not take it.
const maxTries = 5

// pass gives a client's datagram to its backend. It says false when it did not
// leave because the session has ended: the datagram may go to another backend.
func (s *sessions) pass(ses *session, datagram []byte) bool {
	n, err := ses.conn.Write(datagram)
	switch {
	case err == nil:
		ses.member.Sent.Add(int64(n))
		ses.conn.SetReadDeadline(time.Now().Add(s.idle())) //nolint:errcheck // then it ends sooner
		return true
	case errors.Is(err, net.ErrClosed):
		s.forget(ses) // cut, or idle, just now
		return false
	case unreachable(err):
		// What came back for a datagram before, told to whoever uses the socket
		// next; this one did not leave.
		s.failed(ses.member, time.Now(), err)
		s.forget(ses)
		return false
	}
	return true // of this datagram alone, such as one that is too long for the way
}

// unreachable says that a backend is not there.
func unreachable(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// forget ends a session; the client's next datagram begins another one.
func (s *sessions) forget(ses *session) {
	ses.conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byClient[ses.client] == ses {
		delete(s.byClient, ses.client)
	}
}

func (s *sessions) idle() time.Duration {
	if d := s.cfg.Load().IdleTimeout; d > 0 {
		return d
	}
	return udpIdle
}

// of gives the session of a client, a new one if there is none, nil if there can
// be none.
func (s *sessions) of(client netip.AddrPort, control []byte, answering *sync.WaitGroup) *session {
	client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses := s.byClient[client]; ses != nil {
		return ses
	}
	if s.open.Load() >= int64(s.cfg.Load().MaxConns) {
		if more, ok := s.crowded.ok(); ok {
			s.log.Error(fmt.Sprintf("proxy %s: max-conns sessions are open; datagrams of other clients are dropped", s.name),
				"max-conns", s.cfg.Load().MaxConns, "others since the last line", more)
		}
		return nil
	}
	var tried []*Member
	for {
		m := s.pool.Pick(client.Addr(), tried)
		if m == nil {
			s.gaveUp(client, len(tried))
			return nil
		}
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(m.Addr))
		if err != nil {
			m.Active.Add(-1)
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) {
				s.noDescriptors(err) // no fault of the backend's
				return nil
			}
			tried = append(tried, m)
			s.failed(m, time.Now(), err)
			continue
		}
		m.Total.Add(1)
		s.open.Add(1)
		s.total.Add(1)
		ses := &session{client: client, member: m, conn: conn, source: answerFrom(control)}
		s.byClient[client] = ses
		answering.Go(func() { s.answer(ses) })
		return ses
	}
}

// answer passes the backend's datagrams to the client until the session ends.
func (s *sessions) answer(ses *session) {
	ses.conn.SetReadDeadline(time.Now().Add(s.idle())) //nolint:errcheck // then it ends sooner
	if err := s.answers(ses); unreachable(err) {
		s.failed(ses.member, time.Now(), err) // nobody listens there
	}
	s.forget(ses)
	ses.member.Active.Add(-1)
	s.ended()
}

// answers passes them on until there are no more. A session that waits holds no
// buffer: there may be as many as max-conns.
func (s *sessions) answers(ses *session) error {
	raw, err := ses.conn.SyscallConn()
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		var failure error
		err := raw.Read(func(fd uintptr) bool {
			buf := datagrams.Get().(*[maxDatagram]byte)
			defer datagrams.Put(buf)
			n, err := syscall.Read(int(fd), buf[:])
			if errors.Is(err, syscall.EAGAIN) {
				return false
			}
			if failure = err; err != nil {
				return true
			}
			ses.member.Received.Add(int64(n))
			s.conn.WriteMsgUDPAddrPort(buf[:n], ses.source, ses.client) //nolint:errcheck // UDP promises nothing
			return true
		})
		if err = cmp.Or(err, failure); err != nil {
			return err
		}
		if first {
			s.answered(ses.member, time.Now())
		}
		ses.conn.SetReadDeadline(time.Now().Add(s.idle())) //nolint:errcheck // then it ends sooner
	}
}

// maxDatagram is more than the longest one there is.
const maxDatagram = 64 << 10

var datagrams = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// cut ends the sessions with members that match.
func (s *sessions) cut(match func(*Member) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for client, ses := range s.byClient {
		if match(ses.member) {
			ses.conn.Close()
			delete(s.byClient, client) // the next datagram has another one
			n++
		}
	}
	return n
}
