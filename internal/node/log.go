package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"murakumo/internal/config"
)

// Log is where the lines of a daemon go. Place, level and form can change, and
// the file can be opened anew, while it is written to: no line is lost and none
// goes to a file that was closed.
type Log struct {
	stderr io.Writer
	level  slog.LevelVar

	mu     sync.RWMutex // held for reading while a line is written; guards what follows
	now    output
	follow func(*os.File) error
}

// output is what lines are written to at a time.
type output struct {
	cfg     config.Log
	handler slog.Handler
	file    *os.File // nil: standard error
}

// OpenLog opens the log that the configuration asks for; without a path it is
// stderr. Close ends it.
func OpenLog(cfg config.Log, stderr io.Writer) (*Log, error) {
	l := &Log{stderr: stderr}
	o, err := l.open(cfg)
	if err != nil {
		return nil, err
	}
	l.now = o
	l.level.Set(cfg.Level)
	return l, nil
}

// Logger gives a logger that writes to it.
func (l *Log) Logger() *slog.Logger { return slog.New(handler{log: l}) }

// SetLevel changes the level alone, until the next reload that has another one.
func (l *Log) SetLevel(level slog.Level) { l.level.Set(level) }

// Level is the level in force.
func (l *Log) Level() slog.Level { return l.level.Level() }

// Reopen opens the file anew, which log rotation has moved away. When that
// fails, lines go on to the old one.
func (l *Log) Reopen() error {
	l.mu.RLock()
	cfg := l.now.cfg
	l.mu.RUnlock()
	o, err := l.open(cfg)
	if err != nil {
		return err
	}
	l.use(o)
	return nil
}

// Close closes the file; lines go to stderr from then on.
func (l *Log) Close() error {
	o, err := l.open(config.Log{Level: l.level.Level()})
	if err != nil {
		return err // a stderr needs no opening
	}
	l.use(o)
	return nil
}

// prepare opens another log, to be used or closed again.
func (l *Log) prepare(cfg config.Log) (commit, undo func(), err error) {
	o, err := l.open(cfg)
	if err != nil {
		return nil, nil, err
	}
	commit = func() {
		l.mu.RLock()
		before := l.now.cfg
		l.mu.RUnlock()
		if before.Path != cfg.Path {
			l.Logger().Info("the log goes on elsewhere", "path", none(cfg.Path))
		}
		l.use(o)
		if before.Level != cfg.Level {
			l.level.Set(cfg.Level)
		}
	}
	return commit, o.close, nil
}

func (l *Log) open(cfg config.Log) (output, error) {
	o := output{cfg: cfg}
	w := l.stderr
	if cfg.Path != "" {
		f, err := os.OpenFile(cfg.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return output{}, fmt.Errorf("log-path: %w", err)
		}
		w, o.file = f, f
	}
	opts := &slog.HandlerOptions{Level: &l.level}
	if cfg.JSON {
		o.handler = slog.NewJSONHandler(w, opts)
	} else {
		o.handler = slog.NewTextHandler(w, opts)
	}
	return o, nil
}

// use makes lines go to o, and closes what they went to before.
func (l *Log) use(o output) {
	l.mu.Lock()
	before := l.now
	l.now = o
	l.tellFollower()
	l.mu.Unlock()
	before.close()
}

// Follow calls f with the file that lines go to, now and whenever it is another
// one. f must not log.
func (l *Log) Follow(f func(*os.File) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follow = f
	l.tellFollower()
}

// tellFollower is called with mu held. What follows stays with the file before
// when it fails; there is nowhere to say so that would be better.
func (l *Log) tellFollower() {
	if l.follow != nil && l.now.file != nil {
		_ = l.follow(l.now.file)
	}
}

func (o output) close() {
	if o.file != nil {
		_ = o.file.Close() // each line was written when it was logged
	}
}

// handler passes lines on to the output of the moment.
type handler struct {
	log *Log
	// with has what slog.Logger.With and WithGroup asked for, in order.
	with []func(slog.Handler) slog.Handler
}

func (h handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.log.level.Level()
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	h.log.mu.RLock()
	defer h.log.mu.RUnlock()
	to := h.log.now.handler
	for _, with := range h.with {
		to = with(to)
	}
	return to.Handle(ctx, r)
}

func (h handler) and(f func(slog.Handler) slog.Handler) slog.Handler {
	return handler{h.log, append(h.with[:len(h.with):len(h.with)], f)}
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.and(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

func (h handler) WithGroup(name string) slog.Handler {
	return h.and(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}
