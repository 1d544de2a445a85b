package catalog

import (
	"slices"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	for _, parts := range [][]string{nil, {""}, {"a=b"}, {"a", "", strings.Repeat("x", 255)}} {
		text, err := NewText(parts...)
		if err != nil || !slices.Equal(text.Strings(), parts) {
			t.Errorf("%q became %q, %v", parts, text.Strings(), err)
		}
	}
	for _, parts := range [][]string{{strings.Repeat("x", 256)}, slices.Repeat([]string{strings.Repeat("x", 255)}, 5)} {
		if text, err := NewText(parts...); err == nil {
			t.Errorf("%d octets: no error", len(text))
		}
	}
}

func TestServiceNames(t *testing.T) {
	for _, tt := range []struct{ alias, protocol, name string }{
		{"web", "_tcp", "_web._tcp"},
		{"mysql-server", "_udp", "_mysql-server._udp"},
		{"web.east.rack", "_tcp", "_web._tcp.east.rack"},
		{"_x", "_tcp", "__x._tcp"},
	} {
		if got := ServiceName(tt.alias, tt.protocol); got != tt.name {
			t.Errorf("%s: %s, expected %s", tt.alias, got, tt.name)
		}
		if alias, ok := ServiceOf(tt.name); !ok || alias != tt.alias {
			t.Errorf("%s: %s, %v, expected %s", tt.name, alias, ok, tt.alias)
		}
	}
	for _, name := range []string{"", "_", "web", "_web", "_web._sctp", "web._tcp", "_._tcp", "_web.tcp", "_tcp", "_web.x._tcp"} {
		if alias, ok := ServiceOf(name); ok {
			t.Errorf("%s is the service name of %s", name, alias)
		}
	}
}

// TestServiceOfLongestLabel: a label of 63 octets has no room for the _.
func TestServiceOfLongestLabel(t *testing.T) {
	c := New(Options{Self: addr1})
	put := func(length int) *View {
		return c.Update(func(own *Edit) {
			r := rec(strings.Repeat("a", length)+".east", addr1)
			r.Port = 80
			if err := own.Put(r); err != nil {
				t.Fatal(err)
			}
		})
	}
	if put(63).Below("_tcp.east") {
		t.Error("63 octets: _tcp exists")
	}
	if v := put(62); !v.Below("_tcp.east") || !v.Below("_udp.east") || v.Below("_tcp") {
		t.Error("62 octets: _tcp does not exist")
	}
}
