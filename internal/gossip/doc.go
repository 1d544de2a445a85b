// Package gossip replicates each node's records to all others, and knows who is
// there. It alone knows hashicorp/memberlist.
//
//	cat := catalog.New(catalog.Options{Self: self})
//	cat.Update(…)                              // the set must not be empty when gossip starts
//	g, err := gossip.New(gossip.Config{
//		Self: self, Port: 10870, Keys: []string{"onion"},
//		Peers:    []string{"10.0.0.55"},       // initial nodes
//		Lifetime: 10 * time.Second, SendInterval: 300 * time.Millisecond,
//		ReceiveTimeout: 3 * time.Second, Log: log,
//	}, cat)
//	…
//	err = g.Run(ctx)                           // until ctx is done, then goodbye
//
// From then on whatever cat.Update changes reaches all nodes, and what they
// publish is merged into cat. Who is alive decides what of it is shown.
//
// # Who is there
//
// memberlist (SWIM) probes nodes and spreads what it finds. It is set so that a
// silent node is dead everywhere in 0.5 to 1.0 lifetimes; timing.go has the
// arithmetic. What it leaves open is done here:
//
//   - It forgets nodes that are dead, so two halves of a network that was cut
//     for longer never meet again. Here initial nodes and lost ones are looked
//     for without end, at random times 1 to 3 s apart (seek.go).
//   - It does not tell a goodbye from a death. Here a leaving node says goodbye
//     in a message of its own.
//   - It cannot take a node out. Here an operator's statement (removals.go)
//     travels like the rest, and what a removed node says is refused.
//
// A node's name is its address, and an alive message in which they differ is
// refused: nobody takes another one's name.
//
// # How records travel
//
// A node's set has a version that only the node raises, and the higher one wins
// (package catalog), so nothing here depends on order or number of deliveries.
//
//   - A change is broadcast: as the whole set if that is small, as the deltas of
//     the last two seconds if they fit a packet, else as an announcement of its
//     version. memberlist sends each broadcast a few times, to a few nodes, and
//     does not pass on those of others; so a node for which it is news broadcasts
//     it in turn.
//   - A node that lacks what a delta starts from, or hears of a version that it
//     does not have, asks for it by a connection: once at a time for each owner,
//     first the node it heard it from, then others. It says what it holds, so
//     the answer is what changed since, if anybody's memory reaches that far.
//   - Every few seconds, and when nodes meet, two nodes exchange the
//     versions of all they hold, never records, and ask for what they lack.
//     That repairs whatever was lost.
//
// The sets of the dead are exchanged as well, with the age of their death: a
// name stays ours on all nodes for a day, and then is forgotten by all; or as
// soon as an operator says so (forget.go).
//
// The timing can be changed while it runs (retune.go): memberlist is restarted
// without a goodbye, over the same sockets.
//
// # Who does what
//
// Run's goroutine alone decides, one thing at a time, with the help of parts
// that do no I/O: replica (what becomes of a message), wants (what to ask for),
// publisher (the form of a broadcast), peers, removals. memberlist's callbacks
// only leave their word in a list or a bounded inbox. Dials and lookups, which
// may hang, run as bounded jobs that Run waits for. A probe of memberlist's that
// is under way may outlast Run by a thirtieth of the lifetime.
//
// # Strangers
//
// Packets and streams are encrypted and authenticated with AES-256-GCM, by keys
// derived from auth-key; nothing before that is parsed but the label and the
// length of a frame. Whoever has a key is trusted not to flood, but not to be
// well-formed: documents are decoded strictly, sizes are bounded, and a set in
// our own name is stepped past. What others can cause is logged once a second.
package gossip
