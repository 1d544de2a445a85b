package config

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// badNames are the names that no entrance may let in.
func badNames(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../catalog/testdata/bad-names.txt")
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

// nameKeys are the places of the file at which a name that others see can stand.
var nameKeys = map[string]string{
	"host":               "auth-key: 0123456789abcdef\nhost: [10.0.0.1, %s]\n",
	"host in a text":     "auth-key: 0123456789abcdef\nhost: %s\n",
	"alias":              minimal + "alias: %s\n",
	"alias in a list":    minimal + "alias: [web, %s]\n",
	"aliases":            minimal + "aliases: [%s]\n",
	"alias in a mapping": minimal + "alias: [{name: %s}]\n",
	"alias with domain":  minimal + "domain: example\nalias: %s\n",
	"domain":             minimal + "domain: %s\n",
	"health-check":       minimal + "alias: web\nhealth-check: {%s: {script: tcp_check 80}}\n",
	"activity-check":     minimal + "alias: web\nactivity-check: {%s: {on-activate: notify}}\n",
	"balancing.sources":  minimal + "balancing: {web: {algorithm: fix_by_src, sources: [app, %s]}}\n",
	"proxy.to":           minimal + "proxy: {a: {listen: '127.0.0.1:80', to: %s}}\n",
}

// TestBadNames: the file is an entrance, at each place that has a name, and so
// are the command line, the init-script and the system's own name.
func TestBadNames(t *testing.T) {
	for _, name := range badNames(t) {
		coded, err := json.Marshal(name) // YAML in double quotes is the same; U+FFFD for what is no UTF-8
		if err != nil {
			t.Fatal(err)
		}
		raw := "'" + strings.ReplaceAll(name, "'", "''") + "'"
		for place, file := range nameKeys {
			if place == "domain" && strings.Trim(name, ".") == "a" {
				continue // dots at a domain's ends do not matter
			}
			for _, value := range []string{string(coded), raw} {
				if strings.HasPrefix(place, "host") {
					value = strings.Replace(value, name, "10.0.0.1, "+name, 1)
					if place == "host" {
						file = strings.Replace(file, "[10.0.0.1, %s]", "[%s]", 1)
					}
					if !strings.Contains(value, "10.0.0.1") {
						value = value[:1] + "10.0.0.1, " + value[1:]
					}
				}
				if place == "proxy.to" {
					value = value[:len(value)-1] + ":80" + value[len(value)-1:]
				}
				text := fmt.Sprintf(file, value)
				if c, err := Parse("f", []byte(text), testOptions()); err == nil {
					t.Errorf("%s: %q came in:\n%s\n%s", place, name, text, dump(c))
				}
			}
		}
		opts := testOptions()
		opts.Flags = []Flag{{Key: "alias", Text: name}}
		if c, err := Parse("f", []byte(minimal), opts); err == nil {
			t.Errorf("--alias: %q came in: %s", name, dump(c))
		}
		opts.Flags = []Flag{{Key: "host", Text: "10.0.0.1, " + name}}
		if c, err := Parse("f", []byte(minimal), opts); err == nil {
			t.Errorf("--host: %q came in: %s", name, dump(c))
		}
		if a, err := ParseAlias(name); err == nil {
			t.Errorf("mrkmctl -A: %q came in as %+v", name, a)
		}
		opts = testOptions()
		opts.Hostname = func() (string, error) { return name, nil }
		if c, err := Parse("f", []byte("auth-key: 0123456789abcdef\nhost: 10.0.0.1\n"), opts); err == nil {
			t.Errorf("the system's name: %q came in: %s", name, dump(c))
		}
	}
	// The files are right: with a good name each is taken.
	for place, file := range nameKeys {
		name := "web"
		switch {
		case strings.HasPrefix(place, "host"):
			name, file = "'10.0.0.1, web'", strings.Replace(file, "[10.0.0.1, %s]", "[%s]", 1)
		case place == "alias in a list":
			name = "db"
		case place == "proxy.to":
			name = "web:80"
		}
		if _, err := Parse("f", []byte(fmt.Sprintf(file, name)), testOptions()); err != nil {
			t.Errorf("%s: %v", place, err)
		}
	}
}
