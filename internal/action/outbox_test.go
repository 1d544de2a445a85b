package action

import (
	"strconv"
	"testing"
	"time"
)

// numbered gives a message whose ID is its number.
func numbered(n int, at time.Time) Message { return Message{ID: strconv.Itoa(n), Time: at} }

func TestOutboxBackOff(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := time.Second
	for _, tc := range []struct {
		jitter float64
		want   []time.Duration
	}{
		{0, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s}},
		{1, []time.Duration{s / 2, s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s, 30 * s}},
	} {
		var b outbox
		b.add(numbered(1, now))
		for i, want := range tc.want {
			if _, _, ok := b.next(now); !ok {
				t.Fatalf("try %d: not due", i+1)
			}
			if got := b.ended(now, putOff, tc.jitter, 0); got != want {
				t.Errorf("jitter %g, wait %d: %s, want %s", tc.jitter, i+1, got, want)
			}
			if _, wait, ok := b.next(now.Add(want - 1)); ok || wait != 1 {
				t.Errorf("1 ns before its time: due %t, wait %s", ok, wait)
			}
			now = now.Add(want)
		}
		// A success starts the waits anew.
		b.add(numbered(2, now))
		b.next(now)
		b.ended(now, delivered, 0, 0)
		if m, _, ok := b.next(now); !ok || m.ID != "2" {
			t.Errorf("after a success: %v, due %t", m.ID, ok)
		}
		if got := b.ended(now, putOff, 0, 0); got != s {
			t.Errorf("first wait after a success: %s", got)
		}
	}
}

func TestOutboxBound(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, sending := range []bool{false, true} {
		var b outbox
		for n := range maxNotices {
			if _, full := b.add(numbered(n, now)); full {
				t.Fatalf("full at %d", n)
			}
		}
		oldest := "0"
		if sending {
			b.next(now)
			oldest = "1" // 0 is on its way
		}
		dropped, full := b.add(numbered(maxNotices, now))
		if !full || dropped.ID != oldest {
			t.Errorf("sending %t: dropped %q (%t), want %q", sending, dropped.ID, full, oldest)
		}
		if len(b.waiting) != maxNotices || b.waiting[maxNotices-1].ID != strconv.Itoa(maxNotices) {
			t.Errorf("sending %t: %d wait", sending, len(b.waiting))
		}
		if sending && b.waiting[0].ID != "0" {
			t.Errorf("first is %s, and 0 is on its way", b.waiting[0].ID)
		}
	}
}

func TestOutboxExpiry(t *testing.T) {
	start := time.Unix(1e9, 0)
	var b outbox
	b.add(numbered(1, start))
	b.add(numbered(2, start.Add(time.Minute)))
	if old := b.expire(start.Add(noticeLife - 1)); len(old) != 0 {
		t.Errorf("1 ns too early: %d expired", len(old))
	}
	// The wait never goes beyond the moment at which something expires.
	b.next(start)
	b.ended(start.Add(noticeLife-time.Second), putOff, 0, 0)
	b.failures = 6
	b.ended(start.Add(noticeLife-time.Second), putOff, 0, 0)
	if _, wait, ok := b.next(start.Add(noticeLife - time.Second)); ok || wait != time.Second {
		t.Errorf("due %t, wait %s, want 1s", ok, wait)
	}
	old := b.expire(start.Add(noticeLife))
	if len(old) != 1 || old[0].ID != "1" {
		t.Errorf("expired: %v", old)
	}
	if len(b.waiting) != 1 || b.waiting[0].ID != "2" {
		t.Errorf("left: %v", b.waiting)
	}
}
