// Command murakumo is the daemon, and `murakumo dev` a cluster to try it on.
//
//	murakumo -c /etc/murakumo.yml
//	murakumo -K /etc/murakumo.key -H 10.0.0.133 -A web -i 10.0.0.55
//	murakumo dev
//
// The daemon stays in the foreground and logs to standard error, or where
// log-path says; -d start, stop, restart and status are for the background.
// SIGTERM and SIGINT make it hand over and end; a second one ends it at once.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"murakumo/internal/config"
	"murakumo/internal/daemon"
	"murakumo/internal/node"
	"murakumo/packaging"
)

// statusRemoved is the exit status of a daemon that an operator removed from the
// cluster: starting it again would not help (RestartPreventExitStatus= of the
// unit).
const statusRemoved = 5

// version is set by the linker.
var version = "devel"

type stdio struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == installName {
		args = append([]string{installCommand}, args...)
	}
	os.Exit(run(untilStopped(), args, stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// run is main without the process around it; it returns the exit status: 0 at
// an ordinary end, 1 on a failure, 2 on a usage error, and those of -d.
func run(ctx context.Context, args []string, std stdio) int {
	c, err := parse(args)
	if err != nil {
		said, _, _ := strings.Cut(err.Error(), ", did you mean one of ") // one guess helps, all letters do not
		fmt.Fprintf(std.err, "murakumo: %s (murakumo --help shows the flags)\n", said)
		return 2
	}
	status := 0
	switch {
	case c.Help:
		fmt.Fprint(std.out, c.help)
	case c.Version:
		fmt.Fprintln(std.out, "murakumo", version)
	case c.Schema:
		fmt.Fprint(std.out, packaging.Schema)
	case c.command == installCommand:
		err = c.InstallInitScript.run(std)
	case c.command == "dev":
		// A closed terminal ends the cluster as Ctrl-C does.
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
		err = dev(ctx, std)
	case c.command != "run":
		err = devService(ctx, c.DevService.Listen, c.DevService.Name)
	default:
		status, err = background(ctx, c, std)
	}
	if mistakes, ok := errors.AsType[config.Errors](err); ok {
		// One line each, as compilers write them, so that editors find the place.
		fmt.Fprintf(std.err, "%v\nmurakumo: nothing done; mistakes in the configuration: %d\n", mistakes, len(mistakes))
	} else if err != nil {
		fmt.Fprintf(std.err, "murakumo: %v\n", err)
	}
	if err != nil {
		return max(status, 1)
	}
	return status
}

// background does what -d asks for, or is the daemon.
func background(ctx context.Context, c *commandLine, std stdio) (status int, err error) {
	parent, err := daemon.FromParent()
	if err != nil {
		return 1, err
	}
	if parent == nil {
		if done, status, err := controlDaemon(ctx, c, std); done {
			return status, err
		}
	}
	err = serve(ctx, c, parent, std)
	if errors.Is(err, node.ErrRemoved) {
		status = statusRemoved
	}
	return status, err
}
