//go:build race

package sim_test

// size is the fleet of the stories under the race detector, whose bookkeeping
// does not hold for fifty nodes over many virtual minutes: it ended a run with
// "ThreadSanitizer: CHECK failed … kEpochLast". Races need few nodes; `make
// unit` plays the stories both ways.
const size = 12
