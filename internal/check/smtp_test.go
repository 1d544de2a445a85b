package check

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestSMTPAgainstPostfix(t *testing.T) {
	m := newPostfix(t)
	leavesNothing(t)
	for _, src := range []string{
		"smtp_check AT, PLAIN",
		"smtp_check(AT, PLAIN, 'murakumo.example.com') && smtp_check(AT, NOLOGIN)",
		"smtp_check AT, PLAIN, nil, 'app', 'hunter2'",
		"smtp_check AT, TLS, 'me', 'app@mail.example.com', 'hunter2'",
		"smtp_check AT, DIGEST, nil, 'app', 'hunter2'",
		"smtp_check AT, SCRAM, nil, 'app', 'hunter2'",
		"not smtp_check AT, PLAIN, nil, 'app', 'letmein'",
	} {
		good(t, m.check(t, src))
	}
	at := "smtp at HOST:"
	for src, want := range map[string]string{
		"smtp_check AT, PLAIN, nil, 'app', 'letmein'":    "smtp_check AT, PLAIN, nil, 'app', '***': " + at + "PLAIN: AUTH: 535 \"5.7.8 Error: authentication failed",
		"smtp_check AT, TLS, nil, 'app', 'letmein'":      at + "TLS: AUTH: 535 \"5.7.8 Error",
		"smtp_check AT, DIGEST, nil, 'app', 'letmein'":   at + "DIGEST: AUTH: 535 \"5.7.8 Error",
		"smtp_check AT, SCRAM, nil, 'app', 'letmein'":    at + "SCRAM: AUTH: 535 \"5.7.8 Error",
		"smtp_check AT, PLAIN, nil, 'app'":               at + "PLAIN: AUTH: 535 \"5.7.8 Error",
		"smtp_check AT, PLAIN, nil, 'nobody', 'letmein'": "AUTH: 535 \"5.7.8 Error",
		"smtp_check AT, NOLOGIN, nil, 'app', 'hunter2'":  at + `NOLOGIN: AUTH: it offers "", START`,
		"smtp_check AT, REFUSES":                         at + "REFUSES: greeting: 554 \"5.7.1",
	} {
		p := m.check(t, src)
		bad(t, p, m.names(want))
		if err := p(t.Context()); err == nil || strings.Contains(err.Error(), "letmein") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s says %v", src, err)
		}
	}

	p := m.check(t, "smtp_check AT, PLAIN")
	freeze(t, m.cmd)
	hangs(t, p) // nobody serves, but the kernel accepts
	thaw(t, m.cmd)
	good(t, p)
	kill(m.cmd)
	// Its last processes, which hold the sockets, follow it.
	become(t, p, m.names("dial tcp HOST:PLAIN: connect: connection refused"))
}

// converses is an SMTP server of lines: it sends the first answer, and then one
// for each line that comes. At the end it keeps the connection, or hangs up.
func converses(t testing.TB, hold bool, answers ...string) (port int, reached chan struct{}) {
	t.Helper()
	reached = make(chan struct{}, 100)
	port = serve(t, func(c net.Conn) {
		lines := bufio.NewReader(c)
		for i, answer := range answers {
			if i > 0 {
				if _, err := lines.ReadString('\n'); err != nil {
					return
				}
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
		reached <- struct{}{}
		if hold {
			_, _ = io.Copy(io.Discard, c)
		}
	})
	return port, reached
}

// What a mail server, or something else at its port, can say.
func TestSMTPAnswers(t *testing.T) {
	const (
		hi, ehlo, bye = "220 mail.example.com ESMTP\r\n", "250-mail.example.com\r\n250 AUTH PLAIN LOGIN\r\n", "221 Bye\r\n"
		in            = "235 2.7.0 Authentication successful\r\n"
	)
	b64 := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct {
		answers []string
		hold    bool
		want    string
	}{
		"good":               {[]string{hi, ehlo, in, bye}, false, ""},
		"good, long":         {[]string{"220-one\r\n220-two\r\n" + hi, ehlo, in, bye}, false, ""},
		"LOGIN":              {[]string{hi, "250-x\r\n250 AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n", in, bye}, false, ""},
		"busy":               {[]string{"421 4.3.2 Too many connections\r\n"}, true, "greeting: 421 \"4.3.2 Too many connections"},
		"gone at once":       {[]string{""}, false, "greeting: EOF"},
		"gone at EHLO":       {[]string{hi, ""}, false, "EHLO response: EOF"},
		"gone at AUTH":       {[]string{hi, ehlo, ""}, false, "AUTH: EOF"},
		"gone at QUIT":       {[]string{hi, ehlo, in, ""}, false, "QUIT: EOF"},
		"neither EHLO, HELO": {[]string{hi, "502 no\r\n", "502 neither\r\n"}, true, "EHLO localhost: smtp: EHLO/HELO exchange failed. EHLO response: 502 \"no\", HELO response: 502 \"neither\""},
		"HELO only":          {[]string{hi, "502 no\r\n", "250 yes\r\n"}, true, `AUTH: it offers "", STARTTLS in use: false; nothing there keeps the password secret`},
		"unknown mechanism":  {[]string{hi, "250-x\r\n250 AUTH GSSAPI \x1b\r\n"}, true, `AUTH: it offers "GSSAPI \x1b"`},
		"TLS later":          {[]string{hi, "250-x\r\n250 STARTTLS\r\n", "454 4.7.0 TLS not available\r\n"}, true, "STARTTLS: 454 \"4.7.0 TLS not available"},
		"endless SCRAM":      {[]string{hi, "250-x\r\n250 AUTH SCRAM-SHA-256\r\n", "334 \r\n", "334 " + b64([]byte("r=a,s=YQ==,i=2000000000")) + "\r\n", "501 bye\r\n", bye}, true, `SCRAM: the server asks for "2000000000" iterations, at most 200000 are worked`},
		"repeats":            {[]string{hi, ehlo, "501 bad: " + b64([]byte("\x00app\x00hunter2")) + " hunter2\r\n", "501\r\n", bye}, true, "AUTH: 501 \"bad: *** ***"},
		"repeats much":       {[]string{hi, ehlo, "501 " + strings.Repeat("x", 291) + "hunter2\r\n", "501\r\n", bye}, true, "xx***…"},
		"http":               {[]string{"HTTP/1.1 400 Bad Request\r\n"}, true, `greeting: it is not of a mail server: "HTTP/1.1 400 Bad Request\r\n"`},
		"ssh":                {[]string{"SSH-2.0-OpenSSH_9.2p1\r\n"}, true, `greeting: it is not of a mail server: "SSH-2.0-OpenSSH_9.2p1\r\n"`},
		"short":              {[]string{"2\r\n"}, true, `greeting: it is not of a mail server: "2\r\n"`},
		"binary":             {[]string{"\x00\xff\x16\x03\x1b\n"}, true, "greeting: "},
		"without end":        {[]string{"220 " + strings.Repeat("x", 300<<10)}, true, "greeting: the server sent more than 262144 octets"},
		"lines without end":  {[]string{strings.Repeat("220-x\r\n", 50_000)}, true, "greeting: the server sent more than 262144 octets"},
	} {
		t.Run(name, func(t *testing.T) {
			port, _ := converses(t, c.hold, c.answers...)
			leavesNothing(t)
			p := compile(t, "smtp_check '127.0.0.1', "+itoa(port)+", nil, 'app', 'hunter2'")
			if c.want == "" {
				good(t, p)
				return
			}
			bad(t, p, "smtp at 127.0.0.1:"+itoa(port)+": ", c.want)
			err := p(t.Context())
			if err == nil || strings.Contains(err.Error(), "hunter") || len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\x1b\r\n\x00") {
				t.Errorf("%q", err)
			}
		})
	}
}

// A password goes over a network only where nobody else can read it.
func TestSMTPKeepsThePasswordSecret(t *testing.T) {
	s := &smtpLogin{host: "mail.example.com", user: "app", password: "hunter2"}
	for _, offered := range []string{"PLAIN", "LOGIN", "PLAIN LOGIN", "XOAUTH2", ""} {
		if s.mechanism(strings.Fields(offered), false) != nil {
			t.Errorf("%q is used in clear", offered)
		}
	}
	for _, offered := range []string{"PLAIN CRAM-MD5", "LOGIN SCRAM-SHA-1"} {
		if s.mechanism(strings.Fields(offered), false) == nil || s.mechanism(strings.Fields(offered), true) == nil {
			t.Errorf("%q has no way", offered)
		}
	}
	if s.tls(false).InsecureSkipVerify || !s.tls(true).InsecureSkipVerify {
		t.Error("certificates are verified on this host, or not over a network")
	}
}

func TestSMTPHangs(t *testing.T) {
	const hi, ehlo = "220 mail.example.com ESMTP\r\n", "250-mail.example.com\r\n250 AUTH PLAIN\r\n"
	for name, list := range map[string][]string{
		"greeting": {""}, "part of the greeting": {"220-a"}, "EHLO": {hi}, "part of EHLO": {hi, "250-a\r\n"}, "AUTH": {hi, ehlo},
		"QUIT": {hi, ehlo, "235 in\r\n"}, "TLS": {hi, "250-x\r\n250 STARTTLS\r\n", "220 go\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			port, reached := converses(t, true, list...)
			leavesNothing(t)
			p := compile(t, "smtp_check '127.0.0.1', "+itoa(port)+", nil, 'app', 'hunter2'")
			cancelled(t, p, reached)
			hangs(t, p)
		})
	}
	t.Run("broken TLS", func(t *testing.T) {
		port := serve(t, func(c net.Conn) {
			lines := bufio.NewReader(c)
			_, _ = io.WriteString(c, hi)
			_, _ = lines.ReadString('\n')
			_, _ = io.WriteString(c, "250-x\r\n250 STARTTLS\r\n")
			_, _ = lines.ReadString('\n')
			_, _ = io.WriteString(c, "220 go\r\n")
			_, _ = lines.ReadByte() // of the client's hello
			_, _ = io.WriteString(c, "500 what?\r\n")
			_, _ = io.Copy(io.Discard, lines)
		})
		leavesNothing(t)
		bad(t, compile(t, "smtp_check '127.0.0.1', "+itoa(port)+", nil, 'app', 'hunter2'"),
			"STARTTLS: tls: first record does not look like a TLS handshake")
	})
	t.Run("in TLS", func(t *testing.T) {
		cert := stranger.sign(t, time.Now().Add(time.Hour), "mail.example.com")
		reached := make(chan struct{}, 100)
		port := serve(t, func(c net.Conn) {
			_, _ = io.WriteString(c, hi)
			lines := bufio.NewReader(c)
			_, _ = lines.ReadString('\n')
			_, _ = io.WriteString(c, "250-x\r\n250 STARTTLS\r\n")
			_, _ = lines.ReadString('\n')
			_, _ = io.WriteString(c, "220 go\r\n")
			secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
			if secure.Handshake() == nil {
				reached <- struct{}{}
				_, _ = io.Copy(io.Discard, secure)
			}
		})
		leavesNothing(t)
		p := compile(t, "smtp_check '127.0.0.1', "+itoa(port)+", nil, 'app', 'hunter2'")
		cancelled(t, p, reached)
		hangs(t, p)
	})
}
