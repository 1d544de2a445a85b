package action

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"murakumo/internal/failover"
)

func TestMessage(t *testing.T) {
	now := time.Date(2026, 3, 1, 4, 5, 6, 0, time.FixedZone("JST", 9*3600))
	for _, tc := range []struct {
		name          string
		tr            failover.Transition
		reason        failover.Reason
		subject, body string
	}{
		{"health", health("unhealthy", 3), failover.ReasonFailover,
			"[Health] web/10.0.0.55 => unhealthy",
			`Address: 10.0.0.55
Name: web
Status: unhealthy

web at 10.0.0.55 is unhealthy (before: healthy): its health check fails, DNS does not answer with it any longer.
Said by server-02 at 2026-03-01T04:05:06+09:00, transition 3.
`},
		{"activity", activity("active", 12), failover.ReasonReassert,
			"[Activity] web/10.0.0.55 => active",
			`Address: 10.0.0.55
Name: web
Status: active

web at 10.0.0.55 is active (before: inactive): it is on duty as before, and another member held the duty meanwhile, so it takes over once more.
Said by server-02 at 2026-03-01T04:05:06+09:00, transition 12.
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.tr.Reason = tc.reason
			m, err := newMessage(tc.tr, "server-02", now)
			if err != nil {
				t.Fatal(err)
			}
			if m.Subject != tc.subject {
				t.Errorf("subject %q, want %q", m.Subject, tc.subject)
			}
			if m.Body != tc.body {
				t.Errorf("body:\n%s\nwant:\n%s", m.Body, tc.body)
			}
		})
	}
}

// TestWhy: every reason has words of its own for the status that it goes with.
func TestWhy(t *testing.T) {
	seen := make(map[string]string)
	for _, status := range []string{"active", "inactive"} {
		for _, reason := range []failover.Reason{
			failover.ReasonStart, failover.ReasonFailover, failover.ReasonReturn, failover.ReasonReassert,
		} {
			if status == "inactive" && reason == failover.ReasonReassert {
				continue // there is none
			}
			tr := activity(status, 1)
			tr.Reason = reason
			words := why(tr)
			if other, twice := seen[words]; twice {
				t.Errorf("%s %s reads like %s: %s", status, reason, other, words)
			}
			seen[words] = status + " " + string(reason)
		}
	}
	for _, reason := range []failover.Reason{failover.ReasonShutdown, failover.ReasonManual} {
		for _, tr := range []failover.Transition{activity("inactive", 1), health("unhealthy", 1)} {
			tr.Reason = reason
			if w := why(tr); !strings.Contains(w, "stopping") && !strings.Contains(w, "operator") {
				t.Errorf("%s: %s", reason, w)
			}
		}
	}
}

// TestMessageCannotBreakOut: whatever a name holds, a notice is refused or its
// subject and ID are one line of harmless characters.
func TestMessageCannotBreakOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := activity("active", 1)
		tr.Name = rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`[a-z0-9._-]{0,5}[\r\n:;$' -]?[a-zA-Z0-9._-]{0,8}`),
		).Draw(t, "name")
		m, err := newMessage(tr, "server-02", time.Now())
		if err != nil {
			return
		}
		if strings.ContainsAny(m.Subject+m.ID, "\r\n\x00;$'`") || strings.HasPrefix(tr.Name, "-") {
			t.Errorf("subject %q", m.Subject)
		}
		for _, c := range []byte(m.Body) {
			if c >= 0x80 || (c < ' ' && c != '\n') {
				t.Errorf("body %q", m.Body)
			}
		}
	})
	tr := activity("active", 1)
	tr.Addr = netip.MustParseAddr("fe80::1%x\r\nBcc: everybody@example.org")
	if _, err := newMessage(tr, "server-02", time.Now()); err == nil {
		t.Error("an address with a zone went into a subject")
	}
}
