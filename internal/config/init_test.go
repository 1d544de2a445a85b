package config

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"murakumo/internal/program"
)

// runOptions run init-scripts. Programs that the tests' files only name are
// found as in testOptions, those that are run are the machine's.
func runOptions() Options {
	opts := testOptions()
	opts.RunInit = true
	named := opts.Lstat
	opts.Lstat = func(name string) (fs.FileInfo, error) {
		if info, err := named(name); err == nil && name != "/bin/sh" {
			return info, nil
		}
		return os.Lstat(name)
	}
	opts.readFile = readFile
	return opts
}

// inline gives a file whose init-script is a shell script.
func inline(file, script string) string {
	return file + "init-script: |\n  #!/bin/sh -e\n" + indented("  ", script)
}

func indented(by, text string) string {
	return by + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+by) + "\n"
}

// sample is the file of the failover scenario; host and initial-nodes come from
// its init-script.
const sample = `---
address: 0.0.0.0
port: 53
auth-key: onion
log-level: debug
resolver: 10.0.0.2, 8.8.8.8
max-ip-num: 8
domain: ap-northeast-1.compute.internal
addr-includes: ^10\..*
notification:
  host: 127.0.0.1
  sender: sender@mail.from
  recipients:
    - recipient@mail.to
# alias hostname, ttl, master/secondary/backup, weight
alias:
  - mysql-server,60,master,100
health-check:
  mysql-server:
    interval: 5
    timeout: 5
    healthy: 2
    unhealthy: 2
    script: |
      mysql_check 'root'
activity-check:
  mysql-server:
    start-delay: 60
    interval: 10
    active: 2
    inactive: 2
    on-activate: /usr/local/sbin/attach_if
`

func TestInitScript(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "init")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\nprintf 'host: 10.0.0.7, %s\\nmax-ip-num: %s\\n' \"$1\" \"$#\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, file string
		want       []string // parts of the dump or of the mistakes
		not        string
	}{
		{"the sample", inline(sample, "echo 'host: 10.0.0.133, server-01'\necho 'initial-nodes: 10.0.0.133, 10.0.0.55'"),
			[]string{"Host.Addrs[0] = 10.0.0.133\nHost.Name = \"server-01\"", `InitialNodes[1] = "10.0.0.55"`, "HealthChecks[0].Script = mysql_check 'root'"}, ""},
		{"a program with arguments", "auth-key: 0123456789abcdef\ninit-script: " + tool + " 'web 01' x\n",
			[]string{`init-script output:1:17: host: name "web 01" has a character`}, ""},
		{"a program as a sequence", "auth-key: 0123456789abcdef\ninit-script: [" + tool + ", web-01]\n",
			[]string{`Host.Name = "web-01"`, "MaxIPNum = 1"}, ""},
		{"reads the file", inline("&a auth-key: 0123456789abcdef\nport: 5353 # a comment\nalias: &b [x, y]\naliases: \n", "sed -n 's/^port: /max-ip-num: /p; s/^  - y/host: 10.0.0.1, y2/p'"),
			[]string{"MaxIPNum = 5353", `Host.Name = "y2"`}, ""},
		{"replaces and takes away", inline(minimal+"port: 1\nmax-ip-num: 5\nalias: [a, b]\n", "echo 'port:'; echo 'max-ip-num: 6'; echo 'aliases: c'"),
			[]string{"MaxIPNum = 6", `Aliases[0].Name = "c"`}, "Port"},
		{"prints nothing", inline(minimal, "true"), []string{`Host.Name = "web-01"`}, ""},
		{"prints nothing, and the host is missing", inline("auth-key: 0123456789abcdef\n", "true"), []string{"f:1:1: host: is missing"}, ""},
		{"replaces what would be a mistake", inline("auth-key: 0123456789abcdef\nhost: TODO\n", "echo host: 10.0.0.1, a"), []string{`Host.Name = "a"`}, ""},
		{"fails", inline("prot: 1\n", "echo one >&2; echo two >&2; exit 3"),
			[]string{"f:1:1: prot: unknown key", "f:2:14: init-script: exit status 3: one / two"}, "missing"},
		{"prints mistakes", inline("auth-key: 0123456789abcdef\nport: 1\n", "echo '# hello'; echo 'port:   x'; echo 'hots: y'; echo 'init-script: z'"),
			[]string{"f:1:1: host: is missing", "init-script output:2:9: port: expected a whole number",
				`init-script output:3:1: hots: unknown key, did you mean "host"?`, "init-script output:4:14: init-script: an init-script cannot"}, "f:2"},
		{"prints no YAML", inline(minimal, "echo 'port: [1'"), []string{"init-script output:1:7: the list that begins here with [ has no closing ]"}, ""},
		{"prints no mapping", inline(minimal, "echo hello"), []string{`init-script output:1:1: expected keys with values (port: 53), found "hello"`}, ""},
		{"prints too much", inline(minimal, "while :; do echo '#......................................................................'; done"),
			[]string{"init-script: printed more than 1048576 octets"}, ""},
		{"has a secret of its own", inline("host: 10.0.0.1, a\n", "echo 'auth-key: 0123456789abcdef'"), []string{`AuthKeys[0] = "0123456789abcdef"`}, "Warnings"},
		{"is in a private file", inline(minimal, `echo "log-path: /$(stat -c %a,%a "$0" "$(dirname "$0")" | tr '\n' ,)$PATH"`),
			[]string{`Log.Path = "/700,700,700,700,` + program.Path}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := outcome(Parse("f", []byte(c.file), runOptions()))
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%s\ngot:\n%s\nwant in it: %s", c.file, got, want)
				}
			}
			if c.not != "" && strings.Contains(got, c.not) {
				t.Errorf("%s\ngot:\n%s\nwant nothing of %s", c.file, got, c.not)
			}
		})
	}
}

func TestInlineScriptIsRemoved(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	for _, script := range []string{"true", "exit 1"} {
		Parse("f", []byte(inline(minimal, script)), runOptions())
		left, err := os.ReadDir(folder)
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v %v", script, left, err)
		}
	}
}

func TestInitScriptIsNotRunUnasked(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	opts := runOptions()
	opts.RunInit = false
	c, err := Parse("f", []byte(inline("port: 54\nhealth-check: {web: {script: tcp_check 80}}\n", "touch "+mark)), opts)
	if err != nil {
		t.Errorf("what the init-script may supply is said to be missing: %v", err)
	} else if c.Port != 54 || len(c.Host.Addrs) > 0 {
		t.Errorf("got %+v", c)
	}
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the init-script was run: %v", err)
	}
	// What it cannot make right is still said.
	_, err = Parse("f", []byte(inline("prot: 54\nalias: web\nhealth-check: {wbe: {script: tcp_check 80}}\n", "true")), opts)
	if list, ok := errors.AsType[Errors](err); !ok || len(list) != 2 {
		t.Errorf("got %v, want two mistakes", err)
	}
}

// fifo gives a named pipe; whoever reads it to its end knows that every process
// which had it open for writing is gone.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readAll reads a FIFO to its end in the background.
func readAll(t *testing.T, path string) (text <-chan string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0) // does not wait for a writer
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	// A writer of our own until the first octet, so that the end is not read
	// before the script has opened it.
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 1)
	go func() {
		defer r.Close()
		var first [1]byte
		_, err := io.ReadFull(r, first[:])
		w.Close()
		rest, _ := io.ReadAll(r)
		if err != nil {
			first[0] = '!'
		}
		done <- string(first[:]) + string(rest)
	}()
	return done
}

func TestInitScriptIsKilledWithItsChildren(t *testing.T) {
	pipe := fifo(t)
	ended := readAll(t, pipe)
	opts := runOptions()
	opts.initTimeout = 200 * time.Millisecond
	// Were the timeout not obeyed, this would end it with another error.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	opts.Context = ctx
	_, err := Parse("f", []byte(inline(minimal, "exec 3>"+pipe+"\necho up >&3\nsleep 600 &\necho waiting >&2\nsleep 600")), opts)
	if err == nil || !strings.Contains(err.Error(), "init-script: not finished after 0.2 seconds, killed: waiting") {
		t.Errorf("got %v", err)
	}
	if got := <-ended; got != "up\n" {
		t.Errorf("read %q", got)
	}
}

func TestInitScriptEndsWithTheContext(t *testing.T) {
	pipe := fifo(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	reason := errors.New("enough")
	go func() {
		r, err := os.Open(pipe)
		if err == nil {
			r.Read(make([]byte, 1)) // the script is running
			defer r.Close()
		}
		cancel(reason)
	}()
	opts := runOptions()
	opts.Context = ctx
	_, err := Parse("f", []byte(inline(minimal, "exec 3>"+pipe+"\necho up >&3\nsleep 600")), opts)
	if !errors.Is(err, reason) {
		t.Errorf("got %v, want the reason of the context", err)
	}
}

func TestInitScriptThatLeavesAProcessBehind(t *testing.T) {
	pipe := fifo(t)
	c, err := Parse("f", []byte(inline(minimal, "echo max-ip-num: 7\nread x <"+pipe+" &")), runOptions())
	if err != nil {
		t.Fatal(err)
	}
	if c.MaxIPNum != 7 || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "f:3:14: init-script: left a process behind") {
		t.Errorf("got %d and %q", c.MaxIPNum, c.Warnings)
	}
	// It is alive: somebody reads the pipe.
	if err := os.WriteFile(pipe, []byte("end\n"), 0); err != nil {
		t.Error(err)
	}
}
