package config

import (
	"errors"
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
