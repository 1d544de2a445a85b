package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"murakumo/packaging"
)

// installName is the link by which the original's installer is called.
const installName = "murakumo-install-init-script"

// installCommand is its long form.
const installCommand = "install-init-script"

type install struct {
	Root  string `placeholder:"PATH" help:"install under this folder and not under /"`
	Force bool   `help:"replace a unit that is another one"`
}

// run installs the systemd unit, for this program where it is now, and says what
// to do next. It starts nothing.
func (i install) run(std stdio) error {
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return fmt.Errorf("find the program itself: %w", err)
	}
	if strings.ContainsAny(exe, " \t\"'\\%$") {
		return fmt.Errorf("%s: a unit cannot have this path without quotes: move the program to %s", exe, packaging.Program)
	}
	unit := strings.ReplaceAll(packaging.Unit, packaging.Program, exe)
	root, err := filepath.Abs(cmp.Or(i.Root, "/"))
	if err != nil {
		return fmt.Errorf("%s: %w", i.Root, err)
	}
	path := filepath.Join(root, "etc/systemd/system/murakumo.service")
	there, err := os.ReadFile(path)
	switch {
	case err == nil && string(there) == unit:
		fmt.Fprintf(std.out, "%s is there already\n", path)
		return nil
	case err == nil && !i.Force:
		return fmt.Errorf("%s is there and another one: compare, then use --force, or keep changes in %s.d/", path, path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look at the unit that is there: %w", err)
	}
	if err := writeUnit(path, unit); err != nil {
		return fmt.Errorf("install the unit: %w", err)
	}
	fmt.Fprintf(std.out, `installed %s
next:
  mrkmctl -t
  systemctl daemon-reload
  systemctl enable --now murakumo
`, path)
	old := filepath.Join(root, "etc/init.d/murakumo")
	if _, err := os.Stat(old); err == nil {
		fmt.Fprintf(std.out, "%s is the original's: stop it first (%s stop), and take it away\n", old, old)
	}
	return nil
}

// writeUnit puts the unit in its place at once.
func writeUnit(path, unit string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".murakumo-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(unit)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
