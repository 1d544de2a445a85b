package proxy

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Target is a backend as the table or the file has it.
type Target struct {
	Addr   netip.AddrPort
	Weight int // 1…65535
	// Name is how people know it: the name in the file, or the host's.
	Name string
}

// Member is one backend of a pool. Its counters are for whoever has it.
type Member struct {
	Addr netip.AddrPort

	Active    atomic.Int64 // connections that are open or being opened
	Total     atomic.Int64 // connections that were opened
	Failures  atomic.Int64 // connections that could not be opened
	Sent      atomic.Int64 // octets to the backend
	Received  atomic.Int64 // octets from it
	ConnectNs atomic.Int64 // time that opening took, in all

	// What follows is guarded by the pool's mutex.

	name    string
	weight  int
	current int    // smooth weighted round robin
	picked  uint64 // when it was picked last, in picks
	gone    bool   // not in the pool any more
	sick    bool   // its health check says so
	ejected bool   // connections to it failed
	tries   int    // failures since it was good
	retry   time.Time
	failure error     // why it is ejected
	latest  time.Time // when the try began that told last how it is
	why     error     // what to tell about it
}

// Pool decides which backend a connection gets. All methods may be called by
// several goroutines at once; there is one order over all of them.
type Pool struct {
	mu        sync.Mutex // guards the members' state and what follows
	algorithm Algorithm
	members   []*Member // sorted by address
	picks     uint64
	rand      func(n uint64) uint64
}

// NewPool gives an empty pool.
func NewPool(a Algorithm) *Pool {
	return &Pool{algorithm: a, rand: rand.Uint64N}
}

// How long a backend that failed is left alone: doubling from the first to the
// last. One that restarts is back within a second; one that is gone for long
// costs a try a minute.
const (
	firstEjection = time.Second
	lastEjection  = time.Minute
)

// SetAlgorithm has the pool choose in another way from now on.
func (p *Pool) SetAlgorithm(a Algorithm) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.algorithm = a
}

// Update makes the targets the pool's members and gives those that left. A
// member that stays keeps its state. Of targets with one address the first
// counts.
func (p *Pool) Update(targets []Target) (left []*Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := make([]*Member, 0, len(targets))
	for _, t := range targets {
		if slices.ContainsFunc(next, func(m *Member) bool { return m.Addr == t.Addr }) {
			continue
		}
		i := slices.IndexFunc(p.members, func(m *Member) bool { return m.Addr == t.Addr })
		m := &Member{Addr: t.Addr}
		if i >= 0 {
			m = p.members[i]
		}
		m.name, m.weight = t.Name, max(1, t.Weight)
		next = append(next, m)
	}
	slices.SortFunc(next, func(a, b *Member) int { return a.Addr.Compare(b.Addr) })
	for _, m := range p.members {
		if !slices.Contains(next, m) {
			m.gone = true
			left = append(left, m)
		}
	}
	p.members = next
	return left
}

// Pick gives the backend for a connection of client that has tried some
// already, nil when none is left to try. It counts the connection as Active;
// the caller takes it off again when it has ended. Backends that failed lately
// are tried when no better one is left; one whose health check fails is not.
func (p *Pool) Pick(client netip.Addr, tried []*Member) *Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.pick(client, tried, false)
	if m == nil {
		m = p.pick(client, tried, true)
	}
	if m != nil {
		p.picks++
		m.picked = p.picks
		m.Active.Add(1)
	}
	return m
}

func (m *Member) usable(tried []*Member, ejected bool) bool {
	return !m.sick && m.ejected == ejected && (len(tried) == 0 || !slices.Contains(tried, m))
}

// Failed takes that a connection to m could not be opened. It says whether m
// was good until now: that is news. Of all tries the one that began last tells
// how m is: where an overloaded backend takes one connection and lets another
// wait in vain, what was begun long ago says nothing about now.
func (p *Pool) Failed(m *Member, began, now time.Time, why error) (news bool) {
	m.Failures.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if began.Before(m.latest) {
		return false
	}
	m.latest = began
	if m.ejected && now.Before(m.retry) {
		return false // of a crowd that failed at once only the first counts
	}
	pause := lastEjection
	if m.tries < 6 { // 2⁶ s is beyond the last
		pause = firstEjection << m.tries
	}
	news = !m.ejected
	m.tries++
	m.ejected, m.retry, m.failure = true, now.Add(pause), why
	if !m.sick {
		m.why = why
	}
	return news
}

// Succeeded takes that a connection to m could be opened. It says whether m was
// ejected until now. One that began before the try that failed last changes
// nothing.
func (p *Pool) Succeeded(m *Member, began time.Time) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if began.Before(m.latest) {
		return false
	}
	m.latest = began
	news = m.ejected
	m.ejected, m.tries, m.failure = false, 0, nil
	if !m.sick {
		m.why = nil
	}
	return news
}

// Readmit lets an ejected member have connections again where there is no way to
// ask it first. The next failure ejects it for longer.
func (p *Pool) Readmit(m *Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.ejected = false
}

// SetHealth takes the verdict of a health check; why is nil when m is well.
func (p *Pool) SetHealth(m *Member, why error) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	news = m.sick != (why != nil)
	m.sick = why != nil
	if m.why = why; why == nil && m.ejected {
		m.why = m.failure
	}
	return news
}

// Probes gives the ejected members that are due to be tried again and the
// time of the next one that is not, zero for none.
func (p *Pool) Probes(now time.Time) (due []*Member, next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		switch {
		case !m.ejected:
		case !now.Before(m.retry):
			due = append(due, m)
		case next.IsZero() || m.retry.Before(next):
			next = m.retry
		}
	}
	return due, next
}

// Members gives the members as they are now, sorted by address.
func (p *Pool) Members() []*Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.members)
}

// State is what a pool knows of a member.
type State struct {
	Name   string
	Weight int
	// Status is up, failing (left alone until Retry because connections to it
	// failed), sick (its health check fails) or gone (taken out, and kept for
	// the connections that it still has).
	Status string
	Retry  time.Time
	Why    string
}

// State tells about one member.
func (p *Pool) State(m *Member) State {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := State{Name: m.name, Weight: m.weight, Status: "up"}
	switch {
	case m.gone:
		s.Status = "gone"
	case m.sick:
		s.Status = "sick"
	case m.ejected:
		s.Status, s.Retry = "failing", m.retry
	}
	if m.why != nil {
		s.Why = m.why.Error()
	}
	return s
}
