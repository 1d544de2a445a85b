package check

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail/smtp"

	"murakumo/internal/check/expr"
)

// maxIterations bounds the work that a server may ask for in SCRAM: it is done
// without looking at the context. Servers ask for 4096; this many take a tenth
// of a second.
const maxIterations = 200_000

// smtpCheck speaks with a mail server as far as QUIT: greeting, EHLO (or HELO),
// and with a user STARTTLS where it is offered and a login. No mail is sent.
func smtpCheck(c expr.Call) Probe {
	s := smtpLogin{host: c.Text("host"), user: c.Text("user"), password: c.Text("password"), helo: c.Text("helo")}
	if s.helo == "" {
		s.helo = "localhost" // as Ruby's Net::SMTP
	}
	address := hostPort(s.host, c.Int("port"))
	return func(ctx context.Context) error {
		err := converse(ctx, "smtp", "tcp", address, func(conn *bounded) error { return s.talk(ctx, conn) })
		// A server may repeat what it was sent, which is not the password as it
		// stands in the script.
		b64 := base64.StdEncoding.EncodeToString
		return without([]string{b64([]byte("\x00" + s.user + "\x00" + s.password)), b64([]byte(s.password))}, err)
	}
}

type smtpLogin struct{ host, user, password, helo string }

func (s *smtpLogin) talk(ctx context.Context, conn *bounded) error {
	failed := func(step string, err error) error {
		return because(ctx, step, errors.New(clean(err.Error())))
	}
	if err := mailGreeting(conn); err != nil {
		return failed("greeting", err)
	}
	client, err := smtp.NewClient(conn, s.host)
	if err != nil {
		return failed("greeting", err)
	}
	if err := client.Hello(s.helo); err != nil {
		return failed("EHLO "+s.helo, err)
	}
	if s.user != "" {
		here := onLoopback(conn)
		encrypted := false
		if offered, _ := client.Extension("STARTTLS"); offered {
			if err := client.StartTLS(s.tls(here)); err != nil {
				return failed("STARTTLS", err)
			}
			encrypted = true
		}
		_, offered := client.Extension("AUTH")
		auth := s.mechanism(strings.Fields(offered), encrypted || here)
		if auth == nil {
			return fmt.Errorf("AUTH: it offers %s, STARTTLS in use: %t; nothing there keeps the password secret on its way",
				excerpt([]byte(offered)), encrypted)
		}
		if err := client.Auth(auth); err != nil {
			return failed("AUTH", err)
		}
	}
	if err := client.Quit(); err != nil {
		return failed("QUIT", err)
	}
	return nil
}

// mailGreeting looks whether a greeting begins with a number. The library takes
// that of SSH for one of several lines and would wait for the others.
func mailGreeting(conn *bounded) error {
	start := make([]byte, 80)
	n, err := io.ReadAtLeast(conn, start, 3)
	start = start[:n]
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(string(start[:3]), 10, 16); err != nil {
		return fmt.Errorf("it is not of a mail server: %s", excerpt(start))
	}
	conn.unread = start
	return nil
}

// tls verifies the server exactly when a password is to follow over a network;
// on this host the certificate is mostly nobody's.
func (s *smtpLogin) tls(here bool) *tls.Config {
	if here {
		return &tls.Config{ServerName: s.host, InsecureSkipVerify: true}
	}
	return &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12}
}

// mechanism picks a way to log in that the server offers. PLAIN and LOGIN show
// the password to whoever reads along, so that nobody may.
func (s *smtpLogin) mechanism(offered []string, secret bool) smtp.Auth {
	has := func(name string) bool { return slices.Contains(offered, name) }
	switch {
	case secret && has("PLAIN"):
		return smtp.PlainAuth("", s.user, s.password, s.host, true)
	case secret && has("LOGIN"):
		return smtp.LoginAuth(s.user, s.password, s.host, true)
	case has("SCRAM-SHA-256"):
		return scram{smtp.ScramSHA256Auth(s.user, s.password)}
	case has("SCRAM-SHA-1"):
		return scram{smtp.ScramSHA1Auth(s.user, s.password)}
	case has("CRAM-MD5"):
		return smtp.CRAMMD5Auth(s.user, s.password)
	}
	return nil
}

// scram refuses to work for a server that asks for too much.
type scram struct{ smtp.Auth }

func (a scram) Next(fromServer []byte, more bool) ([]byte, error) {
	if err := affordable(fromServer); err != nil {
		return nil, err
	}
	return a.Auth.Next(fromServer, more)
}

// affordable looks at the iterations in the first message of a SCRAM server
// (RFC 5802 §5.1); other messages have none.
func affordable(fromServer []byte) error {
	for part := range bytes.SplitSeq(fromServer, []byte(",")) {
		if count, ok := bytes.CutPrefix(part, []byte("i=")); ok {
			if n, err := strconv.Atoi(string(count)); err != nil || n > maxIterations {
				return fmt.Errorf("SCRAM: the server asks for %s iterations, at most %d are worked", excerpt(count), maxIterations)
			}
		}
	}
	return nil
}

// onLoopback tells whether the other end is on this host.
func onLoopback(conn net.Conn) bool {
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && peer.Addr().Unmap().IsLoopback()
}
