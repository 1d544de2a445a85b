package ec2_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/ec2"
	"murakumo/internal/ec2/ec2test"
)

// rounds is how often the interface is fought for; the other things, of which
// the deciding is the same, a quarter as often.
const rounds = 200

// A barrier lets the first readings of n hosts go on together: all of them see
// the same holding before any of them ends it.
type barrier struct {
	mu   sync.Mutex
	left int
	open chan struct{}
}

func newBarrier(n int) *barrier { return &barrier{left: n, open: make(chan struct{})} }

func (b *barrier) wait() {
	b.mu.Lock()
	if b.left--; b.left == 0 {
		close(b.open)
	}
	b.mu.Unlock()
	<-b.open
}

// trouble gives the faults of a round: delays, throttling, errors of the
// server, and answers that get lost after the request was carried out.
func trouble(r *rand.Rand, b *barrier, reads string) func(ec2test.Request) ec2test.Fault {
	var mu sync.Mutex // guards r
	return func(q ec2test.Request) ec2test.Fault {
		if q.Action == reads && q.N == 0 {
			return ec2test.Fault{} // the barrier comes after the reading
		}
		mu.Lock()
		dice, delay := r.IntN(100), time.Duration(r.IntN(400))*time.Millisecond
		mu.Unlock()
		f := ec2test.Fault{Delay: delay}
		switch change := !strings.HasPrefix(q.Action, "Describe") && q.Params["DryRun"] == ""; {
		case dice < 12:
			f.Code = "RequestLimitExceeded"
		case dice < 16:
			f.Code, f.Status = "InternalError", 500
		case dice < 26:
			f.Lose = true
		case dice < 30 && change:
			f.Delay = 15 * time.Second // longer than the client waits; carried out then
		case dice < 32:
			f.Cut = true
		}
		return f
	}
}

// held waits at the barrier after its first reading: what both hosts do next
// was decided on the same reading.
type held struct {
	ec2.Thing
	b    *barrier
	once sync.Once
}

func (h *held) Read(ctx context.Context) (ec2.Seen, error) {
	s, err := h.Thing.Read(ctx)
	if err == nil {
		h.once.Do(h.b.wait)
	}
	return s, err
}

// A contest is one kind of thing that two hosts take at once.
type contest struct {
	name  string
	reads string // the action that reads who holds it
	thing func(t *testing.T, f *ec2test.Fake, host string) ec2.Thing
	// holder gives who has it in the end, and with which holding.
	holder func(w ec2test.World) (host, holding string)
	// ends gives the holding that a request of the journal ended, "" if none.
	ends func(e ec2test.Entry) string
}

var contests = []contest{
	{"interface", "DescribeNetworkInterfaces",
		func(_ *testing.T, f *ec2test.Fake, host string) ec2.Thing {
			return ec2.NewInterface(client(f, key(host)), "eni-move", "i-"+host, 1)
		},
		func(w ec2test.World) (string, string) {
			a := w.Interfaces[4].Attachment
			if a == nil {
				return "", ""
			}
			return strings.TrimPrefix(a.Instance, "i-"), a.ID
		},
		func(e ec2test.Entry) string {
			if e.Action == "DetachNetworkInterface" && e.Code == "" {
				return e.Params["AttachmentId"]
			}
			return ""
		}},
	{"elastic IP", "DescribeAddresses",
		func(t *testing.T, f *ec2test.Fake, host string) ec2.Thing {
			thing, err := ec2.NewAddress(client(f, key(host)), "eipalloc-1", "", where(t, f, "eni-"+host), "")
			if err != nil {
				t.Fatal(err)
			}
			return thing
		},
		func(w ec2test.World) (string, string) {
			a := w.Addresses[0]
			return strings.TrimPrefix(a.Interface, "eni-"), a.Association
		},
		func(e ec2test.Entry) string {
			if e.Action == "DisassociateAddress" && e.Code == "" {
				return e.Params["AssociationId"]
			}
			return ""
		}},
	{"private address", "DescribeNetworkInterfaces",
		func(t *testing.T, f *ec2test.Fake, host string) ec2.Thing {
			return ec2.NewPrivateIP(client(f, key(host)), netip.MustParseAddr("10.0.0.200"), where(t, f, "eni-"+host))
		},
		func(w ec2test.World) (string, string) {
			for _, n := range w.Interfaces {
				if slices.Contains(n.Addresses, "10.0.0.200") {
					return strings.TrimPrefix(n.ID, "eni-"), n.ID
				}
			}
			return "", ""
		},
		func(e ec2test.Entry) string {
			if e.Action == "UnassignPrivateIpAddresses" && e.Code == "" {
				return e.Params["NetworkInterfaceId"]
			}
			return ""
		}},
	{"IPv6 address", "DescribeNetworkInterfaces",
		func(t *testing.T, f *ec2test.Fake, host string) ec2.Thing {
			return ec2.NewPrivateIP(client(f, key(host)), netip.MustParseAddr("2001:db8::200"), where(t, f, "eni-"+host))
		},
		func(w ec2test.World) (string, string) {
			for _, n := range w.Interfaces {
				if slices.Contains(n.IPv6, "2001:db8::200") {
					return strings.TrimPrefix(n.ID, "eni-"), n.ID
				}
			}
			return "", ""
		},
		func(e ec2test.Entry) string {
			if e.Action == "UnassignIpv6Addresses" && e.Code == "" {
				return e.Params["NetworkInterfaceId"]
			}
			return ""
		}},
}

func key(host string) string { return "AKIA" + strings.ToUpper(host) }

func where(t *testing.T, f *ec2test.Fake, iface string) *ec2.Where {
	t.Helper()
	s := &ec2.Session{EC2: client(f, "AKIAOLD")}
	w, err := s.Interface(within(t, time.Minute), iface, "")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Two hosts read the same holding before either ends it, and take the thing at
// once, while answers are late, throttled or lost. One of them ends as its
// owner, the other says that it has lost, and nobody ends the winner's holding.
func TestRace(t *testing.T) {
	for _, c := range contests {
		t.Run(c.name, func(t *testing.T) {
			forced, lost, rounds := 0, 0, rounds
			if c.name != "interface" {
				rounds /= 4
			}
			for seed := range uint64(rounds) {
				synctest.Test(t, func(t *testing.T) {
					f, l := race(t, c, seed)
					forced, lost = forced+f, lost+l
				})
				if t.Failed() {
					t.Fatalf("in round %d", seed)
				}
			}
			if lost != rounds {
				t.Errorf("%d lost races in %d rounds", lost, rounds)
			}
			t.Logf("%d rounds, by force in %d", rounds, forced)
		})
	}
}

func race(t *testing.T, c contest, seed uint64) (forced, lost int) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := world()
	w.Interfaces[0].Addresses = append(w.Interfaces[0].Addresses, "10.0.0.200")
	w.Interfaces[0].IPv6 = []string{"2001:db8::200"}
	w.Instances[0].Hung = r.IntN(4) == 0 // then only force helps
	o := ec2test.Options{
		AttachDelay: time.Second, DetachDelay: 2 * time.Second, Jitter: 3 * time.Second,
		Lag: time.Duration(r.IntN(3000)+1) * time.Millisecond,
	}
	f := ec2test.New(w, o)
	start, first := c.holder(f.World())
	hosts := []string{"new", "third"}
	things := map[string]*held{}
	b := newBarrier(len(hosts))
	for _, h := range hosts {
		things[h] = &held{Thing: c.thing(t, f, h), b: b}
	}
	o.Fault = trouble(r, b, c.reads)
	f.Set(o)

	reports := make([]ec2.Report, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		wg.Go(func() {
			reports[i] = ec2.Move(within(t, 5*time.Minute), things[h], ec2.Rules{ForceAfter: 5 * time.Second}, nil)
		})
	}
	wg.Wait()
	time.Sleep(20 * time.Second) // what was sent and not answered is carried out

	owner, holding := c.holder(f.World())
	told := fmt.Sprintf("held by %s (%s) before, by %s (%s) after", start, first, owner, holding)
	winners := 0
	for i, rep := range reports {
		switch {
		case rep.Outcome == ec2.Taken && hosts[i] == owner:
			winners++
			if rep.Forced {
				forced++
			}
		case rep.Outcome == ec2.Lost && hosts[i] != owner:
			lost++
		default:
			t.Errorf("%s: %s %v; %s", hosts[i], rep.Outcome, rep.Err, told)
		}
	}
	if winners != 1 {
		t.Errorf("%d winners; %s", winners, told)
	}
	for _, e := range f.Journal() {
		if id := c.ends(e); id != "" && id != first && !e.DryRun {
			t.Errorf("%s ended %s, which is not the holding that it had read; %s", e.Key, id, told)
		}
	}
	if t.Failed() {
		for _, e := range f.Journal() {
			t.Logf("%s %s %s %v %s", e.At.Format("05.000"), e.Key, e.Action, e.Params, e.Code)
		}
	}
	return forced, lost
}

// A route has no lock. Of two hosts that read the same and replace it at once
// the last one has it and says so, and the other one has noticed, or had been
// told already that it was its own.
func TestRouteRace(t *testing.T) {
	lost := 0
	for seed := range uint64(rounds) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			o := ec2test.Options{Lag: time.Duration(r.IntN(500)+1) * time.Millisecond}
			f := ec2test.New(world(), o)
			b := newBarrier(2)
			hosts := []string{"new", "third"}
			things := map[string]*held{}
			for _, h := range hosts {
				things[h] = &held{Thing: ec2.NewRoute(client(f, key(h)), "rtb-1", netip.MustParsePrefix("10.9.0.0/24"), where(t, f, "eni-"+h)), b: b}
			}
			calm := seed%2 == 0
			o.Fault = func(ec2test.Request) ec2test.Fault { return ec2test.Fault{} }
			if !calm {
				o.Fault = trouble(r, b, "DescribeRouteTables")
			}
			f.Set(o)
			reports := make([]ec2.Report, 2)
			var wg sync.WaitGroup
			for i, h := range hosts {
				wg.Go(func() { reports[i] = ec2.Move(within(t, 5*time.Minute), things[h], ec2.Rules{}, nil) })
			}
			wg.Wait()
			time.Sleep(20 * time.Second)
			w := f.World()
			owner := strings.TrimPrefix(w.RouteTables[0].Routes[1].Interface, "eni-")
			for i, rep := range reports {
				switch {
				case rep.Outcome == ec2.Taken && (hosts[i] == owner || !calm):
				case rep.Outcome == ec2.Lost && (hosts[i] != owner || !calm):
					lost++
				default:
					t.Errorf("round %d: %s: %s %v; %s has it", seed, hosts[i], rep.Outcome, rep.Err, owner)
				}
			}
			if reports[0].Outcome == ec2.Lost && reports[1].Outcome == ec2.Lost {
				t.Errorf("round %d: both have lost to each other", seed)
			}
		})
	}
	if lost < rounds/2 {
		t.Errorf("%d lost races in %d rounds", lost, rounds)
	}
}
