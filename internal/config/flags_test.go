package config

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// asFlags are the flags of KEY=VALUE words.
func asFlags(words ...string) []Flag {
	var list []Flag
	for _, w := range words {
		key, text, _ := strings.Cut(w, "=")
		list = append(list, Flag{key, text})
	}
	return list
}

func TestFlags(t *testing.T) {
	const file = "auth-key: 0123456789abcdef\nhost: 10.0.0.1, web-01\nport: 5353\nalias: [a, b]\nresolver: 10.0.0.2\n"
	for _, c := range []struct {
		name, file string
		flags      []Flag
		want, not  []string
	}{
		{"a flag beats the file", file, asFlags("port=54", "max-ip-num=3"), []string{"Port = 54\n", "MaxIPNum = 3\n", `Aliases[1].Name = "b"`}, nil},
		{"the last of two counts", file, asFlags("port=54", "port=55"), []string{"Port = 55\n"}, nil},
		{"aliases add up and replace the file's", file, asFlags("alias=x,30,backup,5", "alias=y"),
			[]string{"Aliases[0].Name = \"x\"\nAliases[0].TTL = 30\nAliases[0].Priority = Backup\nAliases[0].Weight = 5\n", `Aliases[1].Name = "y"`},
			[]string{"Aliases[2]", `Name = "a"`}},
		{"also those under aliases", strings.Replace(file, "alias:", "aliases:", 1), asFlags("alias=x"), []string{`Aliases[0].Name = "x"`}, []string{"Aliases[1]"}},
		{"one that is a number", file, asFlags("alias=60"), []string{`Aliases[0].Name = "60"`}, nil},
		{"nothing takes the file's away", file, asFlags("resolver="), nil, []string{"Resolvers"}},
		{"lists with commas", file, asFlags("initial-nodes=10.0.0.8, db:10871", "address=10.0.0.1,::1"),
			[]string{`InitialNodes[1] = "db:10871"`, "Bind[1] = ::1"}, nil},
		{"what init printed, too", inline(file, "echo port: 77; echo max-ip-num: $(sed -n 's/^port: \"\\(.*\\)\"/\\1/p')"), asFlags("port=54"),
			[]string{"Port = 54\n", "MaxIPNum = 54\n"}, nil},
		{"a mistake of the file that a flag mends", "auth-key: 0123456789abcdef\nhost: TODO\n", asFlags("host=10.0.0.1,web"), []string{`Host.Name = "web"`}, nil},
		{"flags alone", "", asFlags("auth-key=0123456789abcdef", "host=10.0.0.1,web"),
			[]string{`Host.Name = "web"`, `Warnings[0] = "--auth-key: a secret on the command line is seen by every user`}, nil},
		{"a path is no secret", "", asFlags("auth-key=/etc/murakumo.key", "host=10.0.0.1,web"), []string{`AuthKeys[0] = "a secret in a file, long enough"`}, []string{"Warnings"}},
		{"mistakes of both", file + "prot: 1\n", asFlags("gossip-port=x", "alias=a,b", "alias=-c"),
			[]string{"f:6:1: prot: unknown key, did you mean \"port\"?\n",
				"--alias: name \"-c\" begins with a hyphen: programs would take it for an option\n",
				"--alias: ttl: expected whole seconds 0…2147483647, found \"b\"\n",
				"--gossip-port: expected a whole number 1…65535, found \"x\"\n"}, nil},
		{"mistakes of a flag beside a file that is no YAML", "port: [1\n", asFlags("gossip-port=x"),
			[]string{"f:1:7: the list that begins", "--gossip-port: expected"}, []string{"missing"}},
		{"what only both together make wrong", file, asFlags("gossip-port=5353"), []string{"--gossip-port: port and gossip-port are both 5353\n"}, nil},
		{"a name twice", file, asFlags("alias=web-01"), []string{"--alias: web-01 is the name of the host already\n"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := runOptions()
			opts.readFile = testOptions().readFile
			opts.Flags = c.flags
			got := outcome(Parse("f", []byte(c.file), opts))
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("got:\n%s\nwant in it: %s", got, want)
				}
			}
			for _, not := range c.not {
				if strings.Contains(got, not) {
					t.Errorf("got:\n%s\nwant nothing of: %s", got, not)
				}
			}
		})
	}
}

// Flags are enough where there is no file, and what is missing then is missing
// in the file that is not there.
func TestNoFile(t *testing.T) {
	opts := testOptions()
	if _, err := Load("/etc/murakumo.yml", opts); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not optional: %v", err)
	}
	opts.Optional = true
	got := outcome(Load("/etc/murakumo.yml", opts))
	want := "/etc/murakumo.yml (not there): auth-key: is missing\n" +
		"/etc/murakumo.yml (not there): host: is missing: expected ip[, hostname[, ttl]]\n"
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	opts.Flags = asFlags("auth-key=/etc/murakumo.key", "host=10.0.0.1")
	c, err := Load("/etc/murakumo.yml", opts)
	if err != nil || c.Path != "/etc/murakumo.yml" || c.Host.Name != "test-host" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestLocate(t *testing.T) {
	broken := "port: x\nprot: 1\nworking-dir: /srv/m\ninit-script: no-such-program\nhook-timeout: 7\ndaemon: restart\nhealth-check: 5\n"
	for _, c := range []struct {
		name, file string
		flags      []Flag
		want       Location
		err        string
	}{
		{"mistakes elsewhere do not matter", broken, nil, Location{"restart", "/srv/m", 7e9}, ""},
		{"flags win", broken, asFlags("working-dir=/tmp/m", "daemon=status", "port=x"), Location{"status", "/tmp/m", 7e9}, ""},
		{"defaults", "", nil, Location{"", "/var", 60e9}, ""},
		{"a mistake there does", "working-dir: m\nport: x\n", nil, Location{"", "/var", 60e9}, "f:1:14: working-dir: expected an absolute path, found \"m\""},
		{"or a file that is no YAML", "port: [1\n", nil, Location{"", "/var", 60e9}, "f:1:7: the list that begins here with [ has no closing ] (at \"port: …\")"},
		{"no such command", "", asFlags("daemon=statr"), Location{"", "/var", 60e9}, `--daemon: expected start, stop, restart or status, found "statr", did you mean "start"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := testOptions()
			opts.Flags = c.flags
			opts.readFile = func(string) ([]byte, fs.FileInfo, error) {
				info, _ := programs.Stat("etc/murakumo.key")
				return []byte(c.file), info, nil
			}
			got, err := Locate("f", opts)
			if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Errorf("got %+v, %v\nwant %+v, %s", got, err, c.want, c.err)
			}
		})
	}
}

func TestDaemonIsNotForInitScripts(t *testing.T) {
	opts := runOptions()
	got := outcome(Parse("f", []byte(inline(minimal, "echo daemon: stop; echo working-dir: /srv/x")), opts))
	if want := "init-script output:1:9: daemon: an init-script cannot set it: by the time it runs, the daemon starts\n"; got != want {
		t.Errorf("got %s", got)
	}
	c, err := Parse("f", []byte(inline(minimal, "echo working-dir: /srv/x")), opts)
	if err != nil || !slices.ContainsFunc(c.Warnings, func(w string) bool { return strings.Contains(w, "look elsewhere") }) {
		t.Errorf("got %+v, %v", c, err)
	}
}
