package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// throttle lets through one log line of a kind per second, so that no peer and
// no stranger can fill a disk.
type throttle struct {
	mu    sync.Mutex
	kinds map[string]*tally
}

type tally struct {
	last       time.Time
	suppressed int
}

// maxKinds bounds the memory of a throttle. Kinds are made from our own texts
// with variable parts taken out, so there are some dozens.
const maxKinds = 256

// allow tells whether a line of this kind may be written now, and how many were
// suppressed since the last one.
func (t *throttle) allow(kind string, now time.Time) (suppressed int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.kinds[kind]
	if k == nil {
		if len(t.kinds) >= maxKinds {
			t.kinds = nil
		}
		if t.kinds == nil {
			t.kinds = make(map[string]*tally)
		}
		t.kinds[kind] = &tally{last: now}
		return 0, true
	}
	if now.Sub(k.last) < time.Second {
		k.suppressed++
		return 0, false
	}
	suppressed = k.suppressed
	*k = tally{last: now}
	return suppressed, true
}

// logger writes to a slog.Logger, at most one line of a kind per second.
type logger struct {
	*slog.Logger
	throttle *throttle
}

// often logs what others can cause as often as they like.
func (l logger) often(level slog.Level, kind, msg string, args ...any) {
	if !l.Enabled(context.Background(), level) {
		return
	}
	suppressed, ok := l.throttle.allow(kind, time.Now())
	if !ok {
		return
	}
	if suppressed > 0 {
		args = append(args, "suppressed", suppressed)
	}
	l.Log(context.Background(), level, msg, args...)
}

// std gives memberlist the logger it wants.
func (l logger) std() *log.Logger { return log.New(libraryLines{l}, "", 0) }

// libraryLines takes memberlist's lines apart: "[ERR] memberlist: text".
type libraryLines struct{ l logger }

// maxLine bounds a line of memberlist's, which may quote what a peer sent.
const maxLine = 400

func (w libraryLines) Write(p []byte) (int, error) {
	level, text := splitLine(string(p))
	kind := kindOf(text)
	var args []any
	if strings.Contains(text, "no installed keys could decrypt") {
		// One kind for packets and streams: who missed a change of the key hears
		// both from every peer.
		kind = "auth-key"
		args = []any{"hint", "the peer uses an auth-key that this node has not, or is no murakumo of this cluster"}
	}
	w.l.often(level, kind, text, args...)
	return len(p), nil
}

// splitLine gives the level of a line of memberlist's and its text alone.
func splitLine(line string) (slog.Level, string) {
	line = strings.TrimSpace(line)
	level := slog.LevelWarn // some lines of memberlist's have no prefix; all of them are about failures
	for _, p := range []struct {
		prefix string
		level  slog.Level
	}{
		{"[DEBUG]", slog.LevelDebug}, {"[INFO]", slog.LevelInfo}, {"[WARN]", slog.LevelWarn},
		{"[ERR]", slog.LevelError}, {"[ERROR]", slog.LevelError},
	} {
		if rest, ok := strings.CutPrefix(line, p.prefix); ok {
			level, line = p.level, rest
			break
		}
	}
	line = strings.TrimPrefix(strings.TrimSpace(line), "memberlist: ")
	if len(line) > maxLine {
		line = line[:maxLine] + "…"
	}
	return level, strings.ToValidUTF8(line, "?")
}

// kindOf gives a line without its variable parts, which are the words with a
// digit, a quotation mark or an equals sign (addresses, node names, counts).
func kindOf(text string) string {
	words := strings.Fields(text)
	words = words[:min(len(words), 10)]
	for i, w := range words {
		if strings.ContainsAny(w, `0123456789="'`) {
			words[i] = "*"
		}
	}
	return strings.Join(words, " ")
}
