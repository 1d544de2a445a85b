package proxy

import (
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// System calls that cannot block are made raw: telling the scheduler of each
// costs as much as some of them take. What moves many octets in one call, and
// epoll_wait, do tell it.

func recv(fd int32, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return int(n), e
}

func send(fd int32, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	return int(n), e
}

func shutdownWrite(fd int32) {
	syscall.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
}

func closeFD(fd int32) {
	syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// closeReset closes so that the other side gets a reset.
func closeReset(fd int32) {
	linger := unix.Linger{Onoff: 1}
	syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&linger)), unsafe.Sizeof(linger), 0)
	closeFD(fd)
}

func setOption(fd int32, level, name int, value int32) {
	syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&value)), 4, 0)
}

// keepAliveEvery is how many seconds a silent peer is left alone before it is
// asked whether it is still there, and between two such questions. The system's
// own two hours are too long for a connection that holds a lock in a database.
const keepAliveEvery = 15

// keepAlive has a socket, or those that come from a listening one, notice a peer
// that is gone without a word.
func keepAlive(fd int32) {
	setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveEvery)
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveEvery)
}

// socketError gives and clears the error of a socket.
func socketError(fd int32) syscall.Errno {
	var value int32
	size := uint32(4)
	_, _, e := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR, uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return e
	}
	return syscall.Errno(value)
}

// accept takes a connection; its socket does not block.
func accept(fd int32) (int32, netip.AddrPort, syscall.Errno) {
	var sa unix.RawSockaddrAny
	size := uint32(unsafe.Sizeof(sa))
	n, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1, netip.AddrPort{}, e
	}
	return int32(n), addrPort(&sa), 0
}

// connect starts a connection. It gives a descriptor also with EINPROGRESS.
func connect(to netip.AddrPort) (int32, syscall.Errno) {
	family := uintptr(unix.AF_INET6)
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	n, _, e := syscall.RawSyscall(unix.SYS_SOCKET, family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if e != 0 {
		return -1, e
	}
	fd := int32(n)
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	keepAlive(fd)
	// The port in network byte order, whatever the byte order of the host.
	port := [2]byte{byte(to.Port() >> 8), byte(to.Port())}
	if to.Addr().Is4() {
		sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: *(*uint16)(unsafe.Pointer(&port)), Addr: to.Addr().As4()}
		_, _, e = syscall.RawSyscall(unix.SYS_CONNECT, n, uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	} else {
		sa := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: *(*uint16)(unsafe.Pointer(&port)), Addr: to.Addr().As16()}
		_, _, e = syscall.RawSyscall(unix.SYS_CONNECT, n, uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	}
	if e != 0 && e != unix.EINPROGRESS {
		closeFD(fd)
		return -1, e
	}
	return fd, e
}

func addrPort(sa *unix.RawSockaddrAny) netip.AddrPort {
	be := func(p *uint16) uint16 {
		b := (*[2]byte)(unsafe.Pointer(p))
		return uint16(b[0])<<8 | uint16(b[1])
	}
	switch sa.Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), be(&a.Port))
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), be(&a.Port))
	}
	return netip.AddrPort{}
}

// pipe is where octets are between two splices. It is the kernel's memory.
type pipe struct{ r, w int32 }

// pipeSize is what is asked for; the kernel gives less to a user who has many.
const pipeSize = 1 << 20

func newPipe() (pipe, syscall.Errno) {
	var fds [2]int32
	_, _, e := syscall.RawSyscall(unix.SYS_PIPE2, uintptr(unsafe.Pointer(&fds)), unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if e != 0 {
		return pipe{}, e
	}
	syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
	return pipe{fds[0], fds[1]}, 0
}

func (p pipe) close() {
	closeFD(p.r)
	closeFD(p.w)
}

func splice(from, to int32, n int) (int, syscall.Errno) {
	m, _, e := syscall.Syscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	return int(m), e
}

// watch adds a descriptor to an epoll. The token comes back with its events.
func watch(ep, fd int32, events uint32, token uint64) syscall.Errno {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	_, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(ep), unix.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	return e
}

func unwatch(ep, fd int32) {
	var ev unix.EpollEvent // before Linux 2.6.9 it had to be there
	syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(ep), unix.EPOLL_CTL_DEL, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
}

func token(ev *unix.EpollEvent) uint64 { return uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32 }

// callError names the system call that failed.
func callError(call string, e syscall.Errno) error { return os.NewSyscallError(call, e) }
