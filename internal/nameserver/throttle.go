package nameserver

import (
	"sync/atomic"
	"time"
)

// throttle lets one thing happen at most once a second, so that a flood of
// packets is not also one of log lines. The zero value is ready.
type throttle struct{ last atomic.Int64 }

// allow says whether it may happen now.
func (t *throttle) allow() bool { return t.allowAt(time.Now()) }

func (t *throttle) allowAt(now time.Time) bool {
	n, last := now.UnixNano(), t.last.Load()
	// A clock that was set back must not silence it until then.
	if d := n - last; last != 0 && 0 <= d && d < int64(time.Second) {
		return false
	}
	return t.last.CompareAndSwap(last, n)
}
