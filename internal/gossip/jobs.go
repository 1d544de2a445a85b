package gossip

import "sync"

// jobs are goroutines of a bounded number with one owner, who waits for them.
// Unlike an errgroup they may be tried to start while being waited for.
type jobs struct {
	limit int

	mu      sync.Mutex // guards all below
	running int
	ended   bool
	idle    chan struct{} // closed when ended and none is running
}

// try starts fn unless too many are running or the owner waits already.
func (j *jobs) try(fn func()) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended || j.running >= j.limit {
		return false
	}
	j.running++
	go func() {
		defer j.finish()
		fn()
	}()
	return true
}

func (j *jobs) finish() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.running--; j.running == 0 && j.ended {
		close(j.idle)
	}
}

// Wait lets no more start and waits for those running.
func (j *jobs) Wait() {
	j.mu.Lock()
	if !j.ended {
		j.ended = true
		j.idle = make(chan struct{})
		if j.running == 0 {
			close(j.idle)
		}
	}
	idle := j.idle
	j.mu.Unlock()
	<-idle
}
