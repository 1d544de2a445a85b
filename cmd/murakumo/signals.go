package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"murakumo/internal/daemon"
)

// errKeep is why a context ended that the daemon is not to let go of anything
// at: a new one starts at once.
var errKeep = errors.New("another daemon takes over")

// untilStopped gives a context that ends with the first signal to stop: SIGTERM
// and SIGINT, or daemon.SignalKeep, and then its cause is errKeep. After it, the
// next one has its usual effect and ends the process on the spot: an operator
// who asks twice does not want to wait for a hook.
func untilStopped() context.Context {
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, daemon.SignalKeep)
	go func() {
		got := <-signals
		if got == daemon.SignalKeep {
			stop(errKeep)
		} else {
			stop(nil)
		}
		// Not this one: it is no demand to hurry. It is not ignored, because the
		// hooks of the end would inherit that.
		signal.Notify(make(chan os.Signal, 1), daemon.SignalKeep)
		signal.Stop(signals)
	}()
	return ctx
}
