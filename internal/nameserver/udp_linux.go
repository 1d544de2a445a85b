package nameserver

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// On Linux each worker has a thread of its own and calls the system itself: what the
// standard library does around a call costs as much as the answer. What finds nothing
// to read blocks, as a program in C would. See docs/decisions/0006-dns-answer-path.md.

// descriptorUDP is a socket by its number, with what is read from it.
type descriptorUDP struct {
	fd     uintptr
	in     []byte
	from   unix.RawSockaddrAny
	oob    [oobSize]byte
	iov    unix.Iovec
	msg    unix.Msghdr
	wild   bool
	length uint32 // of from
}

// serveUDP answers the packets of one socket until it is closed.
func (s *Server) serveUDP(ctx context.Context, k *socket) {
	raw, err := k.udp.SyscallConn()
	if err != nil {
		s.readFailed(ctx, "take the UDP socket", k.addr, err)
		return
	}
	// Not closed before serve returns: its number may be another file's by then.
	raw.Control(func(fd uintptr) {
		// A call that has nothing to read is one that waits. Those of forwarded
		// replies go by the same socket and may wait for room to be sent then, which
		// is there as soon as the system has sent something.
		if err := unix.SetNonblock(int(fd), false); err != nil {
			s.log.Error("dns: cannot wait for packets", "address", k.addr, "error", os.NewSyscallError("fcntl", err))
			return
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		s.serveDescriptor(ctx, k, fd)
	})
}

// interrupt ends the workers of a socket that wait.
func (k *socket) interrupt() {
	raw, err := k.udp.SyscallConn()
	if err != nil {
		return
	}
	// It says that there is no connection to be shut down, and wakes who reads.
	raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RD) })
}

func (s *Server) serveDescriptor(ctx context.Context, k *socket, fd uintptr) {
	w := s.newWorker(k)
	d := &descriptorUDP{fd: fd, in: w.in, wild: k.wild}
	p := pace{started: time.Now()}
	for {
		n, e := d.read(unix.MSG_DONTWAIT)
		if e == unix.EAGAIN {
			n, e = d.wait()
			p.rested()
		} else if p.late() {
			p.skip(d)
		}
		if n == 0 && ctx.Err() != nil {
			return
		}
		if e != 0 {
			if e != unix.EINTR && s.readFailed(ctx, "read UDP", k.addr, os.NewSyscallError("recvmsg", e)) {
				return
			}
			continue
		}
		from := d.sender()
		if reply := w.reply(d.in[:n], from, d.source()); reply != nil {
			// A reply that cannot be sent is as good as lost on the way, and the
			// client asks again.
			d.send(reply)
		}
	}
}

// read reads a packet, if there is one.
func (d *descriptorUDP) read(flags uintptr) (int, syscall.Errno) {
	var n uintptr
	var e syscall.Errno
	if d.wild {
		d.prepare(d.in, unix.SizeofSockaddrAny, len(d.oob))
		n, _, e = syscall.RawSyscall(unix.SYS_RECVMSG, d.fd, uintptr(unsafe.Pointer(&d.msg)), flags)
		d.length = d.msg.Namelen
	} else {
		d.length = unix.SizeofSockaddrAny
		n, _, e = syscall.RawSyscall6(unix.SYS_RECVFROM, d.fd, uintptr(unsafe.Pointer(unsafe.SliceData(d.in))), uintptr(len(d.in)), flags, uintptr(unsafe.Pointer(&d.from)), uintptr(unsafe.Pointer(&d.length)))
	}
	return int(n), e
}

// wait waits for a packet and reads it. The scheduler knows of it.
func (d *descriptorUDP) wait() (int, syscall.Errno) {
	var n uintptr
	var e syscall.Errno
	if d.wild {
		d.prepare(d.in, unix.SizeofSockaddrAny, len(d.oob))
		n, _, e = syscall.Syscall(unix.SYS_RECVMSG, d.fd, uintptr(unsafe.Pointer(&d.msg)), 0)
		d.length = d.msg.Namelen
	} else {
		d.length = unix.SizeofSockaddrAny
		n, _, e = syscall.Syscall6(unix.SYS_RECVFROM, d.fd, uintptr(unsafe.Pointer(unsafe.SliceData(d.in))), uintptr(len(d.in)), 0, uintptr(unsafe.Pointer(&d.from)), uintptr(unsafe.Pointer(&d.length)))
	}
	return int(n), e
}

// prepare makes the message header for a packet in p.
func (d *descriptorUDP) prepare(p []byte, name uint32, oob int) {
	d.iov.Base = unsafe.SliceData(p)
	d.iov.SetLen(len(p))
	d.msg = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&d.from)), Namelen: name, Iov: &d.iov}
	d.msg.SetIovlen(1)
	if oob > 0 {
		d.msg.Control = &d.oob[0]
		d.msg.SetControllen(oob)
	}
}

// source is the control message with which the reply leaves from where it was asked.
func (d *descriptorUDP) source() []byte {
	if !d.wild {
		return nil
	}
	return replySource(d.oob[:d.msg.Controllen])
}

// send sends a reply to where the last packet came from.
func (d *descriptorUDP) send(p []byte) {
	if d.wild {
		d.prepare(p, d.length, int(d.msg.Controllen))
		syscall.RawSyscall(unix.SYS_SENDMSG, d.fd, uintptr(unsafe.Pointer(&d.msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		return
	}
	syscall.RawSyscall6(unix.SYS_SENDTO, d.fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&d.from)), uintptr(d.length))
}

// sender is who sent the last packet.
func (d *descriptorUDP) sender() netip.AddrPort {
	switch d.from.Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(&d.from))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), hostOrder(&a.Port))
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(&d.from))
		addr := netip.AddrFrom16(a.Addr)
		if a.Scope_id != 0 { // a link-local address: who answers later needs it
			addr = addr.WithZone(zoneOf(a.Scope_id))
		}
		return netip.AddrPortFrom(addr, hostOrder(&a.Port))
	}
	return netip.AddrPort{}
}

func hostOrder(p *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }

// zoneOf names an interface as the standard library does.
func zoneOf(index uint32) string {
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.Itoa(int(index))
}

// pace notices that a worker that has always something to do was kept from it.
type pace struct {
	started time.Time
	last    time.Duration // since started
	count   uint8
}

const (
	// lookEach is how many packets there are between two looks at the clock, which
	// cost as much as a hundredth of one.
	lookEach = 8
	// keptFrom is how long a worker may take for as many. It needs some 20 µs.
	keptFrom = 5 * time.Millisecond
	// leastPacket is how much of a receive buffer the shortest question takes.
	leastPacket = 768
)

// late says whether the last packets took so long that the worker did not run for most
// of that time: since its control group has used up its share of the CPU, or many
// others want it.
func (p *pace) late() bool {
	if p.count++; p.count%lookEach != 0 {
		return false
	}
	now := time.Since(p.started)
	was := p.last
	p.last = now
	return was != 0 && now-was > keptFrom
}

// rested: there was nothing to do.
func (p *pace) rested() { p.last, p.count = 0, 0 }

// skip takes out what is in a buffer that is nearly full: it has come first, and is
// old by now, while what came later found no room and was lost. As many are lost as
// would be, but those that are answered are answered in time, and who asked early has
// asked another server by now, or asks again.
func (p *pace) skip(d *descriptorUDP) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, e := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, d.fd, unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return
	}
	held, room := info[unix.SK_MEMINFO_RMEM_ALLOC], info[unix.SK_MEMINFO_RCVBUF]
	if held < room/4*3 {
		return
	}
	for range held / leastPacket {
		var b [1]byte // the rest is thrown away
		if _, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, d.fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_DONTWAIT, 0, 0); e != 0 {
			return
		}
	}
}
