package action

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"murakumo/internal/failover"
)

// Message is one notice on its way to one destination.
type Message struct {
	Transition failover.Transition
	// ID is unique, and fit for a Message-ID's brackets. It stays the same over
	// all tries and destinations: when a server took a notice and its answer was
	// lost, the reader's program can tell that the second copy is no second
	// event.
	ID        string
	Host      string    // this node's name
	Time      time.Time // of the transition's notice, not of the try
	Recipient string    // Route.To: for mail an address without a display name
	Subject   string
	Text      string // one sentence for a person
	Body      string // of a mail; ASCII, lines end in "\n"
}

// newMessage writes the notice of a transition; the destination is still to be
// filled in. It refuses what could break out of a header line.
func newMessage(t failover.Transition, host string, now time.Time) (Message, error) {
	if err := checkTransition(t); err != nil {
		return Message{}, err
	}
	var id [12]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	text := sentence(t)
	return Message{
		Transition: t,
		ID:         fmt.Sprintf("%s@%s", hex.EncodeToString(id[:]), host),
		Host:       host,
		Time:       now,
		Subject:    fmt.Sprintf("[%s] %s/%s => %s", t.Kind, t.Name, t.Addr, t.Status),
		Text:       text,
		Body:       body(t, text, host, now),
	}, nil
}

// previous is the status before, "" when it is none that we know of.
func previous(t failover.Transition) string {
	switch t.Previous {
	case "active", "inactive", "healthy", "unhealthy", "unknown", "undefined":
		return t.Previous
	}
	return ""
}

// sentence tells a transition to a person.
func sentence(t failover.Transition) string {
	before := ""
	if p := previous(t); p != "" {
		before = fmt.Sprintf(" (before: %s)", p)
	}
	return fmt.Sprintf("%s at %s is %s%s: %s.", t.Name, t.Addr, t.Status, before, why(t))
}

// body has the three lines that filters of the original look for, and then one
// for the person who reads it at night.
func body(t failover.Transition, text, host string, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Address: %s\nName: %s\nStatus: %s\n\n", t.Addr, t.Name, t.Status)
	fmt.Fprintf(&b, "%s\nSaid by %s at %s, transition %d.\n", text, host, now.Format(time.RFC3339), t.Number)
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
