package action

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// DefaultWebhookTimeout is how long one try may take when nothing else is said.
const DefaultWebhookTimeout = 30 * time.Second

const (
	// maxHeaders bounds the head of an answer. A real one has some hundred
	// octets.
	maxHeaders = 64 << 10

	// maxAnswer is how much of an answer's body is read, and only when the
	// answer is no success, since it may say why.
	maxAnswer = 4 << 10
)

// WebhookConfig says where a webhook is and how it knows us.
type WebhookConfig struct {
	// URL is http or https. Its path and query count as secrets, as those of
	// chat services are, and are never logged.
	URL string
	// Secret signs what is sent, as Standard Webhooks does it: with the octets
	// behind whsec_ in base64, or with those of the text itself. "" signs
	// nothing.
	Secret string
	// Header is sent with each request; its values count as secrets.
	Header map[string]string
	// Roots are who may sign the server's certificate; nil: the system's.
	Roots *x509.CertPool
	// Timeout limits one try; 0 means the default.
	Timeout time.Duration
}

// webhookBody is what a webhook is sent. It is promised to those who read it:
// keys may come, none goes and none changes its meaning.
type webhookBody struct {
	ID         string `json:"id"`         // the same for all tries of one notice
	Time       string `json:"time"`       // of the transition, RFC 3339 in UTC
	Host       string `json:"host"`       // the node that tells it
	Kind       string `json:"kind"`       // health, activity
	Name       string `json:"name"`       // of the alias
	Address    string `json:"address"`    // the node's
	Status     string `json:"status"`     // healthy, unhealthy; active, inactive
	Previous   string `json:"previous"`   // the status before; "" when there was none
	Reason     string `json:"reason"`     // failover, return, start, shutdown, manual
	Transition uint64 `json:"transition"` // rising per name and kind
	Text       string `json:"text"`       // a sentence for a person
}

// webhook is one place that we post to.
type webhook struct {
	cfg    WebhookConfig
	key    []byte // of the signature
	client *http.Client
	hide   *strings.Replacer // takes secrets out of what the server says
}

// WebhookRoutes gives one route for each webhook. It fails when a URL, a header
// or a secret cannot be used.
func WebhookRoutes(cfgs []WebhookConfig) ([]Route, error) {
	var routes []Route
	seen := map[string]int{}
	for i, cfg := range cfgs {
		w, where, err := newWebhook(cfg)
		if err != nil {
			return nil, fmt.Errorf("webhook %d: %w", i+1, err)
		}
		if seen[where]++; seen[where] > 1 {
			where = fmt.Sprintf("%s (%d)", where, seen[where])
		}
		routes = append(routes, Route{Key: "webhook " + cfg.URL, To: where, Send: w.send, Limit: w.cfg.Timeout})
	}
	return routes, nil
}

// newWebhook also gives the part of the URL that may be shown.
func newWebhook(cfg WebhookConfig) (w *webhook, where string, err error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, "", errors.New("the URL is none of http or https") // and is not shown
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultWebhookTimeout
	}
	w = &webhook{cfg: cfg, key: []byte(cfg.Secret)}
	if coded, ok := strings.CutPrefix(cfg.Secret, "whsec_"); ok {
		if w.key, err = base64.StdEncoding.DecodeString(coded); err != nil {
			return nil, "", errors.New("the secret has no base64 behind whsec_")
		}
	}
	hidden := []string{}
	for _, secret := range append([]string{cfg.Secret, u.RequestURI()}, values(cfg.Header)...) {
		if len(secret) > 5 { // shorter ones are none, and would garble every answer
			hidden = append(hidden, secret, "<redacted>")
		}
	}
	w.hide = strings.NewReplacer(hidden...)
	w.client = &http.Client{
		Transport: &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
			// Notices are few, and a connection that is kept has to be watched.
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: maxHeaders,
		},
		// A redirect would carry the secrets to where nobody has sent them.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w, u.Scheme + "://" + u.Host, nil
}

func values(m map[string]string) (all []string) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// send is the Sender that posts JSON.
func (w *webhook) send(ctx context.Context, m Message) error {
	// Without the host's part, which may have dots: the signature is over
	// id.timestamp.body.
	id, _, _ := strings.Cut(m.ID, "@")
	t := m.Transition
	body, err := json.Marshal(webhookBody{
		ID: id, Time: m.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00"), Host: m.Host,
		Kind: strings.ToLower(t.Kind.String()), Name: t.Name, Address: t.Addr.String(),
		Status: t.Status, Previous: previous(t), Reason: string(t.Reason), Transition: t.Number,
		Text: m.Text,
	})
	if err != nil {
		return fmt.Errorf("compose the request: %w: %w", ErrRefused, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("compose the request: %w: %w", ErrRefused, bare(err))
	}
	for name, value := range w.cfg.Header {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "murakumo")
	req.Header.Set("Webhook-Id", id)
	// Of the try, not of the notice: it tells the receiver that this is no
	// recording.
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Webhook-Timestamp", stamp)
	if len(w.key) > 0 {
		req.Header.Set("Webhook-Signature", signature(w.key, id, stamp, body))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		err = short(bare(err))
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		return fmt.Errorf("post to webhook: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return nil
	}
	return fmt.Errorf("post to webhook: %w", w.judge(resp))
}

// judge says what an answer means that is no success.
func (w *webhook) judge(resp *http.Response) error {
	code := resp.StatusCode
	said := fmt.Sprintf("answered %d %s", code, http.StatusText(code))
	if to, err := resp.Location(); err == nil && code < 400 {
		said += fmt.Sprintf(" to %s://%s, and redirects are not followed: write the URL that it leads to", to.Scheme, to.Host)
	} else if text := w.words(resp.Body); text != "" {
		said += ": " + text
	}
	err := short(errors.New(said))
	switch {
	case code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code >= 500:
		// Only the form in seconds: the other one would compare two clocks.
		if s, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && s > 0 {
			wait := min(time.Duration(s), maxAsked/time.Second) * time.Second
			return fmt.Errorf("%w: %w", err, RetryAfter(wait))
		}
	case code >= 400, code == http.StatusMovedPermanently, code == http.StatusPermanentRedirect:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// words gives what an answer says, on one line, fit for a log and without our
// own secrets, which a server may repeat when it complains.
func (w *webhook) words(body io.Reader) string {
	text, _ := io.ReadAll(io.LimitReader(body, maxAnswer)) // what came is better than nothing
	line := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(w.hide.Replace(string(text)), "?"))
	return strings.Join(strings.Fields(line), " ")
}

// bare takes the URL, which has secrets, off an error of net/http.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// signature is that of Standard Webhooks 1.0, by a symmetric key.
func signature(key []byte, id, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
