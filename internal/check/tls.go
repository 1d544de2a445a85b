package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"time"

	"murakumo/internal/check/expr"
)

// tlsCheck makes a handshake and looks at the certificate that comes: whether
// the server can prove that it is its own, whether it is for the host, if that is
// a name, and for how long it is valid. Who signed it is not asked: what an
// internal authority signed is as good, and whether clients know that authority
// is not known here. (https_get asks.)
func tlsCheck(c expr.Call) Probe {
	host, days := c.Text("host"), c.Int("days_left")
	address := hostPort(host, c.Int("port"))
	return func(ctx context.Context) error {
		conn, err := dial(ctx, "tcp", address)
		if err != nil {
			return err
		}
		// As in get, the connection below is closed and no goodbye waited for.
		defer conn.Close()
		secure := tls.Client(conn, &tls.Config{
			ServerName:         host,
			InsecureSkipVerify: true, // asked below
		})
		if err := secure.HandshakeContext(ctx); err != nil {
			return because(ctx, "tls "+address+": handshake", err)
		}
		// A server has one; a handshake without it has failed.
		cert := secure.ConnectionState().PeerCertificates[0]
		if _, err := netip.ParseAddr(host); err != nil {
			if err := cert.VerifyHostname(host); err != nil {
				return fmt.Errorf("tls %s: %w", address, err)
			}
		}
		if err := lasts(cert, time.Now(), days); err != nil {
			return fmt.Errorf("tls %s: %w", address, err)
		}
		return nil
	}
}

// lasts says why a certificate is not valid now and for some days more.
func lasts(cert *x509.Certificate, now time.Time, days int) error {
	const day = 24 * time.Hour
	date := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
	left := cert.NotAfter.Sub(now)
	switch {
	case now.Before(cert.NotBefore):
		return fmt.Errorf("the certificate is not valid before %s", date(cert.NotBefore))
	case left < 0:
		return fmt.Errorf("the certificate expired on %s", date(cert.NotAfter))
	case left < time.Duration(days)*day:
		return fmt.Errorf("the certificate expires on %s, in %d days, expected %d or more", date(cert.NotAfter), left/day, days)
	}
	return nil
}
