package sim

import (
	"slices"
	"strings"
	"sync"
	"time"

	"murakumo/internal/config"
)

// lines is a log in memory.
type lines struct {
	mu  sync.Mutex // guards all
	all []line
}

type line struct {
	at   time.Time
	text string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line{time.Now(), string(p)})
	return len(p), nil
}

// Logged gives the times of the lines with a text that the host's daemons have
// logged since a time.
func (h *Host) Logged(since time.Time, text string) []time.Time {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	var at []time.Time
	for _, l := range h.log.all {
		if !l.at.Before(since) && strings.Contains(l.text, text) {
			at = append(at, l.at)
		}
	}
	return at
}

// Log is all that the host's daemons have logged since a time.
func (h *Host) Log(since time.Time) string {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	var all strings.Builder
	for _, l := range h.log.all {
		if !l.at.Before(since) {
			all.WriteString(l.text)
		}
	}
	return all.String()
}

// Edit changes the host's file, which the next start or reload reads. What edit
// is given is its own; the configuration that runs stays as it is.
func (h *Host) Edit(edit func(*config.Config)) {
	next := *h.cfg
	next.Aliases = slices.Clone(next.Aliases)
	next.HealthChecks = slices.Clone(next.HealthChecks)
	next.ActivityChecks = slices.Clone(next.ActivityChecks)
	edit(&next)
	h.cfg = &next
}

// File is what the host's file has. It must not be changed; see Edit.
func (h *Host) File() *config.Config { return h.cfg }

// Disk is the folder that the host's state is in, its working-dir.
func (h *Host) Disk() string { return h.dir }

// Reload makes the running daemon take the file in.
func (h *Host) Reload() error {
	return h.Core().Reload(func() (*config.Config, error) { return h.cfg, nil })
}

// Slow makes the host's service take its time to answer.
func (h *Host) Slow(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slow = d
}

// Running says whether the host's daemon runs.
func (h *Host) Running() bool { return h.life() != nil }

// Pause ends the daemon as a restart does that keeps its duties.
func (h *Host) Pause() {
	h.Core().Keep()
	h.Shutdown()
}
