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

	"murakumo/internal/config"
	"murakumo/internal/node"
)

// daemon runs one node until ctx is done.
func daemon(ctx context.Context, c *commandLine, std stdio) error {
	path, opts := c.options()
	opts.RunInit, opts.Context = true, ctx
	cfg, err := config.Load(path, opts)
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
