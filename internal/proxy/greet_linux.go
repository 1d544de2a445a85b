package proxy

import (
	"net/netip"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// greet reads the PROXY header of a client that has to send one.
func (l *loop) greet(c *conn) {
	for c.up.readable {
		n, e := recv(c.client, l.buf[:maxHeader2])
		switch {
		case e == unix.EAGAIN:
			c.up.readable = false
			return
		case e != 0 || n == 0:
			c.front.rejected.Add(1)
			l.reset(c)
			return
		}
		c.up.pend = append(c.up.pend, l.buf[:n]...)
		h, err := headerLen(c.up.pend)
		if err == nil && h > 0 {
			c.from, err = parseHeader(c.up.pend[:h], c.from)
		}
		switch {
		case err != nil:
			c.front.rejected.Add(1)
			c.front.badHeader(c.from, err)
			l.reset(c)
			return
		case h > 0:
			// What came behind the header is the client's.
			c.up.pend = slices.Clone(c.up.pend[h:])
			l.dial(c, c.front.cfg.Load())
			return
		}
	}
}

// localAddr gives our end of a connection.
func localAddr(fd int32) netip.AddrPort {
	var sa unix.RawSockaddrAny
	size := uint32(unsafe.Sizeof(sa))
	if _, _, e := syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size))); e != 0 {
		return netip.AddrPort{}
	}
	return addrPort(&sa)
}
