// Command murakumo is the daemon, and `murakumo dev` a cluster to try it on.
//
//	murakumo -c /etc/murakumo.yml
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
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"murakumo/internal/config"
	"murakumo/internal/node"
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

type flags struct {
	Version kong.VersionFlag `short:"v" help:"Print the version."`

	Daemon struct {
		Config string `short:"c" placeholder:"PATH" default:"/etc/murakumo.yml" help:"The configuration (${default})."`
	} `cmd:"" default:"withargs" help:"Run the daemon (the default)."`

	Dev struct{} `cmd:"" help:"Run a cluster of three nodes on 127.0.0.x to try things on: no root, no configuration."`

	DevService struct {
		Listen string `arg:""`
		Name   string `arg:""`
	} `cmd:"" hidden:"" help:"The toy web service of dev."`
}

// run is main without the process around it; it returns the exit status: 0 at
// an ordinary end, 1 on a failure, 2 on a usage error.
func run(ctx context.Context, args []string, std stdio) int {
	var f flags
	exited := -1
	parser, err := kong.New(&f, kong.Name("murakumo"), kong.Description("Internal DNS, failover and load balancing, by gossip."),
		kong.Writers(std.out, std.err), kong.Exit(func(code int) { exited = code }), kong.Vars{"version": "murakumo " + version})
	if err != nil {
		fmt.Fprintln(std.err, "murakumo:", err)
		return 1
	}
	cli, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(std.err, "murakumo: %v (murakumo --help shows the flags)\n", err)
		return 2
	}
	switch cli.Command() {
	case "dev":
		// A closed terminal ends the cluster as Ctrl-C does.
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
		err = dev(ctx, std)
	case "dev-service <listen> <name>":
		err = devService(ctx, f.DevService.Listen, f.DevService.Name)
	default:
		err = daemon(ctx, f.Daemon.Config, std)
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

// daemon runs one node until ctx is done.
func daemon(ctx context.Context, path string, std stdio) error {
	cfg, err := config.Load(path, config.Options{RunInit: true, Context: ctx})
	if err != nil {
		return err
	}
	log, closeLog, err := openLog(cfg.Log, std.err)
	if err != nil {
		return err
	}
	defer closeLog()
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	n, err := node.New(cfg, node.Env{Log: log}, version)
	if err != nil {
		return err
	}
	// Until there is reloading, a hang-up (the habit of log rotation, a closed
	// terminal) must not end a daemon that holds a duty.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangup:
				log.Warn("SIGHUP: nothing is reloaded in this version; restart to read the file again")
			}
		}
	}()
	log.Info("murakumo starts", "version", version, "config", path, "host", cfg.Host.Name, "address", cfg.Host.Addrs[0])
	err = n.Run(ctx)
	if errors.Is(err, node.ErrRemoved) {
		log.Error(err.Error())
	}
	log.Info("murakumo ends")
	return err
}

// openLog makes the logger that the configuration asks for.
func openLog(c config.Log, stderr io.Writer) (*slog.Logger, func(), error) {
	w, done := stderr, func() {}
	if c.Path != "" {
		f, err := os.OpenFile(c.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return nil, nil, fmt.Errorf("log-path: %w", err)
		}
		w, done = f, func() { f.Close() }
	}
	opts := &slog.HandlerOptions{Level: c.Level}
	if c.JSON {
		return slog.New(slog.NewJSONHandler(w, opts)), done, nil
	}
	return slog.New(slog.NewTextHandler(w, opts)), done, nil
}
