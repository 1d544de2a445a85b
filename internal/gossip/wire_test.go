package gossip

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"murakumo/internal/catalog"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func samples() []message {
	a, b := addr("10.0.0.1"), addr("2001:db8::2")
	return []message{
		{via: a, kind: kindContent, sets: [][]byte{{1}, {2, 3}}},
		{via: a, kind: kindContent, deltas: [][]byte{{4}, {5}}},
		{via: b, kind: kindContent, sets: [][]byte{{1}}, deltas: [][]byte{{4}}},
		{via: a, kind: kindAnnounce, held: []held{{owner: b, version: 7, hash: 1 << 63}}},
		{via: a, kind: kindWant, held: []held{{owner: b, version: 7}, {owner: a}}},
		{via: a, kind: kindRemoval, removals: []removal{{target: b, counter: 3, removed: true, age: time.Hour, by: a}}},
		{via: a, kind: kindGoodbye, held: []held{{owner: a, version: 9}}},
		{via: a, kind: kindState,
			held:     []held{{owner: b, version: 7, hash: 2, status: catalog.Dead, age: 3 * time.Second}},
			removals: []removal{{target: b, counter: 3}, {target: a, counter: 1, removed: true}},
			forgets:  []forget{{owner: a}, {owner: b, version: 3, age: time.Minute}}},
		{via: a, kind: kindForget, forgets: []forget{{owner: b, version: 7, age: time.Hour, by: a}, {owner: a}}},
		{via: a, kind: kindState},
	}
}

func TestWireRoundTrip(t *testing.T) {
	for _, m := range samples() {
		got, err := decode(m.encode())
		if err != nil {
			t.Errorf("%+v: %v", m, err)
		} else if !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v, want %+v", got, m)
		}
	}
}

func TestWireRefuses(t *testing.T) {
	ok := message{via: addr("10.0.0.1"), kind: kindAnnounce, held: []held{{owner: addr("10.0.0.2"), version: 1}}}.encode()
	if _, err := decode(ok); err != nil {
		t.Fatal(err)
	}
	mapped := netip.AddrFrom16(addr("10.0.0.1").As16())
	for _, c := range []struct {
		name string
		b    []byte
		want string // part of the error; "later": errLater
	}{
		{"nothing", nil, "empty"},
		{"protocol 0", append([]byte{0}, ok[1:]...), "protocol 0"},
		{"protocol 2", append([]byte{2}, ok[1:]...), "later"},
		{"cut off", ok[:len(ok)-1], "unexpected EOF"},
		{"no kind", appendAddr([]byte{1}, 1, addr("10.0.0.1")), "says nothing"},
		{"later kind", appendBytes(appendAddr([]byte{1}, 1, addr("10.0.0.1")), 10, []byte("x")), "later"},
		{"nobody to forget", appendBytes(appendAddr([]byte{1}, 1, addr("10.0.0.1")), 9, nil), "no owner"},
		{"no sender", appendBytes([]byte{1}, 2, []byte("x")), "no sender"},
		{"two kinds", appendBytes(message{via: addr("10.0.0.1"), kind: kindContent, sets: [][]byte{{1}}}.encode(), 4, appendHeld(nil, held{owner: addr("10.0.0.2")})), "exclude"},
		{"descending", appendAddr(bytes.Clone(ok), 1, addr("10.0.0.1")), "field 1 after field 4"},
		{"two announcements", appendBytes(bytes.Clone(ok), 4, appendHeld(nil, held{owner: addr("10.0.0.2")})), "field 4 after field 4"},
		{"no owner", appendBytes(appendAddr([]byte{1}, 1, addr("10.0.0.1")), 4, nil), "no owner"},
		{"owner of 5 octets", appendBytes(appendAddr([]byte{1}, 1, addr("10.0.0.1")), 4, appendBytes(nil, 1, make([]byte, 5))), "address"},
		{"IPv4 as IPv6", appendBytes(appendAddr([]byte{1}, 1, addr("10.0.0.1")), 4, appendBytes(nil, 1, mapped.AsSlice())), "shortest form"},
		{"unspecified", appendBytes(appendAddr([]byte{1}, 1, addr("10.0.0.1")), 4, appendBytes(nil, 1, make([]byte, 4))), "address"},
		{"a version beyond all", appendBytes(appendAddr([]byte{1}, 1, addr("10.0.0.1")), 4, appendHeld(nil, held{owner: addr("10.0.0.2"), version: 1 << 63})), "number up to"},
		{"an age beyond all", message{via: addr("10.0.0.1"), kind: kindState, held: []held{{owner: addr("10.0.0.2"), age: maxAge + time.Second}}}.encode(), "number up to"},
		{"removed twice over", message{via: addr("10.0.0.1"), kind: kindRemoval, removals: []removal{{target: addr("10.0.0.2"), unknown: string(appendBytes(nil, 9, make([]byte, 600)))}}}.encode(), "unknown fields"},
	} {
		_, err := decode(c.b)
		switch {
		case err == nil:
			t.Errorf("%s: accepted", c.name)
		case c.want == "later" && !errors.Is(err, errLater), c.want != "later" && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// A statement of a later protocol keeps its fields on its way through this node.
func TestWireStatementsKeepUnknown(t *testing.T) {
	g := forget{owner: addr("10.0.0.2"), version: 1, unknown: string(appendBytes(nil, 9, []byte("why")))}
	if m, err := decode(message{via: addr("10.0.0.1"), kind: kindForget, forgets: []forget{g}}.encode()); err != nil || m.forgets[0] != g {
		t.Errorf("got %+v, %v; want %+v", m.forgets, err, g)
	}
	r := removal{target: addr("10.0.0.2"), counter: 1, removed: true, unknown: string(appendBytes(nil, 9, []byte("why")))}
	m, err := decode(message{via: addr("10.0.0.1"), kind: kindRemoval, removals: []removal{r}}.encode())
	if err != nil {
		t.Fatal(err)
	}
	if got := m.removals[0]; got != r {
		t.Errorf("got %+v, want %+v", got, r)
	}
}

func TestHeldNewerIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := rapid.Uint64Range(0, 3)
		a := held{version: g.Draw(t, "version"), hash: g.Draw(t, "hash")}
		b := held{version: g.Draw(t, "other version"), hash: g.Draw(t, "other hash")}
		ab, ba := a.newer(b.version, b.hash), b.newer(a.version, a.hash)
		if ab && ba || (a == b) != (!ab && !ba) {
			t.Fatalf("%v newer than %v: %v; the other way round: %v", a, b, ab, ba)
		}
	})
}

// What is accepted means the same after writing it again.
func FuzzDecode(f *testing.F) {
	for _, m := range samples() {
		f.Add(m.encode())
	}
	f.Add([]byte{2, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(m.encode())
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if !reflect.DeepEqual(again, m) {
			t.Fatalf("got %+v, want %+v", again, m)
		}
	})
}
