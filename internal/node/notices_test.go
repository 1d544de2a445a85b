package node

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"murakumo/internal/action"
	"murakumo/internal/config"
	"murakumo/internal/failover"
)

// TestNoticesFromTheFile: what the file says of webhooks and mail arrives at
// what sends them.
func TestNoticesFromTheFile(t *testing.T) {
	got := make(chan *http.Request, 1)
	bodies := make(chan map[string]any, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		got <- r
		bodies <- body
	}))
	defer server.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("of 24 letters or more, this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("f", []byte(`
auth-key: 0123456789abcdef
host: 10.0.0.1, web-01
notification:
  host: mail.example
  tls: required
  recipients: a@example.org, b@example.org
  webhook:
    url: `+server.URL+`/in
    secret: `+secret+`
    headers: {Authorization: Bearer x}
`), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	routes, err := noticeRoutes(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(routes) != 3 || routes[0].To != "a@example.org" || routes[1].To != "b@example.org" || routes[2].To != server.URL {
		t.Fatalf("routes %+v", routes)
	}
	notices, err := action.NewNotices(cfg.Host.Name, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	notices.Use(routes[2:])
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- notices.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	notices.Notify(failover.Transition{
		Kind: failover.KindHealth, Name: "db", Addr: netip.MustParseAddr("10.0.0.1"),
		Status: "unhealthy", Previous: "healthy", Reason: failover.ReasonFailover, Number: 1,
	})
	select {
	case r := <-got:
		if r.URL.Path != "/in" || r.Header.Get("Authorization") != "Bearer x" || r.Header.Get("Webhook-Signature") == "" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		if b := <-bodies; b["host"] != "web-01" || b["status"] != "unhealthy" {
			t.Errorf("%v", b)
		}
	case <-time.After(time.Minute):
		t.Fatal("no post after a minute")
	}
}

// TestNoNotification: no routes, and no fault.
func TestNoNotification(t *testing.T) {
	if routes, err := noticeRoutes(&config.Config{}); err != nil || len(routes) != 0 {
		t.Errorf("%v, %v", routes, err)
	}
}
