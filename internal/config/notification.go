package config

import (
	"fmt"
	"math"
	"net/mail"
	"strings"
	"time"
)

// Notification is where notices go and how: to Recipients by mail, unless Host
// is empty, and to Webhooks.
type Notification struct {
	Host        string
	Port        uint16
	TLS         MailTLS
	CAFile      string // "": what the system trusts
	Helo        string
	Account     string
	Password    string
	Sender      string
	Recipients  []string
	OpenTimeout time.Duration
	ReadTimeout time.Duration
	Webhooks    []Webhook
}

// MailTLS is how the mail server is spoken to.
type MailTLS uint8

// STARTTLS when it is offered; STARTTLS or no mail; TLS from the start.
const (
	TLSAuto MailTLS = iota
	TLSRequired
	TLSImplicit
)

var mailTLS = []string{"auto", "required", "implicit"}

// String gives the word in the file.
func (m MailTLS) String() string {
	if int(m) < len(mailTLS) {
		return mailTLS[m]
	}
	return fmt.Sprintf("MailTLS(%d)", uint8(m))
}

// submissions is the port of mail over implicit TLS (RFC 8314 §3.3).
const submissions = 465

func (l *loader) notification(v value, c *Config) {
	if l.describes(func() shape { return object(notificationKeys).requiringOne("host", "webhook") }) {
		return
	}
	if v.kind != mapping {
		l.wrong(v, "a mapping")
		return
	}
	n := defaultNotification()
	there := readKeys(l, v, notificationKeys, &n)
	_, posts := there["webhook"]
	if mail := len(there) > 1 || !posts; mail {
		for _, name := range []string{"host", "recipients"} {
			if _, ok := there[name]; !ok {
				l.problem(v.keyAt, v.key, "%s is missing", name)
			}
		}
	}
	if r, ok := there["recipients"]; ok && r.size == 1 && len(n.Recipients) == 0 && strings.Trim(r.text, ", \t") == "" {
		l.wrong(r, "a mail address")
	}
	a, p := there["account"], there["password"]
	switch {
	case p.node != nil && a.node == nil:
		l.problem(p.place, p.key, "account is missing")
	case a.node != nil && (p.node == nil || p.kind == scalar && p.text == ""):
		l.problem(a.place, a.key, "password is missing")
	}
	if _, ok := there["port"]; !ok && n.TLS == TLSImplicit {
		n.Port = submissions
	}
	c.Notification = &n
}

// notificationKeys are the keys of notification.
var notificationKeys = []key[Notification]{
	{"host", (*loader).mailHost},
	{"port", func(l *loader, v value, n *Notification) { integer(l, v, 1, math.MaxUint16, &n.Port) }},
	{"tls", func(l *loader, v value, n *Notification) {
		if i := l.choice(v, mailTLS...); i >= 0 {
			n.TLS = MailTLS(i)
		}
	}},
	{"ca-file", func(l *loader, v value, n *Notification) { l.caFile(v, &n.CAFile) }},
	{"helo", func(l *loader, v value, n *Notification) { l.word(v, "a host name", &n.Helo) }},
	{"account", func(l *loader, v value, n *Notification) { l.word(v, "an account's name", &n.Account) }},
	{"password", (*loader).password},
	{"sender", func(l *loader, v value, n *Notification) {
		if text, ok := l.textOf(v, "a mail address"); ok {
			l.mailAddress(item{v.node, v.key, text, 0}, &n.Sender)
		}
	}},
	{"recipients", func(l *loader, v value, n *Notification) {
		for _, i := range l.list(v, "a mail address") {
			var to string
			if l.mailAddress(i, &to) {
				n.Recipients = append(n.Recipients, to)
			}
		}
	}},
	{"open_timeout", func(l *loader, v value, n *Notification) {
		l.duration(v, 100*time.Millisecond, time.Hour, &n.OpenTimeout)
	}},
	{"read_timeout", func(l *loader, v value, n *Notification) {
		l.duration(v, 100*time.Millisecond, time.Hour, &n.ReadTimeout)
	}},
	{"webhook", (*loader).webhooks},
}

func (l *loader) mailHost(v value, n *Notification) {
	const expected = "a host name or an address; the port has a key of its own"
	l.word(v, expected, &n.Host)
	if _, err := parseHost(n.Host); n.Host != "" && err != nil {
		l.wrong(v, expected)
		n.Host = ""
	}
}

// password reads a secret: it is never shown, and may have blanks in it.
func (l *loader) password(v value, n *Notification) {
	if l.describes(func() shape { return textShape() }) {
		return
	}
	if v.kind != scalar || strings.ContainsAny(v.text, "\r\n\x00") {
		l.problem(v.place, v.key, "expected a text of one line")
		return
	}
	l.secret = l.secret || v.src.order == orderFile
	n.Password = v.text
}

func (l *loader) mailAddress(i item, into *string) bool {
	a, err := mail.ParseAddress(i.text)
	if err != nil {
		l.problem(i.in(0), i.key, "expected a mail address, found %s", quote(i.text))
		return false
	}
	*into = a.Address
	return true
}

// notificationNode writes a notification; of one without mail the webhooks
// alone.
func notificationNode(n *Notification) *node {
	all := write(notificationKeys, notificationForms, n)
	if n.Host == "" {
		all.fields = all.fields[len(all.fields)-1:]
	}
	return all
}

var notificationForms = map[string]form[Notification]{
	"host":     func(n *Notification) *node { return text(n.Host) },
	"port":     func(n *Notification) *node { return number(n.Port) },
	"tls":      func(n *Notification) *node { return textOf(n.TLS) },
	"ca-file":  func(n *Notification) *node { return optional(n.CAFile) },
	"helo":     func(n *Notification) *node { return optional(n.Helo) },
	"account":  func(n *Notification) *node { return optional(n.Account) },
	"password": func(n *Notification) *node { return optional(n.Password) },
	"sender":   func(n *Notification) *node { return mailbox(n.Sender) },
	"recipients": func(n *Notification) *node {
		return listOf(n.Recipients, mailbox)
	},
	"open_timeout": func(n *Notification) *node { return duration(n.OpenTimeout) },
	"read_timeout": func(n *Notification) *node { return duration(n.ReadTimeout) },
	"webhook": func(n *Notification) *node {
		return some(listOf(n.Webhooks, func(w Webhook) *node { return write(webhookKeys, webhookForms, &w) }))
	},
}
