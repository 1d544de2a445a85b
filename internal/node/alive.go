package node

import (
	"context"
	"errors"

	"murakumo/internal/catalog"
)

// Alive says why this node does not do its work any more, or nil: the table can
// be changed, the members can be asked for, and DNS answers over its own
// sockets. It returns when ctx is done, at the latest. The control socket is not
// asked: a node without it still does what it is there for.
func (n *Node) Alive(ctx context.Context) error {
	done := make(chan struct{})
	go func() { // ends with the deadlock that it is to find, that is with the process
		defer close(done)
		n.cat.Update(func(*catalog.Edit) {})
		n.gossip.Touch()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return errors.New("the table or the list of members has been locked since the last question: a fault of this program")
	}
	return n.dns.Alive(ctx)
}
