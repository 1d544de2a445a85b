package check

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// standInForSystemctl is no systemctl: a program that knows the one command
// line that the probe writes, and refuses every other. It answers as systemctl
// 252 does for units of these states; see TestSystemctl for the real one.
func standInForSystemctl(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stand-in-for-systemctl")
	const script = `#!/bin/sh
if [ $# != 3 ] || [ "$1" != is-active ] || [ "$2" != -- ]; then
	echo "stand-in: unexpected arguments: $*" >&2
	exit 99
fi
case $3 in
up.service | 'a\x2db@c:d_e.mount') echo active ;;
reloading.service) echo reloading ;;
starting.service) echo activating; exit 3 ;;
down.service | missing.service) echo inactive; exit 3 ;;
failed.service) echo failed; exit 3 ;;
bus.service) echo "Failed to retrieve unit state: Connection timed out" >&2; exit 1 ;;
garbage.service) printf 'ac\033[2Jtive\n'; exit 4 ;;
hang.service) echo active; exec sleep 1000 ;;
*) echo "stand-in: unexpected unit: $3" >&2; exit 99 ;;
esac
`
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnit(t *testing.T) {
	systemctl := standInForSystemctl(t)
	leavesNothing(t)
	p := func(unit string) Probe { return unitProbe(systemctl, unit) }
	good(t, p("up.service"))
	good(t, p("reloading.service"))
	good(t, p(`a\x2db@c:d_e.mount`))
	for unit, want := range map[string]string{
		"starting.service": "exit status 3: activating",
		"down.service":     "exit status 3: inactive",
		"missing.service":  "exit status 3: inactive",
		"failed.service":   "exit status 3: failed",
		"bus.service":      "exit status 1: Failed to retrieve unit state: Connection timed out",
		"garbage.service":  "exit status 4: ac [2Jtive",
		"another.service":  "exit status 99: stand-in: unexpected unit: another.service",
	} {
		bad(t, p(unit), "unit "+unit+": "+systemctl+": "+want)
	}
	hangs(t, p("hang.service"))
	bad(t, unitProbe(systemctl+"-gone", "up.service"), "no such file or directory")
}

// TestSystemctl asks the real systemctl: of units that every systemd has where
// it runs, and for its complaint where it does not.
func TestSystemctl(t *testing.T) {
	if _, err := os.Stat("/usr/bin/systemctl"); err != nil {
		const missing = "no systemctl; install the package systemd"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	leavesNothing(t)
	bad(t, compile(t, "unit_check 'no-such-thing.service'"), "unit_check 'no-such-thing.service': unit no-such-thing.service: /usr/bin/systemctl: exit status ")
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		bad(t, compile(t, "unit_check 'init.scope'"), "unit init.scope: /usr/bin/systemctl: exit status ")
		t.Log("systemd does not run here: that a unit is good was asked of the stand-in alone")
		return
	}
	good(t, compile(t, "unit_check 'init.scope'"))
	good(t, compile(t, "unit_check '-.slice'"))
	bad(t, compile(t, "unit_check 'no-such-thing.service'"), "exit status 4: inactive")
}

// A program that is not where the system has it is an error with the places.
func TestBySystem(t *testing.T) {
	bad(t, bySystem("no-such-program", func(path string) Probe {
		t.Errorf("found %s", path)
		return nil
	}), "there is no no-such-program in [/usr/bin/ /bin/]")
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, err := range map[string]error{
		"a file":      os.WriteFile(at("there"), nil, 0),
		"with a dash": os.WriteFile(at("-x it's"), nil, 0o600),
		"a folder":    os.Mkdir(at("folder"), 0o700),
		"a link":      os.Symlink("there", at("link")),
		"a dead link": os.Symlink("nowhere", at("dead")),
		"a loop":      os.Symlink("loop", at("loop")),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	leavesNothing(t)
	p := func(name string) Probe {
		t.Helper()
		return compile(t, fmt.Sprintf("file_check '%s'", strings.ReplaceAll(at(name), "'", `\'`)))
	}
	for _, name := range []string{"there", "-x it's", "folder", "link", "folder/../there"} {
		good(t, p(name))
	}
	for name, want := range map[string]string{
		"nothing":       "No such file or directory",
		"dead":          "No such file or directory",
		"loop":          "Too many levels of symbolic links",
		"there/further": "Not a directory",
	} {
		bad(t, p(name), fmt.Sprintf("file_check '%s': file %[1]s: /usr/bin/stat: exit status 1: ", at(name)), want)
	}
	good(t, compile(t, "not file_check '"+at("nothing")+"'"))
	if err := os.Remove(at("there")); err != nil {
		t.Fatal(err)
	}
	bad(t, p("there"), "No such file or directory")
}
