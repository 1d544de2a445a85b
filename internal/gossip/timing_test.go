package gossip

import (
	"math"
	"testing"
	"time"
)

func TestTimingFor(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		lifetime, interval time.Duration
		want               timing
	}{
		{9 * time.Second, 300 * ms, timing{300 * ms, 150 * ms, 270 * ms, 2250 * ms, 9 * time.Second, 4500 * ms}},
		{30 * time.Second, 300 * ms, timing{1000 * ms, 500 * ms, 300 * ms, 7500 * ms, 30 * time.Second, 15 * time.Second}},
		{30 * time.Second, 50 * ms, timing{1000 * ms, 500 * ms, 50 * ms, 7500 * ms, 30 * time.Second, 15 * time.Second}},
		{300 * time.Second, 300 * ms, timing{10 * time.Second, 5 * time.Second, 300 * ms, 10 * time.Second, 300 * time.Second, 150 * time.Second}},
		{600 * ms, 300 * ms, timing{20 * ms, 10 * ms, 18 * ms, 500 * ms, 600 * ms, 300 * ms}},
	} {
		if got := timingFor(c.lifetime, c.interval); got != c.want {
			t.Errorf("timingFor(%v, %v) = %+v, want %+v", c.lifetime, c.interval, got, c.want)
		}
	}
}

func TestSuspicionMult(t *testing.T) {
	lib := timingFor(9*time.Second, 300*time.Millisecond)
	for _, c := range []struct{ n, want int }{
		{0, 15}, {1, 15}, {2, 15}, {10, 15}, {20, 12}, {60, 9}, {100, 8}, {1000, 5},
	} {
		if got := lib.suspicionMult(c.n); got != c.want {
			t.Errorf("suspicionMult(%d) = %d, want %d", c.n, got, c.want)
		}
	}
	for _, lifetime := range []time.Duration{500 * time.Millisecond, time.Second, 10 * time.Second, 300 * time.Second} {
		tm := timingFor(lifetime, 300*time.Millisecond)
		for n := range 3000 {
			// As suspicionTimeout in memberlist's util.go.
			scale := math.Max(1.0, math.Log10(math.Max(1.0, float64(n))))
			unit := time.Duration(scale*1000) * tm.probe / 1000
			s := time.Duration(tm.suspicionMult(n)) * time.Duration(scale*1000) * tm.probe / 1000
			if s < lifetime/2 || s >= lifetime/2+unit {
				t.Fatalf("lifetime %v, %d nodes: suspicion of %v, want %v and less than %v more", lifetime, n, s, lifetime/2, unit)
			}
		}
	}
}
