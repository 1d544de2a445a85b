package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"murakumo/internal/optparse"
)

// flags is the command line. No flag takes a value with a leading hyphen from
// the next word, so "-L -S /s" is two flags; "--delete=-x" is how to write one.
type flags struct {
	List       optional `short:"L"`
	Add        values   `short:"A"`
	Delete     values   `short:"D"`
	AddNode    values   `short:"a"`
	DeleteNode values   `short:"d"`
	Get        single   `short:"g"`
	Set        single   `short:"s"`
	ClearDead  bool     `short:"c" name:"clear-dead-list"`
	YAML       bool     `short:"y" name:"yaml"`
	Configtest optional `short:"t"`
	Check      single
	Report     report
	Watch      bool
	Proxies    bool
	Help       bool `short:"h"`
	Version    bool `short:"v"`

	Socket text `short:"S"`
	JSON   bool `name:"json"`
	Init   bool
}

// optional is a flag whose value may be left out.
type optional struct {
	given bool
	value string
}

// Decode takes the next word if that is a value.
func (o *optional) Decode(ctx *kong.DecodeContext) error {
	if o.given {
		return errors.New("given twice")
	}
	o.given = true
	if ctx.Scan.Peek().IsValue() {
		o.value = ctx.Scan.Pop().String()
	}
	return nil
}

// values is a flag that may be repeated. Each value is kept whole: kong's own
// lists are divided at commas, which records have.
type values []string

// Decode takes the next word.
func (l *values) Decode(ctx *kong.DecodeContext) error {
	value, err := optparse.Value(ctx)
	if err == nil {
		*l = append(*l, value)
	}
	return err
}

// text is a flag with one value.
type text string

// Decode takes the next word.
func (t *text) Decode(ctx *kong.DecodeContext) error {
	value, err := optparse.Value(ctx)
	if err == nil {
		*t = text(value)
	}
	return err
}

// single is a flag with one value that may be given once.
type single string

// Decode takes the next word.
func (s *single) Decode(ctx *kong.DecodeContext) error {
	if *s != "" {
		return errors.New("given twice")
	}
	value, err := optparse.Value(ctx)
	if err == nil {
		*s = single(value)
	}
	return err
}

// parse reads the command line.
func parse(args []string) (*flags, error) {
	f := new(flags)
	parser, err := kong.New(f, kong.Name("mrkmctl"), kong.NoDefaultHelp(), kong.Exit(func(int) {}))
	if err != nil {
		return nil, fmt.Errorf("make the parser: %w", err)
	}
	args, err = optparse.Expand(args, longNames(parser.Model))
	if err != nil {
		return nil, err
	}
	if _, err := parser.Parse(args); err != nil {
		// One guess helps; for a single letter kong guesses all others.
		said, _, _ := strings.Cut(err.Error(), ", did you mean one of ")
		return nil, errors.New(said)
	}
	return f, nil
}

func longNames(app *kong.Application) []string {
	var names []string
	for _, f := range app.Flags {
		names = append(names, f.Name)
	}
	return names
}

// command is what the command line asks for.
type command string

const (
	list       command = "--list"
	add        command = "--add"
	remove     command = "--delete"
	addNode    command = "--add-node"
	removeNode command = "--delete-node"
	get        command = "--get"
	set        command = "--set"
	clearDead  command = "--clear-dead-list"
	yaml       command = "--yaml"
	configtest command = "--configtest"
	check      command = "--check"
	reporting  command = "--report"
	watch      command = "--watch"
	proxies    command = "--proxies"
)

// command gives the one command there is.
func (f *flags) command() (command, error) {
	var asked []string
	for _, c := range []struct {
		command command
		given   bool
	}{
		{list, f.List.given},
		{add, len(f.Add) > 0},
		{remove, len(f.Delete) > 0},
		{addNode, len(f.AddNode) > 0},
		{removeNode, len(f.DeleteNode) > 0},
		{get, f.Get != ""},
		{set, f.Set != ""},
		{clearDead, f.ClearDead},
		{yaml, f.YAML},
		{configtest, f.Configtest.given},
		{check, f.Check != ""},
		{reporting, f.Report.name != ""},
		{watch, f.Watch},
		{proxies, f.Proxies},
	} {
		if c.given {
			asked = append(asked, string(c.command))
		}
	}
	switch {
	case len(asked) == 0:
		return "", errors.New("no command given")
	case len(asked) > 1:
		return "", fmt.Errorf("one command at a time: %s", strings.Join(asked, " and "))
	case f.JSON && !f.List.given && !f.Watch && !f.Proxies && f.Check == "":
		return "", fmt.Errorf("--json: goes with --list, --check, --proxies and --watch and not with %s", asked[0])
	case f.Init && !f.Configtest.given:
		return "", fmt.Errorf("--init: goes with --configtest and not with %s", asked[0])
	}
	return command(asked[0]), nil
}
