package action

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"murakumo/internal/failover"
)

// Message is one notice on its way to one recipient.
type Message struct {
	Transition failover.Transition
	// ID is the Message-ID without its brackets. It stays the same over all
	// tries and recipients: when a server took a mail and its answer was lost,
	// the reader's program can tell that the second copy is no second event.
	ID        string
	Time      time.Time // of the transition's notice, not of the try
	Recipient string    // an address without a display name
	Subject   string
	Body      string // ASCII, lines end in "\n"
}

// newMessage writes the notice of a transition; the recipient is still to be
// filled in. It refuses what could break out of a header line.
func newMessage(t failover.Transition, host string, now time.Time) (Message, error) {
	if err := checkTransition(t); err != nil {
		return Message{}, err
	}
	var id [12]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return Message{
		Transition: t,
		ID:         fmt.Sprintf("%s@%s", hex.EncodeToString(id[:]), host),
		Time:       now,
		Subject:    fmt.Sprintf("[%s] %s/%s => %s", t.Kind, t.Name, t.Addr, t.Status),
		Body:       body(t, host, now),
	}, nil
}

// body has the three lines that filters of the original look for, and then one
// for the person who reads it at night.
func body(t failover.Transition, host string, now time.Time) string {
	previous := ""
	switch t.Previous {
	case "active", "inactive", "healthy", "unhealthy", "unknown", "undefined":
		previous = fmt.Sprintf(" (before: %s)", t.Previous)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Address: %s\nName: %s\nStatus: %s\n\n", t.Addr, t.Name, t.Status)
	fmt.Fprintf(&b, "%s at %s is %s%s: %s.\n", t.Name, t.Addr, t.Status, previous, why(t))
	fmt.Fprintf(&b, "Said by %s at %s, transition %d.\n", host, now.Format(time.RFC3339), t.Number)
	return b.String()
}

// why says in a few words what lies behind a transition.
func why(t failover.Transition) string {
	switch t.Reason {
	case failover.ReasonShutdown:
		return "its daemon is stopping"
	case failover.ReasonManual:
		return "an operator took it away"
	}
	switch t.Status {
	case "healthy":
		return "its health check succeeds, DNS answers with it again"
	case "unhealthy":
		return "its health check fails, DNS does not answer with it any longer"
	case "inactive":
		switch t.Reason {
		case failover.ReasonReturn:
			return "a member of a higher tier is back on duty"
		case failover.ReasonStart:
			return "at its start somebody else is on duty"
		}
		return "it is not on duty any longer"
	}
	switch t.Reason {
	case failover.ReasonReturn:
		return "it is back on duty"
	case failover.ReasonReassert:
		return "it is on duty as before, and another member held the duty meanwhile, so it takes over once more"
	case failover.ReasonStart:
		return "at its start nobody of a higher tier is on duty"
	}
	return "it takes over"
}
