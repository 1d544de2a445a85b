// Package optparse takes command lines as the original took them, whose parser
// was Ruby's OptionParser, where kong alone would not.
//
//	args, err = optparse.Expand(args, names)   // --gossip-p 7000 is --gossip-port 7000
//	...
//	func (s *setting) Decode(ctx *kong.DecodeContext) error {
//		text, err := optparse.Value(ctx)        // -p7000, -p 7000, --port=7000, --port 7000
package optparse

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// Expand writes out long names that were shortened, by the rule of OptionParser:
// a beginning that only one name has, or several of which the shortest begins
// all others (--del is --delete, beside --delete-node). A name that is none is
// left for the parser, which knows better what to say. Nothing behind -- is
// touched, and neither are the arguments themselves.
func Expand(args, names []string) ([]string, error) {
	out := make([]string, len(args))
	copy(out, args)
	for i, arg := range out {
		if arg == "--" {
			break
		}
		short, ok := strings.CutPrefix(arg, "--")
		if !ok {
			continue
		}
		short, rest, hasValue := strings.Cut(short, "=")
		name, err := complete(short, names)
		if err != nil {
			return nil, err
		}
		out[i] = "--" + name
		if hasValue {
			out[i] += "=" + rest
		}
	}
	return out, nil
}

// complete gives the name that short stands for, and short itself when there is
// none.
func complete(short string, names []string) (string, error) {
	var fit []string
	shortest := ""
	for _, name := range names {
		if strings.HasPrefix(name, short) {
			fit = append(fit, "--"+name)
			if shortest == "" || len(name) < len(shortest) {
				shortest = name
			}
		}
	}
	for _, name := range fit {
		if !strings.HasPrefix(name, "--"+shortest) {
			return "", fmt.Errorf("--%s: can mean %s", short, strings.Join(fit, " or "))
		}
	}
	if shortest == "" {
		return short, nil
	}
	return shortest, nil
}

var number = regexp.MustCompile(`^-\.?[0-9]`)

// Value takes the value of a flag, which may be the next word, but not one that
// looks like a flag: OptionParser took that, and so a value that was forgotten
// swallowed the flag behind it. Behind = any value can be written. A number below
// 0 is a value, since no flag is a digit; an empty word is none.
func Value(ctx *kong.DecodeContext) (string, error) {
	next := ctx.Scan.Peek()
	text := fmt.Sprint(next.Value)
	if text == "" || !next.IsValue() && !number.MatchString(text) {
		return "", errors.New("its value is missing")
	}
	ctx.Scan.Pop()
	return text, nil
}
