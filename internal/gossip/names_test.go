package gossip

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"

	"murakumo/internal/catalog"
)

// TestBadNames: gossip is an entrance. What a member publishes under a name that
// is none comes into no table, is not passed on, and does not keep others out;
// one line says whose it is.
func TestBadNames(t *testing.T) {
	text, err := os.ReadFile("../catalog/testdata/bad-names.txt")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if len(name) > 63 {
			continue // no good name of that length can be put in its place; catalog's tests have them
		}
		tried++
		b := newBench()
		// Another program may have what this one cannot make.
		stand := strings.Repeat("q", len(name))
		b.put(stand, 7)
		bad := bytes.Replace(b.other.View().Own().Encode(), []byte(stand), []byte(name), 1)
		if _, err := catalog.DecodeSet(bad, 0); err == nil {
			t.Fatalf("%q: the set is not bad", name)
		}
		neighbour := catalog.New(catalog.Options{Self: third})
		neighbour.Update(func(own *catalog.Edit) { _ = own.Put(rec("db", third, 60)) })
		b.expect(t, "a set with "+line, b.hear(message{via: third, kind: kindContent, sets: [][]byte{bad, neighbour.View().Own().Encode()}}),
			"set 10.0.0.3 kind 2 via 10.0.0.1")
		if b.holds(there) != nil {
			t.Errorf("%q came in", name)
		}
		if b.holds(third) == nil {
			t.Errorf("%q kept another's set out", name)
		}
		for n := range b.cat.View().Entries() {
			if n.Name != "db" {
				t.Errorf("%q is in the table", n.Name)
			}
		}
		if n := strings.Count(b.out.String(), "10.0.0.2"); n != 1 {
			t.Errorf("%q: %d lines name its owner:\n%s", name, n, b.out.String())
		}
	}
	if tried < 60 {
		t.Errorf("only %d names", tried)
	}
}
