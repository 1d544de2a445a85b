//go:build race

package sim_test

// size is the fleet of the stories under the race detector, which makes each
// step several times as dear; races need few nodes. `make unit` plays the
// stories both ways.
const size = 12
