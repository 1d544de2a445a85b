package config

import (
	"context"
	"fmt"
	"os"
	"time"
)

// settleFor is how long a file must not have changed to be taken for whole: a
// program that writes one does not pause that long in the middle. settleMost
// bounds the wait for one that is written to without end.
const (
	settleFor  = 300 * time.Millisecond
	settleMost = 10 * time.Second
)

// Settle waits until nobody has written to the file for a moment. The first half
// of a file can be a good one that lacks half of the aliases, which nobody wants
// to have taken out because a signal came a little early. A path of "" or of
// nothing needs no wait; reading it says what is wrong. The error is that of
// the context, or says that the file does not come to rest.
func Settle(ctx context.Context, path string) error {
	type state struct {
		size int64
		at   time.Time
	}
	look := func() (s state, ok bool) {
		info, err := os.Stat(path)
		if err != nil {
			return s, false
		}
		return state{info.Size(), info.ModTime()}, true
	}
	last, ok := look()
	// By the clock of the file system, which may be another than ours: what was
	// written a while ago, or seems to be from the future, is at rest when it
	// stays as it is.
	if since := time.Since(last.at); !ok || since > settleFor {
		return nil
	}
	end := time.NewTimer(settleMost)
	defer end.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-end.C:
			return fmt.Errorf("%s is written to all the time: send SIGHUP again when it is whole", path)
		case <-time.After(settleFor):
		}
		now, ok := look()
		if !ok || now == last {
			return nil
		}
		last = now
	}
}
