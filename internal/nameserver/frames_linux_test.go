package nameserver

import (
	"encoding/binary"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wokenFrom gives from how many octets on the reader of a socket is woken.
func wokenFrom(t *testing.T, c *net.TCPConn) (octets int) {
	t.Helper()
	raw, err := c.SyscallConn()
	fatal(t, err)
	fatal(t, raw.Control(func(fd uintptr) {
		octets, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT)
	}))
	fatal(t, err)
	return octets
}

// TestFramesDribble: who sends octet by octet does not wake the server by each: it waits for
// what may be a question, then for the rest of it, and then for another one.
func TestFramesDribble(t *testing.T) {
	client, server := accepted(t)
	if n := wokenFrom(t, server); n != headerSize {
		t.Fatalf("woken from %d octets on, want %d", n, headerSize)
	}
	in := newFrames(server)
	read := make(chan error)
	const size = 300
	go func() {
		if _, err := in.size(); err != nil {
			read <- err
			return
		}
		_, err := in.message(size, make([]byte, readSize))
		read <- err
	}()
	const first = 20
	_, err := client.Write(append(binary.BigEndian.AppendUint16(nil, size), make([]byte, first)...))
	fatal(t, err)
	for end := time.Now().Add(patience); wokenFrom(t, server) != size-first; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("woken from %d octets on, want %d", wokenFrom(t, server), size-first)
		}
	}
	_, err = client.Write(make([]byte, size-first))
	fatal(t, err)
	fatal(t, <-read)
	if n := wokenFrom(t, server); n != headerSize {
		t.Errorf("afterwards woken from %d octets on, want %d", n, headerSize)
	}
}
