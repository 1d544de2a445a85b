package config

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"murakumo/internal/catalog"
)

// FuzzParseHosts: whatever a file holds, what is taken of it can be published,
// written down and read again, and what is wrong has its place in it.
func FuzzParseHosts(f *testing.F) {
	f.Add([]byte(badHosts))
	f.Add([]byte("10.0.0.1 a\r\n\t10.0.0.2\u00a0b\n#\n10.0.0.1 a#b\n"))
	f.Add([]byte("10.0.0.1 \xff\x00 ü\n\xc3 10.0.0.1"))
	c := &Config{Domain: "example.com", Host: Host{Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := strings.Split(string(data), "\n")
		hosts, bad, _ := ParseHosts("hosts", data, c)
		names := slices.Collect(hosts.All())
		if len(names) != hosts.Len() {
			t.Fatalf("%d names, of which it gives %d", hosts.Len(), len(names))
		}
		of := map[int]bool{}
		for _, n := range names {
			of[n.Line] = true
			r := catalog.Record{Name: n.Name, Addr: n.Addr, Priority: catalog.Master, Weight: 100, Static: true}
			if err := r.Check(); err != nil {
				t.Fatal(err)
			}
			line := n.Addr.String() + " " + c.whole(n.Name)
			again, bad, _ := ParseHosts("again", []byte(strings.Repeat("\n", n.Line-1)+line), c)
			if got := slices.Collect(again.All()); len(bad) > 0 || !slices.Equal(got, []HostsName{n}) {
				t.Fatalf("%q is %v, written %q it is %v (%v)", lines[n.Line-1], n, line, got, bad)
			}
		}
		if hosts.Lines() != len(of) {
			t.Fatalf("%d lines, names of %d", hosts.Lines(), len(of))
		}
		for _, p := range bad {
			if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1]) {
				t.Fatalf("no such place: %v", p)
			}
		}
	})
}

// TestManyBadLines: of what is no hosts file a few lines are told.
func TestManyBadLines(t *testing.T) {
	text := strings.Repeat("0.0.0.0 ads.example\n", 1000) + "10.0.9.9 rds\n"
	hosts, bad, more := ParseHosts("/etc/blocked", []byte(text), &Config{})
	want := []HostsName{{1001, netip.MustParseAddr("10.0.9.9"), "rds"}}
	if got := slices.Collect(hosts.All()); !slices.Equal(got, want) || len(bad) != maxBadLines || more != 1000-maxBadLines {
		t.Errorf("%v, %d told, %d more", got, len(bad), more)
	}
	if got, want := fmt.Sprint(bad[1]), `/etc/blocked:2:1: expected an address and its names, found "0.0.0.0", which is no address of a host`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestStaticNames: lines and files are entrances for names like any other, but
// that a blank divides names here and # begins a comment.
func TestStaticNames(t *testing.T) {
	tried := 0
	for _, name := range badNames(t) {
		if strings.ContainsFunc(name, func(r rune) bool { return r == '#' || unicode.IsSpace(r) }) || name == "" {
			continue
		}
		tried++
		if hosts, bad, _ := ParseHosts("hosts", []byte("10.0.9.9 "+name), &Config{}); hosts.Len() != 0 || len(bad) != 1 {
			t.Errorf("a file: %q came in: %v, %v", name, slices.Collect(hosts.All()), bad)
		}
		hosts, bad, _ := ParseHosts("hosts", []byte("10.0.9.9 a "+name+" b"), &Config{})
		if got := fmt.Sprint(slices.Collect(hosts.All())); len(bad) != 1 || got != "[{1 10.0.9.9 a} {1 10.0.9.9 b}]" {
			t.Errorf("a file: beside %q: %v, %v", name, got, bad)
		}
		coded, err := json.Marshal("10.0.9.9 " + name)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := Parse("f", []byte(minimal+"static: ["+string(coded)+"]\n"), testOptions()); err == nil {
			t.Errorf("a line: %q came in: %v", name, c.Static)
		}
	}
	if tried < 40 {
		t.Errorf("only %d names", tried)
	}
}
