package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"murakumo/internal/config"
	"murakumo/internal/daemon"
)

// controlDaemon does what -d, or `daemon` in the file, asks for, and gives the exit
// status. done is false when nothing is asked for and this process is to be the
// daemon itself.
func controlDaemon(ctx context.Context, c *commandLine, std stdio) (done bool, status int, err error) {
	path, opts := c.options()
	where, err := config.Locate(path, opts)
	switch {
	case !c.Daemon.given && (err != nil || where.Daemon == ""):
		return false, 0, nil // a mistake is told with all others
	case err != nil:
		return true, failure(c.Daemon.text), err
	case !c.Daemon.given && daemon.Supervised():
		// The file is an old one, and systemd waits for this very process.
		return false, 0, nil
	}
	control := daemon.Control{PIDFile: pidFile(where.WorkingDir), Out: std.out}
	patience := patienceFor(where.HookTimeout)
	switch where.Daemon {
	case "status":
		status, err = control.Status()
		return true, status, err
	case "stop":
		err = control.Stop(ctx, patience)
	case "start":
		err = control.Start(ctx, again(c, std))
	case "restart":
		// A mistake must not cost the daemon that runs.
		opts.RunInit, opts.Daemon, opts.Context, opts.Background = true, true, ctx, true
		if _, err = config.Load(path, opts); err == nil {
			err = control.Restart(ctx, patience, again(c, std))
		}
	}
	if err != nil {
		status = 1
	}
	return true, status, err
}

// failure is the exit status of a control command that could not find out what
// to do.
func failure(command string) int {
	if command == "status" {
		return daemon.StatusUnknown
	}
	return 1
}

func pidFile(workingDir string) string { return filepath.Join(workingDir, "run", "murakumo.pid") }

// again is this command once more, to be the daemon.
func again(c *commandLine, std stdio) *exec.Cmd {
	exe, err := os.Executable()
	cmd := exec.Command(exe, c.args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stderr = std.err
	if err != nil {
		cmd.Err = fmt.Errorf("find the program itself: %w", err)
	}
	return cmd
}

// takePIDFile takes the pid file. Only in the background, where all control
// hangs on it, is a daemon without one worse than none.
func takePIDFile(workingDir string, background bool, warn func(string, ...any)) (remove func(), err error) {
	file, err := daemon.Take(pidFile(workingDir))
	if _, running := errors.AsType[*daemon.RunningError](err); err != nil && (running || background) {
		return nil, err
	}
	if err != nil {
		warn("murakumo -d stop and -d status will not find this daemon", "error", err)
		return func() {}, nil
	}
	return func() {
		if err := file.Remove(); err != nil {
			warn(err.Error())
		}
	}, nil
}
