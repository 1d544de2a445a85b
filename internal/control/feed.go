package control

import (
	"sync"
)

// backlog is how many events wait for a follower that is slow. A busy minute has
// some dozens.
const backlog = 256

// Feed passes on events that are not in the table: how health checks change and
// hooks end. The table's own changes need no feed, since a stream compares views.
//
// Nobody who tells something waits for a follower: one that is too slow misses
// events, and is told how many. The zero value has no followers.
type Feed struct {
	mu        sync.Mutex // guards followers, and what is theirs
	followers map[*follower]struct{}
}

// follower is one reader of a feed.
type follower struct {
	feed   *Feed
	wake   chan struct{} // one slot: there is something to take
	events []Event       // at most backlog
	missed int           // events since the last take that found no place
}

// Tell passes an event on to all who follow. It never waits. The event must not
// be changed afterwards.
func (f *Feed) Tell(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.followers {
		if len(w.events) < backlog {
			w.events = append(w.events, e)
		} else {
			w.missed++
		}
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// follow gives what is told from now on; end it.
func (f *Feed) follow() *follower {
	w := &follower{feed: f, wake: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers == nil {
		f.followers = map[*follower]struct{}{}
	}
	f.followers[w] = struct{}{}
	return w
}

// take gives the events that came in since the last time, and how many more
// there were.
func (w *follower) take() (events []Event, missed int) {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	events, missed = w.events, w.missed
	w.events, w.missed = nil, 0
	return events, missed
}

// end ends the following.
func (w *follower) end() {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	delete(w.feed.followers, w)
}
