package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// udpIdle is how long a session without datagrams lasts where idle-timeout is 0:
// UDP has no other end.
const udpIdle = time.Minute

// sessions are the clients of a UDP listener. A client address has a session: a
// socket connected to its backend, so that answers find their way back.
type sessions struct {
	*service
	conn *net.UDPConn

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
	buf, control := make([]byte, 64<<10), make([]byte, 128)
	for {
		n, oob, _, client, err := s.conn.ReadMsgUDPAddrPort(buf, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // of one datagram: an answer of ours that nobody took
		}
		ses := s.of(client, control[:oob], answering)
		if ses == nil {
			continue
		}
		if m, err := ses.conn.Write(buf[:n]); err == nil {
			ses.member.Sent.Add(int64(m))
		}
		ses.conn.SetReadDeadline(time.Now().Add(s.idle())) //nolint:errcheck // then it ends sooner
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
		s.noDescriptors(fmt.Errorf("max-conns: %d sessions are open", s.cfg.Load().MaxConns))
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
			tried = append(tried, m)
			s.failed(m, err)
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
	buf := make([]byte, 64<<10)
	first := true
	for {
		n, err := ses.conn.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
				s.failed(ses.member, err) // refused: nobody listens there
			}
			break
		}
		if first {
			s.pool.Succeeded(ses.member) // it is there
			first = false
		}
		ses.member.Received.Add(int64(n))
		s.conn.WriteMsgUDPAddrPort(buf[:n], ses.source, ses.client) //nolint:errcheck // UDP promises nothing
		ses.conn.SetReadDeadline(time.Now().Add(s.idle()))          //nolint:errcheck // then it ends sooner
	}
	s.mu.Lock()
	if s.byClient[ses.client] == ses {
		delete(s.byClient, ses.client)
	}
	s.mu.Unlock()
	ses.conn.Close()
	ses.member.Active.Add(-1)
	s.ended()
}

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
