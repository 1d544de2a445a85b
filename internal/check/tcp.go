package check

import (
	"context"
	"net"
	"strconv"

	"murakumo/internal/check/expr"
)

// tcpCheck connects and hangs up. Note that the kernel accepts for a process
// that listens and does no more: this is good for a stopped one, too.
func tcpCheck(c expr.Call) Probe {
	address := hostPort(c.Text("host"), c.Int("port"))
	return func(ctx context.Context) error {
		conn, err := dial(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

func hostPort(host string, port int) string {
	return net.JoinHostPort(host, strconv.Itoa(port))
}
