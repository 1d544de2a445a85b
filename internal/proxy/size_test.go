//go:build !race

package proxy

const (
	idleConns  = 5000
	shortConns = 200_000
)
