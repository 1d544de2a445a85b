package rpmspec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Build runs rpmbuild on the spec in a folder of its own, looks whether the
// package lists what it should, and leaves it in dir. It gives the path.
func (s *Spec) Build(ctx context.Context, dir string) (string, error) {
	for program, pkg := range map[string]string{"rpmbuild": "rpm on Debian, rpm-build elsewhere", "rpm": "rpm", "unzip": "unzip"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("--build: %s is not installed (package %s)", program, pkg)
		}
	}
	top, err := os.MkdirTemp("", "murakumo-rpm-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(top)
	for _, d := range []string{"SOURCES", "SPECS", "BUILD", "BUILDROOT", "RPMS", "SRPMS", "tmp"} {
		if err := os.Mkdir(filepath.Join(top, d), 0o755); err != nil {
			return "", err
		}
	}
	spec := filepath.Join(top, "SPECS", s.Archive.Name+".spec")
	if err := os.WriteFile(spec, []byte(s.Text()), 0o644); err != nil {
		return "", err
	}
	if err := copyFile(s.Archive.path, filepath.Join(top, "SOURCES", s.Archive.File)); err != nil {
		return "", err
	}
	if _, err := run(ctx, "rpmbuild", "-bb", "--define", "_topdir "+top, "--define", "_tmppath "+filepath.Join(top, "tmp"), spec); err != nil {
		return "", err
	}
	made := filepath.Join(top, "RPMS", "noarch", s.RPM())
	listed, err := run(ctx, "rpm", "-qpl", made)
	if err != nil {
		return "", err
	}
	got, want := strings.Fields(listed), s.Files()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return "", fmt.Errorf("rpm -qpl lists other files than the archive has: %q, expected %q", got, want)
	}
	out := filepath.Join(dir, s.RPM())
	return out, copyFile(made, out)
}

// run runs a program to its end and gives its standard output.
func run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		said := strings.TrimSpace(talk.String())
		if len(said) > 2000 {
			said = "…" + said[len(said)-2000:]
		}
		return "", fmt.Errorf("%s: %w: %s", program, err, strings.ReplaceAll(said, "\n", "; "))
	}
	return out.String(), nil
}

// copyFile copies to a new name first, so that a package is there whole or not
// at all.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".murakumo-rpm-")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	err = errors.Join(err, out.Chmod(0o644), out.Close())
	if err == nil {
		err = os.Rename(out.Name(), to)
	}
	if err != nil {
		os.Remove(out.Name())
	}
	return err
}
