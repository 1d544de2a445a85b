package proxy

import (
	"context"
	"net/netip"
)

// engine moves the octets. Its methods but run are for while run runs; those about one
// front may be called from one goroutine at a time.
type engine interface {
	// run works until ctx is done and then ends all connections.
	run(ctx context.Context)
	// listen takes the address and accepts for a front. unlisten, to be called once, accepts no
	// more and gives the address back; connections go on, also those that came before an error.
	listen(ctx context.Context, f *front, at netip.AddrPort) (unlisten func(), err error)
	// resume has a front that stopped accepting at MaxConns go on. It does not wait, and is
	// for many goroutines.
	resume(f *front)
	// changed takes that the front has another configuration. It does not wait.
	changed(f *front)
	// cut resets the front's connections to members that match, also those
	// that have no backend yet (nil). It says how many.
	cut(f *front, match func(*Member) bool) int
}
