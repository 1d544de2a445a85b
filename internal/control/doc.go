// Package control is how an operator talks to a running daemon: HTTP with JSON
// on a unix socket, its handler, its client, and the socket itself.
//
// The daemon builds a Server over a small Node interface and runs it:
//
//	l, err := control.Listen("/run/murakumo/murakumo.sock", log)
//	...
//	err = control.NewServer(l, node, log).Run(ctx)
//
// and mrkmctl, or anything else that speaks HTTP, asks:
//
//	records, err := control.NewClient("/run/murakumo/murakumo.sock").Records(ctx, "mysql")
//
//	$ curl -s --unix-socket /run/murakumo/murakumo.sock http://murakumo/v1/records
//
// # Requests
//
// docs/api.md has them all, with examples that a test runs: records, nodes,
// attributes, checks, events, and the running configuration, which a Server
// alone gives and a Handler for other sockets does not.
//
// A failure is {"error": "a sentence for the operator"} with a status that tells
// its kind (see Kind). Unknown fields and parameters are refused by name: a
// misspelt one that is silently dropped does something else than was asked.
//
// No request can define or change a command, a hook or a check: whoever can
// write to the socket can move names, not run programs. (Consul's script checks,
// put in by the API, were how hosts were taken over in 2018.)
//
// # Who may ask
//
// The socket has mode 0600 and each peer's user is asked of the kernel: root and
// the daemon's own user are served, all others are cut off. Listen never exposes
// a wider mode, not even between bind and chmod, and never removes what is not a
// dead socket of ours. The original bound first and set the mode afterwards, in a
// folder that everybody could write.
//
// # Events
//
// Views of the catalog are immutable, so a stream keeps no queue of them: it
// remembers the view it told last and, when that is superseded, tells the
// difference to the newest one. A slow reader costs one old view and sees the
// states between coalesced, never a gap in what is true at the end. The stream
// takes its first view before it says ready, hence: read ready, then GET
// /v1/records, and no change is missed; one that is told twice says the same, as
// events carry whole records and not steps.
//
// Why a check is bad and how a hook ended is in no view. That goes by a Feed:
// Tell never waits, each follower has a bounded backlog, and one that was too
// slow is told how much it missed.
package control
