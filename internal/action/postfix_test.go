package action

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	netmail "net/mail"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"murakumo/internal/failover"
)

const onion = "an onion of 24 letters"

// TestPostfix has the conversations with a real server in one test: it takes
// seconds to start.
func TestPostfix(t *testing.T) {
	t.Parallel()
	p := startPostfix(t)
	t.Run("the queue", p.queue) // starts postfix
	if t.Failed() {
		return
	}
	sent := 4 // so far
	for _, tc := range []struct {
		name, service string
		change        func(*MailConfig)
		remote        bool   // the server seems to be on another host
		want          string // in the error; "" for delivered
		log           string // in the server's log
	}{
		{name: "relay, any certificate", service: "relay", remote: true, log: "TLSv1.3 with cipher"},
		{name: "relay without TLS", service: "bare relay", remote: true},
		{name: "no TLS where it is required", service: "bare relay", change: func(c *MailConfig) { c.TLS = TLSRequired },
			want: "STARTTLS is not offered"},
		{name: "required and unknown CA", service: "relay", change: func(c *MailConfig) { c.TLS = TLSRequired },
			want: "STARTTLS: tls: failed to verify certificate"},
		{name: "required and known CA", service: "relay", change: func(c *MailConfig) { c.TLS, c.Roots = TLSRequired, p.roots }},
		{name: "a CA is insisted on", service: "relay", change: func(c *MailConfig) { c.Roots = x509.NewCertPool() },
			want: "STARTTLS: tls: failed to verify certificate"},
		{name: "other name than the certificate's", service: "relay", change: func(c *MailConfig) { c.Roots, c.Host = p.roots, "localhost" },
			want: "STARTTLS: tls: failed to verify certificate"},
		{name: "PLAIN", service: "plain", change: account(onion, p.roots), remote: true, log: "sasl_method=PLAIN, sasl_username=murakumo"},
		{name: "LOGIN", service: "login", change: account(onion, p.roots), remote: true, log: "sasl_method=LOGIN, sasl_username=murakumo"},
		{name: "CRAM-MD5", service: "cram-md5", change: account(onion, p.roots), remote: true, log: "sasl_method=CRAM-MD5, sasl_username=murakumo"},
		{name: "SCRAM-SHA-1", service: "scram-sha-1", change: account(onion, p.roots), remote: true, log: "sasl_method=SCRAM-SHA-1, sasl_username=murakumo"},
		{name: "SCRAM-SHA-256", service: "scram-sha-256", change: account(onion, p.roots), remote: true, log: "sasl_method=SCRAM-SHA-256, sasl_username=murakumo"},
		{name: "PLAIN on loopback, any certificate", service: "plain", change: account(onion, nil)},
		{name: "PLAIN on loopback without TLS", service: "bare plain", change: account(onion, nil)},
		{name: "CRAM-MD5 without TLS", service: "bare cram-md5", change: account(onion, p.roots), remote: true, log: "sasl_method=CRAM-MD5"},
		{name: "implicit TLS", service: "smtps", change: func(c *MailConfig) { account(onion, p.roots)(c); c.TLS = TLSImplicit }, remote: true},
		{name: "implicit TLS and unknown CA", service: "smtps", change: func(c *MailConfig) { account(onion, nil)(c); c.TLS = TLSImplicit },
			want: "TLS: tls: failed to verify certificate"},
		{name: "implicit TLS where there is none", service: "plain", change: func(c *MailConfig) { account(onion, p.roots)(c); c.TLS = TLSImplicit },
			want: "TLS: tls: first record does not look like a TLS handshake"},
		{name: "unknown CA", service: "plain", change: account(onion, nil), remote: true,
			want: "STARTTLS: tls: failed to verify certificate"},
		{name: "no TLS, only PLAIN and LOGIN", service: "bare plain", change: account(onion, p.roots), remote: true,
			want: "no mechanism there keeps the password secret"},
		{name: "wrong password, PLAIN", service: "plain", change: account("wrong-canary", p.roots), remote: true,
			want: `AUTH as murakumo: 535 "5.7.8 Error: authentication failed`},
		{name: "wrong password, CRAM-MD5", service: "cram-md5", change: account("wrong-canary", p.roots), remote: true,
			want: `AUTH as murakumo: 535 "5.7.8 Error: authentication failed`},
		{name: "wrong password, SCRAM", service: "scram-sha-256", change: account("wrong-canary", p.roots), remote: true,
			want: "AUTH as murakumo: "},
		{name: "an account is wanted", service: "plain", want: "refused for good: 554"},
		{name: "no such user", service: "relay", change: func(c *MailConfig) { c.Recipients = []string{"nobody@example.org"} },
			want: `RCPT TO <nobody@example.org>: refused for good: 550`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := p.config(tc.service)
			if tc.change != nil {
				tc.change(&cfg)
			}
			routes, err := MailRoutes(cfg)
			if err != nil {
				t.Fatal(err)
			}
			r := routes[0]
			if tc.remote {
				cfg.Dial = new(net.Dialer).DialContext
				s := &smtpServer{cfg: cfg, sender: &netmail.Address{Address: cfg.Sender}}
				remotely(s)
				r.Send = s.send
			}
			before := len(file(t, filepath.Join(p.dir, "log")))
			err = once(t, r)
			if tc.want != "" {
				switch final := strings.Contains(tc.want, "for good"); {
				case err == nil || !strings.Contains(err.Error(), tc.want):
					t.Errorf("%v, want …%s…", err, tc.want)
				case strings.Contains(err.Error(), "canary"):
					t.Errorf("the error shows the password: %v", err)
				case errors.Is(err, ErrRefused) != final:
					t.Errorf("final: %t, want %t: %v", !final, final, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sent++
			p.mails(t, sent)
			log := file(t, filepath.Join(p.dir, "log"))[before:]
			if !strings.Contains(log, tc.log) {
				t.Errorf("the server's log has no %q:\n%s", tc.log, log)
			}
		})
	}
	if n := len(p.mails(t, sent)); n != sent {
		t.Errorf("%d mails have arrived, want %d", n, sent)
	}
}

func account(password string, roots *x509.CertPool) func(*MailConfig) {
	return func(c *MailConfig) { c.Account, c.Password, c.Roots = "murakumo", password, roots }
}

// queue: the four changes, handed over while the server is down and then while
// the password is wrong, arrive once each when both are mended.
func (p *postfix) queue(t *testing.T) {
	use := func(n *Notices, password string) {
		cfg := p.config("plain")
		account(password, p.roots)(&cfg)
		routes, err := MailRoutes(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n.Use(routes)
	}
	var book logbook
	n, err := NewNotices("server-02", book.logger())
	if err != nil {
		t.Fatal(err)
	}
	use(n, "wrong-canary")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	for _, tr := range []failover.Transition{
		health("unhealthy", 1), activity("inactive", 2), health("healthy", 3), activity("active", 4),
	} {
		n.Notify(tr)
	}
	book.await(t, 1, "could not send the notice", "connection refused")
	p.run(t)
	book.await(t, 1, "could not send the notice", "535", "authentication failed")
	use(n, onion)
	book.await(t, 4, "sent the notice")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	book.want(t, 0, "canary")
	book.want(t, 0, "onion")

	var subjects []string
	for _, m := range p.mails(t, 4) {
		subjects = append(subjects, m.Header.Get("Subject"))
		if m.Header.Get("From") != "<murakumo@localhost.localdomain>" || m.Header.Get("To") != "<ops@example.org>" {
			t.Errorf("From %q, To %q", m.Header.Get("From"), m.Header.Get("To"))
		}
	}
	slices.Sort(subjects)
	want := []string{"[Activity] web/10.0.0.55 => active", "[Activity] web/10.0.0.55 => inactive",
		"[Health] web/10.0.0.55 => healthy", "[Health] web/10.0.0.55 => unhealthy"}
	if !slices.Equal(subjects, want) {
		t.Errorf("subjects %q, want %q", subjects, want)
	}
	for _, status := range []string{"unhealthy", "inactive", "healthy", "active"} {
		book.want(t, 1, `msg="sent the notice: `+status+`"`)
	}
}
