package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	full   = flag.Bool("full", false, "keep the intervals of the sample file as they stand (takes about thirteen minutes)")
	dump   = flag.Bool("dump", false, "tell all about both hosts also when nothing failed")
	cycles = flag.Int("cycles", 1, "how often MariaDB dies and comes back (steps 2 and 3)")
)

// needs maps a program that a test runs to the Debian package that has it.
var needs = map[string]string{
	"ip":                 "iproute2",
	"bridge":             "iproute2",
	"ss":                 "iproute2",
	"flock":              "util-linux",
	"dig":                "bind9-dnsutils",
	"unbound":            "unbound",
	"nsd":                "nsd",
	"knotd":              "knot",
	"getent":             "libc-bin",
	"gcc":                "gcc libc6-dev",
	"musl-gcc":           "musl-tools",
	"java":               "default-jre-headless",
	"ecj":                "ecj",
	"kdig":               "knot-dnsutils",
	"drill":              "ldnsutils",
	"/usr/bin/python3":   "python3-dnspython",
	"mariadbd":           "mariadb-server",
	"mariadb-install-db": "mariadb-server",
	"postfix":            "postfix",
	"nsenter":            "util-linux",
	"systemctl":          "systemd",
}

func TestMain(m *testing.M) {
	if path := os.Getenv(appVariable); path != "" {
		application(path)
		return
	}
	if args := os.Getenv(resolverVariable); args != "" {
		resolve(args)
		return
	}
	flag.Parse()
	// An operator's PATH without sbin would hide half of what is needed.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// mayskip ends the test with the reason: as a skip on somebody's own machine
// without root, as a failure for root and in CI, where nothing is skipped.
func mayskip(t *testing.T, reason string) {
	t.Helper()
	if os.Getuid() == 0 || os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// require ends the test when one of the programs is missing.
func require(t *testing.T, programs ...string) {
	t.Helper()
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, needs[p])
		}
	}
	if missing != nil {
		mayskip(t, "missing programs: as root, make deps, or: apt-get install --no-install-recommends "+strings.Join(missing, " "))
	}
}

// raced says whether the test itself was built with the race detector; the
// daemons then are, too, so that the scenario also hunts races.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return true
		}
	}
	return false
}

var built struct {
	once sync.Once
	dir  string
	err  error
}

// binaries builds murakumo and mrkmctl once a run and gives their folder,
// which every user may read.
func binaries(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "mrk-e2e-bin-"); built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil {
			return
		}
		args := []string{"build", "-trimpath", "-buildvcs=false"}
		if raced() {
			args = append(args, "-race")
		}
		cmd := exec.Command("go", append(args, "-o", built.dir+"/", "./cmd/murakumo", "./cmd/mrkmctl")...)
		cmd.Dir = top(t)
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

// top is the folder of the module.
func top(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// poll is the time between two questions of wait: short beside every interval
// and long beside the cost of starting dig or mrkmctl.
const poll = 100 * time.Millisecond

// wait asks until ask gives "" and returns how long that took; what ask gives
// otherwise says what is still missing, and after within it is the failure.
func wait(t *testing.T, what string, within time.Duration, ask func() string) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		missing := ask()
		took := time.Since(start)
		if missing == "" {
			t.Logf("%s: after %s (bound %s)", what, took.Round(10*time.Millisecond), within)
			return took
		}
		if took > within {
			t.Fatalf("%s: not within %s: %s", what, within, missing)
		}
		time.Sleep(poll)
	}
}

// hold asks for the whole time and fails as soon as ask gives anything but "".
func hold(t *testing.T, what string, during time.Duration, ask func() string) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(poll) {
		if wrong := ask(); wrong != "" {
			t.Fatalf("%s: broken after %s of %s: %s", what, time.Since(start).Round(10*time.Millisecond), during, wrong)
		}
		if time.Since(start) > during {
			t.Logf("%s: for %s", what, during)
			return
		}
	}
}

// run runs a program to its end and gives what it printed; an error of the
// program fails the test.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// write makes a file with exactly this mode, whatever the umask.
func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
