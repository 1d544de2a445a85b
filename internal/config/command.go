package config

import (
	"fmt"
	"strings"

	"murakumo/internal/program"
)

// command reads a sequence (argv) or a string split at blanks, and finds the
// program.
func (l *loader) command(v value, into *Command) {
	if l.describes(func() shape { return commandShape() }) {
		return
	}
	argv, at, ok := l.argv(v)
	if !ok {
		return
	}
	file, err := l.programs(at, v.key).Find(argv[0])
	if err != nil {
		l.problem(at, v.key, "%s", err)
		return
	}
	argv[0] = file
	l.noShell(v, argv)
	l.cloudKeys(v, argv)
	*into = argv
}

// argv reads the words of a command, at least one, and the place of the first.
func (l *loader) argv(v value) (argv Command, first place, ok bool) {
	const expected = "a command: a string, or a sequence of program and arguments"
	switch v.kind {
	case scalar:
		words, err := split(v.text)
		if err != nil {
			l.problem(v.place, v.key, "%s", err)
			return nil, first, false
		}
		argv = words
		first = v.at(len(v.text) - len(strings.TrimLeft(v.text, " \t\n")))
	case sequence:
		first, ok = v.place, true
		for i, n := range v.items {
			if n.kind != scalar {
				l.wrong(v.entry(n), "a word of a command")
				ok = false
			}
			if i == 0 {
				first = n.place
			}
			argv = append(argv, n.text)
		}
		if !ok {
			return nil, first, false
		}
	default:
		l.wrong(v, expected)
		return nil, first, false
	}
	if len(argv) == 0 || argv[0] == "" {
		l.problem(first, v.key, "expected %s, found an empty one", expected)
		return nil, first, false
	}
	for _, word := range argv {
		if strings.ContainsRune(word, 0) {
			l.problem(first, v.key, "a word has a NUL in it, which no program can be given")
			return nil, first, false
		}
	}
	return argv, first, true
}

// split cuts a string into words at blanks. What stands between two ' or two "
// belongs together; nothing else is special, neither backslash nor dollar.
func split(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	begun, quote := false, rune(0)
	for _, c := range text {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			begun, quote = true, c
		case c == ' ' || c == '\t' || c == '\n':
			if begun {
				words = append(words, word.String())
				word.Reset()
				begun = false
			}
		default:
			begun = true
			word.WriteRune(c)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a %c is not closed: write the command as a sequence if it belongs to a word", quote)
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}

// programs are the rules by which a program that is named at that place is
// found and judged. Whether this very process may run it is not asked, unless
// it is the daemon: mrkmctl -t answers an operator who is not.
func (l *loader) programs(at place, key string) program.Rules {
	return program.Rules{Lstat: l.Lstat, Readlink: l.readlink, Doubt: func(d program.Doubt, why string) bool {
		if d == program.ForeignOwner && l.Daemon {
			return true
		}
		if d == program.ForeignOwner {
			why += "; a daemon that another user runs refuses it"
		}
		l.warning(at, key, "%s", why)
		return false
	}}
}
