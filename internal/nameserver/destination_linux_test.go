package nameserver

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestReplySource: the address of the question stays, the interface goes. That
// the system understands the result is in TestServeFromAskedAddress.
func TestReplySource(t *testing.T) {
	t.Run("IPv4", func(t *testing.T) {
		asked := unix.Inet4Pktinfo{Ifindex: 3, Spec_dst: [4]byte{10, 0, 0, 1}, Addr: [4]byte{10, 0, 0, 1}}
		want := asked
		want.Ifindex = 0
		if got := replySource(unix.PktInfo4(&asked)); string(got) != string(unix.PktInfo4(&want)) {
			t.Errorf("got %x", got)
		}
	})
	t.Run("IPv6", func(t *testing.T) {
		asked := unix.Inet6Pktinfo{Ifindex: 3, Addr: [16]byte{0xfd, 15: 1}}
		want := asked
		want.Ifindex = 0
		if got := replySource(unix.PktInfo6(&asked)); string(got) != string(unix.PktInfo6(&want)) {
			t.Errorf("got %x", got)
		}
	})
	for _, b := range [][]byte{nil, {1, 2, 3}, unix.UnixRights(1)} {
		if got := replySource(b); got != nil {
			t.Errorf("%x: got %x", b, got)
		}
	}
}
