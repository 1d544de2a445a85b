package check

import (
	"context"
	"fmt"
	"net"
	"strings"
	"unicode"
)

// maxTalk bounds what is read from one connection on which a server and a
// probe talk in turns. The longest such talk, a login over TLS and the state of
// a replica, takes some 10 KiB.
const maxTalk = 256 << 10

// bounded is a connection that ends when too much was read from it. It keeps
// why a read failed, because libraries forget it.
type bounded struct {
	net.Conn
	left   int
	err    error
	unread []byte // is read again
}

func (b *bounded) Read(p []byte) (int, error) {
	if len(b.unread) > 0 {
		n := copy(p, b.unread)
		b.unread = b.unread[n:]
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	if b.left <= 0 {
		b.err = fmt.Errorf("the server sent more than %d octets", maxTalk)
		return 0, b.err
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	b.err = err
	return n, err
}

// converse connects and lets talk speak until it is done or ctx ends, and hangs
// up. What talk says went wrong, for example by because, is told with the
// protocol and the address.
func converse(ctx context.Context, protocol, network, address string, talk func(*bounded) error) error {
	conn, err := dial(ctx, network, address)
	if err != nil {
		return err // has the address
	}
	defer conn.Close()
	defer interrupt(ctx, conn)()
	if err := talk(&bounded{Conn: conn, left: maxTalk}); err != nil {
		return fmt.Errorf("%s at %s: %w", protocol, address, err)
	}
	return nil
}

// printable makes one line of text that is fit for a log.
func printable(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?")))
}

// clean is printable and keeps a server's words short.
func clean(text string) string {
	const most = 300
	if r := []rune(printable(text)); len(r) > most {
		return string(r[:most]) + "…"
	}
	return printable(text)
}
