package action_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"murakumo/internal/action"
	"murakumo/internal/failover"
)

// A transition is handed over, and its one end comes back.
func ExampleHooks() {
	hooks := action.NewHooks(action.HookOptions{
		Log: slog.New(slog.DiscardHandler),
		Exec: func(_ context.Context, h action.Hook) error { // leave it out to run real processes
			fmt.Println("run", h.Command, h.Addr, h.Name, h.Status)
			return nil
		},
		Ended: func(r action.Result) { fmt.Println("transition", r.Hook.Number, r.Outcome) },
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- hooks.Run(ctx) }()

	hooks.Enqueue(action.Hook{
		Transition: failover.Transition{
			Kind: failover.KindActivity, Name: "mysql-server", Addr: netip.MustParseAddr("10.0.0.55"),
			Status: "active", Previous: "inactive", Reason: failover.ReasonFailover, Number: 7,
		},
		Command: []string{"/usr/local/sbin/attach_if"},
	})
	_ = hooks.Drain(ctx)
	stop()
	fmt.Println("stopped", <-done)
	// Output:
	// run [/usr/local/sbin/attach_if] 10.0.0.55 mysql-server active
	// transition 7 ok
	// stopped <nil>
}
