package control

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
)

func change(n uint64) Event {
	return Event{Kind: EventHealth, Time: time.Now(), Transition: &Transition{Name: "web", Address: self, Number: n}}
}

func TestFeed(t *testing.T) {
	var f Feed
	f.Tell(change(1)) // to nobody
	a, b := f.Follow(), f.Follow()
	f.Tell(change(2))
	f.Tell(change(3))
	<-a.Wake()
	if events, missed := a.Take(); len(events) != 2 || events[0].Transition.Number != 2 || events[1].Transition.Number != 3 || missed != 0 {
		t.Errorf("a got %v and missed %d", events, missed)
	}
	a.End()
	// b takes nothing: its backlog is bounded, nobody waits, and it is told.
	for n := range uint64(2 * backlog) {
		f.Tell(change(4 + n))
	}
	<-b.Wake()
	events, missed := b.Take()
	if len(events) != backlog || missed != 2+2*backlog-backlog || events[0].Transition.Number != 2 {
		t.Errorf("b got %d from %d on and missed %d", len(events), events[0].Transition.Number, missed)
	}
	if events, missed := a.Take(); len(events) != 0 || missed != 0 {
		t.Errorf("a, which has ended, got %d and missed %d", len(events), missed)
	}
	b.End()
	if len(f.followers) != 0 {
		t.Error("followers are left")
	}
}

// A watcher that takes nothing holds up neither who tells nor the other watchers.
// When it reads again it is told how much it has missed, and goes on.
func TestSlowWatcherIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		c, _ := servePipe(t, n)
		slow, _ := follow(t, t.Context(), c)
		quick, _ := follow(t, t.Context(), c)
		const many = 3 * backlog
		for i := range uint64(many) {
			n.Feed().Tell(change(i))
			if e := <-quick; e.Transition.Number != i {
				t.Fatalf("the other watcher got %v, want %d", e, i)
			}
		}
		next, missed := uint64(0), 0
		for missed == 0 {
			switch e := <-slow; e.Kind {
			case EventHealth:
				if e.Transition.Number != next {
					t.Fatalf("got %d, want %d", e.Transition.Number, next)
				}
				next++
			case EventMissed:
				missed = e.Missed
			default:
				t.Fatalf("got %v", e)
			}
		}
		if int(next)+missed != many || int(next) < backlog {
			t.Errorf("got %d and missed %d of %d", next, missed, many)
		}
		n.Feed().Tell(change(many))
		if e := <-slow; e.Transition == nil || e.Transition.Number != many {
			t.Errorf("after that: %v", e)
		}
	})
}

// What led to a hook is told before the hook's end.
func TestTableBeforeFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		c, _ := servePipe(t, n)
		events, _ := follow(t, t.Context(), c)
		for i := range uint32(50) {
			n.put(t, catalog.Record{Name: "web", Addr: self, TTL: i, Priority: catalog.Master, Weight: 1})
			n.Feed().Tell(change(uint64(i)))
			a, b := <-events, <-events
			if a.Record == nil || b.Transition == nil {
				t.Fatalf("%d: %v before %v", i, a, b)
			}
		}
	})
}

func TestStreamsEndTheirFollowing(t *testing.T) {
	n := newFakeNode(t)
	c, stop := serve(t, n)
	for i := range 3 {
		_, ended := follow(t, t.Context(), c)
		defer func() { <-ended }()
		if got := followers(&n.feed); got != i+1 {
			t.Errorf("%d followers, want %d", got, i+1)
		}
	}
	stop()
	if got := followers(&n.feed); got != 0 {
		t.Errorf("%d followers are left", got)
	}
}

func followers(f *Feed) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.followers)
}

func ExampleFeed() {
	var feed Feed // the daemon's
	watcher := feed.Follow()
	feed.Tell(Event{Kind: EventHook, Transition: &Transition{
		Name: "web", Address: self, Status: "active", Number: 7, Outcome: "ok", Seconds: 0.25,
	}})
	events, _ := watcher.Take()
	fmt.Println(events[0])
	// Output: 10.0.0.133 web: hook for active: ok after 0.25 s (transition 7)
}
