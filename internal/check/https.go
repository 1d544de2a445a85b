package check

import (
	"context"
	"crypto/tls"
	"net"

	"murakumo/internal/check/expr"
)

// httpsGet is httpGet over TLS. Unless the call is insecure, the certificate has
// to be for the host of the call, an address included, and signed by somebody
// whom this system trusts. The system's list is read once, when it is first
// needed.
func httpsGet(c expr.Call) Probe {
	return func(ctx context.Context) error {
		g, err := newGet("https", c)
		if err != nil {
			return err
		}
		g.handshake = func(ctx context.Context, conn net.Conn) (net.Conn, error) {
			secure := tls.Client(conn, &tls.Config{
				ServerName:         c.Text("host"),
				InsecureSkipVerify: c.Bool("insecure"),
				NextProtos:         []string{"http/1.1"}, // what get speaks
			})
			return secure, secure.HandshakeContext(ctx)
		}
		return g.wants(ctx, c.Ints("statuses"))
	}
}
