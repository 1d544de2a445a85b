package packaging

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// analyze runs systemd-analyze, which needs no systemd that runs.
func analyze(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		const missing = "no systemd-analyze: make deps, or install the package systemd"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	var said bytes.Buffer
	cmd := exec.Command("systemd-analyze", args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v\n%s", cmd, err, &said)
	}
	return said.String()
}

// unit writes the unit, and the drop-in beside it, into a root of their own.
func unit(t *testing.T, hardened bool) (root string) {
	t.Helper()
	root = t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(root, "etc/systemd/system", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("murakumo.service", Unit)
	if hardened {
		text, err := os.ReadFile("hardened.conf")
		if err != nil {
			t.Fatal(err)
		}
		write("murakumo.service.d/hardened.conf", string(text))
	}
	return root
}

var exposure = regexp.MustCompile(`Overall exposure level for murakumo.service: ([0-9.]+)`)

// The hardened unit is as closed as was decided, 2.0 at most.
func TestHardened(t *testing.T) {
	said := analyze(t, "--root="+unit(t, true), "--offline=true", "security", "murakumo.service")
	m := exposure.FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("no level in:\n%s", said)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > 2.0 {
		t.Errorf("exposure %s:\n%s", m[1], said)
	}
}

// systemd understands each line of both files.
func TestUnit(t *testing.T) {
	for _, hardened := range []bool{false, true} {
		file := filepath.Join(unit(t, hardened), "etc/systemd/system/murakumo.service")
		// A program that is there.
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte(Program), []byte("/bin/true")), 0o644); err != nil {
			t.Fatal(err)
		}
		if said := analyze(t, "verify", "--recursive-errors=no", file); strings.Contains(said, "murakumo") {
			t.Errorf("hardened %v:\n%s", hardened, said)
		}
	}
}

// A daemon that panics, or that the watchdog ends by SIGABRT, exits with 2, as Go
// programs do; it has to come back.
func TestComesBack(t *testing.T) {
	for line := range strings.Lines(Unit) {
		if never, ok := strings.CutPrefix(line, "RestartPreventExitStatus="); ok {
			if slices.Contains(strings.Fields(never), "2") {
				t.Errorf("never started again after a panic: %s", line)
			}
			return
		}
	}
	t.Error("a node that was removed from the cluster is started again")
}
