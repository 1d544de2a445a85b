package config

import (
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Webhook is a place that notices are posted to.
type Webhook struct {
	URL string // http or https; a secret as a whole
	// Secret signs what is posted; "" for none. SecretFile is where it came
	// from, if from a file of its own.
	Secret, SecretFile string
	Headers            []Header // each name once, in its usual spelling, sorted
	CAFile             string   // "": what the system trusts
	Timeout            time.Duration
}

// Header is a line that is sent with each post.
type Header struct{ Name, Value string }

// webhookForm is what a webhook looks like as a text.
const webhookForm = "a URL of http or https"

// webhookKeys are the keys of one entry of notification.webhook.
var webhookKeys = []key[Webhook]{
	{"url", func(l *loader, v value, w *Webhook) {
		if text, ok := l.textOf(v, webhookForm); ok {
			w.URL = l.webhookURL(item{v.node, v.key, text, 0})
		}
	}},
	{"secret", (*loader).webhookSecret},
	{"headers", (*loader).webhookHeaders},
	{"ca-file", func(l *loader, v value, w *Webhook) { l.caFile(v, &w.CAFile) }},
	{"timeout", func(l *loader, v value, w *Webhook) { l.duration(v, 100*time.Millisecond, 300*time.Second, &w.Timeout) }},
}

// webhooks reads one or several URLs, or mappings with one and what goes with
// it.
func (l *loader) webhooks(v value, n *Notification) {
	if l.describes(func() shape { return oneOrMore(either(filled(), object(webhookKeys).requiring("url"))) }) {
		return
	}
	const expected = webhookForm + ", a mapping with url, or a sequence of them"
	nodes := []*node{v.node}
	if v.kind == sequence {
		nodes = v.items
	}
	if len(nodes) == 0 {
		l.problem(v.place, v.key, "expected %s", expected)
	}
	add := func(at place, w Webhook) {
		if slices.ContainsFunc(n.Webhooks, func(o Webhook) bool { return o.URL == w.URL && w.URL != "" }) {
			l.problem(at, v.key, "this URL is given twice")
			return
		}
		n.Webhooks = append(n.Webhooks, w)
	}
	for _, e := range nodes {
		w := defaultWebhook()
		switch {
		case len(n.Webhooks) >= maxEntries:
			l.problem(v.place, v.key, "more than %d entries", maxEntries)
			return
		case e.kind == mapping:
			there := readKeys(l, v.entry(e), webhookKeys, &w)
			if there["url"].node == nil {
				l.problem(e.place, v.key, "url is missing")
			}
			if h := there["headers"]; h.node != nil && plainAcrossNetwork(w.URL) {
				l.problem(h.place, h.key, "whoever is on the way could read them: expected https in url, unless the host is this one (127.0.0.1)")
			}
			add(e.place, w)
		case v.kind == scalar:
			for _, i := range l.entries(v, expected, urls) {
				w.URL = l.webhookURL(i)
				add(i.in(0), w)
			}
		case e.kind == scalar:
			w.URL = l.webhookURL(item{e, v.key, strings.TrimSpace(e.text), 0})
			add(e.place, w)
		default:
			l.wrong(v.entry(e), expected)
		}
	}
}

// urls finds the commas that divide a list of URLs: those before another URL,
// since a URL may have commas in it.
func urls(text string) (at []int) {
	for _, i := range commas(text, false) {
		rest := strings.TrimLeft(text[i+1:], " \t")
		if strings.HasPrefix(rest, "http://") || strings.HasPrefix(rest, "https://") || rest == "" {
			at = append(at, i)
		}
	}
	return at
}

// webhookURL gives the URL, "" after reporting that it is none. No message has
// it: the path of a chat service's is a password.
func (l *loader) webhookURL(i item) string {
	u, err := url.Parse(i.text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(i.text, " \t"):
		l.problem(i.in(0), i.key, "expected %s", webhookForm)
		return ""
	case u.User != nil:
		l.problem(i.in(0), i.key, "expected a URL without a user: write url and headers, with Authorization in them")
		return ""
	case u.Fragment != "":
		l.problem(i.in(0), i.key, "expected a URL without #, which is never sent")
		return ""
	}
	if _, err := parseHost(u.Hostname()); err != nil {
		l.problem(i.in(0), i.key, "the URL's host: %s", err)
		return ""
	}
	if p := u.Port(); p != "" {
		if _, err := parsePort(p); err != nil {
			l.problem(i.in(0), i.key, "the URL's %s", err)
			return ""
		}
	}
	if len(u.RequestURI()) > 1 {
		l.secret = l.secret || i.src.order == orderFile
	}
	return i.text
}

// plainAcrossNetwork says whether what is sent to a URL can be read by others.
func plainAcrossNetwork(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err != nil && u.Hostname() != "localhost" || err == nil && !a.IsLoopback()
}

func (l *loader) webhookSecret(v value, w *Webhook) {
	if l.describes(func() shape { return filled() }) {
		return
	}
	secret, file, ok := l.secretText(v.node, v.key, "a text, or a path that begins with /")
	if !ok {
		return
	}
	if coded, standard := strings.CutPrefix(secret, "whsec_"); standard {
		if _, err := base64.StdEncoding.DecodeString(coded); err != nil {
			l.problem(v.place, v.key, "expected base64 behind whsec_")
			return
		}
	}
	l.weigh(secret, v.place, v.key)
	w.Secret, w.SecretFile = secret, file
}

// headerLetters are what the names of headers that mean something consist of.
const headerLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// ownHeaders are those that the daemon writes itself.
var ownHeaders = []string{
	"Connection", "Content-Length", "Content-Type", "Host", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent",
	"Webhook-Id", "Webhook-Signature", "Webhook-Timestamp",
}

func (l *loader) webhookHeaders(v value, w *Webhook) {
	if l.describes(func() shape { return named(textShape()) }) {
		return
	}
	if v.kind != mapping {
		l.wrong(v, "a mapping from header to text")
		return
	}
	l.secret = l.secret || v.src.order == orderFile
	for _, f := range v.fields {
		name, path := textproto.CanonicalMIMEHeaderKey(f.key.text), join(v.key, f.key.text)
		switch {
		case name == "" || strings.Trim(name, headerLetters) != "":
			l.problem(f.key.place, path, "expected the name of a header: letters, digits and hyphens")
		case slices.Contains(ownHeaders, name):
			l.problem(f.key.place, path, "is a header that the daemon writes itself")
		case slices.ContainsFunc(w.Headers, func(h Header) bool { return h.Name == name }):
			l.problem(f.key.place, path, "given twice, in another spelling")
		case f.value.kind != scalar || strings.ContainsFunc(f.value.text, unicode.IsControl):
			l.problem(f.value.place, path, "expected a text of one line") // which is not shown
		default:
			w.Headers = append(w.Headers, Header{name, f.value.text})
		}
	}
	slices.SortFunc(w.Headers, func(a, b Header) int { return cmp.Compare(a.Name, b.Name) })
}

// caFile reads the path of a file with certificates and looks whether there are
// any.
func (l *loader) caFile(v value, into *string) {
	l.path(v, into)
	if *into == "" {
		return
	}
	data, _, err := l.readFile(*into)
	var p *fs.PathError
	switch {
	case errors.As(err, &p):
		l.problem(v.place, v.key, "%s: %s", *into, p.Err)
	case err != nil:
		l.problem(v.place, v.key, "%s", err)
	case !x509.NewCertPool().AppendCertsFromPEM(data):
		l.problem(v.place, v.key, "%s has no certificate: expected PEM, with BEGIN CERTIFICATE", *into)
	}
}

// webhookForms has a form for each of webhookKeys.
var webhookForms = map[string]form[Webhook]{
	"url":    func(w *Webhook) *node { return text(w.URL) },
	"secret": func(w *Webhook) *node { return optional(cmp.Or(w.SecretFile, w.Secret)) },
	"headers": func(w *Webhook) *node {
		m := &node{kind: mapping}
		for _, h := range w.Headers {
			m.fields = append(m.fields, field{text(h.Name), text(h.Value)})
		}
		return some(m)
	},
	"ca-file": func(w *Webhook) *node { return optional(w.CAFile) },
	"timeout": func(w *Webhook) *node { return duration(w.Timeout) },
}

// webhookLeaf compares webhooks as wholes, with the secrets that came from
// files, and shows where they are and no more of them.
func webhookLeaf(path string, hooks []Webhook) leaf {
	var shown []string
	for _, w := range hooks {
		if u, err := url.Parse(w.URL); err == nil {
			shown = append(shown, u.Scheme+"://"+u.Host)
		}
	}
	return leaf{path, fmt.Sprintf("%q", hooks), strings.Join(shown, ", ")}
}
