package ec2

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Scheduled is an event that AWS has scheduled for an instance.
type Scheduled struct {
	Instance    string     `json:"instance-id"`
	Code        string     `json:"code"` // instance-reboot, system-reboot, system-maintenance, instance-retirement, instance-stop
	Description string     `json:"description"`
	NotBefore   *time.Time `json:"not-before,omitempty"`
	NotAfter    *time.Time `json:"not-after,omitempty"`
	// Over says that it was completed or cancelled; EC2 still tells of it for
	// up to a week.
	Over bool `json:"over"`
}

// Events gives the scheduled events of all instances, running or not.
func (c *Client) Events(ctx context.Context) ([]Scheduled, error) {
	items, err := c.list(ctx, "DescribeInstanceStatus", "instanceStatusSet", Params{"IncludeAllInstances": "true"})
	if err != nil {
		return nil, err
	}
	all := []Scheduled{}
	for _, item := range items {
		for _, e := range item.Items("eventsSet") {
			s := Scheduled{Instance: item.Str("instanceId"), Code: e.Str("code"), Description: e.Str("description")}
			s.NotBefore, s.NotAfter = moment(e.Str("notBefore")), moment(e.Str("notAfter"))
			// The API has no field for it; the description begins so.
			d := strings.ToLower(s.Description)
			s.Over = strings.HasPrefix(d, "[completed]") || strings.HasPrefix(d, "[canceled]") || strings.HasPrefix(d, "[cancelled]")
			all = append(all, s)
		}
	}
	return all, nil
}

// moment reads a time, nil if there is none.
func moment(text string) *time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil
	}
	return &t
}

// The statuses of a monitoring check, which are its exit statuses, too
// (Monitoring Plugins Development Guidelines).
const (
	StatusOK       = 0
	StatusWarning  = 1
	StatusCritical = 2
	StatusUnknown  = 3
)

// maxLine is how long the line of a monitoring check may be, in octets: 4 kB
// with the newline that ends it.
const maxLine = 4<<10 - 1

// Judge gives what a monitoring check says about events. Those that are over
// count only with all. With warnBefore above 0, an event that begins later than
// that from now is a warning; any other is critical.
func Judge(events []Scheduled, all bool, warnBefore time.Duration, now time.Time) (status int, counted []Scheduled) {
	far := func(s Scheduled) bool {
		return warnBefore > 0 && s.NotBefore != nil && s.NotBefore.Sub(now) > warnBefore
	}
	counted = []Scheduled{}
	for _, s := range events {
		switch {
		case s.Over && !all:
			continue
		case !far(s):
			status = StatusCritical
		case status == StatusOK:
			status = StatusWarning
		}
		counted = append(counted, s)
	}
	// What is due first comes first, where the line may be cut off.
	slices.SortStableFunc(counted, func(a, b Scheduled) int {
		return cmp.Or(cmp.Compare(due(a), due(b)), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Code, b.Code))
	})
	return status, counted
}

func due(s Scheduled) int64 {
	if s.NotBefore == nil {
		return 0
	}
	return s.NotBefore.Unix()
}

// EventsLine gives the line for the counted events: instance:code, … or OK.
func EventsLine(counted []Scheduled) string {
	if len(counted) == 0 {
		return "OK"
	}
	var b strings.Builder
	for i, s := range counted {
		one := oneLine(s.Instance + ":" + s.Code)
		if i > 0 {
			one = ", " + one
		}
		rest := fmt.Sprintf(", and %d more", len(counted)-i)
		if b.Len()+len(one)+len(rest) > maxLine {
			return b.String() + rest
		}
		b.WriteString(one)
	}
	return b.String()
}

// oneLine takes out what would end a line, or a monitoring system's field.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == '|' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

// UnknownLine gives the line of a check that could not ask.
func UnknownLine(err error) string {
	line := "UNKNOWN: " + oneLine(err.Error())
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine-len("…")], "") + "…"
	}
	return line
}
