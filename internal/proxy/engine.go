package proxy

import (
	"context"
	"net"
)

// engine moves the octets. Its methods but run may be called from one goroutine
// at a time, while run runs.
type engine interface {
	// run works until ctx is done and then ends all connections.
	run(ctx context.Context)
	// listen accepts for a front on a socket that the caller owns.
	listen(f *front, ln *net.TCPListener) error
	// unlisten accepts no more. The caller may close the socket afterwards;
	// connections go on.
	unlisten(f *front, ln *net.TCPListener)
	// changed takes that the front has another configuration. It does not wait.
	changed(f *front)
	// cut resets the front's connections to members that match, also those
	// that have no backend yet (nil). It says how many.
	cut(f *front, match func(*Member) bool) int
}
