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

// batchSize is how many packets are read and sent with one call, when there are as many.
// A call costs as much as several answers.
const batchSize = 16

// descriptorUDP is a socket by its number, with what is read from it and sent to it.
type descriptorUDP struct {
	fd      uintptr
	slots   [batchSize]slot
	in, out [batchSize]messageHeader
	used    int // packets of the last read
	// lively: packets come often enough to be waited for by the worker's own means;
	// calm is how often it was called away since the last one.
	lively bool
	calm   int
	// What is known of the receive buffer, and when the last packet came.
	info [unix.SK_MEMINFO_VARS]uint32
	size uint32
	came unix.Timespec
	// most is the age from which packets are taken out.
	most time.Duration
}

// messageHeader is struct mmsghdr of recvmmsg(2).
type messageHeader struct {
	unix.Msghdr
	n uint32 // octets
}

// slot has room for a packet, and for its reply.
type slot struct {
	in, out         [readSize]byte
	from            unix.RawSockaddrAny
	oob             [oobSize]byte
	inIOV, replyIOV unix.Iovec
}

func newDescriptor(fd uintptr, wild bool) *descriptorUDP {
	d := &descriptorUDP{fd: fd, used: batchSize}
	for i := range d.slots {
		s := &d.slots[i]
		s.inIOV.Base = &s.in[0]
		s.inIOV.SetLen(len(s.in))
		d.in[i].Name, d.in[i].Iov = (*byte)(unsafe.Pointer(&s.from)), &s.inIOV
		d.in[i].SetIovlen(1)
		if wild {
			d.in[i].Control = &s.oob[0]
		}
		d.out[i].SetIovlen(1)
	}
	return d
}

const (
	// receiveTimeout makes signals end a call that waits, instead of the system
	// resuming it: see signal(7). It is none of ours to be woken so often.
	receiveTimeout = time.Minute

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
	o := outgoing.Get().(*outgoingUDP)
	defer outgoing.Put(o)
	size := uint32(unix.SizeofSockaddrInet4)
	if a := to.Addr(); a.Is4() {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(&o.to)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.As4()}
	} else {
		*(*unix.RawSockaddrInet6)(unsafe.Pointer(&o.to)) = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: a.As16(), Scope_id: indexOf(a.Zone())}
		size = unix.SizeofSockaddrInet6
	}
	binary.BigEndian.PutUint16((*[4]byte)(unsafe.Pointer(&o.to))[2:], to.Port()) // behind the family in both
	o.iov.Base = unsafe.SliceData(p)
	o.iov.SetLen(len(p))
	o.msg = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&o.to)), Namelen: size, Iov: &o.iov}
	o.msg.SetIovlen(1)
	if n := copy(o.oob[:], control); n > 0 {
		o.msg.Control = &o.oob[0]
		o.msg.SetControllen(n)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.fd >= 0 {
		syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&o.msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
	o.iov.Base = nil
}

// outgoingUDP is what write needs, kept so that it allocates nothing.
type outgoingUDP struct {
	to  unix.RawSockaddrAny
	oob [oobSize]byte
	iov unix.Iovec
	msg unix.Msghdr
}

var outgoing = sync.Pool{New: func() any { return new(outgoingUDP) }}

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
	d := newDescriptor(fd, k.wild)
	d.most = s.tooOld
	p := pace{started: time.Now()}
	for {
		n, e := d.next(&p, &s.spare)
		if e != 0 {
			if e != unix.EINTR && e != unix.EAGAIN && s.readFailed(ctx, "read UDP", k.addr, os.NewSyscallError("recvmmsg", e)) {
				return
			}
			continue
		}
		if d.in[0].n == 0 && ctx.Err() != nil {
			return
		}
		replies := 0
		for i := range n {
			at := &d.slots[i]
			w.out = at.out[:]
			var source []byte
			if k.wild {
				source = replySource(at.oob[:d.in[i].Controllen])
			}
			if reply := w.reply(at.in[:d.in[i].n], at.sender(), source); reply != nil {
				d.put(replies, i, reply, source)
				replies++
			}
		}
		d.send(replies)
	}
}

// put makes a reply to the packet in a slot the one to be sent at a place.
func (d *descriptorUDP) put(place, i int, reply, source []byte) {
	at, m := &d.slots[i], &d.out[place]
	at.replyIOV.Base = unsafe.SliceData(reply)
	at.replyIOV.SetLen(len(reply))
	m.Name, m.Namelen, m.Iov = d.in[i].Name, d.in[i].Namelen, &at.replyIOV
	m.Control = unsafe.SliceData(source)
	m.SetControllen(len(source))
}

// send sends the first replies. One that cannot be sent is as good as lost on the way,
// and the client asks again; the others are sent.
func (d *descriptorUDP) send(replies int) {
	for at := 0; at < replies; {
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDMMSG, d.fd, uintptr(unsafe.Pointer(&d.out[at])), uintptr(replies-at), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if e != 0 {
			n = 1
		}
		at += int(n)
	}
}

// next reads the packets that are to be answered next. It waits when there are none.
func (d *descriptorUDP) next(p *pace, spare *atomic.Int32) (int, syscall.Errno) {
	n, e := d.read(unix.MSG_DONTWAIT)
	if e == unix.EAGAIN {
		n, e = d.wait(spare)
	}
	if p.late() && e == 0 && d.crowded() {
		return d.skip(n)
	}
	return n, e
}

// read reads what packets there are, batchSize at most, and gives how many. With
// MSG_WAITFORONE it waits for the first.
func (d *descriptorUDP) read(flags uintptr) (int, syscall.Errno) {
	d.prepare()
	n, _, e := syscall.RawSyscall6(unix.SYS_RECVMMSG, d.fd, uintptr(unsafe.Pointer(&d.in)), batchSize, flags, 0, 0)
	return d.got(n, e)
}

// got notes how many packets were read.
func (d *descriptorUDP) got(n uintptr, e syscall.Errno) (int, syscall.Errno) {
	if e != 0 {
		return 0, e
	}
	d.used = int(n)
	return d.used, 0
}

// prepare gives all room to the packets that are to come. The system says in the same
// place how much it took.
func (d *descriptorUDP) prepare() {
	for i := range d.used {
		m := &d.in[i]
		m.Namelen = unix.SizeofSockaddrAny
		if m.Control != nil {
			m.SetControllen(oobSize)
		}
	}
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
			n, e := d.read(unix.MSG_WAITFORONE)
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
	d.prepare()
	n, _, e := syscall.Syscall6(unix.SYS_RECVMMSG, d.fd, uintptr(unsafe.Pointer(&d.in)), batchSize, unix.MSG_WAITFORONE, 0, 0)
	return d.got(n, e)
}

// widen makes processors for workers that wait, one for each that the program had.
func (s *Server) widen() (restore func()) {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(2 * n)
	s.spare.Store(int32(n))
	return func() { runtime.GOMAXPROCS(n) }
}

// sender is who sent the packet.
func (d *slot) sender() netip.AddrPort {
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

// pace notices that a worker was kept from its work, or waited for some.
type pace struct {
	started time.Time
	last    time.Duration // since started, when the last batch began
}

// late says whether the last batch began so long ago that there may be something old.
// Another one begins.
func (p *pace) late() bool {
	was := p.last
	p.last = time.Since(p.started)
	return p.last-was > tooOld
}

// crowded says whether the receive buffer is nearly full, so that packets are lost.
func (d *descriptorUDP) crowded() bool {
	d.size = uint32(unsafe.Sizeof(d.info))
	_, _, e := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, d.fd, unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&d.info)), uintptr(unsafe.Pointer(&d.size)), 0)
	return e == 0 && d.info[unix.SK_MEMINFO_RMEM_ALLOC] > d.info[unix.SK_MEMINFO_RCVBUF]/4*3
}

// skip reads on, from a batch of n packets, to the one behind the first whose last packet
// is not old: of that one the others may be. There may be none.
func (d *descriptorUDP) skip(n int) (int, syscall.Errno) {
	e, old := syscall.Errno(0), true
	for skipped := false; e == 0 && old; skipped = true {
		if old = d.old(); old || skipped {
			n, e = d.read(unix.MSG_DONTWAIT)
		}
	}
	return n, e
}

// old says whether the last packet that was read came long ago. The system notes when packets come
// since it was asked for the first time; of those before that it is not known.
func (d *descriptorUDP) old() bool {
	_, _, e := syscall.RawSyscall(unix.SYS_IOCTL, d.fd, unix.SIOCGSTAMPNS, uintptr(unsafe.Pointer(&d.came)))
	return e == 0 && time.Since(time.Unix(int64(d.came.Sec), int64(d.came.Nsec))) > d.most
}
