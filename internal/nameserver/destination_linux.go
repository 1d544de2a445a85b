package nameserver

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// wantDestination asks the system to tell with each packet which of our
// addresses it was sent to. It is a net.ListenConfig.Control.
func wantDestination(network, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		if network == "udp6" {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	}); cerr != nil {
		return cerr
	}
	return err
}

// replySource turns the control message of a packet into the one with which
// the reply leaves from the address that was asked. The two have the same form
// (ip(7), ipv6(7)); only the interface must go, so that the reply is routed as
// any other packet and not forced out where the question came in. It changes
// oob in place.
func replySource(oob []byte) []byte {
	if len(oob) < unix.SizeofCmsghdr {
		return nil // none was asked for, and the library reads without looking
	}
	h, data, _, err := unix.ParseOneSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	switch {
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		clear(data[0:4]) // in_pktinfo: interface, local address, destination
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		clear(data[16:20]) // in6_pktinfo: address, interface
	default:
		return nil
	}
	return oob
}
