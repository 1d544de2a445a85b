package nameserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// aliveTry is how long one question of Alive waits.
const aliveTry = time.Second

// Alive asks the server a question over each of its sockets, by UDP and, if that
// is not answered, by TCP, again and again until ctx is done. It gives nil when
// all were answered, whatever the answer. An address that cannot be reached from
// here, since its interface is gone, is no sign of death and counts as answered.
func (s *Server) Alive(ctx context.Context) error {
	// Class CH is refused at once: nothing is looked up, and nobody else asked.
	q := new(dns.Msg)
	q.SetQuestion("alive.murakumo.", dns.TypeTXT)
	q.Question[0].Qclass = dns.ClassCHAOS
	packed, err := q.Pack()
	if err != nil {
		return fmt.Errorf("dns: pack a question: %w", err)
	}
	for _, k := range s.sockets {
		if err := knockOn(ctx, k.reachable(), packed); err != nil {
			return err
		}
	}
	return nil
}

// reachable is where this host reaches the socket.
func (k socket) reachable() netip.AddrPort {
	switch {
	case !k.wild:
		return k.addr
	case k.addr.Addr().Is4():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), k.addr.Port())
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), k.addr.Port())
}

func knockOn(ctx context.Context, at netip.AddrPort, q []byte) error {
	for try := 0; ; try++ {
		err := knock(ctx, []string{"udp", "tcp"}[try%2], at, q)
		if !nobodyThere(err) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("dns: no answer from %v, neither over UDP nor over TCP: %w", at, err)
		}
	}
}

// nobodyThere says whether an error means that nobody is there: no answer in time, or
// no socket. All others say something about the way, or that somebody is there
// who is too busy.
func nobodyThere(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ECONNREFUSED)
}

// knock sends the question and reads a reply. When nobody is there it has taken
// aliveTry, or until ctx is done.
func knock(ctx context.Context, network string, at netip.AddrPort, q []byte) error {
	try, cancel := context.WithTimeout(ctx, aliveTry)
	defer cancel()
	err := knockOnce(try, network, at, q)
	if nobodyThere(err) {
		<-try.Done()
	}
	return err
}

func knockOnce(ctx context.Context, network string, at netip.AddrPort, q []byte) error {
	conn, err := new(net.Dialer).DialContext(ctx, network, at.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if network == "tcp" {
		q = append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)
	}
	if _, err := conn.Write(q); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, readSize))
	return err
}
