package nameserver

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// generator asks a server over one socket from one thread that never sleeps. Times are of
// the system's clock, in nanoseconds: that by which it notes when a packet came.
type generator struct {
	d *descriptorUDP
	// due is when the question with an identifier was to be asked, left when it was; 0:
	// it is not open.
	due, left [1 << 16]int64
	id        uint16
}

// outcome is what came of many questions.
type outcome struct {
	asked int
	// took is how long the answers took from when the questions were to leave, held from
	// when they left, both until the system had the answer; late is how late they left.
	took, held, late []time.Duration
}

func newGenerator(t testing.TB, to netip.AddrPort) *generator {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	fatal(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	fatal(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) // answers are lost elsewhere
	fatal(t, unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}))
	g := &generator{d: newDescriptor(uintptr(fd), true)}
	for i := range g.d.out {
		g.d.out[i].Iov = &g.d.slots[i].replyIOV
	}
	return g
}

// drain is how long answers are waited for when no more is asked. In a control group, whoever
// asks next finds it with a whole period's CPU.
const drain = 300 * time.Millisecond

func wall() int64 { return time.Now().UnixNano() }

// put makes a question the i-th of the next batch.
func (g *generator) put(i int, question []byte, due, left int64) {
	s := &g.d.slots[i]
	n := copy(s.out[:], question)
	g.id++
	binary.BigEndian.PutUint16(s.out[:], g.id)
	g.due[g.id], g.left[g.id] = due, left
	s.replyIOV.Base = &s.out[0]
	s.replyIOV.SetLen(n)
}

// receive takes what has been answered.
func (g *generator) receive(o *outcome) (n int) {
	n, e := g.d.read(unix.MSG_DONTWAIT)
	if e != 0 {
		return 0
	}
	for i := range n {
		s := &g.d.slots[i]
		if g.d.in[i].n < headerSize {
			continue
		}
		id := binary.BigEndian.Uint16(s.in[:])
		if g.left[id] == 0 {
			continue
		}
		came := stamp(s.oob[:g.d.in[i].Controllen])
		o.took = append(o.took, time.Duration(came-g.due[id]))
		o.held = append(o.held, time.Duration(came-g.left[id]))
		g.left[id] = 0
	}
	return n
}

// stamp is when the system had a packet.
func stamp(control []byte) int64 {
	h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(control)))
	if len(control) < unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))) || h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_TIMESTAMPNS {
		return wall()
	}
	return (*unix.Timespec)(unsafe.Pointer(&control[unix.CmsgLen(0)])).Nano()
}

// pace asks so many times a second, on a schedule, whatever comes of it, or as often as it can
// if that is less; of the n-th question question says what it is. When there is time, beside
// is called, which takes little of it.
func (g *generator) pace(rate int, length time.Duration, question func(n int) []byte, beside func(now int64)) *outcome {
	total := int(float64(rate) * length.Seconds())
	o := &outcome{took: make([]time.Duration, 0, total), held: make([]time.Duration, 0, total), late: make([]time.Duration, 0, total)}
	clear(g.left[:])
	began := wall()
	for {
		now := wall()
		batch := 0
		for ; batch < batchSize && o.asked < total && now-began < int64(length); batch++ {
			due := began + int64(o.asked)*int64(time.Second)/int64(rate)
			if now < due {
				break
			}
			g.put(batch, question(o.asked), due, now)
			o.asked++
			o.late = append(o.late, time.Duration(now-due))
		}
		switch {
		case batch > 0:
			g.d.send(batch)
		case now-began > int64(length+drain):
			return o
		case beside != nil && now-began < int64(length):
			beside(now)
		}
		g.receive(o)
	}
}

// saturate keeps as many questions open as batches hold, so that neither side sleeps, and gives
// how many were answered.
func (g *generator) saturate(length time.Duration, question []byte) int {
	const most = 4 * batchSize
	o := new(outcome)
	clear(g.left[:])
	answered, open := 0, 0
	began := wall()
	last := began
	for now := began; now-began < int64(length+drain); now = wall() {
		if now-began >= int64(length) {
			g.receive(o)
			continue
		}
		if now-last > int64(200*time.Millisecond) {
			open = 0 // they were lost
		}
		if open <= most-batchSize {
			for i := range batchSize {
				g.put(i, question, now, now)
			}
			g.d.send(batchSize)
			open += batchSize
		}
		if n := g.receive(o); n > 0 {
			answered, open, last = answered+n, max(0, open-n), now
			o.took, o.held = o.took[:0], o.held[:0]
		}
	}
	return answered
}

func percentile(of []time.Duration, percent int) time.Duration {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return of[min(len(of)-1, len(of)*percent/100)]
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// crowd is who has TCP connections to a server and asks nothing: each is silent, or sends an
// octet of a question a second. A connection that was closed is opened again.
type crowd struct {
	to   unix.SockaddrInet4
	fds  []int
	drip int // every drip-th sends; 0: none
	at   int // whose turn is next
	due  int64
	// closed is how many were closed by the server.
	closed int
}

// gather opens n connections, of a hundred clients.
func gather(t testing.TB, to netip.AddrPort, n, drip int) *crowd {
	t.Helper()
	c := &crowd{to: unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}, drip: drip}
	for i := range n {
		fd, err := c.open(i)
		fatal(t, err)
		c.fds = append(c.fds, fd)
	}
	return c
}

func (c *crowd) open(i int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// Closed by us, none of them waits for its packets to die out.
	err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(i % 100)}})
	}
	if err == nil {
		err = unix.Connect(fd, &c.to)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// turn lets one connection have its turn, when it is due: each has one in a second.
func (c *crowd) turn(now int64) {
	if now < c.due {
		return
	}
	c.due = max(c.due, now-int64(10*time.Millisecond)) + int64(time.Second)/int64(len(c.fds))
	i := c.at
	c.at = (i + 1) % len(c.fds)
	fd := uintptr(c.fds[i])
	var b [1]byte
	n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_DONTWAIT, 0, 0)
	if e == 0 && n == 0 || e != 0 && e != unix.EAGAIN {
		c.closed++
		unix.Close(c.fds[i])
		if again, err := c.open(i); err == nil {
			c.fds[i] = again
		}
		return
	}
	if c.drip > 0 && i%c.drip == 0 {
		b[0] = 1 // of the length of a question, and then of the question
		syscall.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	}
}

func (c *crowd) leave() {
	for _, fd := range c.fds {
		unix.Close(fd)
	}
}
