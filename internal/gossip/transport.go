package gossip

import (
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

// Transport carries packets and streams between nodes; nil in a Config means
// real sockets. Its Shutdown must end what it has open: dials under way,
// connections dialled and accepted. The names of the library are repeated here
// so that no other room has to know it.
type Transport = memberlist.Transport

// Packet is what a Transport delivers.
type Packet = memberlist.Packet

// Address is where a Transport sends.
type Address = memberlist.Address

// guarded bounds what memberlist leaves unbounded: it sends user messages on
// connections without a deadline, and forgets to close one whose first write
// fails.
type guarded struct {
	Transport
	timeout time.Duration
}

// WriteToAddress sends a packet.
func (g guarded) WriteToAddress(b []byte, a Address) (time.Time, error) {
	return g.WriteTo(b, a.Addr)
}

// DialAddressTimeout connects; the connection ends by itself after the timeout
// of an exchange, unless memberlist sets a later deadline.
func (g guarded) DialAddressTimeout(a Address, timeout time.Duration) (net.Conn, error) {
	c, err := g.DialTimeout(a.Addr, timeout)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(g.timeout)); err != nil {
		_ = c.Close()
		return nil, err
	}
	return guardedConn{c}, nil
}

type guardedConn struct{ net.Conn }

func (c guardedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		_ = c.Close()
	}
	return n, err
}

// lent is a transport that outlives the member list which uses it, so that
// another one can take its place: memberlist shuts down what it was given.
type lent struct{ Transport }

// Shutdown leaves the transport as it is.
func (lent) Shutdown() error { return nil }
