package proxy

import (
	"fmt"
	"net/netip"
	"time"
)

// Config is one listener. It is checked where the file is read; here a wrong
// one is only of no use.
type Config struct {
	Name   string
	Listen netip.AddrPort
	// UDP passes datagrams instead of connections.
	UDP bool

	// Backends come from an alias or from a list; the one that is not used is
	// zero.
	To       Alias
	Backends []Backend

	// Check asks the backends of a list; an alias's are checked by their owners.
	Check Check

	Algorithm Algorithm
	// Cut closes connections to a member that left; otherwise they may stay
	// until they end by themselves.
	Cut bool

	ConnectTimeout time.Duration // for each backend that is tried
	IdleTimeout    time.Duration // no octet either way for so long ends a connection; 0: never
	DrainTimeout   time.Duration // how long connections may go on when the daemon stops
	MaxConns       int           // further ones wait in the backlog

	// SendProxy is the version of the PROXY header that backends get, 0 for
	// none. AcceptProxyFrom are the clients that send one themselves; it is
	// required of them.
	SendProxy       int
	AcceptProxyFrom []netip.Prefix
}

// Alias is a name of the table with the port on its members.
type Alias struct {
	Name string
	Port uint16
}

// Backend is one of a fixed list. Host is an address, or a name which is
// resolved again and again.
type Backend struct {
	Host   string
	Port   uint16
	Weight int
}

// String gives host:port as the file has it.
func (b Backend) String() string { return fmt.Sprintf("%s:%d", b.Host, b.Port) }
