package nameserver

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
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
	// lively: packets come often enough to be waited for by the worker's own means;
	// calm is how often it was called away since the last one.
	lively bool
	calm   int
	// What is known of the receive buffer, and when the last packet came.
	info [unix.SK_MEMINFO_VARS]uint32
	size uint32
	came unix.Timespec
}

const (
	// receiveTimeout makes signals end a call that waits, instead of the system
	// resuming it: see signal(7). It is none of ours to be woken so often.
	receiveTimeout = time.Second

	// mostCalm is how often a worker is called away, once in 10 ms, before no more
	// packets are expected soon.
	mostCalm = 2
)

// rawUDP is a bound socket that the standard library knows nothing of: what it knows of
// its poller watches, and is woken by each packet.
type rawUDP struct {
	mu sync.RWMutex // guards fd while replies are sent by others than the workers
	fd int          // -1: closed
}

// take takes the UDP socket from the standard library. Without it, say for want of
// descriptors, it is served portably.
func (k *socket) take() error {
	conn, err := k.udp.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	if cerr := conn.Control(func(from uintptr) {
		fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		return cerr
	}
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	// A call that has nothing to read is one that waits, and ends on a signal.
	timeout := unix.NsecToTimeval(int64(receiveTimeout))
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		unix.Close(fd)
		return os.NewSyscallError("setsockopt", err)
	}
	k.raw = &rawUDP{fd: fd}
	return k.udp.Close()
}

// interrupt ends the workers of a socket that wait.
func (k *socket) interrupt() {
	if k.raw != nil {
		// It says that there is no connection to be shut down, and wakes who reads.
		unix.Shutdown(k.raw.fd, unix.SHUT_RD)
	}
}

// close closes the socket, when no worker reads from it any more.
func (r *rawUDP) close() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	unix.Close(r.fd)
	r.fd = -1
}

// write sends a reply to a client, from the address in the control message.
func (r *rawUDP) write(p, control []byte, to netip.AddrPort) {
	d := outgoing.Get().(*descriptorUDP)
	defer outgoing.Put(d)
	if a := to.Addr(); a.Is4() {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(&d.from)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.As4()}
		binary.BigEndian.PutUint16((*[4]byte)(unsafe.Pointer(&d.from))[2:], to.Port())
		d.length = unix.SizeofSockaddrInet4
	} else {
		*(*unix.RawSockaddrInet6)(unsafe.Pointer(&d.from)) = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: a.As16(), Scope_id: indexOf(a.Zone())}
		binary.BigEndian.PutUint16((*[4]byte)(unsafe.Pointer(&d.from))[2:], to.Port())
		d.length = unix.SizeofSockaddrInet6
	}
	d.prepare(p, d.length, copy(d.oob[:], control))
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.fd >= 0 {
		syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&d.msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
}

// outgoing has what write needs, so that it allocates nothing.
var outgoing = sync.Pool{New: func() any { return new(descriptorUDP) }}

// serveUDP answers the packets of one socket until it is interrupted.
func (s *Server) serveUDP(ctx context.Context, k *socket) {
	if k.raw == nil {
		s.serveUDPPortably(ctx, k)
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s.serveDescriptor(ctx, k, uintptr(k.raw.fd))
}

func (s *Server) serveDescriptor(ctx context.Context, k *socket, fd uintptr) {
	w := s.newWorker(k)
	d := &descriptorUDP{fd: fd, in: w.in, wild: k.wild}
	p := pace{started: time.Now()}
	for {
		n, e := d.read(unix.MSG_DONTWAIT)
		if e == unix.EAGAIN {
			n, e = d.wait(&s.spare)
			p.rested()
			if e == 0 && d.crowded() {
				n, e = d.skip(n)
			}
		} else if p.late() && d.crowded() {
			n, e = d.skip(n)
		}
		if n == 0 && ctx.Err() != nil {
			return
		}
		if e != 0 {
			if e != unix.EINTR && e != unix.EAGAIN && s.readFailed(ctx, "read UDP", k.addr, os.NewSyscallError("recvmsg", e)) {
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

// wait waits for a packet and reads it, or until something is to be done.
//
// The scheduler takes the processor from a goroutine that waits in a call, and has two
// or three threads woken for that and for giving it back: more work than the answer.
// So as long as packets come, a worker waits without telling it, as if it calculated,
// and gives way when it gets the signal by which goroutines that calculate for long
// are told to. For those who wait like that there are processors more.
func (d *descriptorUDP) wait(spare *atomic.Int32) (int, syscall.Errno) {
	if d.lively {
		if spare.Add(-1) >= 0 {
			n, e := d.read(0)
			spare.Add(1)
			switch e {
			case 0:
				d.calm = 0
			case unix.EINTR:
				if d.calm++; d.calm >= mostCalm {
					d.lively = false
				}
				runtime.Gosched()
			default:
				d.lively = false
			}
			return n, e
		}
		spare.Add(1)
	}
	n, e := d.readIdle()
	d.lively, d.calm = e == 0, 0
	return n, e
}

// readIdle waits for a packet and reads it. The scheduler knows of it.
func (d *descriptorUDP) readIdle() (int, syscall.Errno) {
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

// widen makes processors for workers that wait, one for each that the program had.
func (s *Server) widen() (restore func()) {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(2 * n)
	s.spare.Store(int32(n))
	return func() { runtime.GOMAXPROCS(n) }
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

// indexOf is the way back.
func indexOf(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}

func hostOrder(p *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }

// zoneOf names an interface as the standard library does.
func zoneOf(index uint32) string {
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.Itoa(int(index))
}

// Where the program gets less of the CPU than there is to do, a control group for
// example lets it run for a tenth of each 100 ms, what is in the receive buffer is old
// when it runs again: it came first, and what came later found no room and was lost.
// Then the old is taken out unanswered. As many are lost as would be, for it costs
// little, but those that are answered are answered in time, and who asked early has
// asked another server by now, or asks again.

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
	// tooOld is the age from which packets are taken out, and how long a worker may
	// take for lookEach of them before it looks whether it was kept from its work.
	tooOld = 5 * time.Millisecond
)

// late says whether the last packets took so long that the worker did not run for most
// of that time.
func (p *pace) late() bool {
	if p.count++; p.count%lookEach != 0 {
		return false
	}
	now := time.Since(p.started)
	was := p.last
	p.last = now
	return was != 0 && now-was > tooOld
}

// rested: there was nothing to do.
func (p *pace) rested() { p.last, p.count = 0, 0 }

// crowded says whether the receive buffer is nearly full, so that packets are lost.
func (d *descriptorUDP) crowded() bool {
	d.size = uint32(unsafe.Sizeof(d.info))
	_, _, e := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, d.fd, unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&d.info)), uintptr(unsafe.Pointer(&d.size)), 0)
	return e == 0 && d.info[unix.SK_MEMINFO_RMEM_ALLOC] > d.info[unix.SK_MEMINFO_RCVBUF]/4*3
}

// skip reads on, from a packet of n octets, to the first one that is not old, if there
// is one.
func (d *descriptorUDP) skip(n int) (int, syscall.Errno) {
	e := syscall.Errno(0)
	for e == 0 && d.old() {
		n, e = d.read(unix.MSG_DONTWAIT)
	}
	return n, e
}

// old says whether the last packet came long ago. The system notes when packets come
// since it was asked for the first time; of those before that it is not known.
func (d *descriptorUDP) old() bool {
	_, _, e := syscall.RawSyscall(unix.SYS_IOCTL, d.fd, unix.SIOCGSTAMPNS, uintptr(unsafe.Pointer(&d.came)))
	return e == 0 && time.Since(time.Unix(int64(d.came.Sec), int64(d.came.Nsec))) > tooOld
}
