//go:build race

package nameserver

// raceDetector: a sync.Pool forgets some of what it has, on purpose.
const raceDetector = true
