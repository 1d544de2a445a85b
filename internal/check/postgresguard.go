package check

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// messageGuard lets a PostgreSQL server's messages through to the driver one by
// one, whole and not too long. The driver (v5.12.0) would take any length, and
// work for seconds when a server asks for that in SCRAM.
type messageGuard struct {
	net.Conn
	pending []byte // of a message that was let through
	err     error  // of the guard's own, a guarded
}

// guarded is an error of the guard, to be found again in what the driver makes
// of it.
type guarded struct{ error }

func (g guarded) Unwrap() error { return g.error }

// maxMessage is far above an error or a row of ours.
const maxMessage = 16 << 10

func (g *messageGuard) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	if len(g.pending) == 0 {
		if err := g.fetch(); err != nil {
			g.err = guarded{err}
			return 0, g.err
		}
	}
	n := copy(p, g.pending)
	g.pending = g.pending[n:]
	return n, nil
}

func (g *messageGuard) fetch() error {
	// A letter for the kind, and the length of the rest with its own four
	// octets.
	message := make([]byte, 5)
	if _, err := io.ReadFull(g.Conn, message); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	size := binary.BigEndian.Uint32(message[1:])
	if kind := message[0]; (kind < 'A' || kind > 'Z') && (kind < 'a' || kind > 'z') && (kind < '0' || kind > '9') || size < 4 || size > maxMessage {
		return fmt.Errorf("the answer is not of a PostgreSQL server: %s", excerpt(message))
	}
	message = append(message, make([]byte, size-4)...)
	if _, err := io.ReadFull(g.Conn, message[5:]); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	// Authentication, 11: SCRAM goes on.
	if body := message[5:]; message[0] == 'R' && bytes.HasPrefix(body, []byte{0, 0, 0, 11}) {
		if err := affordable(body[4:]); err != nil {
			return err
		}
	}
	g.pending = message
	return nil
}
