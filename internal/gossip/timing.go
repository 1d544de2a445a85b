package gossip

import (
	"math"
	"time"
)

// timing is how memberlist has to be set so that a node that falls silent is
// dead everywhere between 0.5 and 1.0 lifetimes later. With L the lifetime, P
// the probe interval and S the suspicion timeout:
//
//	silent                                                       dead everywhere
//	  |<- somebody probes it ->|<- no answer ->|<---- S ---->|<- word spreads ->|
//	     0 … 7 P                      P           ≥ L/2          ~ 5 gossip intervals
//
// Each node probes one other per P in shuffled rounds, so among n-1 observers
// the wait for the first probe is longer than k P with a chance of about e^-k.
// P = L/30 leaves 0.27 L for the first two parts and 0.23 L for the last, which
// takes less than 0.1 L for 100 nodes; the rest is for lost packets. Nothing
// before S can be shorter than P less a packet's flight, so S ≥ L/2 alone keeps
// the lower bound. Measured in virtual time with 2 to 100 nodes, also with every
// twentieth packet lost: 0.54 to 0.82 L in 300 deaths.
type timing struct {
	probe, probeTimeout time.Duration
	gossip              time.Duration
	pushPull            time.Duration
	toTheDead           time.Duration // how long a dead node stays in memberlist's list
	silence             time.Duration // the least S
}

// awareness is how much slower a node may probe that doubts its own health: not
// at all. Lifeguard's slower probes would spare others some suspicions, which
// they have half a lifetime to refute anyway; but a node that is cut off fails
// with each probe, and would need so many times as long to see that it is alone.
// As it is, that takes n to 2 n P and S: about a lifetime for ten nodes.
const awareness = 1

// timingFor computes the timing from the lifetime and the gossip interval that
// the operator asks for, which is an upper bound: with a short lifetime the
// word has to spread faster.
func timingFor(lifetime, interval time.Duration) timing {
	return timing{
		probe:        lifetime / 30,
		probeTimeout: lifetime / 60,
		gossip:       min(interval, lifetime*3/100),
		// The exchange repairs what gossip lost, also the word of a node that it
		// is not dead, for which there are S: with twice that interval and every
		// fifth packet lost, five nodes lost one another 38 times in an hour;
		// with half of S never. memberlist makes it rarer above 32 nodes, where
		// gossip has more ways.
		pushPull: min(max(lifetime/4, 500*time.Millisecond), 10*time.Second),
		// A part of all gossip goes to the dead, so that they can object; here
		// they are looked for anyway.
		toTheDead: lifetime,
		silence:   lifetime / 2,
	}
}

// suspicionMult gives the multiplier that makes memberlist's suspicion timeout
// at least t.silence, and longer by less than one unit, for a list of n nodes.
// memberlist computes mult · max(1, log10 n) · P, to a thousandth.
//
// memberlist's list holds dead nodes too for a while. Called with the number of
// those alive, which is not greater, the timeout errs on the long side: a live
// node is never declared dead early because others died.
func (t timing) suspicionMult(n int) int {
	unit := time.Duration(math.Max(1, math.Log10(float64(max(n, 1))))*1000) * t.probe / 1000
	return int((t.silence + unit - 1) / unit)
}
