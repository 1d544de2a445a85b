package action

import (
	"context"
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

// MailConfig says where mail goes and how.
type MailConfig struct {
	Host string
	Port uint16 // 0 means 25
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
