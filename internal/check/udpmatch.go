package check

import (
	"context"
	"fmt"
	"io"

	"murakumo/internal/check/expr"
)

// udpMatch sends one packet and looks for the regular expression in the first
// one that comes back. It sends no second one: whether a network that loses
// packets is good enough is what `unhealthy` decides.
func udpMatch(c expr.Call) Probe {
	address, regex, send := hostPort(c.Text("host"), c.Int("port")), c.Regexp("regex"), c.Text("send")
	return func(ctx context.Context) error {
		// Connected, so that only the server is heard, and that its host can
		// tell that nobody listens.
		conn, err := dial(ctx, "udp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		defer interrupt(ctx, conn)()

		if _, err := io.WriteString(conn, send); err != nil {
			return because(ctx, "udp "+address+": sending", err)
		}
		reply := make([]byte, 64<<10)
		n, err := conn.Read(reply)
		if err != nil {
			return because(ctx, "udp "+address+": waiting for an answer", err)
		}
		if !regex.Match(reply[:n]) {
			return fmt.Errorf("udp %s: no match in the answer of %d octets: %s", address, n, excerpt(unsaid(reply[:n], send)))
		}
		return nil
	}
}
