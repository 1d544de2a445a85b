//go:build !race

package sim_test

// size is the fleet of the stories.
const size = 50
