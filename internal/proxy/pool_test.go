package proxy

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func targets(weights ...int) (ts []Target) {
	for i, w := range weights {
		ts = append(ts, Target{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80), Weight: w})
	}
	return ts
}

func client(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{192, byte(i >> 16), byte(i >> 8), byte(i)})
}

func last(m *Member) int { a := m.Addr.Addr().As4(); return int(a[3]) }

// TestRoundRobin: by weight and without bunching; the example of nginx's own
// algorithm.
func TestRoundRobin(t *testing.T) {
	for _, c := range []struct {
		weights []int
		want    string
	}{
		{[]int{1, 1}, "1 2 1 2 1 2 1"},
		{[]int{5, 1, 1}, "1 1 2 1 3 1 1"},
		{[]int{2, 1}, "1 2 1 1 2 1 1"},
		{[]int{7}, "1 1 1 1 1 1 1"},
	} {
		p := NewPool(RoundRobin)
		p.Update(targets(c.weights...))
		var got []string
		for range 7 {
			got = append(got, fmt.Sprint(last(p.Pick(client(1), nil))))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("weights %v: %s, want %s", c.weights, s, c.want)
		}
	}
}

// TestShares: over many picks each algorithm that weighs gives its share.
func TestShares(t *testing.T) {
	for _, a := range []Algorithm{RoundRobin, Random, Source} {
		p := NewPool(a)
		p.rand = rand.New(rand.NewPCG(1, 2)).Uint64N
		weights := []int{1, 2, 3, 10}
		p.Update(targets(weights...))
		const n = 200_000
		got := map[int]int{}
		for i := range n {
			got[last(p.Pick(client(i), nil))]++
		}
		for i, w := range weights {
			if share, want := float64(got[i+1])/n, float64(w)/16; math.Abs(share-want) > 0.005 {
				t.Errorf("%v: weight %d of 16 got %.4f", a, w, share)
			}
		}
	}
}

// TestSourceMoves: taking one of n backends out moves only its own clients, and
// putting it back moves them back.
func TestSourceMoves(t *testing.T) {
	p := NewPool(Source)
	all := targets(1, 2, 1, 3, 1)
	p.Update(all)
	const n = 10_000
	before := make([]netip.AddrPort, n)
	for i := range before {
		before[i] = p.Pick(client(i), nil).Addr
	}
	gone := all[1].Addr
	p.Update(append(append([]Target{}, all[:1]...), all[2:]...))
	for i := range before {
		if now := p.Pick(client(i), nil).Addr; before[i] != gone && now != before[i] {
			t.Fatalf("client %d moved from %v to %v, though %v went", i, before[i], now, gone)
		}
	}
	p.Update(all)
	for i := range before {
		if now := p.Pick(client(i), nil).Addr; now != before[i] {
			t.Fatalf("client %d is at %v after the return, was at %v", i, now, before[i])
		}
	}
	// A failure moves them likewise.
	failed := p.Pick(client(0), nil)
	p.Failed(failed, time.Now(), time.Now(), errors.New("refused"))
	for i := range before {
		if now := p.Pick(client(i), nil).Addr; before[i] != failed.Addr && now != before[i] {
			t.Fatalf("client %d moved from %v to %v, though %v failed", i, before[i], now, failed.Addr)
		}
	}
}

func TestLeastConn(t *testing.T) {
	p := NewPool(LeastConn)
	p.Update(targets(1, 1, 2))
	got := map[int]int{}
	var open []*Member
	for range 40 {
		m := p.Pick(client(1), nil)
		open = append(open, m)
		got[last(m)]++
	}
	if got[1] != 10 || got[2] != 10 || got[3] != 20 {
		t.Errorf("40 that stay open went %v", got)
	}
	for _, m := range open {
		if last(m) == 2 {
			m.Active.Add(-1)
		}
	}
	for range 10 {
		if m := p.Pick(client(1), nil); last(m) != 2 {
			t.Fatalf("picked %d while 2 has the fewest", last(m))
		}
	}
}

// TestTriedAndEjected: what was tried is not tried again; ejected ones are left
// alone while there is a good one, and tried when there is none.
func TestTriedAndEjected(t *testing.T) {
	for a := range Algorithm(len(algorithms)) {
		t.Run(a.String(), func(t *testing.T) {
			p := NewPool(a)
			p.Update(targets(1, 1, 1))
			now := time.Now()
			var tried []*Member
			for range 3 {
				m := p.Pick(client(1), tried)
				for _, b := range tried {
					if b == m {
						t.Fatal("the same one twice")
					}
				}
				tried = append(tried, m)
			}
			if m := p.Pick(client(1), tried); m != nil {
				t.Errorf("picked %v though all were tried", m.Addr)
			}
			p.Failed(tried[0], now, now, errors.New("refused"))
			for i := range 100 {
				if p.Pick(client(i), nil) == tried[0] {
					t.Fatal("picked one that is ejected")
				}
			}
			p.Failed(tried[1], now, now, errors.New("refused"))
			p.Failed(tried[2], now, now, errors.New("refused"))
			if p.Pick(client(1), nil) == nil {
				t.Error("nothing is tried though all failed: one may be back")
			}
			p.SetHealth(tried[0], errors.New("bad"))
			p.SetHealth(tried[1], errors.New("bad"))
			for i := range 100 {
				if m := p.Pick(client(i), nil); m != tried[2] {
					t.Fatal("picked one whose health check fails")
				}
			}
		})
	}
}

// TestEjection: for a growing while, and a crowd of failures counts once.
func TestEjection(t *testing.T) {
	p := NewPool(RoundRobin)
	p.Update(targets(1))
	m := p.Members()[0]
	now := time.Unix(1000, 0)
	var pauses []string
	for i := range 9 {
		if news := p.Failed(m, now, now, errors.New("refused")); news != (i == 0) {
			t.Errorf("failure %d: news %v", i, news)
		}
		for range 5 {
			p.Failed(m, now, now, errors.New("refused"))
		}
		due, next := p.Probes(now)
		if len(due) != 0 {
			t.Fatalf("due at once")
		}
		pauses = append(pauses, next.Sub(now).String())
		if due, _ := p.Probes(next.Add(-1)); len(due) != 0 {
			t.Error("due too early")
		}
		if due, _ := p.Probes(next); len(due) != 1 {
			t.Error("not due in time")
		}
		now = next
	}
	if s := strings.Join(pauses, " "); s != "1s 2s 4s 8s 16s 32s 1m0s 1m0s 1m0s" {
		t.Errorf("left alone for %s", s)
	}
	if !p.Succeeded(m, now) || p.Succeeded(m, now) {
		t.Error("being good again is news once")
	}
	p.Failed(m, now, now, errors.New("refused"))
	if _, next := p.Probes(now); next.Sub(now) != time.Second {
		t.Errorf("the next time begins with %v", next.Sub(now))
	}
}

// TestLatestTryTells how a member is, in whatever order tries end.
func TestLatestTryTells(t *testing.T) {
	p := NewPool(RoundRobin)
	p.Update(targets(1))
	m := p.Members()[0]
	at := func(s int) time.Time { return time.Unix(int64(1000+s), 0) }
	late := errors.New("timed out")
	p.Succeeded(m, at(2))
	if p.Failed(m, at(1), at(4), late) || p.State(m).Status != "up" {
		t.Error("ejected by a try that began before one that succeeded")
	}
	if !p.Failed(m, at(3), at(6), late) {
		t.Error("not ejected by the latest try")
	}
	if p.Succeeded(m, at(2)) || p.State(m).Status != "failing" {
		t.Error("readmitted by a try that began before one that failed")
	}
	if !p.Succeeded(m, at(5)) {
		t.Error("not readmitted by the latest try")
	}
	if n := m.Failures.Load(); n != 2 {
		t.Errorf("%d failures were counted", n)
	}
}

// TestUpdate: who stays keeps what is known of it.
func TestUpdate(t *testing.T) {
	p := NewPool(RoundRobin)
	p.Update(targets(1, 1))
	a, b := p.Members()[0], p.Members()[1]
	p.Failed(a, time.Now(), time.Now(), errors.New("refused"))
	left := p.Update(targets(5))
	if len(left) != 1 || left[0] != b {
		t.Errorf("left: %v", left)
	}
	if ms := p.Members(); len(ms) != 1 || ms[0] != a || p.State(a).Status != "failing" || p.State(a).Weight != 5 {
		t.Errorf("members %v, %+v", ms, p.State(a))
	}
	if p.State(b).Status != "gone" {
		t.Errorf("%+v", p.State(b))
	}
	if p.Update(nil); p.Pick(client(1), nil) != nil {
		t.Error("picked of none")
	}
}

func BenchmarkPick(b *testing.B) {
	for a := range Algorithm(len(algorithms)) {
		b.Run(a.String(), func(b *testing.B) {
			p := NewPool(a)
			p.Update(targets(1, 2, 3, 4, 5, 6, 7, 8))
			for i := range b.N {
				p.Pick(client(i), nil).Active.Add(-1)
			}
		})
	}
}
