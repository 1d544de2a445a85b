package gossip

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"murakumo/internal/catalog"
)

// bench is a replica with its log, and another node's catalog to make sets.
type bench struct {
	*replica
	out   bytes.Buffer
	other *catalog.Catalog
	now   time.Time
}

var (
	here  = addr("10.0.0.1")
	there = addr("10.0.0.2")
	third = addr("10.0.0.3")
)

func newBench() *bench {
	b := &bench{other: catalog.New(catalog.Options{Self: there}), now: time.Now()}
	log := logger{slog.New(slog.NewTextHandler(&b.out, nil)), new(throttle)}
	p := new(peers)
	for _, a := range []netip.Addr{there, third} {
		p.joined(netip.AddrPortFrom(a, 10870), b.now)
	}
	b.replica = newReplica(here, catalog.New(catalog.Options{Self: here}), func() int { return 100 }, p, new(removals), log)
	return b
}

func rec(name string, a netip.Addr, ttl uint32) catalog.Record {
	return catalog.Record{Name: name, Addr: a, TTL: ttl, Priority: catalog.Master, Weight: 1, Active: true}
}

// put changes the other node's set.
func (b *bench) put(name string, ttl uint32) *catalog.Set {
	return b.other.Update(func(own *catalog.Edit) {
		if err := own.Put(rec(name, there, ttl)); err != nil {
			panic(err)
		}
	}).Own()
}

func (b *bench) hear(m message) effects { return b.receive(m.encode(), b.now) }

func names(e effects) (all []string) {
	for _, x := range e.broadcasts {
		all = append(all, fmt.Sprintf("%s kind %d via %v", x.name, x.msg.kind, x.msg.via))
	}
	for _, x := range e.parcels {
		all = append(all, fmt.Sprintf("to %v kind %d", x.to, x.msg.kind))
	}
	return all
}

func (b *bench) expect(t *testing.T, what string, e effects, want ...string) {
	t.Helper()
	if got := names(e); !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func delta(t *testing.T, s *catalog.Set, from uint64) []byte {
	t.Helper()
	d, ok := s.Delta(from)
	if !ok {
		t.Fatalf("no delta from %d", from)
	}
	return d.Encode()
}

// News is passed on once, in our name; what is not news is not.
func TestReplicaPassesNewsOn(t *testing.T) {
	b := newBench()
	s1 := b.put("a", 1)
	m := message{via: third, kind: kindContent, sets: [][]byte{s1.Encode()}}
	b.expect(t, "a new set", b.hear(m), "set 10.0.0.2 kind 2 via 10.0.0.1")
	b.expect(t, "the same again", b.hear(m))

	s2 := b.put("b", 1)
	s3 := b.put("c", 1)
	chain := message{via: third, kind: kindContent, deltas: [][]byte{delta(t, s2, s1.Version()), delta(t, s3, s2.Version())}}
	b.expect(t, "a chain of deltas", b.hear(chain), "set 10.0.0.2 kind 2 via 10.0.0.1")
	b.expect(t, "the same chain again", b.hear(chain))
	s4 := b.put("d", 1)
	chain.deltas = append(chain.deltas, delta(t, s4, s3.Version()))
	b.expect(t, "a chain that begins with what we have", b.hear(chain), "set 10.0.0.2 kind 2 via 10.0.0.1")
	if got := b.holds(there).Version(); got != s4.Version() {
		t.Errorf("version %d, want %d", got, s4.Version())
	}
	b.expect(t, "an old set", b.hear(m))
	b.expect(t, "questions", b.questions(b.now))
}

// What does not fit a packet is announced.
func TestReplicaAnnouncesWhatIsLarge(t *testing.T) {
	b := newBench()
	for i := range 60 {
		b.put(fmt.Sprintf("a-long-name-for-a-service-%d", i), 1)
	}
	e := b.hear(message{via: third, kind: kindContent, sets: [][]byte{b.other.View().Own().Encode()}})
	b.expect(t, "a large set", e, "set 10.0.0.2 kind 4 via 10.0.0.1")
}

// A delta that starts from something else, and an announcement of something
// newer, are asked about: once.
func TestReplicaAsks(t *testing.T) {
	b := newBench()
	s1 := b.put("a", 1)
	s2 := b.put("b", 1)
	lost := message{via: third, kind: kindContent, deltas: [][]byte{delta(t, s2, s1.Version())}}
	b.expect(t, "a delta from what we do not hold", b.hear(lost))
	b.expect(t, "the question", b.questions(b.now), "to 10.0.0.3 kind 5")
	b.hear(lost)
	b.hear(message{via: there, kind: kindAnnounce, held: []held{{owner: there, version: s2.Version(), hash: s2.Hash()}}})
	b.expect(t, "no second question while one is under way", b.questions(b.now.Add(patience(0)-1)))
	b.expect(t, "one elsewhere after it", b.questions(b.now.Add(patience(0))), "to 10.0.0.3 kind 5")
	b.expect(t, "the answer", b.hear(message{via: third, kind: kindContent, sets: [][]byte{s2.Encode()}}), "set 10.0.0.2 kind 2 via 10.0.0.1")
	b.expect(t, "nothing more to ask", b.questions(b.now.Add(time.Hour)))

	b.hear(message{via: third, kind: kindAnnounce, held: []held{{owner: there, version: s2.Version(), hash: s2.Hash()}}})
	b.hear(message{via: third, kind: kindAnnounce, held: []held{{owner: there, version: s1.Version(), hash: 1 << 63}}})
	b.expect(t, "announcements of what we have, or had", b.questions(b.now))
}

// A version that we hold with other content, from an earlier life of its owner,
// is replaced by asking for the whole set.
func TestReplicaOtherContent(t *testing.T) {
	b := newBench()
	earlier := catalog.New(catalog.Options{Self: there})
	earlier.Update(func(own *catalog.Edit) { _ = own.Put(rec("earlier", there, 1)) })
	b.cat.Merge(earlier.View().Own())
	s1 := b.put("a", 1)
	s2 := b.put("b", 1)
	b.hear(message{via: third, kind: kindContent, deltas: [][]byte{delta(t, s2, s1.Version())}})
	e := b.questions(b.now)
	if len(e.parcels) != 1 || !reflect.DeepEqual(e.parcels[0].msg.held, []held{{owner: there}}) {
		t.Errorf("asked %+v, want the whole set", e.parcels)
	}
}

// The answer to a question is what changed, if that is known, else the set, and
// nothing when the asker has it all.
func TestReplicaAnswers(t *testing.T) {
	b := newBench()
	put := func(name string) *catalog.Set {
		return b.cat.Update(func(own *catalog.Edit) { _ = own.Put(rec(name, here, 1)) }).Own()
	}
	s1 := put("a")
	s2 := put("b")
	for _, c := range []struct {
		name         string
		q            held
		sets, deltas int
	}{
		{"of nothing", held{owner: here}, 1, 0},
		{"of the last version", held{owner: here, version: s1.Version(), hash: s1.Hash()}, 0, 1},
		{"of this version", held{owner: here, version: s2.Version(), hash: s2.Hash()}, 0, 0},
		{"of this version with other content", held{owner: here, version: s2.Version(), hash: 1}, 1, 0},
		{"of a later version", held{owner: here, version: s2.Version() + 1}, 0, 0},
		{"of an unknown owner", held{owner: third}, 0, 0},
	} {
		e := b.hear(message{via: there, kind: kindWant, held: []held{c.q}})
		sets, deltas := 0, 0
		for _, p := range e.parcels {
			sets, deltas = sets+len(p.msg.sets), deltas+len(p.msg.deltas)
			if p.to != there {
				t.Errorf("%s: answered to %v", c.name, p.to)
			}
		}
		if sets != c.sets || deltas != c.deltas {
			t.Errorf("a holder %s: %d sets and %d deltas, want %d and %d", c.name, sets, deltas, c.sets, c.deltas)
		}
	}
}

// The exchange makes each side ask for what it lacks, also for hidden sets, and
// not for what is almost forgotten.
func TestReplicaExchange(t *testing.T) {
	b := newBench()
	dead, old, own := addr("10.0.0.8"), addr("10.0.0.9"), b.cat.View().Own()
	b.hear(message{via: third, kind: kindState, held: []held{
		{owner: there, version: 3, status: catalog.Alive},
		{owner: dead, version: 4, status: catalog.Dead, age: time.Hour},
		{owner: here, version: own.Version(), hash: own.Hash(), status: catalog.Alive},
	}})
	e := b.questions(b.now)
	if len(e.parcels) != 1 || len(e.parcels[0].msg.held) != 2 {
		t.Fatalf("asked %+v", e.parcels)
	}
	m, _ := b.cat.View().Member(dead)
	if m.Status != catalog.Dead || !m.Since.Equal(b.now.Add(-time.Hour)) {
		t.Errorf("the dead one is %v since %v", m.Status, m.Since)
	}
	b.cat.SetStatus(old, catalog.Dead, b.now.Add(-almostForgotten))
	b.cat.Merge(catalog.NewSet(old))
	for _, h := range state(here, b.cat.View(), b.removals, b.now).held {
		if h.owner == old {
			t.Error("tells of a set that is almost forgotten")
		}
	}
}

// What is not understood changes nothing and is logged at most once a second.
func TestReplicaIgnores(t *testing.T) {
	b := newBench()
	good := b.put("a", 1).Encode()
	before := b.cat.View().Serial()
	for range 100 {
		b.receive([]byte{2, 1, 2, 3}, b.now)
		b.receive([]byte("garbage"), b.now)
		b.receive(nil, b.now)
		b.hear(message{via: there, kind: kindContent, sets: [][]byte{good[:len(good)-1]}})
		b.hear(message{via: there, kind: kindContent, deltas: [][]byte{good}})
		b.hear(message{via: here, kind: kindContent, sets: [][]byte{good}}) // our own voice
	}
	if b.cat.View().Serial() != before {
		t.Error("something changed")
	}
	if n := strings.Count(b.out.String(), "\n"); n != 3 {
		t.Errorf("%d lines, want one for each kind:\n%s", n, b.out.String())
	}
	// One broken document does not take the others with it.
	b.hear(message{via: there, kind: kindContent, sets: [][]byte{{1}, good}})
	if b.holds(there) == nil {
		t.Error("the good document was not taken")
	}
}

// With two daemons on one address our set steps past the other's once a second,
// and from the third time on a line says what is wrong.
func TestReplicaSteps(t *testing.T) {
	b := newBench()
	for i := range 50 {
		double := catalog.New(catalog.Options{Self: here, Version: b.cat.View().Own().Version() + 1})
		double.Update(func(own *catalog.Edit) { _ = own.Put(rec("double", here, uint32(i))) })
		b.hear(message{via: there, kind: kindContent, sets: [][]byte{double.View().Own().Encode()}})
		b.now = b.now.Add(100 * time.Millisecond)
	}
	if v := b.cat.View().Own().Version(); v > 20 {
		t.Errorf("version %d after 5 s", v)
	}
	if n := strings.Count(b.out.String(), "another daemon publishes"); n == 0 || n > 5 {
		t.Errorf("%d lines in 5 s:\n%s", n, b.out.String())
	}
}

// A goodbye counts once, and not when the node has published since.
func TestReplicaGoodbye(t *testing.T) {
	b := newBench()
	s := b.put("a", 1)
	b.cat.Merge(s)
	bye := message{via: third, kind: kindGoodbye, held: []held{{owner: there, version: s.Version()}}}
	b.expect(t, "a goodbye", b.hear(bye), "bye 10.0.0.2 kind 7 via 10.0.0.1")
	b.expect(t, "again", b.hear(bye))
	if p, _ := b.peers.get(there); p.status() != catalog.Left {
		t.Errorf("it is %v", p.status())
	}
	b.hear(message{via: there, kind: kindContent, sets: [][]byte{b.put("b", 1).Encode()}})
	if p, _ := b.peers.get(there); p.status() != catalog.Alive {
		t.Errorf("it published again and is %v", p.status())
	}
	b.expect(t, "a late copy", b.hear(bye))
	b.expect(t, "of a stranger", b.hear(message{via: third, kind: kindGoodbye, held: []held{{owner: addr("10.0.0.77"), version: 1}}}))
}

// A node that is alive and whose set nobody tells is asked for it, after a
// while.
func TestReplicaMeets(t *testing.T) {
	b := newBench()
	b.met(there, b.now)
	b.expect(t, "at once", b.questions(b.now.Add(meetMin-1)))
	b.expect(t, "after a while", b.questions(b.now.Add(meetMax)), "to 10.0.0.2 kind 5")
	b.hear(message{via: there, kind: kindContent, sets: [][]byte{b.put("a", 1).Encode()}})
	b.met(there, b.now)
	b.expect(t, "when the set is there", b.questions(b.now.Add(time.Hour)))
}

// An operator's statement is passed on once, whichever way it comes; what a
// removed node says of anything else is not heard.
func TestReplicaRemoval(t *testing.T) {
	b := newBench()
	out := removal{target: there, counter: 1, removed: true, by: third}
	said := message{via: third, kind: kindRemoval, removals: []removal{out}}
	b.expect(t, "a removal", b.hear(said), "removal 10.0.0.2 kind 6 via 10.0.0.1")
	b.expect(t, "again", b.hear(said))
	b.expect(t, "in an exchange", b.hear(message{via: third, kind: kindState, removals: []removal{out}}))
	set := b.put("a", 1).Encode()
	b.expect(t, "what it publishes", b.hear(message{via: there, kind: kindContent, sets: [][]byte{set}}))
	b.expect(t, "what others pass on of it", b.hear(message{via: third, kind: kindContent, sets: [][]byte{set}}))
	b.expect(t, "what it asks", b.hear(message{via: there, kind: kindWant, held: []held{{owner: here}}}))
	b.hear(message{via: third, kind: kindState, held: []held{{owner: there, version: 9, status: catalog.Dead}}})
	b.expect(t, "nobody is asked for its set", b.questions(b.now))
	if b.holds(there) != nil {
		t.Error("its set was taken")
	}
	out.counter, out.removed = 2, false
	b.expect(t, "its own word that it is allowed again, said elsewhere",
		b.hear(message{via: there, kind: kindState, removals: []removal{out}}), "removal 10.0.0.2 kind 6 via 10.0.0.1")

	e := b.hear(message{via: third, kind: kindRemoval, removals: []removal{{target: here, counter: 1, removed: true, by: there}}})
	if e.removedBy == nil || e.removedBy.by != there {
		t.Errorf("our own removal: %+v", e.removedBy)
	}
}

// TestReplicaOwn: a change of our own set is broadcast at once, and once.
func TestReplicaOwn(t *testing.T) {
	b := newBench()
	b.cat.Update(func(own *catalog.Edit) {
		if err := own.Put(rec("web", here, 1)); err != nil {
			t.Fatal(err)
		}
	})
	b.expect(t, "a change", b.own(b.now), fmt.Sprintf("set 10.0.0.1 kind %d via 10.0.0.1", kindContent))
	b.expect(t, "no other one", b.own(b.now))
}

// The form of our own broadcasts.
func TestPublisher(t *testing.T) {
	cat := catalog.New(catalog.Options{Self: here})
	p := publisher{self: here}
	now := time.Now()
	put := func(name string, ttl uint32) {
		cat.Update(func(own *catalog.Edit) {
			if err := own.Put(rec(name, here, ttl)); err != nil {
				t.Fatal(err)
			}
		})
	}
	next := func() message {
		t.Helper()
		m, ok := p.next(cat.View().Own(), now)
		if !ok {
			t.Fatal("nothing to say")
		}
		if n := len(m.encode()); n > maxGossip {
			t.Fatalf("a message of %d octets, at most %d fit", n, maxGossip)
		}
		if _, err := decode(m.encode()); err != nil {
			t.Fatal(err)
		}
		return m
	}
	put("origin", 1)
	if m := next(); len(m.sets) != 1 || len(m.deltas) != 0 {
		t.Errorf("a small set: %+v", m)
	}
	if _, ok := p.next(cat.View().Own(), now); ok {
		t.Error("said again what was said")
	}
	now = now.Add(settled + 1)
	long := strings.Repeat("x", 60)
	for i := range 10 {
		put(fmt.Sprintf("n%d.%s", i, long), 1)
	}
	if m := next(); len(m.deltas) != 1 || len(m.sets) != 0 {
		t.Errorf("a change of a set that is not small: %d sets and %d deltas, want one delta", len(m.sets), len(m.deltas))
	}
	put("m."+long, 2)
	if m := next(); len(m.deltas) != 2 {
		t.Errorf("the next change at once: %d deltas, want the last two", len(m.deltas))
	}
	now = now.Add(settled + 1)
	put("m."+long, 3)
	if m := next(); len(m.deltas) != 1 {
		t.Errorf("a change later: %d deltas, want 1", len(m.deltas))
	}
	for i := range 13 {
		put(fmt.Sprintf("o%d.%s", i, long), 1)
	}
	if m := next(); len(m.deltas) != 1 {
		t.Errorf("two changes that do not fit together: %d deltas, want the last", len(m.deltas))
	}
	cat.Update(func(own *catalog.Edit) {
		for i := range 50 {
			_ = own.Put(rec(fmt.Sprintf("p%d.%s", i, long), here, 1))
		}
	})
	if m := next(); m.kind != kindAnnounce {
		t.Errorf("a change that no packet holds: %+v", m)
	}
}

// A fleet whose addresses come and go is not remembered for ever.
func TestPeersTrimsTheLongestLost(t *testing.T) {
	var p peers
	now := time.Now()
	for i := range maxPeers + 10 {
		a := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		at := now.Add(time.Duration(i) * time.Second)
		p.joined(netip.AddrPortFrom(a, 1), at)
		p.lost(a, at)
	}
	if n := len(p.worthKnowing()); n != maxPeers {
		t.Errorf("%d nodes, want %d", n, maxPeers)
	}
	if _, known := p.get(addr("10.1.0.0")); known {
		t.Error("the longest lost is still known")
	}
}

// A member is taken in when its name is its address and it was not removed.
func TestDelegateNotifyAlive(t *testing.T) {
	r := new(removals)
	d := newDelegate(here, catalog.New(catalog.Options{Self: here}), r, timing{}, logger{slog.New(slog.DiscardHandler), new(throttle)})
	now := time.Now()
	for _, a := range []netip.Addr{here, third} {
		r.say(a, true, there, now)
	}
	for _, c := range []struct {
		name, addr string
		ok         bool
	}{
		{"10.0.0.2", "10.0.0.2", true},
		{"2001:db8::2", "2001:db8::2", true},
		{"10.0.0.1", "10.0.0.1", true}, // this node itself, whatever was said
		{"10.0.0.3", "10.0.0.3", false},
		{"10.0.0.2", "10.0.0.4", false},
		{"db", "10.0.0.2", false},
		{"", "10.0.0.2", false},
		{"0.0.0.0", "0.0.0.0", false},
	} {
		n := &memberlist.Node{Name: c.name, Addr: net.ParseIP(c.addr), Port: 1}
		if err := d.NotifyAlive(n); (err == nil) != c.ok {
			t.Errorf("%q at %s: %v", c.name, c.addr, err)
		}
	}
	if err := d.NotifyAlive(&memberlist.Node{Name: "x", Addr: net.IP{1, 2, 3}}); err == nil {
		t.Error("an address of three octets")
	}
}

// Callbacks never wait: a full inbox drops, by number and by octets.
func TestDelegateDrops(t *testing.T) {
	d := newDelegate(here, catalog.New(catalog.Options{Self: here}), new(removals), timing{}, logger{slog.New(slog.DiscardHandler), new(throttle)})
	for range inboxMessages + 10 {
		d.NotifyMsg([]byte("x"))
	}
	if n := len(d.inbox); n != inboxMessages {
		t.Errorf("%d messages, want %d", n, inboxMessages)
	}
	for range inboxMessages {
		d.taken(<-d.inbox)
	}
	if n := d.inboxBytes.Load(); n != 0 {
		t.Errorf("%d octets left of an empty inbox", n)
	}
	big := make([]byte, inboxOctets/2)
	for range 3 {
		d.MergeRemoteState(big, false)
	}
	if n := len(d.inbox); n != 2 {
		t.Errorf("%d messages of half the limit, want 2", n)
	}
}

// Nothing that a peer sends makes this node panic, or changes its own records.
func FuzzReceive(f *testing.F) {
	for _, m := range samples() {
		f.Add(m.encode())
	}
	seed := newBench()
	s1 := seed.put("a", 1)
	s2 := seed.put("b", 1)
	d, _ := s2.Delta(s1.Version())
	f.Add(message{via: third, kind: kindContent, sets: [][]byte{s1.Encode()}, deltas: [][]byte{d.Encode()}}.encode())
	f.Fuzz(func(t *testing.T, msg []byte) {
		b := newBench()
		own := b.cat.Update(func(own *catalog.Edit) { _ = own.Put(rec("mine", here, 1)) }).Own()
		for range 2 {
			b.receive(msg, b.now)
			b.questions(b.now)
			b.now = b.now.Add(patience(0))
		}
		now := b.cat.View().Own()
		r, _ := now.Get(catalog.Key{Name: "mine", Addr: here})
		if now.Len() != 1 || r.TTL != 1 || now.Version() < own.Version() {
			t.Errorf("our own set has %d records at version %d, had 1 at %d", now.Len(), now.Version(), own.Version())
		}
		if _, err := decode(state(here, b.cat.View(), b.removals, b.now).encode()); err != nil {
			t.Errorf("what we say afterwards: %v", err)
		}
	})
}
