package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"murakumo/internal/catalog"
)

// delegate is what memberlist calls, from many goroutines and partly with its
// node lock held. So nothing here waits: messages go into a bounded inbox that
// drops when it is full (the periodic exchange repairs what that loses), events
// into a list. Run's goroutine takes them from there.
type delegate struct {
	self     catalog.Owner
	cat      *catalog.Catalog
	removals *removals
	log      logger
	timing   timing
	config   *memberlist.Config

	inbox      chan []byte
	inboxBytes atomic.Int64

	outbox outbox
	alive  atomic.Int64 // members alive, this one too

	mu     sync.Mutex // guards events
	events []event
	wake   chan struct{} // one pending wake-up
}

// event is memberlist's word on a member.
type event struct {
	at     netip.AddrPort
	joined bool
	when   time.Time
}

// Bounds of the inbox. A message from a packet has a kilobyte, one from a
// connection up to 20 MiB, and only who has the key can send either.
const (
	inboxMessages = 1024
	inboxOctets   = 64 << 20
)

func newDelegate(self catalog.Owner, cat *catalog.Catalog, r *removals, t timing, log logger) *delegate {
	d := &delegate{
		self: self, cat: cat, removals: r, timing: t, log: log,
		inbox: make(chan []byte, inboxMessages),
		wake:  make(chan struct{}, 1),
	}
	d.outbox.nodes = func() int { return int(d.alive.Load()) }
	return d
}

// deliver hands a message to Run. It keeps b.
func (d *delegate) deliver(b []byte) {
	if d.inboxBytes.Add(int64(len(b))) <= inboxOctets {
		select {
		case d.inbox <- b:
			return
		default:
		}
	}
	d.inboxBytes.Add(-int64(len(b)))
	d.log.often(slog.LevelWarn, "inbox", "gossip: too many messages at once, dropping some; the exchange will make up for them")
}

// taken is to be called for each message that Run took from the inbox.
func (d *delegate) taken(b []byte) { d.inboxBytes.Add(-int64(len(b))) }

// NodeMeta gives none: a node is its address.
func (d *delegate) NodeMeta(int) []byte { return nil }

// NotifyMsg takes one of our messages. memberlist reuses b.
func (d *delegate) NotifyMsg(b []byte) { d.deliver(append([]byte(nil), b...)) }

// GetBroadcasts gives messages for a packet.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.outbox.take(overhead, limit)
}

// LocalState gives our side of the periodic exchange.
func (d *delegate) LocalState(bool) []byte {
	return state(d.self, d.cat.View(), d.removals, time.Now()).encode()
}

// MergeRemoteState takes their side of it.
func (d *delegate) MergeRemoteState(b []byte, _ bool) { d.NotifyMsg(b) }

// NotifyAlive refuses nodes that were removed, and nodes whose name is not
// their address: a member can otherwise take the name of another one. It is
// called for this node too.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	at, err := addrOf(n)
	switch {
	case err != nil:
		return err
	case at.Addr() != d.self && d.removals.removed(at.Addr()):
		return errors.New("it was removed from the cluster")
	}
	return nil
}

func addrOf(n *memberlist.Node) (netip.AddrPort, error) {
	a, ok := netip.AddrFromSlice(n.Addr)
	if a = a.Unmap(); !ok || !usable(a) || n.Name != a.String() {
		return netip.AddrPort{}, fmt.Errorf("its name is not its address %v", net.IP(n.Addr))
	}
	return netip.AddrPortFrom(a, n.Port), nil
}

// NotifyJoin tells that a member is alive, NotifyLeave that it is not.
//
// memberlist calls both with its node lock held for writing, and reads
// config.SuspicionMult in one place, suspectNode, under the same lock (state.go
// of v0.7.0, lines 1131 to 1310). So the multiplier may be changed here, and
// nowhere else. TestSuspicionAdapts is there to fail under the race detector
// should a later memberlist differ.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.event(n, true) }

// NotifyLeave is described at NotifyJoin. That a member left with a goodbye it
// does not tell: the State of n is not kept (memberlist keeps another one), so
// our own goodbye does.
func (d *delegate) NotifyLeave(n *memberlist.Node) { d.event(n, false) }

func (d *delegate) event(n *memberlist.Node, joined bool) {
	step := int64(1)
	if !joined {
		step = -1
	}
	d.config.SuspicionMult = d.timing.suspicionMult(int(d.alive.Add(step)))
	at, err := addrOf(n)
	if err != nil || at.Addr() == d.self {
		return
	}
	d.mu.Lock()
	d.events = append(d.events, event{at, joined, time.Now()})
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *delegate) takeEvents() []event {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.events
	d.events = nil
	return e
}

// NotifyUpdate is for metadata, of which there is none.
func (d *delegate) NotifyUpdate(*memberlist.Node) {}

// NotifyConflict tells that two daemons have one address and different ports.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	d.log.often(slog.LevelError, "conflict "+existing.Name,
		"two daemons have one address; stop one of them, or correct its host",
		"address", existing.Name, "port", existing.Port, "other port", other.Port)
}
