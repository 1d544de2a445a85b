package gossip_test

import (
	"testing"
	"time"

	"murakumo/internal/sim"
)

func TestDbg(t *testing.T) {
	story(t, 10, func(t *testing.T, c *cluster) {
		deaf := c.all[4]
		t.Log(time.Now())
		c.net.Cut(sim.Deaf(deaf.addr))
		time.Sleep(30 * time.Second)
		for _, l := range deaf.log.with("") {
			t.Log(l)
		}
	})
}
