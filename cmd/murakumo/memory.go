package main

import (
	"os"
	"runtime/debug"
)

const (
	// While the program starts nearly all that it makes stays, and looking again and
	// again for what does not takes longer than making it.
	startingGC = 400
	// What runs makes little that does not stay, so a collection for each half of
	// what there is costs nothing to speak of; a table of 100,000 names is 30 MiB
	// less then than with the usual one for each whole.
	runningGC = 50
)

// collectSeldom has garbage collected seldom until the function that it gives is
// called. GOGC in the environment says how often in its stead.
func collectSeldom() (as func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	debug.SetGCPercent(startingGC)
	return func() { debug.SetGCPercent(runningGC) }
}
