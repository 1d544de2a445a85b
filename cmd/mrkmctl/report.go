package main

import (
	"fmt"

	"github.com/alecthomas/kong"

	"murakumo/internal/optparse"
)

// report is the flag with two words: the name of an alias, and how it is.
type report struct {
	name string
	good bool
}

// Decode takes the next two words.
func (r *report) Decode(ctx *kong.DecodeContext) error {
	if r.name != "" {
		return fmt.Errorf("given twice")
	}
	name, err := optparse.Value(ctx)
	if err != nil {
		return err
	}
	verdict, err := optparse.Value(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("after the name its verdict is missing: good or bad")
	case verdict != "good" && verdict != "bad":
		return fmt.Errorf("verdict %q is neither good nor bad", verdict)
	}
	r.name, r.good = name, verdict == "good"
	return nil
}
