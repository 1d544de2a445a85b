package node

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"murakumo/internal/config"
)

// Whoever follows the log gets each file that lines go to, while it is open.
func TestLogFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := OpenLog(config.Log{Path: path}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var files []os.FileInfo
	l.Follow(func(f *os.File) error {
		info, err := f.Stat()
		files = append(files, info)
		return err
	})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{path + ".1", path} {
		if info, err := os.Stat(name); err != nil || len(files) != 2 || !os.SameFile(files[i], info) {
			t.Errorf("%d: not %s: %v, %v", i, name, files, err)
		}
	}
}

func openLog(t *testing.T, cfg config.Log, stderr *bytes.Buffer) *Log {
	t.Helper()
	l, err := OpenLog(cfg, stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestLogIsRotated: what is written while the file is moved away and opened anew
// is in one of the two, each line once and whole.
func TestLogIsRotated(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	l := openLog(t, config.Log{Path: path}, nil)
	const writers, each = 4, 500
	var all sync.WaitGroup
	for w := range writers {
		log := l.Logger().With("writer", w)
		all.Go(func() {
			for i := range each {
				log.Info("line", "n", i)
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	n := 0
	for ended := false; !ended; n++ {
		select {
		case <-done:
			ended = true
		default:
		}
		if err := os.Rename(path, fmt.Sprintf("%s.%d", path, n)); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range files {
		text.WriteString(read(t, f))
	}
	for w := range writers {
		for i := range each {
			if c := strings.Count(text.String(), fmt.Sprintf(" msg=line writer=%d n=%d\n", w, i)); c != 1 {
				t.Fatalf("line %d of writer %d is there %d times, after %d rotations", i, w, c, n)
			}
		}
	}
}

// TestLogCannotBeOpened: a rotation that fails leaves the log as it was.
func TestLogCannotBeOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "log")
	l := openLog(t, config.Log{Path: path}, nil)
	moved := dir + "-moved"
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("no error")
	}
	l.Logger().Info("after")
	if text := read(t, filepath.Join(moved, "log")); !strings.Contains(text, "msg=after") {
		t.Errorf("the line is lost: %q", text)
	}
	if _, err := OpenLog(config.Log{Path: path}, nil); err == nil || !strings.Contains(err.Error(), "log-path") {
		t.Errorf("opening it: %v", err)
	}
}

// TestLogLevelAndGroups: the level can change while loggers made from it live,
// and their attributes stay.
func TestLogLevelAndGroups(t *testing.T) {
	var stderr bytes.Buffer
	l := openLog(t, config.Log{Level: slog.LevelWarn, JSON: true}, &stderr)
	log := l.Logger().With("a", 1).WithGroup("g").With("b", 2)
	log.Info("not yet")
	l.SetLevel(slog.LevelDebug)
	log.Debug("now", "c", 3)
	if text := stderr.String(); strings.Contains(text, "not yet") || !strings.Contains(text, `"msg":"now","a":1,"g":{"b":2,"c":3}}`) {
		t.Errorf("logged %q", text)
	}
	if l.Level() != slog.LevelDebug {
		t.Errorf("level %v", l.Level())
	}
}
