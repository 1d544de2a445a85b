//go:build race

package proxy

// Under the race detector, which keeps much of each connection, fewer.
const (
	idleConns  = 500
	shortConns = 5000
)
