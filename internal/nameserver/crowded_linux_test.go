package nameserver

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowdedSocket is a socket with a small receive buffer, and a function that puts a packet
// in and says whether there was room.
func crowdedSocket(t *testing.T) (d *descriptorUDP, put func() bool) {
	t.Helper()
	var fds [2]int
	for i := range fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		fatal(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		fds[i] = fd
	}
	fatal(t, unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<10))
	fatal(t, unix.Bind(fds[0], &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	at, err := unix.Getsockname(fds[0])
	fatal(t, err)
	fatal(t, unix.Connect(fds[1], at))
	d = newDescriptor(uintptr(fds[0]), false)
	d.most = time.Hour
	d.old() // from now on the system notes when packets come
	lost := func() uint32 {
		d.crowded()
		return d.info[unix.SK_MEMINFO_DROPS]
	}
	return d, func() bool {
		before := lost()
		fatal(t, unix.Send(fds[1], make([]byte, 40), 0))
		return lost() == before
	}
}

// all reads what is left.
func (d *descriptorUDP) all() (packets int) {
	for {
		n, e := d.read(unix.MSG_DONTWAIT)
		if e != 0 {
			return packets
		}
		packets += n
	}
}

// TestCrowded: a buffer is crowded when it is three quarters full.
func TestCrowded(t *testing.T) {
	d, put := crowdedSocket(t)
	at, fit := 0, 0
	for put() {
		if fit++; at == 0 && d.crowded() {
			at = fit
		}
	}
	if at < fit*7/10 || at > fit*8/10 {
		t.Errorf("crowded by %d of %d packets", at, fit)
	}
	if n := d.all(); n != fit || d.crowded() {
		t.Errorf("%d of %d packets read, crowded %v", n, fit, d.crowded())
	}
}

// TestTooMuch: who comes to a buffer that is nearly full after he was kept from it takes out
// what is old. In any other case everything is answered, however old it is.
func TestTooMuch(t *testing.T) {
	const old = -time.Hour // so everything is
	kept := func() *pace { return &pace{started: time.Now().Add(-2 * tooOld)} }
	busy := func() *pace { return &pace{started: time.Now().Add(time.Hour)} } // the last batch was just now
	for _, tt := range []struct {
		what    string
		most    time.Duration
		pace    func() *pace
		full    bool
		nothing bool // is answered
	}{
		{"kept from it, full, old", old, kept, true, true},
		{"kept from it, full, not old", time.Hour, kept, true, false},
		{"kept from it, old, but there is room", old, kept, false, false},
		{"always at it", old, busy, true, false},
	} {
		t.Run(tt.what, func(t *testing.T) {
			d, put := crowdedSocket(t)
			d.most = tt.most
			queued := 2 * batchSize
			if tt.full {
				for queued = 0; put(); queued++ {
				}
			} else {
				for range queued {
					put()
				}
			}
			n, e := d.next(tt.pace(), new(atomic.Int32))
			left := d.all()
			switch {
			case tt.nothing && (e != unix.EAGAIN || left != 0):
				t.Errorf("%d packets to be answered, %v, %d left; want none", n, e, left)
			case !tt.nothing && (e != 0 || n != batchSize || left != queued-batchSize):
				t.Errorf("%d packets to be answered, %v, %d left of %d; want all", n, e, left, queued)
			}
		})
	}
}

// TestSkip: what is taken out ends with the batch in which the old end.
func TestSkip(t *testing.T) {
	const early, late = batchSize + 3, 3 * batchSize
	for range 100 {
		d, put := crowdedSocket(t)
		for range early {
			put()
		}
		before := time.Now()
		for time.Since(before) < 50*time.Millisecond { // what is old has an age
		}
		first := time.Now()
		for range late {
			put()
		}
		d.most = first.Sub(before) / 2
		n, e := d.read(unix.MSG_DONTWAIT)
		if e == 0 {
			n, e = d.skip(n)
		}
		if time.Since(first) > d.most {
			continue // the machine stood still, and all became old
		}
		if left := d.all(); e != syscall.Errno(0) || n != batchSize || left != early+late-3*batchSize {
			t.Errorf("%d packets, %v, and %d left", n, e, left)
		}
		return
	}
	t.Error("this machine stands still")
}
