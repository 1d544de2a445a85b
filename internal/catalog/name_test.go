package catalog

import (
	"math"
	"net/netip"
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	label := strings.Repeat("a", 63)
	long := strings.Repeat(label+".", 3) + strings.Repeat("b", 61) // 253
	for name, want := range map[string]string{
		"mysql-server":      "",
		"a":                 "",
		"_srv._tcp.example": "",
		"10.0.0.1":          "",
		"-x-":               "",
		label:               "",
		long:                "",

		"":                          "empty",
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
