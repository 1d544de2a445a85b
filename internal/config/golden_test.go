package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestGolden loads each NAME.yml of the archives in testdata and compares what
// comes out, a dump or mistakes, with the NAME.out behind it.
func TestGolden(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives in testdata: %v", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var out []txtar.File
			for i, f := range archive.Files {
				name, ok := strings.CutSuffix(f.Name, ".yml")
				if !ok {
					continue
				}
				want := ""
				if i+1 < len(archive.Files) && archive.Files[i+1].Name == name+".out" {
					want = string(archive.Files[i+1].Data)
				}
				got := outcome(Parse(f.Name, f.Data, testOptions()))
				out = append(out, f, txtar.File{Name: name + ".out", Data: []byte(got)})
				t.Run(name, func(t *testing.T) {
					if got != want && !*update {
						t.Errorf("%s\ngot:\n%s\nwant:\n%s", f.Data, got, want)
					}
				})
			}
			if *update {
				archive.Files = out
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
