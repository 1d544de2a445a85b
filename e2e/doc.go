// Package e2e holds the end-to-end tests: the real binaries among real
// neighbours, judged by what an operator can see. It has no code of its own.
//
// TestFailover builds two hosts, server-01 and server-02, as network
// namespaces on one bridge. Each runs a real MariaDB, a real postfix and the
// daemon; a third host, 10.0.0.2, runs unbound. The test kills MariaDB, kills
// a daemon, cuts the bridge, and reads logs, tables, mails, DNS answers and
// what the hooks recorded. It needs root, because namespaces do; without root
// it skips, except where CI=true.
//
//	go test -v ./e2e -run TestFailover          # shortened intervals, two and a half minutes
//	go test -v ./e2e -run TestFailover -full    # the intervals of the sample file, about thirteen
//
// TestFailoverEC2 is its main part with murakumo-ec2 as hook and init-script
// and a fake EC2, which moves a real network interface between the hosts.
//
//	go test -v ./e2e -run TestFailoverEC2       # half a minute
//
// TestSecondary has a real NSD, also over TLS, and a real Knot transfer the zone and
// hear of changes.
//
// TestTLS asks over TLS with kdig.
//
// TestClients resolves names through the daemon with what people resolve names
// with: the C libraries of GNU and musl, Go, Java, Python, unbound and systemd-resolved
// in front, and the programs that administrators ask with, kdig with each of its options.
//
//	go test -v ./e2e -run TestClients           # a minute
//
// TestDev lives a newcomer's first five minutes with `murakumo dev`, as a user
// without privileges. TestMakeRun starts the same through make, and
// TestMakeRunWithoutGossip shows that it can fail.
//
// Nothing here touches the machine's own network, its services or their
// configuration: daemons run with private directories inside namespaces whose
// names carry the run's own number, and are ended by process id. A run that
// was killed leaves namespaces behind; the next one removes them, and only
// them: it can tell by a lock that dies with its run.
//
// Waiting is asking again until a deadline (see wait). The deadlines are
// derived from the intervals that the daemons were given (see timing).
package e2e
