package nameserver

import (
	"errors"
	"net"
)

// netWire is a socket of the standard library, read by a goroutine of its own:
// what there is on other systems than Linux.
type netWire struct{ *net.UDPConn }

func dialPortable(k *upSocket) (wire, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(k.p.r.addr))
	if err != nil {
		return nil, err
	}
	k.p.l.f.spawn(func() {
		buf := make([]byte, readSize)
		for {
			switch n, err := conn.Read(buf); {
			case err == nil:
				k.received(buf[:n])
			case errors.Is(err, net.ErrClosed):
				return
			default:
				k.refused(err)
			}
		}
	})
	return netWire{conn}, nil
}

func (w netWire) send(packet []byte) error {
	_, err := w.Write(packet)
	return err
}

func (w netWire) close() { w.Close() }
