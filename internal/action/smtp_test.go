package action

import (
	"context"
	"errors"
	"io"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"time"
)

// client gives the SMTP sender for a fake server.
func client(t *testing.T, f *fakeSMTP, change func(*MailConfig)) *smtpServer {
	t.Helper()
	cfg := MailConfig{
		Host: "127.0.0.1", Port: f.port(), Helo: "server-02.example.org",
		Sender: "murakumo@localhost.localdomain", Recipients: []string{ops, "The Boss <boss@example.org>"},
		OpenTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	sender, err := netmail.ParseAddress(cfg.Sender)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dial = new(net.Dialer).DialContext
	return &smtpServer{cfg: cfg, sender: sender}
}

// remotely makes a server's connections look like those to another host.
func remotely(s *smtpServer) {
	port := s.cfg.Port
	s.cfg.Host = "mail.example"
	s.cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network,
			(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)}).String())
		if err != nil {
			return nil, err
		}
		return farConn{conn}, nil
	}
}

type farConn struct{ net.Conn }

func (farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 25), Port: 25} }

// notice gives a message to one recipient.
func notice(t *testing.T, recipient string) Message {
	t.Helper()
	m, err := newMessage(activity("active", 7), "server-02", time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	m.Recipient = recipient
	return m
}

func TestSMTPDelivers(t *testing.T) {
	t.Parallel()
	f := (&fakeSMTP{}).start(t)
	m := notice(t, boss)
	if err := client(t, f, nil).send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	mails := f.taken()
	if len(mails) != 1 {
		t.Fatalf("%d mails", len(mails))
	}
	got := mails[0]
	if got.helo != "server-02.example.org" || got.to != "TO:<boss@example.org>" ||
		!strings.HasPrefix(got.from, "FROM:<murakumo@localhost.localdomain>") {
		t.Errorf("envelope %+v", got)
	}
	if !strings.HasSuffix(f.said(), "QUIT") {
		t.Errorf("no farewell: %s", f.said())
	}
	parsed, err := netmail.ReadMessage(strings.NewReader(got.data))
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		"Subject":                   "[Activity] web/10.0.0.55 => active",
		"From":                      "<murakumo@localhost.localdomain>",
		"To":                        `<ops@example.org>, "The Boss" <boss@example.org>`,
		"Message-Id":                "<" + m.ID + ">",
		"Auto-Submitted":            "auto-generated",
		"Mime-Version":              "1.0",
		"Content-Type":              "text/plain; charset=US-ASCII",
		"Content-Transfer-Encoding": "7bit",
	} {
		if values := parsed.Header[header]; len(values) != 1 || values[0] != want {
			t.Errorf("%s: %q, want %q", header, values, want)
		}
	}
	if date, err := parsed.Header.Date(); err != nil || !date.Equal(m.Time.Truncate(time.Second)) {
		t.Errorf("Date: %v (%v), want %v", date, err, m.Time)
	}
	body, err := io.ReadAll(parsed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimRight(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n"); got != strings.TrimRight(m.Body, "\n") {
		t.Errorf("body:\n%s\nwant:\n%s", got, m.Body)
	}
}

// TestSMTPLongestName: a subject that has to be folded unfolds to itself.
func TestSMTPLongestName(t *testing.T) {
	t.Parallel()
	f := (&fakeSMTP{}).start(t)
	tr := activity("active", 7)
	tr.Name = strings.Repeat(strings.Repeat("a", 62)+".", 4) + "a"
	m, err := newMessage(tr, strings.Repeat("b", 63), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m.Recipient = ops
	if err := client(t, f, nil).send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	parsed, err := netmail.ReadMessage(strings.NewReader(f.taken()[0].data))
	if err != nil {
		t.Fatal(err)
	}
	if got := parsed.Header.Get("Subject"); got != m.Subject {
		t.Errorf("Subject: %q, want %q", got, m.Subject)
	}
	if got := parsed.Header.Get("Message-Id"); got != "<"+m.ID+">" {
		t.Errorf("Message-ID: %q, want <%s>", got, m.ID)
	}
}

// TestSMTPRefusals: what the server says of the mail itself is final when it is
// 5xx; everything else is worth another try.
func TestSMTPRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		verb, answer string
		final        bool
		want         string // in the error
	}{
		{"CONNECT", "554 go away", false, `greeting: 554 "go away"`},
		{"CONNECT", "421 busy", false, `greeting: 421 "busy"`},
		{"CONNECT", hangUp, false, "greeting: "},
		{"EHLO", "502 never heard of it", false, "EHLO: "},
		{"MAIL", "451 later", false, `MAIL FROM <murakumo@localhost.localdomain>: 451 "later"`},
		{"MAIL", "550 no", true, `MAIL FROM <murakumo@localhost.localdomain>: refused for good: 550 "no"`},
		{"RCPT", "450 greylisted", false, `RCPT TO <ops@example.org>: 450 "greylisted"`},
		{"RCPT", "550 no such user", true, `RCPT TO <ops@example.org>: refused for good: 550 "no such user"`},
		{"DATA", "451 later", false, `DATA: 451 "later"`},
		{"DATA", "554 no valid recipients", true, "DATA: refused for good: 554"},
		{"DATA", hangUp, false, "DATA: "},
		{".", "452 disk full", false, `end of DATA: 452 "disk full"`},
		{".", "554 looks like spam", true, `end of DATA: refused for good: 554 "looks like spam"`},
		{".", hangUp, false, "end of DATA: "},
		{"RCPT", "550 " + strings.Repeat("x", 5000), true, "xxx…"},
	} {
		t.Run(tc.verb+" "+tc.answer[:min(len(tc.answer), 20)], func(t *testing.T) {
			t.Parallel()
			f := (&fakeSMTP{answer: func(_ int, verb string) string {
				if verb == tc.verb {
					return tc.answer
				}
				return ""
			}}).start(t)
			err := client(t, f, nil).send(t.Context(), notice(t, ops))
			if err == nil || !strings.Contains(err.Error(), tc.want) || len(err.Error()) > 1000 {
				t.Fatalf("%v, want …%s…", err, tc.want)
			}
			if errors.Is(err, ErrRefused) != tc.final {
				t.Errorf("final: %t, want %t: %v", !tc.final, tc.final, err)
			}
			if n := len(f.taken()); n != 0 {
				t.Errorf("%d mails taken", n)
			}
		})
	}
}

// TestSMTPHangs: wherever the server falls silent, the try ends by its limit.
func TestSMTPHangs(t *testing.T) {
	t.Parallel()
	cert, _ := certificate(t)
	for _, verb := range []string{"CONNECT", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "."} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			f := (&fakeSMTP{cert: cert, answer: func(_ int, v string) string {
				if v == verb {
					return hang
				}
				return ""
			}}).start(t)
			s := client(t, f, func(c *MailConfig) { c.ReadTimeout = 200 * time.Millisecond })
			start := time.Now()
			err := s.send(t.Context(), notice(t, ops))
			if err == nil || errors.Is(err, ErrRefused) {
				t.Errorf("%v", err)
			}
			if took := time.Since(start); took > 200*time.Millisecond+slack {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestSMTPHangsAtTheFarewell: the mail was taken, so it is not sent again.
func TestSMTPHangsAtTheFarewell(t *testing.T) {
	t.Parallel()
	f := (&fakeSMTP{answer: func(_ int, v string) string {
		if v == "QUIT" {
			return hang
		}
		return ""
	}}).start(t)
	s := client(t, f, func(c *MailConfig) { c.ReadTimeout = time.Minute })
	start := time.Now()
	if err := s.send(t.Context(), notice(t, ops)); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > quitTimeout+slack {
		t.Errorf("took %s", took)
	}
}

// TestSMTPStops: the end of the context ends the conversation.
func TestSMTPStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	f := (&fakeSMTP{answer: func(_ int, v string) string {
		if v == "MAIL" {
			cancel(errBoom)
			return hang
		}
		return ""
	}}).start(t)
	s := client(t, f, func(c *MailConfig) { c.ReadTimeout = time.Minute })
	start := time.Now()
	if err := s.send(ctx, notice(t, ops)); !errors.Is(err, errBoom) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > slack {
		t.Errorf("took %s", took)
	}
}

func TestSMTPNobodyListens(t *testing.T) {
	t.Parallel()
	f := (&fakeSMTP{}).start(t)
	s := client(t, f, nil)
	f.ln.Close()
	err := s.send(t.Context(), notice(t, ops))
	if err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "connect: ") {
		t.Errorf("%v", err)
	}
}

// TestSMTPFlood: a server that never stops talking is left.
func TestSMTPFlood(t *testing.T) {
	t.Parallel()
	f := (&fakeSMTP{answer: func(_ int, v string) string {
		if v == "EHLO" {
			return strings.Repeat("250-"+strings.Repeat("x", 1020)+"\r\n", 2*maxAnswers/1024) + "250 end"
		}
		return ""
	}}).start(t)
	err := client(t, f, nil).send(t.Context(), notice(t, ops))
	if err == nil || !strings.Contains(err.Error(), "the server sent more than 1048576 bytes") {
		t.Errorf("%v", err)
	}
}

// TestSMTPSecurity: STARTTLS is used when offered; the password goes out only
// where nobody else can read it.
func TestSMTPSecurity(t *testing.T) {
	t.Parallel()
	cert, pool := certificate(t)
	account := func(c *MailConfig) { c.Account, c.Password = "murakumo", "onion" }
	for _, tc := range []struct {
		name    string
		tls     bool
		auth    string
		account bool
		remote  bool
		trusted bool
		want    string // in the error; "" for delivered
	}{
		{name: "no TLS, no account", remote: true},
		{name: "any certificate will do without an account", tls: true, remote: true},
		{name: "also when AUTH is offered", tls: true, auth: "PLAIN", remote: true},
		{name: "account on loopback without TLS", auth: "PLAIN", account: true},
		{name: "account on loopback, any certificate", tls: true, auth: "PLAIN", account: true},
		{name: "account and a valid certificate", tls: true, auth: "LOGIN PLAIN", account: true, remote: true, trusted: true},
		{name: "account and an unknown certificate", tls: true, auth: "PLAIN", account: true, remote: true,
			want: "STARTTLS: tls: failed to verify certificate"},
		{name: "account without TLS", auth: "PLAIN LOGIN", account: true, remote: true,
			want: `AUTH: the server offers "PLAIN LOGIN", TLS in use: false`},
		{name: "account without AUTH", tls: true, account: true, remote: true, trusted: true,
			want: `AUTH: the server offers ""`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := &fakeSMTP{auth: tc.auth}
			if tc.tls {
				f.cert = cert
			}
			f.start(t)
			s := client(t, f, func(c *MailConfig) {
				if tc.account {
					account(c)
				}
			})
			if tc.remote {
				remotely(s)
			}
			if tc.trusted {
				s.cfg.Roots = pool
			}
			err := s.send(t.Context(), notice(t, ops))
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, ErrRefused) {
					t.Errorf("%v, want …%s…", err, tc.want)
				}
				if strings.Contains(f.said(), "AUTH") || strings.Contains(err.Error(), "onion") {
					t.Errorf("the password went out: %s", f.said())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := f.taken()[0]
			if got.tls != tc.tls || (got.account == "murakumo") != tc.account {
				t.Errorf("TLS %t, account %q", got.tls, got.account)
			}
		})
	}
}

// TestSMTPChallenge: without TLS a mechanism that shows nothing is used.
func TestSMTPChallenge(t *testing.T) {
	t.Parallel()
	f := (&fakeSMTP{auth: "PLAIN CRAM-MD5 SCRAM-SHA-256"}).start(t)
	s := client(t, f, func(c *MailConfig) { c.Account, c.Password = "murakumo", "onion" })
	remotely(s)
	err := s.send(t.Context(), notice(t, ops))
	if err == nil || !strings.Contains(err.Error(), `AUTH as murakumo: 535 "who?"`) || errors.Is(err, ErrRefused) {
		t.Errorf("%v", err) // the fake knows PLAIN only
	}
	if !strings.Contains(f.said(), "AUTH SCRAM-SHA-256") || strings.Contains(f.said(), "PLAIN") {
		t.Errorf("it said %s", f.said())
	}
}

// TestMailerRetriesWithTheSameID: greylisted first, then taken, over a real
// connection and with the real waits; the copy has the same Message-ID.
func TestMailerRetriesWithTheSameID(t *testing.T) {
	t.Parallel()
	f := (&fakeSMTP{answer: func(session int, v string) string {
		if session == 1 && v == "RCPT" {
			return "450 greylisted"
		}
		if session == 2 && v == "." {
			return hangUp // it may have been taken, who knows
		}
		return ""
	}}).start(t)
	var log logbook
	routes, err := MailRoutes(MailConfig{
		Host: "127.0.0.1", Port: f.port(), Helo: "server-02", Sender: "murakumo@example.org", Recipients: []string{ops},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewNotices("server-02", log.logger())
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	send := routes[0].Send
	var ids []string
	routes[0].Send = func(ctx context.Context, msg Message) error {
		err := send(ctx, msg)
		if ids = append(ids, msg.ID); err == nil {
			close(sent)
		}
		return err
	}
	m.Use(routes)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	m.Notify(activity("active", 7))
	select {
	case <-sent:
	case <-time.After(30 * time.Second):
		t.Fatal("not sent after 30 s")
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(ids) != 3 || ids[0] != ids[1] || ids[1] != ids[2] {
		t.Errorf("IDs of the tries: %q", ids)
	}
	if got := f.taken(); len(got) != 1 || got[0].helo != "server-02" {
		t.Errorf("taken: %+v", got)
	}
	log.want(t, 1, "sent the notice: active")
	log.want(t, 1, "level=WARN", "could not send the notice", "greylisted")
}
