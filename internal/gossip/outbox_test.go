package gossip

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func texts(packet [][]byte) (all []string) {
	for _, b := range packet {
		all = append(all, string(b))
	}
	return all
}

func TestOutbox(t *testing.T) {
	nodes := 1
	o := &outbox{nodes: func() int { return nodes }}
	expect := func(what string, got [][]byte, want ...string) {
		t.Helper()
		if !slices.Equal(texts(got), want) {
			t.Errorf("%s: %q, want %q", what, texts(got), want)
		}
	}
	expect("nothing", o.take(3, 100))
	o.put("a", []byte("a1"))
	o.put("b", []byte("b1"))
	expect("the newest first", o.take(3, 100), "b1", "a1")
	o.put("a", []byte("a2"))
	expect("one that replaces counts as new", o.take(3, 100), "a2", "b1")
	o.put("c", []byte("long one"))
	expect("what was sent least first", o.take(3, 11), "long one")
	expect("what does not fit waits", o.take(3, 10), "a2", "b1")
	expect("overhead counts", o.take(3, 4))
	for i := range 20 {
		o.take(3, 100)
		if n := len(o.items); i < retransmitMult-4 && n == 0 {
			t.Errorf("after %d more packets nothing is left", i+1)
		}
	}
	expect("sent often enough", o.take(3, 100))
	for nodes = range 200 {
		o.put("x", []byte("x"))
		times := 0
		for len(o.take(3, 100)) > 0 {
			times++
		}
		want := 0
		switch {
		case nodes >= 100:
			want = 3 * retransmitMult
		case nodes >= 10:
			want = 2 * retransmitMult
		case nodes >= 1:
			want = retransmitMult
		default:
			want = 1 // nobody is there to whom memberlist could send
		}
		if times != want {
			t.Fatalf("with %d nodes it is sent %d times, want %d", nodes, times, want)
		}
	}
}

// The case that the library's queue loses: one message replaces the only one,
// then others of the same length come.
func TestOutboxLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := &outbox{nodes: func() int { return 5 }}
		want := map[string]string{}
		for i := range rapid.IntRange(1, 20).Draw(t, "messages") {
			name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name")
			want[name] = fmt.Sprintf("%s%02d", name, i)
			o.put(name, []byte(want[name]))
		}
		got := texts(o.take(3, 1000))
		if len(got) != len(want) {
			t.Fatalf("%q, want %q", got, want)
		}
		for _, g := range got {
			if want[strings.TrimRight(g, "0123456789")] != g {
				t.Fatalf("%q, want %q", got, want)
			}
		}
	})
}
