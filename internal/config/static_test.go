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
		entries, bad, _ := ParseHosts("hosts", data, c)
		for _, e := range entries {
			for _, name := range e.Names {
				r := catalog.Record{Name: name, Addr: e.Addr, Priority: catalog.Master, Weight: 100, Static: true}
				if err := r.Check(); err != nil {
					t.Fatal(err)
				}
			}
			line := e.Addr.String()
			for _, name := range e.Names {
				line += " " + c.whole(name)
			}
			again, bad, _ := ParseHosts("again", []byte(line), c)
			if len(bad) > 0 || len(again) != 1 || again[0].Addr != e.Addr || !slices.Equal(again[0].Names, e.Names) {
				t.Fatalf("%q is %v, written %q it is %v (%v)", lines[e.Line-1], e, line, again, bad)
			}
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
	entries, bad, more := ParseHosts("/etc/blocked", []byte(text), &Config{})
	if len(entries) != 1 || entries[0].Line != 1001 || len(bad) != maxBadLines || more != 1000-maxBadLines {
		t.Errorf("%v, %d told, %d more", entries, len(bad), more)
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
		if entries, bad, _ := ParseHosts("hosts", []byte("10.0.9.9 "+name), &Config{}); len(entries) != 0 || len(bad) != 1 {
			t.Errorf("a file: %q came in: %v, %v", name, entries, bad)
		}
		entries, bad, _ := ParseHosts("hosts", []byte("10.0.9.9 a "+name+" b"), &Config{})
		if len(bad) != 1 || len(entries) != 1 || fmt.Sprint(entries[0].Names) != "[a b]" {
			t.Errorf("a file: beside %q: %v, %v", name, entries, bad)
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
