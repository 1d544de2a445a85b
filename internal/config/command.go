package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// CommandPath is where a command without a slash is looked up: what an
// administrator's shell has, whatever started the daemon.
const CommandPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// command reads a sequence (argv) or a string split at blanks, and finds the
// program.
func (l *loader) command(v value, into *Command) {
	argv, at, ok := l.argv(v)
	if !ok {
		return
	}
	program, err := l.find(argv[0])
	if err != nil {
		l.problem(at, v.key, "%s", err)
		return
	}
	argv[0] = program
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

// find gives the path of a program and says why it cannot be run or must not
// be.
func (l *loader) find(word string) (string, error) {
	if strings.Contains(word, "/") {
		if !path.IsAbs(word) {
			return "", fmt.Errorf("%s: a relative path depends on where the daemon is started: write all of it", quote(word))
		}
		return word, l.runnable(word)
	}
	for dir := range strings.SplitSeq(CommandPath, ":") {
		file := path.Join(dir, word)
		err := l.runnable(file)
		if err == nil || errors.As(err, new(*writableError)) {
			return file, err
		}
	}
	return "", fmt.Errorf("%s: no such program in %s", quote(word), CommandPath)
}

// writableError refuses a program that others may change: they would get the
// rights of the daemon.
type writableError struct {
	file string
	who  string
	mode fs.FileMode
}

func (e *writableError) Error() string {
	return fmt.Sprintf("%s is writable by %s (mode %04o), who could run anything through it: chmod go-w %s",
		quote(e.file), e.who, e.mode, e.file)
}

// runnable says why a file cannot be run as a program. Whether this very
// process may run it is not asked: mrkmctl -t answers an operator who is not
// the daemon.
func (l *loader) runnable(file string) error {
	info, err := l.stat(file)
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return fmt.Errorf("%s: %w", quote(file), err)
	}
	perm := info.Mode().Perm()
	switch {
	case info.IsDir():
		return fmt.Errorf("%s is a directory, expected a program", quote(file))
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file, expected a program", quote(file))
	case perm&0o111 == 0:
		return fmt.Errorf("%s is not executable (mode %04o): chmod +x %s", quote(file), perm, file)
	case perm&0o002 != 0:
		return &writableError{file, "others", perm}
	case perm&0o020 != 0:
		return &writableError{file, "its group", perm}
	}
	return nil
}
