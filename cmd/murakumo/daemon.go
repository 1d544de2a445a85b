package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"murakumo/internal/config"
	"murakumo/internal/daemon"
	"murakumo/internal/node"
)

// serve is the daemon: it runs one node until ctx is done. parent is the start
// command that waits for it, nil in the foreground. SIGHUP opens its log anew and
// makes it take in the file as it is then, with the same flags.
func serve(ctx context.Context, c *commandLine, parent *daemon.Parent, std stdio) error {
	// A hang-up that comes before the node runs, perhaps during a long
	// init-script, waits until it does. It is listened to until the process is
	// gone: its usual effect would cut short what an end has still to do.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	// Whoever reads the log from a pipe may go, which costs the log and not the
	// node. This is not signal.Ignore, which hooks would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	started := collectSeldom()
	path, opts := c.options()
	opts.RunInit, opts.Daemon, opts.Context, opts.Background = true, true, ctx, parent != nil
	load := func() (*config.Config, error) { return config.Load(path, opts) }
	cfg, err := load()
	if err != nil {
		return err
	}
	if parent != nil {
		daemon.Unsupervised()
		if err := leave(cfg.Log.Path); err != nil {
			return err
		}
	}
	output, err := node.OpenLog(cfg.Log, std.err)
	if err != nil {
		return err
	}
	defer output.Close()
	log := output.Logger()
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	removePID, err := takePIDFile(cfg.WorkingDir, parent != nil, log.Warn)
	if err != nil {
		return err
	}
	defer removePID()
	n, err := node.New(cfg, node.Env{Log: log, Output: output}, version)
	if err != nil {
		return err
	}
	started()
	a := attendance{
		node: n, log: log, systemd: &daemon.Systemd{Log: log},
		isReady: make(chan struct{}),
		ready: func() error {
			if parent == nil {
				return nil
			}
			// From now on nobody reads what a crash prints but in the log.
			output.Follow(daemon.Stderr)
			return parent.Ready()
		},
		load: func(ctx context.Context) (*config.Config, error) {
			if err := config.Settle(ctx, path); err != nil {
				return nil, err
			}
			return load()
		},
	}
	a.patience.Store(int64(patienceFor(cfg.HookTimeout)))
	log.Info("murakumo starts", "version", version, "config", path, "host", cfg.Host.Name, "address", cfg.Host.Addrs[0])
	err = a.run(ctx, hangup)
	if errors.Is(err, node.ErrRemoved) {
		log.Error(err.Error())
	}
	log.Info("murakumo ends")
	return err
}

// leave makes a daemon independent of where it was started.
func leave(log string) error {
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return fmt.Errorf("log-path: make its folder: %w", err)
	}
	return os.Chdir("/")
}

// patienceFor is how long a daemon may take to stop: the hook that runs, the one
// behind it, and what is between them.
func patienceFor(hook time.Duration) time.Duration { return 2*hook + 30*time.Second }

// readyPatience is how long a node that has all its sockets may take to answer
// itself before it is called ready all the same: what is in the way then, such
// as a firewall, is no reason not to serve others.
const readyPatience = 5 * time.Second

// attendance runs a node, listens to signals, and tells whoever started it how
// it is.
type attendance struct {
	node     *node.Node
	log      *slog.Logger
	systemd  *daemon.Systemd
	patience atomic.Int64  // time.Duration that stopping may take
	ready    func() error  // tells the start command
	isReady  chan struct{} // closed then
	load     func(context.Context) (*config.Config, error)
}

// run runs the node until ctx is done.
func (a *attendance) run(ctx context.Context, hangup <-chan os.Signal) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended, end := context.WithCancel(context.Background())
	defer end()
	var others errgroup.Group
	others.Go(func() error { return a.attend(ended) })
	others.Go(func() error {
		a.stopping(ctx, ended)
		stop()
		return nil
	})
	others.Go(func() error {
		a.reload(serving, hangup)
		return nil
	})
	err := a.node.Run(serving)
	end()
	return errors.Join(err, others.Wait())
}

// attend says when the node is ready, and that it is alive.
func (a *attendance) attend(ended context.Context) error {
	soon, cancel := context.WithTimeout(ended, readyPatience)
	defer cancel()
	err := a.node.Alive(soon)
	if ended.Err() != nil {
		return nil // it has failed, and whoever waits sees that
	}
	if err != nil {
		a.log.Warn("this node does not answer itself", "error", err)
	}
	if err := a.ready(); err != nil {
		a.log.Error("cannot say that the daemon is ready", "error", err)
	}
	a.systemd.Ready()
	close(a.isReady)
	return a.systemd.Watch(ended, a.node.Alive)
}

// stopping waits until the daemon is told to stop, and how, or has ended.
func (a *attendance) stopping(ctx, ended context.Context) {
	select {
	case <-ended.Done():
	case <-ctx.Done():
		if errors.Is(context.Cause(ctx), errKeep) {
			a.node.Keep()
		}
		a.systemd.Stopping(time.Duration(a.patience.Load()))
	}
}

// reload takes in the file at each hang-up.
func (a *attendance) reload(ctx context.Context, hangup <-chan os.Signal) {
	select {
	case <-ctx.Done():
	case <-a.isReady:
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			a.systemd.Reloading()
			var next *config.Config
			err := a.node.Reload(func() (_ *config.Config, err error) { // it logs what it does
				next, err = a.load(ctx)
				return next, err
			})
			if err == nil {
				a.patience.Store(int64(patienceFor(next.HookTimeout)))
			}
			a.systemd.Ready()
		}
	}
}
