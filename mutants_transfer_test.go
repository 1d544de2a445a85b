package murakumo

// transferMutants are about connections, and who gets how much.
var transferMutants = []mutant{
	{"a cut answer is never empty, whatever options the client wants",
		"internal/nameserver/message.go", "\t\tq.options, q.why = q.options[:q.needed], nil\n", "",
		"./internal/nameserver", "TestCutIsNotEmpty"},
	{"one client does not take all TCP connections",
		"internal/nameserver/connections.go", "own := t.hosts[c.host] >= t.share", "own := false",
		"./internal/nameserver", "TestConnections"},
	{"there are no more TCP connections than places",
		"internal/nameserver/connections.go", "if own || t.open >= t.most {", "if own {",
		"./internal/nameserver", "TestConnections|TestTCPFlood"},
	{"no connection that waits for an answer is closed for another",
		"internal/nameserver/connections.go", "if c.waits++; c.place != nil {", "if c.waits++; c.place != nil && false {",
		"./internal/nameserver", "TestTCPAllWait|TestConnections"},
	{"one connection does not take all places of forwarded questions",
		"internal/nameserver/tcp.go", "make(chan struct{}, maxPipelined)", "make(chan struct{}, 100*maxPipelined)",
		"./internal/nameserver", "TestTCPPipelinedBound"},
}
