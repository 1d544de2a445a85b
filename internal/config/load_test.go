package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"murakumo/internal/catalog"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode fs.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return path
	}
	key := write("key", "0123456789abcdef\n", 0o600)
	loose := write("loose", "0123456789abcdef\n", 0o604)
	for _, c := range []struct {
		name, text string
		mode       fs.FileMode
		warning    string // "" for none
	}{
		{"secret, private", minimal, 0o600, ""},
		{"secret, for the group", minimal, 0o640, ""},
		{"secret, for others", minimal, 0o644, "f.yml:1:1: readable by others (mode 0644) while it holds a secret: chmod o-r "},
		{"no secret", "host: 10.0.0.1, a\nauth-key: " + key + "\n", 0o644, ""},
		{"password", "host: 10.0.0.1, a\nauth-key: " + key + "\nnotification: {host: a, account: a, password: b, recipients: a@b}\n", 0o644, "while it holds a secret"},
		{"key file for others", "host: 10.0.0.1, a\nauth-key: " + loose + "\n", 0o644, "f.yml:2:11: auth-key: " + loose + " is readable by others (mode 0604)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write("f.yml", c.text, c.mode)
			got, err := Load(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Path != path || got.AuthKeys[0] != "0123456789abcdef" {
				t.Errorf("got %q and %q", got.Path, got.AuthKeys)
			}
			all := strings.Join(got.Warnings, "\n")
			if c.warning == "" && all != "" || !strings.Contains(all, c.warning) || len(got.Warnings) > 1 {
				t.Errorf("got the warnings %q, want %q", got.Warnings, c.warning)
			}
		})
	}
}

// A file that anybody can write is refused, as a hook is, and nothing that it
// names is run.
func TestLoadWhatOthersCanWrite(t *testing.T) {
	dir := t.TempDir()
	path, ran := filepath.Join(dir, "f.yml"), filepath.Join(dir, "ran")
	text := "auth-key: 0123456789abcdef\ninit-script: |\n  #!/bin/sh\n  : >" + ran + "\n  echo host: 10.0.0.1\nport: no\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode    fs.FileMode
		refused bool
	}{{0o602, true}, {0o666, true}, {0o664, false}, {0o600, false}} {
		if err := os.Chmod(path, c.mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		os.Remove(ran)
		_, err := Load(path, Options{RunInit: true})
		_, there := os.Stat(ran)
		// The mistake in the file is told beside it.
		if !strings.Contains(fmt.Sprint(err), "f.yml:6:7: port: ") || strings.Contains(fmt.Sprint(err), "writable by others") != c.refused || (there != nil) != c.refused {
			t.Errorf("%04o: the script ran: %t, and %v", c.mode, there == nil, err)
		}
	}
}

func TestLoadWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.yml"), Options{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none.yml") {
		t.Errorf("missing: %v", err)
	}
	if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("folder: %v", err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(pipe, Options{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("FIFO: %v", err)
	}
	big := filepath.Join(dir, "big.yml")
	if err := os.WriteFile(big, []byte(strings.Repeat("#", 3*MaxSize)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big, Options{}); err == nil || err.Error() != big+":1:1: larger than 1048576 octets" {
		t.Errorf("large: %v", err)
	}
}

func TestSystemHostname(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"Server-07", nil, `Host.Name = "server-07"`},
		{"server-07.example.com", nil, `Host.Name = "server-07"`},
		{"server 07", nil, "f:1:7: host: the system's hostname cannot be used: name \"server 07\" has a character"},
		{"", errors.New("no such thing"), "f:1:7: host: the system's hostname cannot be used: no such thing: write one"},
	} {
		opts := testOptions()
		opts.Hostname = func() (string, error) { return c.name, c.err }
		got := outcome(Parse("f", []byte("host: 10.0.0.1\ndomain: Example.com\nauth-key: 0123456789abcdef"), opts))
		if !strings.Contains(got, c.want) {
			t.Errorf("%q: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestParseAlias(t *testing.T) {
	for _, c := range []struct {
		text string
		want Alias
		err  string
	}{
		{"web", Alias{Name: "web", TTL: 60, Priority: catalog.Master, Weight: 100}, ""},
		{"Foo.Bar,300", Alias{Name: "foo.bar", TTL: 300, Priority: catalog.Master, Weight: 100}, ""},
		{" foo , 0 , Secondary ", Alias{Name: "foo", TTL: 0, Priority: catalog.Secondary, Weight: 100}, ""},
		{"foo,60,backup,65535", Alias{Name: "foo", TTL: 60, Priority: catalog.Backup, Weight: 65535}, ""},
		{"", Alias{}, "name is empty"},
		{"a b", Alias{}, "not allowed"},
		{"foo,", Alias{}, `ttl: expected whole seconds 0…2147483647, found ""`},
		{"foo,-1", Alias{}, "ttl"},
		{"foo,60,origin", Alias{}, "expected master, secondary or backup"},
		{"foo,60,master,0", Alias{}, `weight: expected a whole number 1…65535, found "0"`},
		{"foo,60,master,1,2", Alias{}, "found 5 fields"},
		{"foo,60,master,100; reboot", Alias{}, "weight"},
	} {
		got, err := ParseAlias(c.text)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: got %+v, %v, want %+v, %q", c.text, got, err, c.want, c.err)
		}
	}
}

func TestFilterMatch(t *testing.T) {
	for _, c := range []struct {
		includes, excludes string
		yes, no            []string
	}{
		{"", "", []string{"", "anything"}, nil},
		{"^app-, db", "", []string{"app-1", "APP-1", "my-db-1"}, []string{"my-app-1", ""}},
		{"", "test", []string{"app"}, []string{"a-Test-1"}},
		{"^app-", "test$", []string{"app-1"}, []string{"app-test", "db"}},
	} {
		var l loader
		var f Filter
		l.regexps(value{node: &node{kind: scalar, text: c.includes}}, &f.Includes)
		l.regexps(value{node: &node{kind: scalar, text: c.excludes}}, &f.Excludes)
		for _, s := range c.yes {
			if !f.Match(s) {
				t.Errorf("includes %q, excludes %q: %q is left out", c.includes, c.excludes, s)
			}
		}
		for _, s := range c.no {
			if f.Match(s) {
				t.Errorf("includes %q, excludes %q: %q is let through", c.includes, c.excludes, s)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	words := names(topKeys)
	for text, want := range map[string]string{
		"prot": "port", "addres": "address", "initial_nodes": "initial-nodes", "Health-Check": "health-check", "max-ip-nums": "max-ip-num",
		"gossip-prot": "gossip-port", ":host": "host", "alais": "alias", "x": "", "": "", "static": "static", "proxy": "proxy",
		"something-else-entirely": "", "notifications": "notification", "log-levle": "log-level", "hook": "",
	} {
		if got := nearest(text, words); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "\n\n": "", "a\r\nb\n\nc\n": "a / b / c", "a\tb": "a b", "12345678901": "…345678901", "äöüßä": "…öüßä",
	} {
		if got := shorten(text, 9); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
