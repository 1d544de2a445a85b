// Package proxy is the layer-4 load balancer: it hands each connection to the
// next of a list of backends and passes the bytes both ways until both sides
// are done.
//
//	p := proxy.New(proxy.Options{Log: log, View: core.View})
//	p.Apply([]proxy.Config{{
//		Name:   "mysql",
//		Listen: netip.MustParseAddrPort("127.0.0.1:3306"),
//		To:     proxy.Alias{Name: "mysql-server", Port: 3306},
//	}})
//	err := p.Run(ctx) // accepts until ctx is done, then drains
//
// # Who decides
//
// A [Pool] decides which backend a connection gets. It is told what the table
// or the file says (Update) and what connections met (Failed, Succeeded), and
// is asked once a try (Pick). With an alias its members are the highest tier
// that has an Active record, and nothing else: a backend that refuses is
// skipped within its tier, but only the table leads to another tier. Otherwise
// one refused connection would send writes to a standby.
//
// # Who acts
//
// On Linux an event loop a CPU holds all connections: non-blocking sockets, one
// edge-triggered epoll, no goroutine a connection. Small messages are copied
// through one buffer of the loop, which costs two system calls a message; when
// a sender fills the buffer again and again its bytes go by splice(2), by a pipe
// that is held only as long as bytes are in it. So an idle connection is two
// descriptors and some two hundred octets. See docs/decisions/0004-proxy-event-loop.md for
// what was measured.
//
// Elsewhere goroutines and the net package do the same job (portable.go). Both
// engines run through the same tests.
package proxy
