package action

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

const (
	// maxAnswers bounds what a server may say in one conversation, TLS
	// included. A real one says some kilobytes.
	maxAnswers = 1 << 20

	// maxErrorText is how much of a server's words gets into the log.
	maxErrorText = 500

	// quitTimeout bounds the farewell. The mail is the server's by then, but
	// the next one waits.
	quitTimeout = time.Second
)

// smtpServer is a mail server that we hand mail to. One connection carries one
// mail: notices are few, and a connection that is kept has to be watched.
type smtpServer struct {
	cfg    MailConfig
	sender *netmail.Address
}

// send is the Sender that speaks SMTP.
func (s *smtpServer) send(ctx context.Context, m Message) error {
	text, err := s.compose(m)
	if err != nil {
		return fmt.Errorf("compose the mail: %w: %w", ErrRefused, err)
	}
	addr := net.JoinHostPort(s.cfg.Host, strconv.Itoa(int(s.cfg.Port)))
	if err := s.deliver(ctx, addr, m.Recipient, text); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		return fmt.Errorf("send mail through %s: %w", addr, err)
	}
	return nil
}

// deliver has one conversation with the server.
func (s *smtpServer) deliver(ctx context.Context, addr, recipient string, text *mail.Msg) error {
	dialCtx, cancel := context.WithTimeout(ctx, s.cfg.OpenTimeout)
	raw, err := s.cfg.Dial(dialCtx, "tcp", addr)
	cancel()
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	conn := &boundedConn{Conn: raw, left: maxAnswers}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(s.cfg.ReadTimeout)); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	closed := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() { conn.Close(); close(closed) })
	defer func() {
		if !unwatch() {
			<-closed
		}
	}()

	channel, loopback := net.Conn(conn), onLoopback(conn)
	if s.cfg.TLS == TLSImplicit {
		secure := tls.Client(conn, s.tlsConfig(loopback))
		if err := secure.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS: %w", short(err))
		}
		channel = secure
	}
	c, err := smtp.NewClient(channel, s.cfg.Host)
	if err != nil {
		return fmt.Errorf("greeting: %w", short(err))
	}
	if err := s.greet(c, loopback); err != nil {
		return err
	}
	err = s.hand(c, recipient, text)
	var answer *textproto.Error
	if err == nil || errors.As(err, &answer) {
		// What comes now cannot undo the delivery, so it is no error.
		_ = conn.SetDeadline(time.Now().Add(quitTimeout))
		_ = c.Quit()
	}
	return err
}

// greet says hello, turns on TLS where it is offered and logs in where there is
// an account. What is verified, and why not more, is said in doc.go.
func (s *smtpServer) greet(c *smtp.Client, loopback bool) error {
	if err := c.Hello(s.cfg.Helo); err != nil {
		return fmt.Errorf("EHLO: %w", short(err))
	}
	secret := s.cfg.TLS == TLSImplicit
	offered, _ := c.Extension("STARTTLS")
	switch {
	case secret:
	case offered:
		if err := c.StartTLS(s.tlsConfig(loopback)); err != nil {
			return fmt.Errorf("STARTTLS: %w", short(err))
		}
		secret = true
	case s.cfg.TLS == TLSRequired:
		return errors.New("STARTTLS is not offered, and tls is required")
	}
	if s.cfg.Account == "" {
		return nil
	}
	_, mechanisms := c.Extension("AUTH")
	auth := s.mechanism(strings.Fields(mechanisms), secret || loopback)
	if auth == nil {
		return fmt.Errorf("AUTH: the server offers %q, TLS in use: %t; "+
			"no mechanism there keeps the password secret: turn on TLS there or send through a relay on this host",
			mechanisms, secret)
	}
	if err := c.Auth(auth); err != nil {
		return fmt.Errorf("AUTH as %s: %w", s.cfg.Account, short(err))
	}
	return nil
}

// tlsConfig verifies the server where a password is to follow over a network,
// and where the configuration asks for it.
func (s *smtpServer) tlsConfig(loopback bool) *tls.Config {
	if s.cfg.TLS == TLSAuto && s.cfg.Roots == nil && (s.cfg.Account == "" || loopback) {
		// Any TLS is better than the plain text that would be sent instead,
		// hence also the old versions.
		return &tls.Config{ServerName: s.cfg.Host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}
	}
	return &tls.Config{ServerName: s.cfg.Host, RootCAs: s.cfg.Roots, MinVersion: tls.VersionTLS12}
}

// mechanism picks the way to log in among those that the server offers; nil:
// none will do. Where nobody else can read it, the password is shown: every
// server can check that, while many offer the others by default and have
// nothing to check them with, such as Cyrus SASL over PAM.
func (s *smtpServer) mechanism(offered []string, secret bool) smtp.Auth {
	account, password := s.cfg.Account, s.cfg.Password
	has := func(name string) bool { return slices.Contains(offered, name) }
	switch {
	case secret && has("PLAIN"):
		return smtp.PlainAuth("", account, password, s.cfg.Host, true)
	case secret && has("LOGIN"):
		return smtp.LoginAuth(account, password, s.cfg.Host, true)
	case has("SCRAM-SHA-256"):
		return smtp.ScramSHA256Auth(account, password)
	case has("SCRAM-SHA-1"):
		return smtp.ScramSHA1Auth(account, password)
	case has("CRAM-MD5"):
		return smtp.CRAMMD5Auth(account, password)
	}
	return nil
}

// hand gives the mail over. A refusal here is about this mail and is final when
// the server says so (RFC 5321 §4.2.1).
func (s *smtpServer) hand(c *smtp.Client, recipient string, text *mail.Msg) error {
	from := (&netmail.Address{Address: s.sender.Address}).String() // <a@b>, quoted as needed
	to := (&netmail.Address{Address: recipient}).String()
	if err := c.Mail(from); err != nil {
		return final("MAIL FROM "+from, err)
	}
	if err := c.Rcpt(to); err != nil {
		return final("RCPT TO "+to, err)
	}
	w, err := c.Data()
	if err != nil {
		return final("DATA", err)
	}
	if _, err := text.WriteTo(w); err != nil {
		return fmt.Errorf("write the mail: %w", err)
	}
	if err := w.Close(); err != nil {
		return final("end of DATA", err)
	}
	return nil
}

// compose writes the mail. To names all recipients, so that each sees who else
// knows.
func (s *smtpServer) compose(m Message) (*mail.Msg, error) {
	// 7bit keeps "=>" readable for filters on the raw text; body is ASCII.
	msg := mail.NewMsg(mail.WithEncoding(mail.EncodingUSASCII), mail.WithCharset(mail.CharsetASCII),
		mail.WithNoDefaultUserAgent())
	if err := msg.From(s.sender.String()); err != nil {
		return nil, err
	}
	if err := msg.To(s.cfg.Recipients...); err != nil {
		return nil, err
	}
	msg.Subject(m.Subject)
	msg.SetDateWithValue(m.Time)
	msg.SetMessageIDWithValue(m.ID)
	// RFC 3834: keeps vacation programs from answering.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(mail.TypeTextPlain, m.Body)
	return msg, nil
}

// final marks an answer of 5xx as final.
func final(command string, err error) error {
	var answer *textproto.Error
	if errors.As(err, &answer) && answer.Code >= 500 && answer.Code < 600 {
		return fmt.Errorf("%s: %w: %w", command, ErrRefused, short(err))
	}
	return fmt.Errorf("%s: %w", command, short(err))
}

// short keeps a server from filling the log.
func short(err error) error {
	if text := err.Error(); len(text) > maxErrorText {
		return errors.New(text[:maxErrorText] + "…")
	}
	return err
}

// onLoopback reports whether the other end is on this host.
func onLoopback(conn net.Conn) bool {
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// boundedConn is a connection that ends when too much was read from it.
type boundedConn struct {
	net.Conn
	left int
}

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the server sent more than %d bytes", maxAnswers)
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
