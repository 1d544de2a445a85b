package action

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeSMTP is a small SMTP server on loopback that can also behave badly. It
// shows what our side of the conversation does; whether real servers like it is
// for the end-to-end test to say.
type fakeSMTP struct {
	// answer may replace the answer to a command of a session (counted from
	// 1): CONNECT, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, "." or QUIT. "" is
	// the usual answer; see also hang and hangUp.
	answer func(session int, verb string) string
	// cert is offered with STARTTLS when set.
	cert *tls.Certificate
	// auth is what AUTH offers, before TLS as well: "PLAIN LOGIN".
	auth string

	ln       net.Listener
	closing  chan struct{} // closed at the end of the test
	sessions sync.WaitGroup

	mu    sync.Mutex // guards what follows
	count int
	mails []fakeMail
	heard []string // every command of all sessions
}

// fakeMail is one mail that the fake took.
type fakeMail struct {
	from, to, account, helo, data string
	tls                           bool
}

// Two answers that are none.
const (
	hang   = "hang"    // say nothing until the test ends
	hangUp = "hang up" // close the connection
)

// start listens until the test ends.
func (f *fakeSMTP) start(t *testing.T) *fakeSMTP {
	t.Helper()
	if f.answer == nil {
		f.answer = func(int, string) string { return "" }
	}
	var err error
	if f.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	f.closing = make(chan struct{})
	f.sessions.Go(func() {
		for {
			conn, err := f.ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.count++
			n := f.count
			f.mu.Unlock()
			f.sessions.Go(func() { f.serve(n, conn) })
		}
	})
	t.Cleanup(func() {
		close(f.closing)
		f.ln.Close()
		f.sessions.Wait()
	})
	return f
}

func (f *fakeSMTP) port() uint16 { return uint16(f.ln.Addr().(*net.TCPAddr).Port) }

// taken gives the mails so far.
func (f *fakeSMTP) taken() []fakeMail {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]fakeMail(nil), f.mails...)
}

// said gives all commands so far in one string.
func (f *fakeSMTP) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.heard, "\n")
}

// serve has one conversation.
func (f *fakeSMTP) serve(session int, conn net.Conn) {
	done := make(chan struct{})
	defer close(done)
	go func() { // the end of the test ends a conversation
		select {
		case <-f.closing:
		case <-done:
		}
		conn.Close()
	}()

	var mail fakeMail
	r := bufio.NewReader(conn)
	// reply answers a command; false: the conversation is over.
	reply := func(verb, usual string) bool {
		text := f.answer(session, verb)
		switch text {
		case "":
			text = usual
		case hang:
			<-f.closing
			return false
		case hangUp:
			return false
		}
		_, err := fmt.Fprintf(conn, "%s\r\n", text)
		return err == nil && !strings.HasPrefix(text, "421")
	}
	if !reply("CONNECT", "220 fake ESMTP") {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		f.mu.Lock()
		f.heard = append(f.heard, line)
		f.mu.Unlock()
		verb, rest, _ := strings.Cut(line, " ")
		ok := true
		switch verb {
		case "EHLO":
			mail.helo = rest
			usual := "250-fake"
			if f.cert != nil && !mail.tls {
				usual += "\r\n250-STARTTLS"
			}
			if f.auth != "" {
				usual += "\r\n250-AUTH " + f.auth
			}
			ok = reply(verb, usual+"\r\n250 8BITMIME")
		case "STARTTLS":
			if ok = reply(verb, "220 go on"); ok {
				secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*f.cert}})
				if secure.Handshake() != nil {
					return
				}
				conn, r, mail.tls = secure, bufio.NewReader(secure), true
			}
		case "AUTH":
			_, secret, _ := strings.Cut(rest, " ")
			plain, _ := base64.StdEncoding.DecodeString(secret)
			if string(plain) == "\x00murakumo\x00onion" {
				mail.account = "murakumo"
				ok = reply(verb, "235 welcome")
			} else {
				ok = reply(verb, "535 who?")
			}
		case "MAIL":
			mail.from = rest
			ok = reply(verb, "250 ok")
		case "RCPT":
			mail.to = rest
			ok = reply(verb, "250 ok")
		case "DATA":
			if ok = reply(verb, "354 go on"); !ok {
				break
			}
			if text := f.answer(session, verb); text != "" {
				break // refused, no data follows
			}
			var data strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				data.WriteString(strings.TrimPrefix(line, "."))
			}
			mail.data = data.String()
			if f.answer(session, ".") == "" {
				f.mu.Lock()
				f.mails = append(f.mails, mail)
				f.mu.Unlock()
			}
			ok = reply(".", "250 queued")
		case "QUIT":
			reply(verb, "221 bye")
			return
		default:
			ok = reply(verb, "502 what?")
		}
		if !ok {
			return
		}
	}
}

// certificate makes a certificate for mail.example that nobody has signed, and
// the pool in which it is trusted.
func certificate(t *testing.T) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mail.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
