// Package node builds a node's rooms from a configuration and runs them.
//
// A [Core] is everything that publishes, gossips, checks, decides and acts; it
// needs no socket of the outside but the gossip's, which a simulation replaces.
// A [Node] is a Core with the sockets that resolvers and people use:
//
//	n, err := node.New(cfg, node.Env{Log: log}, version)
//	…
//	err = n.Run(ctx) // until a signal ends ctx; hands over before it returns
//
// Ending has an order: probes stop, the aliases turn Inactive, the hooks of the
// release run, then the goodbye is said, and only then do DNS and control end.
package node
