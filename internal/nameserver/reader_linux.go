package nameserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hasReader: one goroutine reads all sockets.
const hasReader = true

// maxReady is how many sockets are read in one turn.
const maxReady = 128

// reader reads the sockets of all pools with one goroutine and an epoll, which is
// itself watched by the runtime's poller: as much as the sockets of the standard
// library, but without a goroutine each, nor a second read of each answer to hear
// that there is no other.
type reader struct {
	mu     sync.Mutex // guards what follows
	file   *os.File   // the epoll; nil: not begun
	ep     int
	socks  []*upSocket // by slot, which is what an event names; nil where free
	free   []int32
	closed bool
}

// descriptor is a socket by its number.
type descriptor struct {
	fd   int
	slot int32
	r    *reader
}

// dial makes a connected socket, whose lock is held. The system draws its port.
func (r *reader) dial(k *upSocket) (wire, error) {
	to, err := sockaddr(k.p.r)
	if err != nil {
		return nil, err
	}
	family := unix.AF_INET6
	if k.p.r.addr.Addr().Is4() {
		family = unix.AF_INET
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin(k.p.l.f); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, to); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	d := &descriptor{fd: fd, r: r}
	if n := len(r.free); n > 0 {
		d.slot, r.free = r.free[n-1], r.free[:n-1]
		r.socks[d.slot] = k
	} else {
		d.slot = int32(len(r.socks))
		r.socks = append(r.socks, k)
	}
	// An event for a slot that has another socket by then makes for a read that
	// finds nothing.
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: d.slot}
	if err := unix.EpollCtl(r.ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		d.closeLocked()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return d, nil
}

// begin makes the epoll and starts the goroutine.
func (r *reader) begin(f *forwarder) error {
	switch {
	case r.closed:
		return errClosed
	case r.file != nil:
		return nil
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(ep, true); err != nil { // else the runtime does not watch it
		unix.Close(ep)
		return os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(ep), "epoll")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return fmt.Errorf("watch an epoll: %w", err)
	}
	r.ep, r.file = ep, file
	f.spawn(func() { r.loop(conn) })
	return nil
}

// loop reads what comes until the epoll is closed.
func (r *reader) loop(conn syscall.RawConn) {
	var (
		events [maxReady]unix.EpollEvent
		ready  [maxReady]*upSocket
		buf    = make([]byte, readSize)
	)
	conn.Read(func(ep uintptr) bool {
		for {
			n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, ep, uintptr(unsafe.Pointer(&events)), maxReady, 0, 0, 0)
			if e == unix.EINTR {
				continue
			}
			if e != 0 || n == 0 {
				return false
			}
			r.mu.Lock()
			for i := range n {
				ready[i] = r.socks[events[i].Fd]
			}
			r.mu.Unlock()
			for i, k := range ready[:n] {
				ready[i] = nil
				for k != nil && k.read(buf) {
				}
			}
			if n < maxReady {
				// Nothing is left that anybody waits for, and what came since then
				// wakes us: the poller hears of each packet.
				return false
			}
		}
	})
}

// read takes one packet from the socket, or its error. It may have been closed in
// between. It says whether there may be another packet that is waited for.
func (k *upSocket) read(buf []byte) bool {
	k.mu.Lock()
	d, ok := k.wire.(*descriptor)
	if k.done || !ok {
		k.mu.Unlock()
		return false
	}
	n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(d.fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), unix.MSG_DONTWAIT, 0, 0)
	k.mu.Unlock()
	switch e {
	case 0:
		return k.received(buf[:n])
	case unix.EINTR:
		return true
	case unix.EAGAIN:
	default:
		k.refused(os.NewSyscallError("read", e))
	}
	return false
}

// send implements wire. A packet for which there is no room is one that got lost.
func (d *descriptor) send(packet []byte) error {
	_, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(d.fd), uintptr(unsafe.Pointer(unsafe.SliceData(packet))), uintptr(len(packet)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	switch e {
	case 0, unix.EAGAIN, unix.ENOBUFS, unix.EINTR:
		return nil
	}
	return os.NewSyscallError("write", e)
}

// close implements wire.
func (d *descriptor) close() {
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	d.closeLocked()
}

func (d *descriptor) closeLocked() {
	d.r.socks[d.slot] = nil
	d.r.free = append(d.r.free, d.slot)
	unix.Close(d.fd) // leaves the epoll, too
}

func (r *reader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.file != nil {
		r.file.Close()
	}
}

func sockaddr(r *resolver) (unix.Sockaddr, error) {
	a := r.addr.Addr()
	if a.Is4() {
		return &unix.SockaddrInet4{Port: int(r.addr.Port()), Addr: a.As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(r.addr.Port()), Addr: a.As16()}
	if z := a.Zone(); z != "" {
		if i, err := net.InterfaceByName(z); err == nil {
			sa.ZoneId = uint32(i.Index)
		} else if n, err := strconv.ParseUint(z, 10, 32); err == nil {
			sa.ZoneId = uint32(n)
		} else {
			return nil, errors.New("this host has no interface " + z)
		}
	}
	return sa, nil
}

// descriptors is how many descriptors this process may have.
func descriptors() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<20))
}
