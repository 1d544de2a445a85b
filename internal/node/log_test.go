package node

import (
	"io"
	"os"
	"path/filepath"
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
