package nameserver

import (
	"container/list"
	"io"
	"net/netip"
	"sync"
)

// connections are the open TCP connections of a server, of all its addresses. It
// bounds how many there are, of all clients and of each. When there is no room,
// the connection that has been idle for longest is closed for the new one: of the
// same client when it has its share, of anybody when all places are taken. A
// connection is idle when nothing that it asked waits for an answer, so also while
// a question arrives octet by octet (RFC 7766 §6.2.3).
type connections struct {
	most, share int

	mu    sync.Mutex // guards what follows
	open  int
	hosts map[netip.Prefix]int // how many of each client
	idle  list.List            // of *connection, the one that is so for longest first
}

// connection is one of them.
type connection struct {
	io.Closer
	host netip.Prefix
	// What follows is guarded by connections.mu. place is nil for one that is
	// not idle, waits counts what it waits for; gone: it counts no more.
	place *list.Element
	waits int
	gone  bool
}

func newConnections(most, share int) *connections {
	return &connections{most: most, share: share, hosts: map[netip.Prefix]int{}}
}

// hostOf is what counts as one client: an address, of IPv6 a network, for a host
// there has as many addresses as it likes.
func hostOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a = a.Unmap().WithZone(""); a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // in the range of its family
	return p
}

// add takes a connection in. It gives nil when there is no room and nobody can
// make any; crowded says whether somebody had to.
func (t *connections) add(conn io.Closer, from netip.Addr) (c *connection, crowded bool) {
	c = &connection{Closer: conn, host: hostOf(from)}
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.hosts[c.host] >= t.share
	if own || t.open >= t.most {
		crowded = true
		if !t.closeOldest(func(o *connection) bool { return !own || o.host == c.host }) {
			return nil, true
		}
	}
	t.open++
	t.hosts[c.host]++
	c.place = t.idle.PushBack(c)
	return c, crowded
}

// closeOldest closes the connection that is idle for longest among some, and says
// whether there was one. The caller holds mu.
func (t *connections) closeOldest(among func(*connection) bool) bool {
	for e := t.idle.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*connection); among(c) {
			t.drop(c)
			c.Close() // never waits: nothing is being sent on it
			return true
		}
	}
	return false
}

// makeRoom closes the connection that is idle for longest.
func (t *connections) makeRoom() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closeOldest(func(*connection) bool { return true })
}

// remove takes a connection out that has ended.
func (t *connections) remove(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(c)
}

// drop lets a connection count no more. The caller holds mu.
func (t *connections) drop(c *connection) {
	if c.gone {
		return
	}
	c.gone = true
	if c.place != nil {
		t.idle.Remove(c.place)
		c.place = nil
	}
	t.open--
	if t.hosts[c.host]--; t.hosts[c.host] == 0 {
		delete(t.hosts, c.host)
	}
}

// waiting says that the connection waits for one more answer, answered that one
// is there.
func (t *connections) waiting(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.waits++; c.place != nil {
		t.idle.Remove(c.place)
		c.place = nil
	}
}

func (t *connections) answered(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.waits--; c.waits == 0 && !c.gone {
		c.place = t.idle.PushBack(c)
	}
}
