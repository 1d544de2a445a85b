package control

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// A report reaches the node as it was said, and a refusal the application.
func TestReport(t *testing.T) {
	n := newFakeNode(t)
	n.before = func(_ context.Context, what string, args []string) error {
		if what == "report" && args[0] == "nobody" {
			return Errorf(NotFound, "no health check of nobody on this node")
		}
		return nil
	}
	c, _ := serve(t, n)
	for _, good := range []bool{true, false} {
		if err := c.Report(t.Context(), "Web", good); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"web true", "web false"}; !slices.Equal(n.reports, want) {
		t.Errorf("got %q, want %q", n.reports, want)
	}
	if err := c.Report(t.Context(), "nobody", true); KindOf(err) != NotFound || err.Error() != "no health check of nobody on this node" {
		t.Errorf("got %v (%v)", err, KindOf(err))
	}
	if err := c.Report(t.Context(), "a b", true); KindOf(err) != Invalid {
		t.Errorf("got %v (%v)", err, KindOf(err))
	}
}

// An application reports every few seconds: the log would have nothing else in
// it. What is refused is in it.
func TestReportsAreNotLogged(t *testing.T) {
	n := newFakeNode(t)
	var log bytes.Buffer
	h := Handler(n, slog.New(slog.NewTextHandler(&log, nil)))
	if status, answer := ask(h, "POST", "/v1/checks/web/report", `{"verdict":"good"}`); status != 200 || log.Len() > 0 {
		t.Errorf("%d %s; logged %s", status, answer, log.String())
	}
	n.before = func(context.Context, string, []string) error { return Errorf(Conflict, "takes no reports") }
	if status, answer := ask(h, "POST", "/v1/checks/web/report", `{"verdict":"good"}`); status != 409 || !strings.Contains(log.String(), "takes no reports") {
		t.Errorf("%d %s; logged %s", status, answer, log.String())
	}
}
