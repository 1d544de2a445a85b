package nameserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// socket is one bind address: UDP and TCP at the same port.
type socket struct {
	addr netip.AddrPort
	udp  *net.UDPConn
	raw  *rawUDP // in place of udp while it is served; nil: udp itself is
	tcp  *net.TCPListener
	// wild: the reply's source must be taken from the packet.
	wild bool
}

// Listen opens every bind address over UDP and TCP, and over TLS if that is wanted.
// When one fails, all are closed again; the error says which, and what to do about
// it.
func (s *Server) Listen() error {
	for _, a := range s.bind {
		k, err := listen(a, s.port)
		if err != nil {
			err = errors.Join(err, s.Close())
			s.sockets = nil
			return err
		}
		s.sockets = append(s.sockets, k)
	}
	if err := s.listenTLS(); err != nil {
		err = errors.Join(err, s.Close())
		s.sockets, s.tlsListeners = nil, nil
		return err
	}
	return nil
}

// Addrs gives the addresses and ports that Listen opened, in the order of Bind.
func (s *Server) Addrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, k := range s.sockets {
		addrs = append(addrs, k.addr)
	}
	return addrs
}

// freePortTries is how often a port that the system chose for UDP may turn out
// to be taken for TCP.
const freePortTries = 20

func listen(a netip.Addr, port uint16) (socket, error) {
	for try := 1; ; try++ {
		k, err := listenPair(a, port)
		if err == nil {
			return k, nil
		}
		if port == 0 && errors.Is(err, syscall.EADDRINUSE) && try < freePortTries {
			continue
		}
		return socket{}, err
	}
}

func listenPair(a netip.Addr, port uint16) (socket, error) {
	// With the family in the network's name, :: is IPv6 alone and can stand
	// beside 0.0.0.0.
	family := "4"
	if a.Is6() {
		family = "6"
	}
	k := socket{addr: netip.AddrPortFrom(a, port), wild: a.IsUnspecified()}
	var lc net.ListenConfig
	if k.wild {
		lc.Control = wantDestination
	}
	pc, err := lc.ListenPacket(context.Background(), "udp"+family, k.addr.String())
	if err != nil {
		return socket{}, listenError("UDP", k.addr, err)
	}
	k.udp = pc.(*net.UDPConn)
	k.addr = netip.AddrPortFrom(a, uint16(k.udp.LocalAddr().(*net.UDPAddr).Port))
	// Sockets of more than one path do not hand this on to those they accept, and a question
	// and an answer need no second path.
	lc.SetMultipathTCP(false)
	lc.Control = func(_, _ string, c syscall.RawConn) error { return wakeFrom(c, headerSize) }
	l, err := lc.Listen(context.Background(), "tcp"+family, k.addr.String())
	if err != nil {
		return socket{}, errors.Join(listenError("TCP", k.addr, err), k.udp.Close())
	}
	k.tcp = l.(*net.TCPListener)
	return k, nil
}

// listenError tells what failed and, where the reason is a usual one, what
// helps.
func listenError(network string, addr netip.AddrPort, err error) error {
	hint, key := "", "port:"
	if network == "TLS" {
		key = "tls-port:"
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = fmt.Sprintf(": another program has this port (`ss -lntup 'sport = :%d'` shows which)", addr.Port())
		if addr.Port() == 53 {
			hint += "; if it is systemd-resolved, set DNSStubListener=no in /etc/systemd/resolved.conf and restart it, or set address: to the addresses of this host instead of a wildcard"
		}
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		hint = ": run as root, or give the program CAP_NET_BIND_SERVICE (AmbientCapabilities= in its unit), or set " + key + " to one above 1023"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = ": this host does not have that address; see address: in the configuration"
	}
	// The library's text repeats the address; the system's reason is enough.
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	return fmt.Errorf("dns: listen on %v over %s: %w%s", addr, network, err, hint)
}
