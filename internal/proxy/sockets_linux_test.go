package proxy

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKeepAlive: both sockets of a connection ask a silent peer after seconds,
// and not after the system's two hours.
func TestKeepAlive(t *testing.T) {
	h, loops := newLoopsHarness(t, 1)
	c := h.listener(echoes(t))
	h.apply(c)
	ping(t, h.dial(c))
	seen := 0
	loops()[0].call(nil, func() {
		for _, c := range loops()[0].conns {
			if c == nil {
				continue
			}
			for _, fd := range []int32{c.client, c.backend} {
				seen++
				on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
				if err != nil || on == 0 {
					t.Errorf("SO_KEEPALIVE: %d, %v", on, err)
				}
				for _, option := range []int{unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL} {
					if s, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option); err != nil || s != keepAliveEvery {
						t.Errorf("option %d: %d s, %v", option, s, err)
					}
				}
			}
		}
	})
	if seen != 2 {
		t.Errorf("%d sockets", seen)
	}
}

// TestFamily: 0.0.0.0 is no address of IPv6; [::] is both.
func TestFamily(t *testing.T) {
	if ln, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no IPv6: %v", err)
		}
		t.Skipf("no IPv6 here: %v", err)
	} else {
		ln.Close()
	}
	for at, want := range map[string]bool{"0.0.0.0": false, "::": true} {
		h := newHarness(t, native)
		c := h.listener(says(t, "a"))
		c.Listen = netip.AddrPortFrom(netip.MustParseAddr(at), c.Listen.Port())
		h.apply(c)
		for host, want := range map[string]bool{"127.0.0.1": true, "::1": want} {
			conn, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(int(c.Listen.Port()))))
			if err == nil {
				conn.Close()
			}
			if (err == nil) != want {
				t.Errorf("listening on %s, connecting to %s: %v", at, host, err)
			}
		}
		h.stop()
	}
}
