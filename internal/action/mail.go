package action

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"time"
)

// The time limits of a try when none are configured, as the original had them.
const (
	DefaultOpenTimeout = 30 * time.Second
	DefaultReadTimeout = 60 * time.Second
)

// DialFunc opens a connection, like the method of net.Dialer.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// TLSMode is how a mail server is spoken to. What is verified in which mode is
// said in doc.go.
type TLSMode uint8

// The modes.
const (
	TLSAuto     TLSMode = iota // STARTTLS when it is offered
	TLSRequired                // STARTTLS, or no mail is handed over
	TLSImplicit                // TLS from the first octet on (RFC 8314), mostly on port 465
)

// MailConfig says where mail goes and how.
type MailConfig struct {
	Host string
	Port uint16 // 0 means 25
	TLS  TLSMode
	// Roots are who may sign the server's certificate; nil: the system's.
	// Given, the certificate is verified wherever TLS is used.
	Roots *x509.CertPool
	// Helo is the name that we greet with, such as this node's.
	Helo string
	// Account and Password are for AUTH, which is used when Account is set.
	Account, Password string
	Sender            string
	Recipients        []string
	// OpenTimeout limits the connecting, ReadTimeout the whole conversation
	// after it. 0 means the defaults.
	OpenTimeout, ReadTimeout time.Duration
	// Dial opens the connection; nil means a net.Dialer.
	Dial DialFunc
}

// MailRoutes gives one route for each recipient. It fails when an address or
// the host cannot be used.
func MailRoutes(cfg MailConfig) ([]Route, error) {
	if cfg.Host == "" {
		return nil, errors.New("notification has no host: name the mail server")
	}
	if cfg.Port == 0 {
		cfg.Port = 25
	}
	if cfg.OpenTimeout <= 0 {
		cfg.OpenTimeout = DefaultOpenTimeout
	}
	if cfg.ReadTimeout <= 0 {
		cfg.ReadTimeout = DefaultReadTimeout
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	sender, err := mail.ParseAddress(cfg.Sender)
	if err != nil {
		return nil, fmt.Errorf("sender %q of the notification: %w", cfg.Sender, err)
	}
	if len(cfg.Recipients) == 0 {
		return nil, errors.New("notification has no recipients: name at least one")
	}
	server := &smtpServer{cfg: cfg, sender: sender}
	var routes []Route
	for _, r := range cfg.Recipients {
		a, err := mail.ParseAddress(r)
		if err != nil {
			return nil, fmt.Errorf("recipient %q of the notification: %w", r, err)
		}
		routes = append(routes, Route{
			Key: "mail " + a.Address, To: a.Address, Send: server.send, Limit: cfg.OpenTimeout + cfg.ReadTimeout,
		})
	}
	return routes, nil
}
