package check

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"murakumo/internal/check/expr"
)

// pingCheck sends one echo request of ICMP and waits for its reply. It sends no
// second one, as udpMatch does not.
func pingCheck(c expr.Call) Probe {
	host := c.Text("host")
	return func(ctx context.Context) error {
		addr, err := lookup(ctx, host)
		if err != nil {
			return fmt.Errorf("ping %s: %w", host, err)
		}
		what := "ping " + host
		if addr.String() != host {
			what += " at " + addr.String()
		}
		if err := ping(ctx, addr); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
}

// lookup gives the first address of a host, as the system prefers them.
func lookup(ctx context.Context, host string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap(), nil
	}
	addrs, err := (&net.Resolver{PreferGo: true}).LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	return addrs[0].Unmap(), nil // without an address there is an error
}

func ping(ctx context.Context, addr netip.Addr) error {
	conn, raw, err := openPing(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer interrupt(ctx, conn)()

	// What tells our reply from those that others wait for: a raw socket gets
	// all of them, and the kernel chooses the number of the other kind.
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(nonce[0])<<8 | int(nonce[1]), Seq: 1, Data: nonce}}
	if addr.Is6() {
		request.Type = ipv6.ICMPTypeEchoRequest
	}
	packet, err := request.Marshal(nil) // the kernel adds the checksum of IPv6
	if err != nil {
		return err
	}
	if _, err := conn.Write(packet); err != nil {
		return because(ctx, "sending the echo request", plainly(err))
	}
	for buf := make([]byte, 2048); ; {
		n, err := conn.Read(buf)
		if err != nil {
			return because(ctx, "waiting for the echo reply", plainly(err))
		}
		if isReply(buf[:n], raw && addr.Is4(), addr.Is6(), nonce) {
			return nil
		}
	}
}

// isReply tells whether a packet is the reply with our nonce. What else comes is
// of others.
func isReply(packet []byte, header, six bool, nonce []byte) bool {
	if header { // of IP, which raw sockets of IPv4 leave there
		if len(packet) == 0 || int(packet[0]&15)*4 > len(packet) {
			return false
		}
		packet = packet[packet[0]&15*4:]
	}
	proto := 1
	if six {
		proto = 58
	}
	m, err := icmp.ParseMessage(proto, packet)
	if err != nil || m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply {
		return false
	}
	echo, ok := m.Body.(*icmp.Echo)
	return ok && bytes.Equal(echo.Data, nonce)
}

// plainly takes away what net says of a socket: it takes these for UDP's.
func plainly(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// openPing opens a socket for echo requests to an address: of the kind that needs
// no privilege, but the system's consent, or else a raw one.
func openPing(addr netip.Addr) (conn net.Conn, raw bool, err error) {
	conn, err = openICMP(addr, unix.SOCK_DGRAM)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EPROTONOSUPPORT) {
		raw = true
		conn, err = openICMP(addr, unix.SOCK_RAW)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		groups, _ := os.ReadFile("/proc/sys/net/ipv4/ping_group_range") // for the message only
		err = fmt.Errorf("no permission for echo requests: let sysctl net.ipv4.ping_group_range (now %q) include a group of the daemon's, or give it CAP_NET_RAW: %w",
			strings.Join(strings.Fields(string(groups)), " "), err)
	}
	return conn, raw, err
}

func openICMP(addr netip.Addr, kind int) (net.Conn, error) {
	family, proto, level, option := unix.AF_INET, unix.IPPROTO_ICMP, unix.IPPROTO_IP, unix.IP_RECVERR
	var to unix.Sockaddr
	if addr.Is4() {
		to = &unix.SockaddrInet4{Addr: addr.As4()}
	} else {
		family, proto, level, option = unix.AF_INET6, unix.IPPROTO_ICMPV6, unix.IPPROTO_IPV6, unix.IPV6_RECVERR
		zone := 0
		if addr.Zone() != "" {
			link, err := net.InterfaceByName(addr.Zone())
			if err != nil {
				return nil, err
			}
			zone = link.Index
		}
		to = &unix.SockaddrInet6{Addr: addr.As16(), ZoneId: uint32(zone)}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "icmp")
	defer file.Close() // FileConn has its own
	// Also "host unreachable" and its like, which may pass, and of which the
	// kernel would say nothing otherwise, are told at once.
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	// Connected, so that nobody else is heard.
	if err := unix.Connect(fd, to); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(file)
}
