package nameserver

import (
	"bytes"
	"encoding/binary"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// accepted is a connection to a listener of the server's kind, both ends.
func accepted(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	k, err := listen(loopback, 0)
	fatal(t, err)
	defer k.udp.Close()
	defer k.tcp.Close()
	conn, err := net.Dial("tcp", k.addr.String())
	fatal(t, err)
	t.Cleanup(func() { conn.Close() })
	server, err = k.tcp.AcceptTCP()
	fatal(t, err)
	t.Cleanup(func() { server.Close() })
	fatal(t, conn.SetDeadline(time.Now().Add(patience)))
	fatal(t, server.SetDeadline(time.Now().Add(patience)))
	return conn.(*net.TCPConn), server
}

// TestFramesCut: wherever messages are cut on the way, they are read as soon as they are
// whole, those of no more than a header, too; and so is one that is longer than it may be.
func TestFramesCut(t *testing.T) {
	client, server := accepted(t)
	in, buf := newFrames(server), make([]byte, readSize)
	for _, n := range []int{headerSize, headerSize + 1, 2*headerSize - 1, 40, readSize + 5} {
		message := bytes.Repeat([]byte{byte(n)}, n)
		frame := append(binary.BigEndian.AppendUint16(nil, uint16(n)), message...)
		for cut := 1; cut < min(len(frame), 60); cut++ {
			read := make(chan struct{})
			go func() {
				defer close(read)
				size, err := in.size()
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := in.message(size, buf); err != nil || !bytes.Equal(got, message[:min(n, readSize)]) {
					t.Errorf("%d octets cut at %d: %x, %v", n, cut, got, err)
				}
			}()
			_, err := client.Write(frame[:cut])
			fatal(t, err)
			for range 20 {
				runtime.Gosched() // so that it is read now and then
			}
			_, err = client.Write(frame[cut:])
			fatal(t, err)
			if <-read; t.Failed() {
				return
			}
		}
	}
}

// TestTCPOctetByOctet: such a question has its answer.
func TestTCPOctetByOctet(t *testing.T) {
	c := dial(t, "tcp", serve(t, Config{}))
	for range 2 {
		raw := packed(t, question("db.", dns.TypeA))
		for _, octet := range append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...) {
			_, err := c.Conn.Write([]byte{octet})
			fatal(t, err)
		}
		if r := receive(t, c); len(r.Answer) != 1 {
			t.Errorf("got %v", r)
		}
	}
}
