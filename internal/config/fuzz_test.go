package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/txtar"

	"murakumo/internal/catalog"
)

// FuzzParse: whatever the text, there is a configuration that is whole, or
// mistakes that have a place in the text and can be printed.
func FuzzParse(f *testing.F) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		f.Fatalf("no archives in testdata: %v", err)
	}
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if strings.HasSuffix(file.Name, ".yml") {
				f.Add(file.Data)
			}
		}
	}
	f.Add([]byte(sample))
	f.Fuzz(func(t *testing.T, data []byte) {
		// The fuzzer itself would wait for a text that is read for ever.
		hang := time.AfterFunc(20*time.Second, func() { panic(fmt.Sprintf("still reading %q", data)) })
		c, err := Parse("f", data, testOptions())
		hang.Stop()
		if err != nil {
			list, ok := err.(Errors)
			if !ok || len(list) == 0 || c != nil {
				t.Fatalf("got %v and %#v", c, err)
			}
			lines := strings.Split(string(data), "\n")
			for i, p := range list {
				if p.File != "f" || p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > len([]rune(lines[p.Line-1]))+1 {
					t.Errorf("no place in the text: %+v", p)
				}
				if strings.ContainsFunc(p.String(), func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("not printable: %q", p.String())
				}
				if i > 0 && list[i-1].Line > p.Line {
					t.Errorf("not in order: %v after %v", p, list[i-1])
				}
			}
			return
		}
		whole(t, c)
		if len(c.AuthKeys) > 0 && len(c.Host.Addrs) > 0 { // no init-script supplies them
			roundTrip(t, c)
		}
	})
}

// whole checks what the doc of Config promises.
func whole(t *testing.T, c *Config) {
	t.Helper()
	partial := len(c.AuthKeys) == 0 || len(c.Host.Addrs) == 0
	names := map[string]bool{c.Host.Name: true}
	for _, a := range c.Aliases {
		if _, err := readName(a.Name, ""); err != nil || names[a.Name] || a.Weight == 0 || a.Priority == 0 || a.TTL > 1<<31-1 {
			t.Errorf("alias %+v: %v", a, err)
		}
		names[a.Name] = true
	}
	for _, h := range c.Static.Hosts {
		for _, name := range h.Names {
			r := catalog.Record{Name: name, Addr: h.Addr, TTL: c.Static.TTL, Priority: catalog.Master, Weight: 100}
			if err := r.Check(); err != nil || names[name] {
				t.Errorf("static %+v: %v", h, err)
			}
		}
	}
	for _, h := range c.HealthChecks {
		kinds := 0
		for _, there := range []bool{h.Script != nil, h.Command != nil, h.TTL > 0} {
			if there {
				kinds++
			}
		}
		if kinds != 1 || h.TTL > 0 && h.Rule.Timeout != h.TTL || h.Rule.Rise < 1 || h.Rule.Fall < 1 || h.Rule.Interval <= 0 || h.Rule.Timeout <= 0 ||
			!names[h.Name] && !partial && !c.hasName(h.Name) {
			t.Errorf("health check %+v", h)
		}
	}
	for _, a := range c.ActivityChecks {
		if a.OnActivate == nil && a.OnInactivate == nil || a.Rule.Active < 1 || a.Rule.Inactive < 1 || a.Rule.Interval <= 0 || !names[a.Name] && !partial {
			t.Errorf("activity check %+v", a)
		}
	}
	if n := c.Notification; n != nil && (n.Port == 0 || n.Sender == "" || (n.Host == "") != (len(n.Recipients) == 0) ||
		n.Host == "" && len(n.Webhooks) == 0) {
		t.Errorf("notification %+v", n)
	}
	if len(c.Bind) == 0 || c.Port == 0 || c.Gossip.Port == 0 || c.MaxIPNum < 1 || c.MaxRecords < 1 || c.Socket == "" ||
		!partial && (c.Host.Name == "" || c.Host.Addrs[0].Zone() != "") {
		t.Errorf("%+v", c)
	}
}
