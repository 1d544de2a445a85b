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
	followers map[*Follower]struct{}
}

// Follower is one reader of a feed.
type Follower struct {
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

// Follow gives what is told from now on. The caller ends it.
func (f *Feed) Follow() *Follower {
	w := &Follower{feed: f, wake: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers == nil {
		f.followers = map[*Follower]struct{}{}
	}
	f.followers[w] = struct{}{}
	return w
}

// Wake gives a channel that has something when there may be events to take.
func (w *Follower) Wake() <-chan struct{} { return w.wake }

// Take gives the events that came in since the last time, and how many more
// there were that found no place. It does not wait.
func (w *Follower) Take() (events []Event, missed int) {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	events, missed = w.events, w.missed
	w.events, w.missed = nil, 0
	return events, missed
}

// End ends the following.
func (w *Follower) End() {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	delete(w.feed.followers, w)
}
