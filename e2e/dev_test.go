package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// devStart is how long the development cluster may take to show its screen on
// a loaded machine.
const devStart = 40 * time.Second

// A session is somebody at a terminal with a `murakumo dev`.
type session struct {
	*process
	output string // file with what it printed
	stdin  *os.File
	dir    string // where it is
	tmp    string // its TMPDIR
	mark   string // a variable in the environment of all it starts
	path   string // PATH with the binaries
	cred   *syscall.Credential
}

// open starts the command as its terminal would, in a process group of its own.
// With nobody set, it runs without any privilege.
func open(t *testing.T, nobody bool, env []string, argv ...string) *session {
	t.Helper()
	dir, err := os.MkdirTemp("", "mrk-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &session{output: filepath.Join(dir, "screen"), dir: top(t), tmp: filepath.Join(dir, "tmp")}
	s.mark = "MURAKUMO_E2E=" + filepath.Base(dir)
	if err := os.Mkdir(s.tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if nobody && os.Getuid() == 0 {
		s.cred = &syscall.Credential{Uid: 65534, Gid: 65534}
		if err := os.Chown(s.tmp, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		env = append(env, "HOME="+s.tmp)
		s.dir = s.tmp // the clone may be in a folder that only root may enter
	}
	s.path = "PATH=" + binaries(t) + ":" + os.Getenv("PATH")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = s.dir
	// What a make around this test tells its own children is not for ours.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") })
	cmd.Env = append(cmd.Env, append(env, "TMPDIR="+s.tmp, s.mark, s.path)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.cred}
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	t.Cleanup(func() { stdin.Close() })
	cmd.Stdin, s.stdin = in, stdin
	s.process = start(t, t, strings.Join(argv, " "), s.output, cmd)
	t.Cleanup(func() {
		for _, pid := range marked(s.mark) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("==== the screen of %s ====\n%s", s.name, s.screen())
		}
	})
	return s
}

// screen is all that was printed.
func (s *session) screen() string {
	b, _ := os.ReadFile(s.output)
	return string(b)
}

// printed waits for a line on the screen, from a place on, and gives the
// groups of the match.
func (s *session) printed(t *testing.T, from int, pattern string, within time.Duration) []string {
	t.Helper()
	re := regexp.MustCompile(`(?m)` + pattern)
	var m []string
	wait(t, "the screen shows "+pattern, within, func() string {
		if m = re.FindStringSubmatch(s.screen()[from:]); m != nil {
			return ""
		}
		if !s.alive() {
			t.Fatalf("%s ended: %v", s.name, s.err)
		}
		return "not yet"
	})
	return m
}

// sh runs a line as typed into another terminal of the same user.
func (s *session) sh(t *testing.T, line string) (string, error) {
	t.Helper()
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), s.path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return string(out), nil
}

// ctrlC interrupts the whole group, as a terminal does, and checks that
// nothing is left: no process, no file, no socket.
func (s *session) ctrlC(t *testing.T) error {
	t.Helper()
	syscall.Kill(-s.cmd.Process.Pid, syscall.SIGINT)
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s still runs 20 s after Ctrl-C: %s", s.name, describe(marked(s.mark)))
	}
	if pids := marked(s.mark); pids != nil {
		t.Errorf("Ctrl-C left processes behind: %s", describe(pids))
	}
	var left []string
	filepath.WalkDir(s.tmp, func(path string, _ os.DirEntry, _ error) error {
		// The go command, where make runs it, has telemetry and caches of its own.
		if path != s.tmp && !strings.Contains(path, "go-build") {
			left = append(left, path)
		}
		return nil
	})
	if left != nil {
		t.Errorf("Ctrl-C left files behind: %q", left)
	}
	return s.err
}

// A guide is what a newcomer reads off the screen.
type guide struct {
	dig, addr, port, table, stop, kill string
}

// read takes the lines to copy from the screen.
func (s *session) read(t *testing.T) guide {
	t.Helper()
	d := s.printed(t, 0, `(dig @(127\.\d+\.\d+\.\d+) -p (\d+) web\b.*)$`, devStart)
	return guide{
		dig: d[1], addr: d[2], port: d[3],
		table: s.printed(t, 0, `(\S*mrkmctl -S \S+ -L)`, slack)[1],
		stop:  s.printed(t, 0, `(kill \d+)`, slack)[1],
		kill:  s.printed(t, 0, `(kill -9 \d+)`, slack)[1],
	}
}

// shows says how the output of the printed mrkmctl line differs from the table
// in README.md, spaces aside, or "".
func (s *session) shows(t *testing.T, g guide) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(top(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```\n  IP address")
	table, _, ok := strings.Cut("  IP address"+rest, "```")
	if !ok {
		t.Fatal("README.md has no table")
	}
	out, err := s.sh(t, g.table)
	if err != nil {
		return err.Error()
	}
	squeeze := func(text string) string {
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		return strings.Join(lines, "\n")
	}
	if squeeze(out) != squeeze(table) {
		return fmt.Sprintf("%s:\n%swant, as in README.md:\n%s", g.table, out, table)
	}
	return ""
}

// answer says how what a node answers for web differs from these addresses, in
// this order, or "".
func (s *session) answer(t *testing.T, g guide, node string, addrs ...string) string {
	t.Helper()
	out, err := s.sh(t, strings.Replace(g.dig, g.addr, node, 1)+" +tries=1 +time=2")
	if err != nil {
		return err.Error()
	}
	if want := strings.Join(addrs, "\n") + "\n"; out != want {
		return fmt.Sprintf("%s answers %q, want %q", node, out, want)
	}
	return ""
}

const master, secondary, backup = "127.0.0.1", "127.0.0.2", "127.0.0.3"

// everywhere asks every node.
func (s *session) everywhere(t *testing.T, g guide, addrs ...string) func() string {
	return func() string {
		for _, node := range []string{master, secondary, backup} {
			if wrong := s.answer(t, g, node, addrs...); wrong != "" {
				return wrong
			}
		}
		return ""
	}
}

// TestDev does what the screen of `murakumo dev` says, without privileges.
func TestDev(t *testing.T) {
	require(t, "dig")
	s := open(t, true, nil, filepath.Join(binaries(t), "murakumo"), "dev")
	g := s.read(t)
	for _, text := range []string{"press Enter", "Ctrl-C"} {
		s.printed(t, 0, text, slack)
	}
	wait(t, "the table shows three nodes", slack, func() string { return s.shows(t, g) })
	// The master comes first, then the secondary; the backup has to wait.
	wait(t, "every node answers", slack, s.everywhere(t, g, master, secondary))

	from := len(s.screen())
	if _, err := s.sh(t, g.stop); err != nil {
		t.Fatal(err)
	}
	wait(t, "the DNS moves to the secondary", 2*slack, s.everywhere(t, g, secondary))
	s.printed(t, from, master+`.*web.*inactive`, slack)
	s.printed(t, from, secondary+`.*web.*duty.* active`, slack)

	from = len(s.screen())
	s.enter(t)
	wait(t, "the DNS comes back", 2*slack, s.everywhere(t, g, master, secondary))
	s.printed(t, from, master+`.*web.*duty.* active`, slack)
	s.printed(t, from, secondary+`.*web.*duty.* inactive`, slack)

	if _, err := s.sh(t, g.kill); err != nil {
		t.Fatal(err)
	}
	wait(t, "the others know of the master's death", 2*slack, func() string {
		for _, node := range []string{secondary, backup} {
			if wrong := s.answer(t, g, node, secondary); wrong != "" {
				return wrong
			}
		}
		return ""
	})
	s.enter(t)
	wait(t, "the master is back", 3*slack, s.everywhere(t, g, master, secondary))
	wait(t, "the table shows three nodes", slack, func() string { return s.shows(t, g) })

	if err := s.ctrlC(t); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	if out := s.screen(); strings.Contains(out, "DATA RACE") {
		t.Error("a data race")
	}
}

// enter presses the key.
func (s *session) enter(t *testing.T) {
	t.Helper()
	if _, err := s.stdin.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
}

// makeRun is `make run` with its own place for the binaries, so that the
// folder's stay as they are.
func makeRun(t *testing.T, env ...string) *session {
	t.Helper()
	bin := t.TempDir()
	return open(t, false, append(env, "GOTELEMETRY=off"), "make", "--no-print-directory", "run", "BIN="+bin)
}

// TestMakeRun starts the cluster as README.md says; what it can do, TestDev
// shows.
func TestMakeRun(t *testing.T) {
	require(t, "dig")
	s := makeRun(t)
	// The build comes first, perhaps with everything to compile.
	s.printed(t, 0, `dig @127`, 5*time.Minute)
	g := s.read(t)
	wait(t, "the table shows three nodes", slack, func() string { return s.shows(t, g) })
	wait(t, "every node answers", slack, s.everywhere(t, g, master, secondary))
	s.ctrlC(t) // make tells that it was interrupted, by its status
}

// TestMakeRunWithoutGossip shows that the nodes learn of each other by gossip
// alone: with the two lines through which everything leaves a node cut, the
// table never gets three nodes.
func TestMakeRunWithoutGossip(t *testing.T) {
	file, mutant := withoutGossip(t)
	dir := t.TempDir()
	source := filepath.Join(dir, "mutant.go")
	write(t, source, mutant, 0o644)
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: source}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	write(t, list, string(overlay), 0o644)

	s := makeRun(t, strings.TrimSpace("GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+list))
	wait(t, "it gives up", 5*time.Minute, func() string {
		if regexp.MustCompile(`dig @127`).MatchString(s.screen()) {
			t.Fatal("without gossip, the screen shows the cluster as complete")
		}
		if s.alive() {
			return "still runs"
		}
		return ""
	})
	if !strings.Contains(s.screen(), "2 of 6 records") {
		t.Error("it did not say what is missing")
	}
	if pids := marked(s.mark); pids != nil {
		t.Errorf("left behind: %s", describe(pids))
	}
}

// withoutGossip gives the file through which all gossip leaves a node, and the
// same with nothing leaving.
func withoutGossip(t *testing.T) (file, mutant string) {
	t.Helper()
	file = filepath.Join(top(t), "internal/gossip/transport.go")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	mutant = string(b)
	for _, r := range [][2]string{
		{"return g.WriteTo(b, a.Addr)", "return time.Now(), nil"},
		{"c, err := g.DialTimeout(a.Addr, timeout)", "c, err := net.Conn(nil), net.ErrClosed"},
	} {
		if strings.Count(mutant, r[0]) != 1 {
			t.Fatalf("%s no longer has %q once; tell this test how to switch gossip off", file, r[0])
		}
		mutant = strings.Replace(mutant, r[0], r[1], 1)
	}
	return file, mutant
}
