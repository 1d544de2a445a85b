package node

import (
	"context"

	"murakumo/internal/action"
	"murakumo/internal/config"
	"murakumo/internal/failover"
)

// act runs the hook of a transition and sends its notice.
func (c *Core) act(t failover.Transition, hook config.Command) {
	if t.Kind == failover.KindHealth {
		c.state.noteHealth(t.Name, t.Number)
		c.tellHealth(t)
	}
	select {
	case c.noted <- struct{}{}:
	default:
	}
	c.hooks.Enqueue(action.Hook{Transition: t, Command: hook, Timeout: c.config().HookTimeout})
	// A member that asserts itself again did not change.
	if t.Reason != failover.ReasonReassert {
		c.notices.Notify(t)
	}
}

// recorded makes an executor that writes the transition number down before it
// runs the hook, so that no later run of the daemon uses the number again.
func (c *Core) recorded(exec action.Executor) action.Executor {
	if exec == nil {
		exec = action.Processes(c.log)
	}
	return func(ctx context.Context, h action.Hook) error {
		c.state.flush()
		return exec(ctx, h)
	}
}

func (c *Core) hookEnded(r action.Result) {
	defer c.tellHook(r) // after its end is in the table
	h := r.Hook
	// One that was superseded ends while an older one still runs; the end of
	// the newer one is the end of both.
	if h.Kind != failover.KindActivity || r.Outcome == action.Superseded {
		return
	}
	// A failed hook that should let go is nobody's concern but the log's: what
	// it has is taken away by the next one's hook.
	known := h.Status != "active" || r.Outcome == action.OK || c.checks.hookFailed(h.Name, h.Number)
	c.records.setActed(h.Name, h.Number, known)
}

// onStart runs the on-start hook once gossip is up.
func (c *Core) onStart(ctx context.Context) error {
	cfg := c.config()
	if len(cfg.OnStart) == 0 {
		return nil
	}
	select {
	case <-c.gossip.Ready():
	case <-ctx.Done():
		return nil
	}
	action.RunCommand(ctx, c.log, "on-start", cfg.HookTimeout, cfg.OnStart, cfg.Host.Addrs[0].String(), cfg.Host.Name)
	return nil
}
