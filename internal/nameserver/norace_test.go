//go:build !race

package nameserver

const raceDetector = false
