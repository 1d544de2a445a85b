package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"murakumo/internal/config"
	"murakumo/internal/node"
)

// daemon runs one node until ctx is done. SIGHUP opens its log anew and makes it
// take in the file as it is then, with the same flags.
func daemon(ctx context.Context, c *commandLine, std stdio) error {
	path, opts := c.options()
	opts.RunInit, opts.Context = true, ctx
	load := func() (*config.Config, error) { return config.Load(path, opts) }
	cfg, err := load()
	if err != nil {
		return err
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
	n, err := node.New(cfg, node.Env{Log: log, Output: output}, version)
	if err != nil {
		return err
	}
	// A hang-up that comes while the node starts waits until it runs.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	running, ended := context.WithCancel(ctx)
	var reloads sync.WaitGroup
	defer reloads.Wait()
	defer ended()
	reloads.Go(func() {
		for {
			select {
			case <-running.Done():
				return
			case <-hangup:
				_ = n.Reload(func() (*config.Config, error) { // it logs what it does
					if err := config.Settle(running, path); err != nil {
						return nil, err
					}
					return load()
				})
			}
		}
	})
	log.Info("murakumo starts", "version", version, "config", path, "host", cfg.Host.Name, "address", cfg.Host.Addrs[0])
	err = n.Run(ctx)
	if errors.Is(err, node.ErrRemoved) {
		log.Error(err.Error())
	}
	log.Info("murakumo ends")
	return err
}
