// Package nameserver answers DNS questions from the table and sends the rest
// to the resolvers.
//
//	s := nameserver.New(nameserver.Config{
//		Bind:      []netip.Addr{netip.IPv4Unspecified()},
//		Port:      53,
//		Rules:     nameserver.Rules{Domain: "example.internal", MaxAnswers: 8, NegativeTTL: 5},
//		Resolvers: []nameserver.Resolver{{Addr: netip.MustParseAddrPort("10.0.0.2:53")}},
//		Log:       log,
//	}, table.View)
//	if err := s.Listen(); err != nil { … }   // says what to do about it
//	err := s.Run(ctx)                        // until ctx is done
//
// # The way of a question
//
// A worker reads a packet, [Answer] decides from a view of the table, the same
// worker writes the reply: no lock, no queue and no other goroutine between.
// What is not ours becomes a flight, of which there is a bounded number, and the
// worker goes on with the next packet: resolvers that are slow or dead cost an
// answer from the table nothing. Within one TCP connection too: answers go out as
// they are ready (RFC 7766 §6.2.1.1).
//
// # The way of a forwarded question
//
//	client -> forwarder.recall     from the cache, if it is there
//	       -> forwarder.ask        joins a flight, or begins one: flight.move decides
//	          -> pool.ask          a socket with a port and an identifier of its own
//	resolver -> upSocket.received  pending.judge: is it the answer?
//	         -> forwarder.answered message.read looks through it; cache.put
//	         -> client.compose     for each who waits: patched, and out
//
// forwarder.run lets time go by: the next resolver, what is stale, SERVFAIL.
// docs/decisions/0005-forwarder.md says why.
//
// A common question over UDP is answered the quick way, from a snapshot of the view, by
// the same octets. Whatever is not common, or has no snapshot yet, goes the slow way.
//
// # What is ours
//
// A name that any node's set has, also the hidden set of a node that died, is
// ours and never goes upstream: an internal name would leak, and an upstream's
// NXDOMAIN would be cached by the client beyond the outage.
//
// # Addresses and families
//
// Every bind address stands for its own family: 0.0.0.0 is all of IPv4, :: is
// all of IPv6, both together are written as both. A wildcard replies from the
// address that was asked, also one that came to the host after the start;
// clients drop replies from any other.
//
// # Connections
//
// TCP and TLS share a table of places (connections): when it is full, or one client has
// its share, the connection that is idle for longest is closed, one that waits for an
// answer never. Nobody but the connection's own goroutines ever waits for a client that
// does not read.
//
// # Secondaries
//
// A zone is what [Answer] says of each name and type of one view, without the limits of
// answers; so it can say nothing else, and a new kind of record is one line in zoneSets.
// Views that were sent are kept, and two of them give what has changed between (IXFR).
//
// # The wire library
//
// Only this package knows github.com/miekg/dns, and of it only the messages.
// The sockets are ours, because its server starts a goroutine for every packet
// and has no bound on TCP connections.
package nameserver
