package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// slack is added to every bound: starting dig or mrkmctl, mail through postfix
// and the scheduler of a loaded machine. It is less than what a forgotten or
// doubled interval would add in the full run, and less than the shortest
// lifetime plus itself in the short one.
const slack = 5 * time.Second

// A timing is what the daemons were given, and the bounds that follow.
type timing struct {
	healthInterval, healthTimeout time.Duration
	healthy, unhealthy            int

	startDelay, activityInterval time.Duration
	active, inactive             int

	lifetime time.Duration // gossip-node-lifetime
	cut      time.Duration // how long the bridge is cut in step 5
}

// asInSample is what testdata/murakumo.yml says, with the default lifetime.
var asInSample = timing{
	healthInterval: 5 * time.Second, healthTimeout: 5 * time.Second, healthy: 2, unhealthy: 2,
	startDelay: 60 * time.Second, activityInterval: 10 * time.Second, active: 2, inactive: 2,
	lifetime: 10 * time.Second, cut: 90 * time.Second,
}

// shortened keeps the order of things: the start delay is still longer than
// the rounds in which a backup lets go, and the cut outlasts the lifetime and
// the rounds several times. The half second puts a host's rounds in the middle
// between its probes, so that another host's can fall on either side of them.
var shortened = timing{
	healthInterval: time.Second, healthTimeout: time.Second, healthy: 2, unhealthy: 2,
	startDelay: 6500 * time.Millisecond, activityInterval: time.Second, active: 2, inactive: 2,
	lifetime: 4 * time.Second, cut: 25 * time.Second,
}

// toUnhealthy: the failure falls right after a probe, then each of the
// failures needs its interval, the last one also its timeout.
func (x timing) toUnhealthy() time.Duration {
	return time.Duration(x.unhealthy)*x.healthInterval + x.healthTimeout + slack
}

func (x timing) toHealthy() time.Duration {
	return time.Duration(x.healthy)*x.healthInterval + x.healthTimeout + slack
}

// firstVerdict: without init-status one probe decides.
func (x timing) firstVerdict() time.Duration { return x.healthInterval + x.healthTimeout + slack }

// spread is for a change to reach the other host: gossip every 0.3 s.
func (x timing) spread() time.Duration { return time.Second + slack }

func (x timing) toActive() time.Duration {
	return time.Duration(x.active)*x.activityInterval + slack
}

func (x timing) toInactive() time.Duration {
	return time.Duration(x.inactive)*x.activityInterval + slack
}

// firstDuty: with init-status undefined the first round that agrees decides;
// if the first contradicts, the rounds that turn it follow.
func (x timing) firstDuty() time.Duration {
	return x.startDelay + time.Duration(1+x.active)*x.activityInterval + slack
}

// death is for the records of a silent node to go.
func (x timing) death() time.Duration { return x.lifetime + slack }

// healed is what the product promises after a cut: both rounds of letting go
// fit in, and the rejoin with them.
func (x timing) healed() time.Duration { return 30 * time.Second }

// phase is how far one host's rounds shall lie behind the other's.
func (x timing) phase() time.Duration { return x.activityInterval * 3 / 10 }

// margin is a few rounds, to see that nothing more happens.
func (x timing) margin() time.Duration { return 4 * x.activityInterval }

// file gives the sample file with these intervals. Each replacement must find
// its line once, so that the sample cannot drift from what the test assumes.
func (x timing) file(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("testdata/murakumo.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	was := asInSample
	for _, r := range [][2]string{
		{was.healthLines(), x.healthLines()},
		{was.activityLines(), x.activityLines()},
	} {
		text = replaceOnce(t, text, r[0], r[1])
	}
	if x.lifetime != was.lifetime {
		text += fmt.Sprintf("gossip-node-lifetime: %g\n", x.lifetime.Seconds())
	}
	return text
}

func (x timing) healthLines() string {
	return fmt.Sprintf("    interval: %g\n    timeout: %g\n    healthy: %d\n    unhealthy: %d\n",
		x.healthInterval.Seconds(), x.healthTimeout.Seconds(), x.healthy, x.unhealthy)
}

func (x timing) activityLines() string {
	return fmt.Sprintf("    start-delay: %g\n    interval: %g\n    active: %d\n    inactive: %d\n",
		x.startDelay.Seconds(), x.activityInterval.Seconds(), x.active, x.inactive)
}

func replaceOnce(t *testing.T, text, old, new string) string {
	t.Helper()
	if n := strings.Count(text, old); n != 1 {
		t.Fatalf("testdata/murakumo.yml: %d times, want once:\n%s", n, old)
	}
	return strings.Replace(text, old, new, 1)
}
