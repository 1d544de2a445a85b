package nameserver

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// wakeFrom has the system wake who reads a TCP socket only when so many octets wait to be
// read, or the other side has nothing more to send. Sockets have it from the listener
// that accepts them. Who reads what is there already is not kept from it.
func wakeFrom(c syscall.RawConn, octets int) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, octets)
	}); cerr != nil {
		return cerr
	}
	return err
}
