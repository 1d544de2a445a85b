package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"murakumo/internal/config"
)

// letters are the original's flags that set a key, with a value where they take
// one.
var letters = []struct{ letter, key, value string }{
	{"K", "auth-key", "onion"},
	{"a", "address", "10.0.0.1,::1"},
	{"p", "port", "53"},
	{"i", "initial-nodes", "10.0.0.2,db:10871"},
	{"H", "host", "10.0.0.1,web-01,60"},
	{"A", "alias", "web,60,master,100"},
	{"r", "resolver", "8.8.8.8"},
	{"S", "socket", "/run/m.sock"},
	{"n", "max-ip-num", "8"},
	{"b", "domain", "example.com"},
	{"e", "enable-cache", ""},
	{"d", "daemon", "start"},
	{"w", "working-dir", "/var"},
	{"l", "log-path", "/var/log/m.log"},
	{"L", "log-level", "info"},
	{"P", "gossip-port", "10870"},
	{"T", "gossip-node-lifetime", "10"},
	{"I", "gossip-send-interval", ".3"},
	{"O", "gossip-receive-timeout", "3"},
	{"V", "ping-init-nodes", ""},
	{"D", "gossip-start-delay", "-0"},
}

// Each flag in every form sets its key to the text as it stands.
func TestFlagForms(t *testing.T) {
	for _, f := range letters {
		forms := [][]string{{"-" + f.letter, f.value}, {"-" + f.letter + f.value}, {"--" + f.key, f.value}, {"--" + f.key + "=" + f.value}}
		want := f.value
		if want == "" {
			forms, want = [][]string{{"-" + f.letter}, {"--" + f.key}, {"--" + f.key + "=true"}}, "true"
		}
		for _, args := range forms {
			c, err := parse(args)
			if err != nil {
				t.Errorf("%q: %v", args, err)
			} else if !slices.Equal(c.settings, []config.Flag{{Key: f.key, Text: want}}) {
				t.Errorf("%q: got %+v", args, c.settings)
			}
		}
	}
}

func TestFlags(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want, err string }{
		{"-A a,60 --alias=b -A c -p 1 -p 2", "alias=a,60 alias=b alias=c port=2", ""},
		{"-eVp53", "port=53 enable-cache=true ping-init-nodes=true", ""},
		{"--ping=false --resolver=", "resolver= ping-init-nodes=false", ""},
		{"--gossip-po 1 --al x", "alias=x gossip-port=1", ""},
		{"-S m.sock -w . -l logs/m.log", "working-dir=" + wd + " socket=" + filepath.Join(wd, "m.sock") + " log-path=" + filepath.Join(wd, "logs/m.log"), ""},
		{"-D -1", "gossip-start-delay=-1", ""},
		{"--gossip 1", "", "--gossip: can mean --gossip-port or --gossip-node-lifetime or --gossip-send-interval or --gossip-receive-timeout or --gossip-start-delay"},
		{"-K -H 10.0.0.1", "", "--auth-key: its value is missing"},
		{"-A", "", "--alias: its value is missing"},
		{"--alias=", "", "--alias: its value is missing"},
		{"--prot 1", "", `unknown flag --prot, did you mean "--port"?`},
		{"extra", "", "unexpected argument extra"},
		{"dev -p 1", "", "dev takes no flags"},
	} {
		cl, err := parse(strings.Fields(c.args))
		if err != nil {
			if err.Error() != c.err {
				t.Errorf("%s: %v, want %s", c.args, err, c.err)
			}
			continue
		}
		var got []string
		for _, f := range cl.settings {
			got = append(got, f.Key+"="+f.Text)
		}
		if strings.Join(got, " ") != c.want || c.err != "" {
			t.Errorf("%s: got %q, want %q, %q", c.args, got, c.want, c.err)
		}
	}
}

// A flag is a key of the file, but for those that are none there; and the help
// names each.
func TestFlagsAreKeys(t *testing.T) {
	known := map[string]bool{}
	for _, key := range config.Keys() {
		known[key] = true
	}
	c, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range letters {
		if !known[f.key] {
			t.Errorf("--%s is no key", f.key)
		}
		if !strings.Contains(c.help, "-"+f.letter+", --"+f.key) {
			t.Errorf("the help has no -%s, --%s", f.letter, f.key)
		}
	}
	if n := strings.Count(c.help, "\n  -"); n != len(letters)+3 {
		t.Errorf("the help has %d flags, the test %d and -h, -v, -c:\n%s", n, len(letters), c.help)
	}
}
