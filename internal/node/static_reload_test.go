package node_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/config"
)

// TestStaticReload: lines, files and their TTL change at once, together with the
// rest or, when a part cannot change, not at all.
func TestStaticReload(t *testing.T) {
	alone(t, "alias: db\nstatic: 10.0.9.9 rds\n", func(t *testing.T, n *telling) {
		one, two := filepath.Join(n.dir, "one"), filepath.Join(n.dir, "two")
		write(t, one, "10.0.9.10 a\n")
		write(t, two, "10.0.9.20 b\n")
		n.reload("alias: db\nstatic: [%d/one, 10.0.9.8 rds]\nstatic-ttl: 9\n")
		n.want("other lines, and a file", "a=10.0.9.10 db=10.0.0.1/alias rds=10.0.9.8")
		if r, _ := n.View().Own().Get(catalog.Key{Name: "a", Addr: netip.MustParseAddr("10.0.9.10")}); r.TTL != 9 {
			t.Errorf("TTL %d", r.TTL)
		}
		write(t, one, "10.0.9.11 a\n")
		n.reload("alias: db\nstatic: [%d/one, %d/two]\n")
		n.want("a file that changed, and another", "a=10.0.9.11 b=10.0.9.20 db=10.0.0.1/alias")
		write(t, two, "10.0.9.21 b\n")
		time.Sleep(aLook)
		n.want("both are followed", "a=10.0.9.11 b=10.0.9.21 db=10.0.0.1/alias")

		// Two aliases more than there is room for: nothing changes.
		err := n.Reload(func() (*config.Config, error) {
			cfg := n.file("10.0.0.1", "alias: db\nstatic: 10.0.9.7 c\n")
			cfg.MaxRecords, cfg.Aliases = 2, append(cfg.Aliases, config.Alias{Name: "x", Priority: catalog.Master, Weight: 1})
			return cfg, nil
		})
		if err == nil {
			t.Error("more aliases than max-records are taken in")
		}
		n.want("not reloaded", "a=10.0.9.11 b=10.0.9.21 db=10.0.0.1/alias")
		write(t, two, "10.0.9.22 b\n")
		time.Sleep(aLook)
		n.want("and the files are followed as before", "a=10.0.9.11 b=10.0.9.22 db=10.0.0.1/alias")

		n.reload("alias: db\n")
		n.want("none any more", "db=10.0.0.1/alias")
		write(t, two, "10.0.9.23 b\n")
		time.Sleep(aLook)
		n.want("and nobody looks", "db=10.0.0.1/alias")
	})
}

// TestStaticDomain: with another domain the names of a file are others, also of one that
// did not change, or that is away just then.
func TestStaticDomain(t *testing.T) {
	alone(t, "alias: db\nstatic: %d/hosts\n", func(t *testing.T, n *telling) {
		hosts := filepath.Join(n.dir, "hosts")
		write(t, hosts, "10.0.9.10 nas.example.com\n10.0.9.11 disk.example.net\n")
		time.Sleep(aLook)
		n.want("of example.com", "db=10.0.0.1/alias disk.example.net=10.0.9.11 nas=10.0.9.10")
		domain := func(name string) {
			t.Helper()
			err := n.Reload(func() (*config.Config, error) {
				return config.Parse("f", fmt.Appendf(nil, `
auth-key: a key for the simulation
host: 10.0.0.1, server-1
domain: %s
working-dir: %s/10.0.0.1
initial-nodes: 10.0.0.1, 10.0.0.2
alias: db
static: %s
`, name, n.dir, hosts), config.Options{})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		domain("example.net")
		n.want("of example.net", "db=10.0.0.1/alias disk=10.0.9.11 nas.example.com=10.0.9.10")
		time.Sleep(time.Minute)
		n.want("a minute later", "db=10.0.0.1/alias disk=10.0.9.11 nas.example.com=10.0.9.10")
		n.logged(1, "static: read again: ")

		if err := os.Rename(hosts, hosts+".away"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(aLook)
		domain("example.com")
		n.want("while it is away", "db=10.0.0.1/alias disk=10.0.9.11 nas.example.com=10.0.9.10")
		if err := os.Rename(hosts+".away", hosts); err != nil {
			t.Fatal(err)
		}
		time.Sleep(aLook)
		n.want("it is back, as it was", "db=10.0.0.1/alias disk.example.net=10.0.9.11 nas=10.0.9.10")
		n.logged(2, "hosts can be read again")
	})
}

// TestStaticWhileLoading: a file that changes, or goes, between the reading of the
// configuration and its use is the later one, or what was read of it.
func TestStaticWhileLoading(t *testing.T) {
	alone(t, "alias: db\n", func(t *testing.T, n *telling) {
		hosts := filepath.Join(n.dir, "hosts")
		reload := func(meanwhile func()) {
			t.Helper()
			err := n.Reload(func() (*config.Config, error) {
				cfg := n.file("10.0.0.1", "alias: db\nstatic: %d/hosts\n")
				meanwhile()
				return cfg, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		write(t, hosts, "10.0.9.10 nas\n")
		reload(func() {
			if err := os.Remove(hosts); err != nil {
				t.Fatal(err)
			}
		})
		n.want("it went", "db=10.0.0.1/alias nas=10.0.9.10")
		time.Sleep(time.Minute)
		n.want("it is gone for long", "db=10.0.0.1/alias nas=10.0.9.10")
		write(t, hosts, "10.0.9.11 nas\n")
		reload(func() { write(t, hosts, "10.0.9.12 nas\n10.0.9.300 disk\n") })
		n.want("it changed", "db=10.0.0.1/alias nas=10.0.9.12")
		n.logged(1, `static: `+hosts+`:2:1: expected an address`)
		reload(func() {})
		time.Sleep(time.Minute)
		n.want("it is as it was", "db=10.0.0.1/alias nas=10.0.9.12")
		n.logged(1, "static: read again: ")
		reload(func() { write(t, hosts, "") })
		n.want("it is empty", "db=10.0.0.1/alias")
	})
}

// TestStaticLines: lines that end as on other systems, one with many names, names that are
// there twice, in one file or in two, with one address or several.
func TestStaticLines(t *testing.T) {
	alone(t, "alias: db\nstatic: [%d/one, %d/two, 10.0.9.9 rds]\n", func(t *testing.T, n *telling) {
		one, two := filepath.Join(n.dir, "one"), filepath.Join(n.dir, "two")
		write(t, one, "10.0.9.10 nas NAS nas.example.com disk\r\n\r\n2001:db8::10 nas\r\n10.0.9.10 disk nas # again")
		write(t, two, "10.0.9.10 nas\n10.0.9.11 nas disk\n10.0.9.9 rds\n")
		time.Sleep(aLook)
		n.want("in both", "db=10.0.0.1/alias disk=10.0.9.10 disk=10.0.9.11 nas=10.0.9.10 nas=10.0.9.11 nas=2001:db8::10 rds=10.0.9.9")
		write(t, one, "")
		time.Sleep(aLook)
		n.want("in the other", "db=10.0.0.1/alias disk=10.0.9.11 nas=10.0.9.10 nas=10.0.9.11 rds=10.0.9.9")
		write(t, two, "10.0.9.11 nas\n")
		time.Sleep(aLook)
		n.want("one address", "db=10.0.0.1/alias nas=10.0.9.11 rds=10.0.9.9")

		var line strings.Builder
		line.WriteString("2001:db8::10")
		const many = 9000 // there is room for 10,000
		for i := range many {
			fmt.Fprintf(&line, " n%d", i)
		}
		write(t, two, line.String()+" n1 n2")
		time.Sleep(aLook)
		synctest.Wait()
		if got := len(n.View().Addr(netip.MustParseAddr("2001:db8::10"))); got != many {
			t.Errorf("%d names, expected %d", got, many)
		}
		n.logged(0, "more names than there is room for")
		write(t, two, "10.0.9.11 nas\n")
		time.Sleep(aLook)
		n.want("and back", "db=10.0.0.1/alias nas=10.0.9.11 rds=10.0.9.9")
		n.logged(0, "left out")
	})
}
