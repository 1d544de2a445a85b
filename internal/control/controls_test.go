package control

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestControlRequests(t *testing.T) {
	n := newFakeNode(t)
	h := Handler(n, noLog)
	for _, c := range []struct {
		method, target, body string
		status               int
		want                 string // the answer, or if it ends in … its beginning
	}{
		{"GET", "/v1/attributes", "", 200, `{"attributes":[{"name":"node_lifetime","value":"10"},{"name":"log_level","value":"info"}]}`},
		{"GET", "/v1/attributes/log_level", "", 200, `{"name":"log_level","value":"info"}`},
		{"GET", "/v1/attributes/port", "", 404, `{"error":"no attribute \"port\""}`},
		{"PUT", "/v1/attributes/log_level", `{"value":"debug"}`, 200, `{"name":"log_level","value":"debug"}`},
		{"PUT", "/v1/attributes/log_level", `{"value":""}`, 400, `{"error":"log_level: expected a value"}`},
		{"PUT", "/v1/attributes/log_level", `{}`, 400, `{"error":"value: missing"}`},
		{"PUT", "/v1/attributes/log_level", `{"value":5}`, 400, `{"error":"value: unexpected JSON number"}`},
		{"PUT", "/v1/attributes/log_level", `{"value":"info","for":"15m"}`, 400, `{"error":"malformed body: unknown field \"for\""}`},
		{"PUT", "/v1/attributes/port", `{"value":"53"}`, 404, `{"error":"no attribute \"port\""}`},
		{"POST", "/v1/attributes/log_level", `{"value":"info"}`, 404, `{"error":"no request POST /v1/attributes/log_level"}`},

		{"DELETE", "/v1/dead", "", 200, `{"deleted":2}`},
		{"DELETE", "/v1/dead", `{"only":["10.0.0.9"]}`, 400, `{"error":"DELETE /v1/dead takes no body"}`},
		{"POST", "/v1/checks/web/run", `{"timeout":1}`, 400, `{"error":"POST /v1/checks/web/run takes no body"}`},
		{"GET", "/v1/records", `{"phrase":"web"}`, 400, `{"error":"GET /v1/records takes no body"}`},
		{"DELETE", "/v1/dead?all=1", "", 400, `{"error":"unknown parameter \"all\""}`},

		{"GET", "/v1/checks", "", 200, `{"checks":[{"name":"web","health":"healthy","interval":5,"timeout":2.5,"push":false}]}`},
		{"POST", "/v1/checks/WEB/run", "", 200, `{"name":"web","verdict":"bad","duration":0.5,"error":"refused"}`},
		{"POST", "/v1/checks/nobody/run", "", 404, `{"error":"no health check of nobody on this node"}`},
		{"POST", "/v1/checks/a%20b/run", "", 400, `{"error":"name \"a b\" has a character that is not allowed…`},

		// Only the unix socket has it.
		{"GET", "/v1/configuration", "", 404, `{"error":"no request GET /v1/configuration"}`},
	} {
		status, answer := ask(h, c.method, c.target, c.body)
		begin, open := strings.CutSuffix(c.want, "…")
		if status != c.status || answer != c.want && !(open && strings.HasPrefix(answer, begin)) {
			t.Errorf("%s %s %s: got %d %s, want %d %s", c.method, c.target, c.body, status, answer, c.status, c.want)
		}
	}
}

// No request can define or change what is run: whatever body names a program is
// refused by the name of the field, at every request that takes a body.
func TestNoRequestTakesACommand(t *testing.T) {
	n := newFakeNode(t)
	asked := false
	n.before = func(context.Context, string, []string) error { asked = true; return nil }
	h := newHandler(n, noLog)
	h.handleSecrets()
	before := n.View()
	for _, r := range []struct{ method, target, body string }{
		{"POST", "/v1/records", `{"records":[{"name":"a","ttl":1,"priority":"master","weight":1,%s}]}`},
		{"POST", "/v1/records", `{"records":[{"name":"a","ttl":1,"priority":"master","weight":1}],%s}`},
		{"POST", "/v1/nodes", `{"hosts":["a"],%s}`},
		{"PUT", "/v1/attributes/log_level", `{"value":"info",%s}`},
		{"POST", "/v1/checks/web/report", `{"verdict":"good",%s}`},
	} {
		for _, key := range []string{"command", "script", "on-activate", "on_activate", "OnActivate", "on-inactivate", "on-start", "init-script", "health-check", "hook-timeout", "notification", "path", "url"} {
			body := strings.Replace(r.body, "%s", `"`+key+`":["/bin/sh","-c","id"]`, 1)
			status, answer := ask(h, r.method, r.target, body)
			if status != http.StatusBadRequest || !strings.Contains(answer, `unknown field \"`+key) {
				t.Errorf("%s %s %s: %d %s", r.method, r.target, body, status, answer)
			}
		}
	}
	// And where no body is taken, none is read.
	for _, key := range []string{"command", "script"} {
		for _, target := range []string{"/v1/checks", "/v1/checks/web", "/v1/hooks", "/v1/configuration"} {
			for _, method := range []string{"PUT", "POST", "PATCH"} {
				if status, answer := ask(h, method, target, `{"`+key+`":"id"}`); status != http.StatusNotFound {
					t.Errorf("%s %s: %d %s", method, target, status, answer)
				}
			}
		}
	}
	if asked || n.View() != before {
		t.Error("something was done")
	}
}

// docs/api.md has every request and no other; its examples are run by a test of
// mrkmctl, against a real daemon.
func TestEveryRequestIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	h := newHandler(newFakeNode(t), noLog)
	h.handleSecrets()
	known := slices.Sorted(slices.Values(h.known))
	var documented []string
	for _, m := range regexp.MustCompile(`(?m)^### ([A-Z]+ /.*)$`).FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(documented)
	if !slices.Equal(known, documented) {
		t.Errorf("documented: %s\nthere are:  %s", documented, known)
	}
	for _, kind := range []EventKind{EventReady, EventEnd, EventMissed, EventJoined, EventLost, EventLeft, EventRemoved, EventRecordAdded,
		EventRecordGone, EventActivity, EventDuty, EventChanged, EventHealth, EventHook} {
		if !strings.Contains(string(text), "`"+string(kind)+"`") {
			t.Errorf("the event %s is not documented", kind)
		}
	}
}

func TestControlClient(t *testing.T) {
	n := newFakeNode(t)
	c, _ := serve(t, n)
	ctx := t.Context()
	if all, err := c.Attributes(ctx); err != nil || len(all) != 2 || all[1] != (Attribute{"log_level", "info"}) {
		t.Errorf("attributes: %v, %v", all, err)
	}
	if a, err := c.Attribute(ctx, "node_lifetime"); err != nil || a.Value != "10" {
		t.Errorf("attribute: %v, %v", a, err)
	}
	if _, err := c.Attribute(ctx, "a/b"); KindOf(err) != NotFound {
		t.Errorf("attribute that is none: %v", err)
	}
	if a, err := c.SetAttribute(ctx, "log_level", "warn"); err != nil || a != (Attribute{"log_level", "warn"}) {
		t.Errorf("set: %v, %v", a, err)
	}
	if n, err := c.ClearDead(ctx); n != 2 || err != nil {
		t.Errorf("clear: %d, %v", n, err)
	}
	if file, err := c.Configuration(ctx); err != nil || string(file) != "auth-key: secret\n" {
		t.Errorf("configuration: %q, %v", file, err)
	}
	if v, err := c.RunCheck(ctx, "Web"); err != nil || v != (Verdict{Name: "web", Verdict: "bad", Seconds: 0.5, Error: "refused"}) || v.Good() {
		t.Errorf("check: %+v, %v", v, err)
	}
	if _, err := c.RunCheck(ctx, "nobody"); KindOf(err) != NotFound {
		t.Errorf("check of nobody: %v", err)
	}
	if _, err := c.RunCheck(ctx, "a b"); KindOf(err) != Invalid {
		t.Errorf("check of nonsense: %v", err)
	}
}

// A secret is in the answer to the one request, and in no line of the log.
func TestSecretsAreNotLogged(t *testing.T) {
	var log bytes.Buffer
	n := newFakeNode(t)
	h := newHandler(n, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	h.handleSecrets()
	if status, answer := ask(h, "GET", "/v1/configuration", ""); status != 200 || answer != "auth-key: secret" {
		t.Errorf("%d %s", status, answer)
	}
	ask(h, "GET", "/v1/configuration?x=1", "")
	if strings.Contains(log.String(), "secret") {
		t.Errorf("the log has it: %s", &log)
	}
}

// A check that takes its time beside 100 lists: it ends after them, and so none
// has waited for it.
func TestRunningCheckHoldsUpNobody(t *testing.T) {
	n := newFakeNode(t)
	begun, finish := make(chan struct{}), make(chan struct{})
	n.before = func(context.Context, string, []string) error {
		close(begun)
		<-finish
		return nil
	}
	c, _ := serve(t, n)
	checked := make(chan error, 1)
	go func() {
		_, err := c.RunCheck(context.Background(), "web")
		checked <- err
	}()
	<-begun
	for range 100 {
		if _, err := c.Records(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-checked:
		t.Errorf("the check has ended already: %v", err)
	default:
	}
	close(finish)
	if err := <-checked; err != nil {
		t.Error(err)
	}
}

// A check may take longer than any other request, and is waited for; but not by
// the end of the daemon.
func TestCheckOutlivesDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		var takes atomic.Int64
		takes.Store(int64(2400 * time.Millisecond))
		n.before = func(ctx context.Context, _ string, _ []string) error {
			select {
			case <-time.After(time.Duration(takes.Load())):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		c, stop := servePipe(t, n)
		if _, err := c.RunCheck(t.Context(), "web"); err != nil {
			t.Error(err)
		}
		const late = maxCheck + time.Second // a daemon that is busy
		takes.Store(int64(late))
		h := Handler(n, noLog)
		begin := time.Now()
		if status, answer := ask(h, "POST", "/v1/checks/web/run", ""); status != 200 || time.Since(begin) != late {
			t.Errorf("%d %s after %v", status, answer, time.Since(begin))
		}
		// Of a timeout of 2.5 s the client knows, and so when nothing will come.
		begin = time.Now()
		if _, err := c.RunCheck(t.Context(), "web"); err == nil || time.Since(begin) != 2500*time.Millisecond+changePatience {
			t.Errorf("%v after %v", err, time.Since(begin))
		}

		takes.Store(int64(time.Minute))
		ended := make(chan error, 1)
		go func() {
			_, err := c.RunCheck(context.Background(), "web")
			ended <- err
		}()
		synctest.Wait()
		begin = time.Now()
		stop()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the end waited for %v", took)
		}
		if err := <-ended; err == nil || KindOf(err) != Unavailable || !strings.Contains(err.Error(), "murakumo is stopping") {
			t.Errorf("the asker hears %v", err)
		}
	})
}

func TestRunLimit(t *testing.T) {
	n := newFakeNode(t)
	begun, finish := make(chan struct{}, maxRuns), make(chan struct{})
	n.before = func(context.Context, string, []string) error {
		begun <- struct{}{}
		<-finish
		return nil
	}
	c, _ := serve(t, n)
	ended := make(chan error, maxRuns)
	for range maxRuns {
		go func() {
			_, err := c.RunCheck(context.Background(), "web")
			ended <- err
		}()
	}
	for range maxRuns {
		<-begun
	}
	if _, err := c.RunCheck(t.Context(), "web"); KindOf(err) != Unavailable || !strings.Contains(err.Error(), "8 checks are being run on demand already") {
		t.Errorf("one more: %v", err)
	}
	close(finish)
	for range maxRuns {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestEventJSON(t *testing.T) {
	e := Event{Kind: EventHook, Time: time.Unix(0, 0).UTC(), Transition: &Transition{
		Name: "web", Address: self, Kind: "activity", Status: "active", Previous: "inactive", Reason: "failover", Number: 3, Outcome: "timed out", Seconds: 60, Error: "too long",
	}}
	got, err := json.Marshal(e)
	want := `{"time":"1970-01-01T00:00:00Z","transition":{"name":"web","address":"10.0.0.133","kind":"activity","status":"active","previous":"inactive","reason":"failover","number":3,"outcome":"timed out","duration":60,"error":"too long"}}`
	if string(got) != want || err != nil {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	if got, want := e.String(), "10.0.0.133 web: hook for active: timed out after 60 s (transition 3): too long"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
