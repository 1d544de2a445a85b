package proxy

import (
	"context"
	"fmt"
	"time"
)

// Check is how the backends of a fixed list are asked whether they are well.
type Check struct {
	// Probe makes the question for one backend's address; nil: no checks.
	Probe func(Target) func(context.Context) error
	// What tells in words what is asked. Two checks that say the same ask the same.
	What     string
	Interval time.Duration // from start to start
	Timeout  time.Duration
}

// turns is how many verdicts in a row change what is thought of a backend. The
// first verdict decides alone: until then nothing is known.
const turns = 2

// checkers runs a checker for each member there is.
func (s *service) checkers(ctx context.Context, cfg *Config) {
	members := map[*Member]bool{}
	if cfg.Check.Probe != nil {
		for _, m := range s.pool.Members() {
			members[m] = true
		}
	}
	for m, c := range s.checking {
		// A checker of the configuration before asks what was asked then.
		if !members[m] || c.under != ctx {
			c.stop()
			<-c.done
			delete(s.checking, m)
			if cfg.Check.Probe == nil {
				s.pool.SetHealth(m, nil)
			}
		}
	}
	for m := range members {
		if s.checking[m] != nil {
			continue
		}
		cctx, stop := context.WithCancel(ctx)
		c := &checker{under: ctx, stop: stop, done: make(chan struct{})}
		s.checking[m] = c
		go func() {
			defer close(c.done)
			s.check(cctx, m, cfg.Check)
		}()
	}
}

// checker is a goroutine that asks one member.
type checker struct {
	under context.Context // told apart by it, and never used
	stop  context.CancelFunc
	done  chan struct{}
}

// check asks one member until ctx is done.
func (s *service) check(ctx context.Context, m *Member, c Check) {
	probe := c.Probe(Target{Addr: m.Addr, Name: s.pool.State(m).Name})
	tick := time.NewTicker(c.Interval)
	defer tick.Stop()
	known, good, against := false, true, 0
	for {
		pctx, cancel := context.WithTimeout(ctx, c.Timeout)
		err := probe(pctx)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if (err == nil) == good {
			against = 0
		} else if against++; !known || against >= turns {
			good, against = err == nil, 0
		}
		known = true
		switch {
		case good && s.pool.SetHealth(m, nil):
			s.log.Info(fmt.Sprintf("proxy %s: backend %s is well again", s.name, s.nameOf(m)))
		case !good && err != nil && s.pool.SetHealth(m, err):
			s.log.Warn(fmt.Sprintf("proxy %s: backend %s fails its check and gets no connections", s.name, s.nameOf(m)), "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
