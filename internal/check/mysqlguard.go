package check

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
)

// packetGuard lets a MySQL server's packets through to the driver one by one,
// whole and only if they are long enough for what they claim to be. The driver
// (v1.10.1) trusts lengths: a greeting cut short makes it panic, which leaves
// its goroutine behind, and four octets of some other protocol make it ask for
// 16 MiB. It also forgets why a read failed; err keeps that.
//
// It knows what can come before and after a login, as the answer to a ping, and
// how the answer to a query begins. What follows in that is bounded like all
// else, and a panic over it leaves nothing behind.
type packetGuard struct {
	net.Conn
	greeted  bool
	querying bool   // answers are those to queries
	asked    bool   // the next packet begins an answer
	pending  []byte // of a packet that was let through
	err      error
}

// Write notes that an answer is to come.
func (g *packetGuard) Write(p []byte) (int, error) {
	g.asked = true
	return g.Conn.Write(p)
}

// maxPacket is far above a greeting, an error or a public key.
const maxPacket = 16 << 10

func (g *packetGuard) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	if len(g.pending) == 0 {
		if g.err = g.fetch(); g.err != nil {
			return 0, g.err
		}
	}
	n := copy(p, g.pending)
	g.pending = g.pending[n:]
	return n, nil
}

func (g *packetGuard) fetch() error {
	what := "the answer"
	if !g.greeted {
		what = "the greeting"
	}
	// Header: three octets of length, one of sequence.
	packet := make([]byte, 4)
	if _, err := io.ReadFull(g.Conn, packet); err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	size := int(packet[0]) | int(packet[1])<<8 | int(packet[2])<<16
	if size == 0 || size > maxPacket {
		return fmt.Errorf("%s is not of a MySQL server", what)
	}
	packet = append(packet, make([]byte, size)...)
	if _, err := io.ReadFull(g.Conn, packet[4:]); err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	sound := soundReply
	switch {
	case !g.greeted && packet[4] != 0xff:
		sound = soundGreeting
	case g.querying && g.asked:
		sound = soundResult
	case g.querying:
		sound = func([]byte) bool { return true } // columns and rows, in which any octet may come first
	}
	g.asked = false
	if !sound(packet[4:]) {
		return fmt.Errorf("%s is not of a MySQL server, or cut short", what)
	}
	g.greeted = true
	g.pending = packet
	return nil
}

// soundGreeting: version (1), text to NUL, connection (4), scramble (8), 0,
// capabilities (2), charset (1), status (2), capabilities (2), length (1),
// reserved (10), scramble (13), plugin. Servers before 4.1 end behind the
// first capabilities; the driver has no use for them.
func soundGreeting(b []byte) bool {
	end := bytes.IndexByte(b, 0)
	return end > 0 && len(b) >= end+1+4+8+1+2+1+2+2+1+10+13
}

// soundReply: the first octet tells the kind of an answer.
func soundReply(b []byte) bool {
	switch b[0] {
	case 0x00: // OK: affected rows, insert id, status (2)
		rest, ok := skipInteger(b[1:])
		if ok {
			rest, ok = skipInteger(rest)
		}
		return ok && len(rest) >= 2
	case 0xff: // error: number (2), # and state (5) or none, message
		return len(b) >= 4 && (b[3] != '#' || len(b) >= 9)
	case 0xfe: // use another plugin: name to NUL, scramble, maybe NUL
		name, scramble, _ := bytes.Cut(b[1:], []byte{0})
		return string(name) != "mysql_native_password" || len(bytes.TrimSuffix(scramble, []byte{0})) >= 20
	case 0x01: // more of the plugin's own: for us, a step of it or a public key
		if block, _ := pem.Decode(b[1:]); block != nil {
			key, err := x509.ParsePKIXPublicKey(block.Bytes)
			_, isRSA := key.(*rsa.PublicKey)
			return err == nil && isRSA
		}
	}
	return true
}

// soundResult: an answer to a query begins with the number of columns, for which
// the driver makes room at once, or is an error. There is no answer of ours
// that is a mere OK or asks for a file.
func soundResult(b []byte) bool {
	if b[0] == 0xff {
		return soundReply(b)
	}
	return 1 <= b[0] && b[0] <= 250 && len(b) <= 2 // MariaDB adds an octet if asked to
}

// skipInteger moves over an integer in MySQL's length encoding.
func skipInteger(b []byte) ([]byte, bool) {
	if len(b) == 0 {
		return nil, false
	}
	n := 1
	switch b[0] {
	case 0xfc:
		n = 3
	case 0xfd:
		n = 4
	case 0xfe:
		n = 9
	}
	if len(b) < n {
		return nil, false
	}
	return b[n:], true
}
