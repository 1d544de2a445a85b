package action

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// receiver is a server that webhooks are posted to.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	took []posted
}

type posted struct {
	method, path string
	header       http.Header
	body         string
}

// newReceiver answers the n-th request, from 1, as answer does; nil: 200.
func newReceiver(t *testing.T, secure bool, answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	t.Helper()
	rc := &receiver{}
	rc.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		rc.mu.Lock()
		rc.took = append(rc.took, posted{r.Method, r.URL.RequestURI(), r.Header.Clone(), string(b)})
		n := len(rc.took)
		rc.mu.Unlock()
		if answer != nil {
			answer(n, w, r)
		}
	}))
	rc.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of handshakes that are to fail
	if secure {
		rc.StartTLS()
	} else {
		rc.Start()
	}
	t.Cleanup(func() {
		rc.CloseClientConnections() // some hang
		rc.Close()
	})
	return rc
}

func (rc *receiver) posts() []posted {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return append([]posted(nil), rc.took...)
}

// hook1 gives the one route of a webhook.
func hook1(t *testing.T, cfg WebhookConfig) Route {
	t.Helper()
	routes, err := WebhookRoutes([]WebhookConfig{cfg})
	if err != nil {
		t.Fatal(err)
	}
	return routes[0]
}

// once tries once, as Notices would.
func once(t *testing.T, r Route) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), r.Limit)
	defer cancel()
	return r.Send(ctx, notice(t, r.To))
}

// TestWebhookBody holds the promise of docs/manual.md: exactly these keys.
func TestWebhookBody(t *testing.T) {
	t.Parallel()
	rc := newReceiver(t, false, nil)
	r := hook1(t, WebhookConfig{URL: rc.URL + "/in/T0K3N?k=1", Header: map[string]string{"X-Team": "night"}})
	tr := health("unhealthy", 3)
	m, err := newMessage(tr, "server-02.example", time.Date(2026, 3, 1, 4, 5, 6, 70e6, time.FixedZone("JST", 9*3600)))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := rc.posts()[0]
	if got.method != "POST" || got.path != "/in/T0K3N?k=1" || got.header.Get("Content-Type") != "application/json" ||
		got.header.Get("User-Agent") != "murakumo" || got.header.Get("X-Team") != "night" || got.header.Get("Webhook-Signature") != "" {
		t.Errorf("%+v", got)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(got.body), &body); err != nil {
		t.Fatal(err)
	}
	id, _ := body["id"].(string)
	if len(id) < 20 || strings.ContainsAny(id, ".@") || got.header.Get("Webhook-Id") != id {
		t.Errorf("id %q, header %q", id, got.header.Get("Webhook-Id"))
	}
	delete(body, "id")
	want := map[string]any{
		"time": "2026-02-28T19:05:06.070Z", "host": "server-02.example",
		"kind": "health", "name": "web", "address": "10.0.0.55", "status": "unhealthy", "previous": "healthy",
		"reason": "failover", "transition": 3.0,
		"text": "web at 10.0.0.55 is unhealthy (before: healthy): its health check fails, DNS does not answer with it any longer.",
	}
	if !reflect.DeepEqual(body, want) {
		t.Errorf("body %v,\nwant %v", body, want)
	}
}

// TestWebhookSignature: the vector is the one that the libraries of Standard
// Webhooks have in their tests.
func TestWebhookSignature(t *testing.T) {
	t.Parallel()
	const example = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	w, _, err := newWebhook(WebhookConfig{URL: "https://hooks.example", Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
	if err != nil {
		t.Fatal(err)
	}
	if got := signature(w.key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)); got != example {
		t.Errorf("signature %s, want %s", got, example)
	}

	rc := newReceiver(t, false, nil)
	if err := once(t, hook1(t, WebhookConfig{URL: rc.URL, Secret: "plain words"})); err != nil {
		t.Fatal(err)
	}
	got := rc.posts()[0]
	want := signature([]byte("plain words"), got.header.Get("Webhook-Id"), got.header.Get("Webhook-Timestamp"), []byte(got.body))
	if got.header.Get("Webhook-Signature") != want {
		t.Errorf("signature %q, want %q", got.header.Get("Webhook-Signature"), want)
	}
}

// TestWebhookAnswers: 2xx is a success, what cannot become one is final, the
// rest is worth another try; no answer is read to its end.
func TestWebhookAnswers(t *testing.T) {
	t.Parallel()
	elsewhere := newReceiver(t, false, nil)
	status := func(code int, header ...string) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			if code != http.StatusNoContent {
				fmt.Fprint(w, "so it is\x1b[31m")
			}
		}
	}
	for name, tc := range map[string]struct {
		answer func(int, http.ResponseWriter, *http.Request)
		final  bool
		want   string // in the error; "" for a success
		after  time.Duration
	}{
		"200": {status(200), false, "", 0},
		"202": {status(202), false, "", 0},
		"204": {status(204), false, "", 0},
		"301": {status(301, "Location", elsewhere.URL+"/new?key=1"), true,
			"answered 301 Moved Permanently to " + elsewhere.URL + ", and redirects are not followed", 0},
		"302":         {status(302, "Location", elsewhere.URL+"/new"), false, "redirects are not followed", 0},
		"307":         {status(307, "Location", elsewhere.URL+"/new"), false, "redirects are not followed", 0},
		"308":         {status(308, "Location", elsewhere.URL+"/new"), true, "redirects are not followed", 0},
		"400":         {status(400), true, "answered 400 Bad Request: so it is [31m", 0},
		"401":         {status(401), true, "answered 401 Unauthorized", 0},
		"404":         {status(404), true, "answered 404 Not Found", 0},
		"408":         {status(408), false, "answered 408 Request Timeout", 0},
		"410":         {status(410), true, "answered 410 Gone", 0},
		"429":         {status(429, "Retry-After", "17"), false, "answered 429 Too Many Requests", 17 * time.Second},
		"429 garbage": {status(429, "Retry-After", "-1"), false, "answered 429 Too Many Requests", 0},
		"500":         {status(500), false, "answered 500 Internal Server Error", 0},
		"503 for long": {status(503, "Retry-After", "999999999999"), false, "answered 503 Service Unavailable",
			maxAsked},
		"an endless success": {func(_ int, w http.ResponseWriter, _ *http.Request) { flood(w) }, false, "", 0},
		"an endless refusal": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			flood(w)
		}, true, "answered 400 Bad Request: xxxx", 0},
		"endless headers": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 2*maxHeaders))
		}, false, "server response headers exceeded", 0},
		"hangs up": {func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false, "EOF", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rc := newReceiver(t, false, tc.answer)
			err := once(t, hook1(t, WebhookConfig{URL: rc.URL}))
			if n := len(rc.posts()); n != 1 {
				t.Errorf("%d requests", n) // net/http tries again where that is safe, and this is not
			}
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || len(err.Error()) > 1000 {
				t.Fatalf("%v, want …%s…", err, tc.want)
			}
			if errors.Is(err, ErrRefused) != tc.final {
				t.Errorf("final: %t, want %t: %v", !tc.final, tc.final, err)
			}
			if after, _ := errors.AsType[RetryAfter](err); time.Duration(after) != tc.after {
				t.Errorf("asked for %s, want %s", time.Duration(after), tc.after)
			}
		})
	}
	t.Cleanup(func() {
		if n := len(elsewhere.posts()); n != 0 {
			t.Errorf("%d redirects were followed", n)
		}
	})
}

// flood writes until the client has enough.
func flood(w http.ResponseWriter) {
	for {
		if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
			return
		}
	}
}

// speaker accepts connections on loopback, says the text when something has
// come in, and then nothing more; with no text it never says anything.
func speaker(t *testing.T, text string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				if _, err := conn.Read(make([]byte, 1)); err == nil {
					// It may have enough long before the end.
					_, _ = io.WriteString(conn, text)
				}
				<-end
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		close(end)
		all.Wait()
	})
	return "http://" + ln.Addr().String()
}

// TestWebhookStrangers: whatever is at the other end, the try ends by its limit,
// the error is short, and there will be another try.
func TestWebhookStrangers(t *testing.T) {
	t.Parallel()
	closed := func() string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		return "http://" + ln.Addr().String()
	}
	plain := newReceiver(t, false, nil)
	for name, tc := range map[string]struct{ url, want string }{
		"refuses":            {closed(), "connection refused"},
		"hangs":              {speaker(t, ""), "deadline exceeded"},
		"speaks SMTP":        {speaker(t, "220 mail.example ESMTP\r\n"), "malformed HTTP"},
		"sends noise":        {speaker(t, strings.Repeat("\x00\xff\n", 1<<20)), "malformed HTTP"},
		"drips headers":      {speaker(t, "HTTP/1.1 200 OK\r\nX-A: b\r\n"), "deadline exceeded"},
		"informs for ever":   {speaker(t, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1<<16)), ""},
		"speaks no TLS":      {strings.Replace(plain.URL, "http:", "https:", 1), "server gave HTTP response to HTTPS client"},
		"switches protocols": {speaker(t, "HTTP/1.1 101 Switching Protocols\r\n\r\n"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := time.Minute // enough on a loaded machine
			if strings.Contains(tc.want, "deadline") {
				limit = 200 * time.Millisecond
			}
			err := once(t, hook1(t, WebhookConfig{URL: tc.url, Timeout: limit}))
			if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, ErrRefused) || len(err.Error()) > 1000 {
				t.Errorf("%v, want …%s…", err, tc.want)
			}
		})
	}
}

// TestWebhookTLS: the server's certificate has to be signed by somebody we
// trust, for the name that the URL has.
func TestWebhookTLS(t *testing.T) {
	t.Parallel()
	rc := newReceiver(t, true, nil)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rc.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	roots, err := Roots(ca)
	if err != nil {
		t.Fatal(err)
	}
	if err := once(t, hook1(t, WebhookConfig{URL: rc.URL, Roots: roots})); err != nil {
		t.Errorf("with its CA: %v", err)
	}
	for name, tc := range map[string]struct {
		url   string
		roots *x509.CertPool
		want  string
	}{
		"unknown CA": {rc.URL, nil, "failed to verify certificate"},
		"other CA":   {rc.URL, x509.NewCertPool(), "failed to verify certificate"},
		"other name": {strings.Replace(rc.URL, "127.0.0.1", "localhost", 1), roots, "failed to verify certificate"},
	} {
		err := once(t, hook1(t, WebhookConfig{URL: tc.url, Roots: tc.roots, Header: map[string]string{"Authorization": "Bearer abcdef"}}))
		if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v, want …%s…", name, err, tc.want)
		}
	}
	if n := len(rc.posts()); n != 1 {
		t.Errorf("%d posts arrived", n)
	}
}

func TestRoots(t *testing.T) {
	if pool, err := Roots(""); pool != nil || err != nil {
		t.Errorf("no file: %v, %v", pool, err)
	}
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{empty: "has none", "/no/such.pem": "no such file"} {
		if _, err := Roots(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", path, err, want)
		}
	}
}

// TestWebhookSecretsStayOut: neither the path of the URL, nor a header, nor the
// secret gets into the log, whatever the server answers.
func TestWebhookSecretsStayOut(t *testing.T) {
	t.Parallel()
	const path, bearer, secret = "/services/T00000000/B00000000/canarypath", "Bearer canaryheader", "canarysecretcanarysecret"
	parrot := newReceiver(t, false, func(n int, w http.ResponseWriter, r *http.Request) {
		w.WriteHeader([]int{500, 400}[n%2])
		fmt.Fprintln(w, r.URL.String(), r.Header, secret)
	})
	closed := newReceiver(t, false, nil)
	closed.Close()
	shy := newReceiver(t, true, nil)
	var routes []WebhookConfig
	for _, base := range []string{parrot.URL, closed.URL, shy.URL} {
		routes = append(routes, WebhookConfig{URL: base + path, Secret: secret, Header: map[string]string{"Authorization": bearer}})
	}
	all, err := WebhookRoutes(routes)
	if err != nil {
		t.Fatal(err)
	}
	var book logbook
	n, err := NewNotices("server-02", book.logger())
	if err != nil {
		t.Fatal(err)
	}
	n.Use(all)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.Notify(activity("active", 1))
	n.Notify(activity("inactive", 2))
	book.await(t, 1, "dropped the notice")
	book.await(t, 3, "could not send")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	book.want(t, 0, "canary")
	if len(book.with("<redacted>")) == 0 {
		t.Errorf("the server's words are not shown:\n%s", strings.Join(book.with(), "\n"))
	}
	for _, cfg := range []WebhookConfig{
		{URL: "ftp://host/canary"}, {URL: "http:///canary"}, {URL: "https://h/canary\x00"}, {URL: "canary"},
		{URL: "https://h/", Secret: "whsec_canary?"},
	} {
		if _, err := WebhookRoutes([]WebhookConfig{cfg}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", cfg.URL, err)
		}
	}
}

// TestWebhooksBesideMail: through the whole queue, over real connections. A
// server that fails twice gets the notices in order and once each; one that
// hangs, one that refuses connections and a mail server that hangs hold up
// nobody.
func TestWebhooksBesideMail(t *testing.T) {
	t.Parallel()
	flaky := newReceiver(t, false, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n <= 2 {
			w.WriteHeader(500)
		}
	})
	good := newReceiver(t, false, nil)
	hanging := speaker(t, "")
	closed := newReceiver(t, false, nil)
	closed.Close()
	mail := (&fakeSMTP{answer: func(_ int, verb string) string {
		if verb == "CONNECT" {
			return hang
		}
		return ""
	}}).start(t)

	hooks, err := WebhookRoutes([]WebhookConfig{{URL: hanging}, {URL: closed.URL}, {URL: flaky.URL}, {URL: good.URL}})
	if err != nil {
		t.Fatal(err)
	}
	mails, err := MailRoutes(MailConfig{Host: "127.0.0.1", Port: mail.port(), Helo: "server-02", Sender: "murakumo@example.org", Recipients: []string{ops}})
	if err != nil {
		t.Fatal(err)
	}
	var book logbook
	n, err := NewNotices("server-02", book.logger())
	if err != nil {
		t.Fatal(err)
	}
	n.Use(append(mails, hooks...))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.Notify(health("unhealthy", 1))
	n.Notify(activity("inactive", 2))
	n.Notify(health("healthy", 3))
	book.await(t, 6, "sent the notice")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for rc, want := range map[*receiver]string{good: "1 2 3", flaky: "1 1 1 2 3"} {
		var order, ids []string
		for _, p := range rc.posts() {
			var b webhookBody
			if err := json.Unmarshal([]byte(p.body), &b); err != nil {
				t.Fatal(err)
			}
			order, ids = append(order, fmt.Sprint(b.Transition)), append(ids, b.ID)
		}
		if got := strings.Join(order, " "); got != want {
			t.Errorf("posted %s, want %s", got, want)
		}
		if want == "1 1 1 2 3" && (ids[0] != ids[1] || ids[1] != ids[2] || ids[2] == ids[3]) {
			t.Errorf("ids %q", ids)
		}
	}
	book.want(t, 1, "level=INFO", "sent the notice: unhealthy", "recipient="+good.URL)
	book.want(t, 1, "level=WARN", "could not send the notice", "recipient="+flaky.URL, "answered 500")
	// 2 s for a last try are not enough for the two that hang.
	book.want(t, 1, "level=ERROR", "notices were lost", "count=9")
}
