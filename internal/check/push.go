package check

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Push is a check that the application makes itself: it reports that it is
// well, or that it is not, and is not well when it says nothing for too long.
//
// Its Probe waits for the next report until ctx ends. So whoever runs probes one
// after the other, each as soon as the one before has ended and with the time
// that the application has as its limit, counts each report as one verdict, and
// each such time without one as a bad verdict.
type Push struct {
	ttl time.Duration
	// reports holds nothing: one that nobody waits for would be one of the
	// past when somebody does.
	reports chan bool
	retired chan struct{} // closed by Retire
}

// ErrRetired is what a report to a check gets that nobody will probe again.
var ErrRetired = errors.New("the check is there no more, or another one")

// NewPush makes a check that has had no report. ttl is the limit that its probes
// get, for what they say.
func NewPush(ttl time.Duration) *Push {
	return &Push{ttl: ttl, reports: make(chan bool), retired: make(chan struct{})}
}

// Report hands over what the application says of itself. It returns nil when a
// probe has taken it, ctx's error when none did until ctx ended, and ErrRetired.
func (p *Push) Report(ctx context.Context, good bool) error {
	select {
	case p.reports <- good:
		return nil
	case <-p.retired:
		return ErrRetired
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Retire says that no probe will wait any more, so that no report does. It may be
// called once.
func (p *Push) Retire() { close(p.retired) }

// Probe takes the next report.
func (p *Push) Probe(ctx context.Context) error {
	silence := func() error { return masked{fmt.Sprintf("no report for %v", p.ttl), ctx.Err()} }
	if ctx.Err() != nil {
		// On a busy machine a probe can come late, and then nobody waits for
		// what it says any more: the report is the next one's.
		return silence()
	}
	select {
	case good := <-p.reports:
		return verdict(good)
	case <-ctx.Done():
		return silence()
	}
}

func verdict(good bool) error {
	if !good {
		return errors.New("the application reported that it is not well")
	}
	return nil
}
