// Command mrkmctl asks and changes a running murakumo through its control
// socket.
//
//	mrkmctl -L                        the table
//	mrkmctl -L 'mysql|10\.0\.0\.'     what a phrase chooses
//	mrkmctl -A web,60,backup          adds a record to the asked node
//	mrkmctl -s node_lifetime=5        changes a setting at once
//	mrkmctl -y > murakumo.yml         the running configuration as a file
//	mrkmctl --check web               how is the service now?
//	mrkmctl --proxies                 the load balancer's listeners
//	mrkmctl --watch                   every change as it happens
//	mrkmctl -t                        is the configuration good?
//
// It takes every form of a flag that the original's did: -L PHRASE, -LPHRASE,
// --list=PHRASE, --list PHRASE, and any beginning of a long name that is enough.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"murakumo/internal/config"
	"murakumo/internal/control"
)

// version is set by the linker.
var version = "devel"

// What is asked where nothing else is said.
var (
	defaultConfig = "/etc/murakumo.yml"
	defaultSocket = config.DefaultSocket
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is main without the process around it. It returns the exit status: 0 when
// what was asked was done, 1 when it failed, 2 when it makes no sense.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	v := voice{stdout, stderr}
	f, err := parse(args)
	if err != nil {
		return v.misuse(err)
	}
	switch {
	case f.Help:
		v.data(usage)
		return 0
	case f.Version:
		v.data("mrkmctl " + version + "\n")
		return 0
	}
	do, err := f.command()
	if err != nil {
		return v.misuse(err)
	}
	if do == configtest {
		return testConfig(ctx, f, v)
	}
	if f.Socket == "" {
		f.Socket = text(defaultSocket())
	}
	err = ask(ctx, control.NewClient(string(f.Socket)), do, f, v)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errBad):
		return 1 // its verdict was printed
	case control.KindOf(err) == control.Invalid:
		return v.misuse(err)
	case errors.Is(err, context.Canceled):
		return v.failure(errors.New("interrupted; whether it was done is not known"))
	}
	return v.failure(err)
}

// ask does one command that needs the daemon.
func ask(ctx context.Context, c *control.Client, do command, f *flags, v voice) error {
	switch do {
	case list:
		records, err := c.Records(ctx, f.List.value)
		if err != nil {
			return err
		}
		if f.JSON {
			return v.json(records)
		}
		return v.data(control.TableText(records))
	case add:
		var specs []control.RecordSpec
		for _, given := range f.Add {
			a, err := config.ParseAlias(given)
			if err != nil {
				return control.Errorf(control.Invalid, "record %q: %w", given, err)
			}
			specs = append(specs, control.RecordSpec{Name: a.Name, TTL: a.TTL, Priority: a.Priority, Weight: a.Weight})
		}
		_, err := c.AddRecords(ctx, specs...)
		return err
	case remove:
		return c.DeleteRecords(ctx, f.Delete...)
	case addNode:
		return c.AddNodes(ctx, f.AddNode...)
	case removeNode:
		return c.DeleteNodes(ctx, f.DeleteNode...)
	case get, set:
		return attribute(ctx, c, do, f, v)
	case clearDead:
		n, err := c.ClearDead(ctx)
		if err != nil {
			return err
		}
		return v.data(fmt.Sprintf("%d nodes were deleted\n", n))
	case yaml:
		file, err := c.Configuration(ctx)
		if err != nil {
			return err
		}
		return v.data(string(file))
	case check:
		return runCheck(ctx, c, f, v)
	case reporting:
		return c.Report(ctx, f.Report.name, f.Report.good)
	case proxies:
		all, err := c.Proxies(ctx)
		if err != nil {
			return err
		}
		if f.JSON {
			return v.json(all)
		}
		return v.data(control.ProxiesText(all))
	default: // watch
		return follow(ctx, c, f, v)
	}
}

// testConfig is -t. It needs no daemon.
func testConfig(ctx context.Context, f *flags, v voice) int {
	path := defaultConfig
	if f.Configtest.value != "" {
		path = f.Configtest.value
	}
	var warnings []string
	warn := func(text string) { warnings = append(warnings, "warning: "+text) }
	cfg, err := config.Load(path, config.Options{RunInit: f.Init, Context: ctx, Warn: warn})
	if mistakes, ok := errors.AsType[config.Errors](err); ok {
		// Each line begins with its place, as editors and people expect it. The
		// warnings come last: they can wait.
		v.talk(mistakes.Error())
		for _, w := range warnings {
			v.talk(w)
		}
		return 1
	}
	if err != nil {
		return v.failure(err)
	}
	for _, w := range cfg.Warnings {
		v.talk("warning: " + w)
	}
	if err := v.data("Syntax OK\n"); err != nil {
		return v.failure(err)
	}
	return 0
}

// json prints a value for programs.
func (v voice) json(value any) error {
	enc := json.NewEncoder(v.out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(value); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
