package catalog

import (
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func TestValidName(t *testing.T) {
	label := strings.Repeat("a", 63)
	long := strings.Repeat(label+".", 3) + strings.Repeat("b", 61) // 253
	for name, want := range map[string]string{
		"mysql-server":      "",
		"a":                 "",
		"_srv._tcp.example": "",
		"10.0.0.1":          "",
		"x-.-y-":            "",
		label:               "",
		long:                "",

		"":                          "empty",
		"-x-":                       "hyphen",
		"Web":                       "lower case",
		"web ":                      "not allowed",
		"web\n":                     "not allowed",
		"wéb":                       "not allowed",
		"a/b":                       "not allowed",
		"*":                         "not allowed",
		"a\x00":                     "not allowed",
		".":                         "empty label",
		"a.":                        "empty label",
		".a":                        "empty label",
		"a..b":                      "empty label",
		label + "a":                 "longer than 63",
		"x." + label + "a":          "longer than 63",
		long + "b":                  "254 octets",
		strings.Repeat("x", 1<<16):  "65536 octets",
		strings.Repeat("a.b", 1000): "3000 octets",
	} {
		err := ValidName(name)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%.80q: %v, expected …%s…", name, err, want)
		case err != nil && len(err.Error()) > 1000:
			t.Errorf("%.80q: the error has %d octets", name, len(err.Error()))
		}
	}
}

// badNames are the names that no entrance may let in.
func badNames(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/bad-names.txt")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		names = append(names, name)
	}
	if len(names) < 70 {
		t.Fatalf("only %d names", len(names))
	}
	return names
}

// TestBadNames: gossip is an entrance. Whatever a member sends, neither a set
// nor a change with such a name in it is taken, whether it is to be there or to
// be deleted; nor can we publish one.
func TestBadNames(t *testing.T) {
	for _, name := range append(badNames(t), "") {
		for _, n := range []string{name, LowerName(name)} {
			if ValidName(n) == nil {
				t.Errorf("%q is taken for a name", n)
			}
		}
		bad := rec(name, addr1)
		good := rec("web", addr1)
		head := appendUint(appendUint(appendAddr(nil, 1, addr1), 2, 2), 3, 1)
		if _, err := DecodeSet(appendRecords(head, []*item{newItem(addr1, bad)}), 0); err == nil {
			t.Errorf("%q came in by a set", name)
		}
		if _, err := DecodeDelta(appendUint(appendUint(appendRecords(head, []*item{newItem(addr1, bad)}), 5, 1), 6, 1), 0); err == nil {
			t.Errorf("%q came in by a delta", name)
		}
		deleted := appendUint(appendUint(appendRecords(head, []*item{newItem(addr1, good)}), 5, 1), 6, 1)
		key := appendKey(nil, bad.Key())
		deleted = protowire.AppendBytes(protowire.AppendTag(deleted, 8, protowire.BytesType), key)
		if _, err := DecodeDelta(deleted, 0); err == nil {
			t.Errorf("%q came in by a deletion", name)
		}
		New(Options{Self: addr1}).Update(func(own *Edit) {
			if own.Put(bad) == nil {
				t.Errorf("%q can be published", name)
			}
		})
	}
	// The frame is right: with a good name all of it is taken.
	head := appendUint(appendUint(appendAddr(nil, 1, addr1), 2, 2), 3, 1)
	good := appendRecords(head, []*item{newItem(addr1, rec("web", addr1))})
	if _, err := DecodeSet(good, 0); err != nil {
		t.Error(err)
	}
	change := appendUint(appendUint(good, 5, 1), 6, 1)
	change = protowire.AppendBytes(protowire.AppendTag(change, 8, protowire.BytesType), appendKey(nil, Key{Name: "db", Addr: addr1}))
	if _, err := DecodeDelta(change, 0); err != nil {
		t.Error(err)
	}
}

func TestLowerName(t *testing.T) {
	for name, want := range map[string]string{"Web-01.Example": "web-01.example", "\u212aEY": "\u212aey", "A\xffB": "a\xffb", "": ""} {
		if got := LowerName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestRecordCheck(t *testing.T) {
	good := rec("web", addr1)
	origin := Record{Name: "web", Addr: addr1, Priority: Origin}
	for _, tt := range []struct {
		what   string
		base   Record
		change func(*Record)
		want   string
	}{
		{"alias", good, func(r *Record) {}, ""},
		{"origin", origin, func(r *Record) {}, ""},
		{"IPv6", good, func(r *Record) { r.Addr = netip.MustParseAddr("2001:db8::1") }, ""},
		{"greatest TTL", good, func(r *Record) { r.TTL = MaxTTL }, ""},
		{"TTL 0", good, func(r *Record) { r.TTL = 0 }, ""},
		{"greatest weight", good, func(r *Record) { r.Weight = math.MaxUint16 }, ""},
		{"later priority", good, func(r *Record) { r.Priority = 9; r.Weight = 0 }, ""},

		{"name", good, func(r *Record) { r.Name = "Web" }, "lower case"},
		{"no address", good, func(r *Record) { r.Addr = netip.Addr{} }, "address is missing"},
		{"mapped", good, func(r *Record) { r.Addr = netip.MustParseAddr("::ffff:10.0.0.1") }, "IPv6 form"},
		{"zone", good, func(r *Record) { r.Addr = netip.MustParseAddr("fe80::1%eth0") }, "zone"},
		{"unspecified", good, func(r *Record) { r.Addr = netip.IPv4Unspecified() }, "unspecified"},
		{"unspecified IPv6", good, func(r *Record) { r.Addr = netip.IPv6Unspecified() }, "unspecified"},
		{"TTL", good, func(r *Record) { r.TTL = MaxTTL + 1 }, "TTL"},
		{"no priority", good, func(r *Record) { r.Priority = 0 }, "priority"},
		{"no weight", good, func(r *Record) { r.Weight = 0 }, "weight"},
		{"origin with weight", origin, func(r *Record) { r.Weight = 1 }, "weight"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r := tt.base
			tt.change(&r)
			err := r.Check()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("%v, expected %q", err, tt.want)
			}
		})
	}
}
