package check

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"murakumo/internal/check/expr"
)

// maxMatch bounds what is read for a match: a banner or a reply fits, and a
// server that never ends cannot fill memory or keep the matching busy.
const maxMatch = 16 << 10

// tcpMatch connects, sends, and reads until the regular expression is found in
// what came so far. Whether more would follow cannot be known: $ is where the
// server paused.
func tcpMatch(c expr.Call) Probe {
	address, regex, send := hostPort(c.Text("host"), c.Int("port")), c.Regexp("regex"), c.Text("send")
	return func(ctx context.Context) error {
		conn, err := dial(ctx, "tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		defer interrupt(ctx, conn)()

		if _, err := io.WriteString(conn, send); err != nil {
			return because(ctx, "tcp "+address+": sending", err)
		}
		shown := func(reply []byte) string { return excerpt(unsaid(reply, send)) }
		reply := make([]byte, 0, maxMatch)
		for len(reply) < maxMatch {
			n, err := conn.Read(reply[len(reply):maxMatch])
			reply = reply[:len(reply)+n]
			switch {
			case n > 0 && regex.Match(reply):
				return nil
			case err == io.EOF:
				return fmt.Errorf("tcp %s: the server hung up and had sent no match: %s", address, shown(reply))
			case err != nil:
				return because(ctx, fmt.Sprintf("tcp %s: no match in the %d octets that came, %s", address, len(reply), shown(reply)), err)
			}
		}
		return fmt.Errorf("tcp %s: no match in the first %d octets, which begin %s", address, maxMatch, shown(reply))
	}
}

// unsaid takes out of a reply what it repeats of what was sent, which may be a
// password.
func unsaid(reply []byte, send string) []byte {
	if send == "" {
		return reply
	}
	return bytes.ReplaceAll(reply, []byte(send), []byte("***"))
}
