package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestHostsSize: a file of 16 MiB is read, and of a larger one nothing.
func TestHostsSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	text := "10.0.9.9 first\n" + strings.Repeat("#", MaxHosts-31) + "\n10.0.9.10 last\n"
	if len(text) != MaxHosts {
		t.Fatalf("%d octets", len(text))
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, bad, more, err := ReadHosts(path, &Config{})
	if err != nil || len(bad) > 0 || more > 0 || file.Info.Size() != MaxHosts {
		t.Fatal(err, bad, more)
	}
	want := []HostsName{{1, netip.MustParseAddr("10.0.9.9"), "first"}, {3, netip.MustParseAddr("10.0.9.10"), "last"}}
	if got := slices.Collect(file.All()); !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}

	for _, size := range []int64{MaxHosts + 1, 1 << 32} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, _, err = ReadHosts(path, &Config{})
		runtime.ReadMemStats(&after)
		if !errors.Is(err, errTooLarge) || !strings.Contains(err.Error(), path) {
			t.Errorf("%d octets: %v", size, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%d octets: %d of memory to refuse it", size, n)
		}
	}
}

// TestHostsRoom: what a file says takes hardly more room than in the file, whatever that
// is like, and is given without any.
func TestHostsRoom(t *testing.T) {
	lines := func(line string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, line, i&0xff, i)
		}
		return b.String()
	}
	names := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, " %x", i)
		}
		return b.String()
	}
	for what, tt := range map[string]struct {
		text  string
		names int
	}{
		"as they are":         {lines("10.1.2.%d thing-%[2]d.example.com thing-%[2]d t%[2]d # a thing\r\n", 1000), 2000},
		"short names":         {lines("10.0.0.%d %[2]x\n", 1000), 1000},
		"IPv6":                {lines("2001:db8:0:1::%x %[2]x\n", 1000), 1000},
		"a line of 200,000":   {"2001:db8::1" + names(200_000) + " 0 1 2\n", 200_000},
		"1,000 lines of 1000": {strings.Repeat("10.0.0.1"+names(1000)+"\n", 1000), 1_000_000},
		"far apart":           {lines(strings.Repeat("\n", 200)+"10.0.0.%d %x", 300), 300},
		"nothing":             {"# 10.0.0.1 a\n\n", 0},
	} {
		hosts, bad, _ := ParseHosts("hosts", []byte(tt.text), &Config{Domain: "example.com"})
		if len(bad) > 0 {
			t.Errorf("%s: %v", what, bad[0])
		}
		if len(hosts.coded) > len(tt.text)*9/8 {
			t.Errorf("%s: %d octets, of %d in the file", what, len(hosts.coded), len(tt.text))
		}
		if n := testing.AllocsPerRun(1, func() {
			n := 0
			for h := range hosts.All() {
				n++
				if h.Line < 1 || !h.Addr.IsValid() || h.Name == "" {
					t.Errorf("%s: %v", what, h)
				}
			}
			if n != tt.names || n != hosts.Len() {
				t.Errorf("%s: %d names, %d by count, expected %d", what, n, hosts.Len(), tt.names)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// TestTakeHosts: what was read of a hosts file is given once.
func TestTakeHosts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("10.0.9.9 rds\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse("f", []byte(minimal+"static: ["+path+", /none]\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	next := WhileRunning(c, c)
	if file := next.Static.Take(path); file == nil || file.Len() != 1 {
		t.Errorf("%v", file)
	}
	if again := c.Static.Take(path); again != nil {
		t.Errorf("it is still there: %v", again)
	}
	if none := c.Static.Take("/none"); none != nil {
		t.Errorf("%v of a file that is not there", none)
	}
}
