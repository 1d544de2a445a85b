// Command murakumo is the daemon, and `murakumo dev` a cluster to try it on.
//
//	murakumo -c /etc/murakumo.yml
//	murakumo -K /etc/murakumo.key -H 10.0.0.133 -A web -i 10.0.0.55
//	murakumo dev
//
// The daemon stays in the foreground and logs to standard error, or where
// log-path says. SIGTERM and SIGINT make it hand over and end; a second one
// ends it at once.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"murakumo/internal/config"
)

// version is set by the linker.
var version = "devel"

type stdio struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	go func() {
		// After the first signal the next one has its usual effect: an
		// operator who asks twice does not want to wait for a hook.
		<-ctx.Done()
		stop()
	}()
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// run is main without the process around it; it returns the exit status: 0 at
// an ordinary end, 1 on a failure, 2 on a usage error.
func run(ctx context.Context, args []string, std stdio) int {
	c, err := parse(args)
	if err != nil {
		said, _, _ := strings.Cut(err.Error(), ", did you mean one of ") // one guess helps, all letters do not
		fmt.Fprintf(std.err, "murakumo: %s (murakumo --help shows the flags)\n", said)
		return 2
	}
	switch {
	case c.Help:
		fmt.Fprint(std.out, c.help)
		return 0
	case c.Version:
		fmt.Fprintln(std.out, "murakumo", version)
		return 0
	case c.command == "dev":
		// A closed terminal ends the cluster as Ctrl-C does.
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
		err = dev(ctx, std)
	case c.command != "run":
		err = devService(ctx, c.DevService.Listen, c.DevService.Name)
	default:
		err = daemon(ctx, c, std)
	}
	if mistakes, ok := errors.AsType[config.Errors](err); ok {
		// One line each, as compilers write them, so that editors find the place.
		fmt.Fprintf(std.err, "%v\nmurakumo: not started; mistakes in the configuration: %d\n", mistakes, len(mistakes))
		return 1
	}
	if err != nil {
		fmt.Fprintf(std.err, "murakumo: %v\n", err)
		return 1
	}
	return 0
}
