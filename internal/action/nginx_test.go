package action

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWebhookNginx posts to a web server that is not of our own library: over
// TLS with a certificate of the test's CA, through it to a place that takes
// posts, and to places that answer otherwise.
func TestWebhookNginx(t *testing.T) {
	t.Parallel()
	if server("nginx") == "" {
		const missing = "no nginx; e2e/deps installs it"
		if os.Getenv("CI") == "true" || os.Geteuid() == 0 {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	dir := t.TempDir()
	p := &postfix{life: t, dir: dir} // it knows how to make certificates and to start servers
	p.certify(t)
	var ports [2]int
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = ln.Addr().(*net.TCPAddr).Port
		ln.Close()
	}
	conf := p.write(t, "nginx.conf", strings.NewReplacer("DIR", dir, "TLS", fmt.Sprint(ports[0]), "INNER", fmt.Sprint(ports[1])).Replace(`
daemon off;
master_process off;
pid DIR/pid;
error_log stderr notice;
events { worker_connections 100; }
http {
	log_format posts escape=none '$http_webhook_id|$content_type|$request_body';
	access_log off;
	client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
	server {
		listen 127.0.0.1:TLS ssl;
		ssl_certificate DIR/cert.pem;
		ssl_certificate_key DIR/key.pem;
		location = /in { access_log DIR/posts posts; proxy_pass http://127.0.0.1:INNER; }
		location = /moved { return 301 /in; }
		location = /busy { add_header Retry-After 7 always; return 503; }
		location = /small { client_max_body_size 16; proxy_pass http://127.0.0.1:INNER; }
	}
	server {
		listen 127.0.0.1:INNER;
		location / { return 204; }
	}
}
`))
	base := fmt.Sprintf("https://127.0.0.1:%d", ports[0])
	p.spawn(t, func() string {
		c, err := net.Dial("tcp", strings.TrimPrefix(base, "https://"))
		if err != nil {
			return err.Error()
		}
		c.Close()
		return ""
	}, "nginx", "-p", dir, "-c", conf, "-e", "stderr")

	if err := once(t, hook1(t, WebhookConfig{URL: base + "/in", Roots: p.roots, Secret: "plain words, long enough"})); err != nil {
		t.Fatal(err)
	}
	posts := filepath.Join(dir, "posts")
	for deadline := time.After(time.Minute); !strings.HasSuffix(file(t, posts), "\n"); { // it logs after it has answered
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatal("nginx logs nothing")
		}
	}
	parts := strings.SplitN(strings.TrimSpace(file(t, posts)), "|", 3)
	var body webhookBody
	if err := json.Unmarshal([]byte(parts[2]), &body); err != nil || parts[0] != body.ID || parts[1] != "application/json" ||
		body.Kind != "activity" || body.Status != "active" || body.Transition != 7 {
		t.Errorf("%q: %v", parts, err)
	}
	for path, want := range map[string]struct {
		text  string
		final bool
	}{
		"/moved": {"answered 301 Moved Permanently to " + base + ", and redirects are not followed", true},
		"/busy":  {"answered 503 Service Unavailable", false},
		"/small": {"answered 413 Request Entity Too Large", true},
		"/none":  {"answered 404 Not Found", true},
	} {
		err := once(t, hook1(t, WebhookConfig{URL: base + path, Roots: p.roots}))
		if err == nil || !strings.Contains(err.Error(), want.text) || errors.Is(err, ErrRefused) != want.final {
			t.Errorf("%s: %v, want …%s…, final %t", path, err, want.text, want.final)
		}
		if asked, _ := errors.AsType[RetryAfter](err); (path == "/busy") != (asked != 0) {
			t.Errorf("%s: asked to wait %s", path, asked)
		}
	}
	if err := once(t, hook1(t, WebhookConfig{URL: base + "/in"})); err == nil || !strings.Contains(err.Error(), "failed to verify certificate") {
		t.Errorf("without its CA: %v", err)
	}
	if n := strings.Count(file(t, posts), "\n"); n != 1 {
		t.Errorf("%d posts were taken", n)
	}
}
