package nameserver

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What hours of fuzzing found interesting is kept in testdata/corpus, a file for each
// target: every test run begins where they ended. A line is an input, its values as the
// go command writes them, with tabs between them.

var keep = flag.String("keep", "", "take over what fuzzing has found: $(go env GOCACHE)/fuzz/murakumo/internal/nameserver")

// addKept adds what is kept of a target to its seeds.
func addKept(f *testing.F) {
	data, err := os.ReadFile(corpusFile(f.Name()))
	fatal(f, err)
	for line := range strings.Lines(string(data)) {
		var values []any
		for text := range strings.SplitSeq(strings.TrimSuffix(line, "\n"), "\t") {
			v, err := corpusValue(text)
			fatal(f, err)
			values = append(values, v)
		}
		f.Add(values...)
	}
}

func corpusFile(target string) string { return filepath.Join("testdata", "corpus", target+".txt") }

// corpusValue reads a value as "go test fuzz v1" has it.
func corpusValue(text string) (any, error) {
	kind, rest, _ := strings.Cut(text, "(")
	rest, ok := strings.CutSuffix(rest, ")")
	var v any
	err := errors.New("no end")
	switch {
	case !ok:
	case kind == "[]byte":
		rest, err = strconv.Unquote(rest)
		v = []byte(rest)
	case kind == "bool":
		v, err = strconv.ParseBool(rest)
	case kind == "uint64":
		v, err = strconv.ParseUint(rest, 0, 64)
	case kind == "byte":
		var c rune
		var tail string
		c, _, tail, err = strconv.UnquoteChar(strings.TrimPrefix(rest, "'"), '\'')
		if v = byte(c); err == nil && tail != "'" {
			err = errors.New("no character")
		}
	default:
		err = errors.New("of a kind that no target here has")
	}
	if err != nil {
		return nil, fmt.Errorf("the value %s: %w", text, err)
	}
	return v, nil
}

// TestKeep writes what the fuzzing cache has into the corpus. It is how the corpus is
// made, and checks nothing but that it can be read.
func TestKeep(t *testing.T) {
	for _, target := range []string{"FuzzHandle", "FuzzOctets", "FuzzQuick", "FuzzRelay", "FuzzServer"} {
		kept, err := os.ReadFile(corpusFile(target))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		lines := slices.Collect(strings.Lines(string(kept)))
		if *keep != "" {
			found, err := filepath.Glob(filepath.Join(*keep, target, "*"))
			fatal(t, err)
			for _, path := range found {
				data, err := os.ReadFile(path)
				fatal(t, err)
				head, values, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
				if head != "go test fuzz v1" {
					t.Fatalf("%s: %s", path, head)
				}
				lines = append(lines, strings.ReplaceAll(values, "\n", "\t")+"\n")
			}
			slices.Sort(lines)
			lines = slices.Compact(lines)
			fatal(t, os.WriteFile(corpusFile(target), []byte(strings.Join(lines, "")), 0o644))
		}
		for i, line := range lines {
			for text := range strings.SplitSeq(strings.TrimSuffix(line, "\n"), "\t") {
				if _, err := corpusValue(text); err != nil {
					t.Errorf("%s, line %d: %v", corpusFile(target), i+1, err)
				}
			}
		}
	}
}
