package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Problem is one mistake and where it stands.
type Problem struct {
	// File is the path of the configuration file, "init-script output", or the
	// flag that was given, such as --port.
	File string
	// Line and Column count from 1, columns in characters. They are 0 for a
	// flag, and for a file that is not there.
	Line, Column int
	// Key is the dotted path of the key, such as health-check.web.interval;
	// empty when the mistake belongs to no key.
	Key string
	// Message says what is wrong and what was expected.
	Message string
}

// String gives file:line:column: key: message, without the key when there is
// none, and --flag: message.
func (p Problem) String() string {
	text := p.File
	if p.Line > 0 {
		text += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	if p.Key != "" && p.File != "--"+p.Key {
		text += ": " + p.Key
	}
	return text + ": " + p.Message
}

// Errors is every mistake of a configuration, those of the file before those of
// its init-script's output, each in the order of the text, and those of the
// flags at the end.
type Errors []Problem

// Error gives one mistake per line, without a line feed at the end.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// maxProblems bounds what one file can make us print. Whoever has a thousand
// mistakes has one, repeated.
const maxProblems = 1000

// source is a text with a name: the file, what its init-script printed, or a
// flag.
type source struct {
	name    string
	order   int      // problems are sorted by it before their lines
	lines   []string // without line ends
	unlined bool     // it has no lines that a message could name
}

// The order of the sources.
const (
	orderFile = iota
	orderInit
	orderFlags
	orderHosts
)

// unlined gives a source without lines.
func unlined(name string, order int) *source {
	return &source{name: name, order: order, lines: []string{""}, unlined: true}
}

func newSource(name string, order int, data []byte) *source {
	lines := strings.Split(string(data), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(l, "\r")
	}
	return &source{name: name, order: order, lines: lines}
}

// line gives line n, counted from 1, and "" for a line that is not there.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}

// place is a position in a source.
type place struct {
	src       *source
	line, col int
}

// report collects problems and warnings.
type report struct {
	problems []found
	warnings []found
	seen     map[Problem]bool
}

type found struct {
	Problem
	order int
}

func (r *report) problem(at place, key, format string, args ...any) {
	r.note(&r.problems, at, key, fmt.Sprintf(format, args...))
}

func (r *report) warning(at place, key, format string, args ...any) {
	r.note(&r.warnings, at, key, fmt.Sprintf(format, args...))
}

// full says that more would not be shown, so that callers can stop looking.
func (r *report) full() bool { return len(r.problems) >= maxProblems }

func (r *report) note(list *[]found, at place, key, message string) {
	if len(*list) >= maxProblems {
		return
	}
	// The parser counts a little off where tabs are.
	at.line = min(max(at.line, 1), len(at.src.lines))
	at.col = min(max(at.col, 1), utf8.RuneCountInString(at.src.line(at.line))+1)
	if at.src.unlined {
		at.line, at.col = 0, 0
	}
	p := Problem{File: at.src.name, Line: at.line, Column: at.col, Key: printableKey(key), Message: printable(message)}
	// One place in the text can be used at several places of the tree: what an
	// anchor marks is read once for each alias.
	if r.seen[p] {
		return
	}
	if r.seen == nil {
		r.seen = map[Problem]bool{}
	}
	r.seen[p] = true
	*list = append(*list, found{p, at.src.order})
}

// warned notes a warning whose place is known.
func (r *report) warned(p Problem, order int) {
	if len(r.warnings) < maxProblems {
		r.warnings = append(r.warnings, found{p, order})
	}
}

// errors gives the problems in order, nil when there are none.
func (r *report) errors() error {
	if len(r.problems) == 0 {
		return nil
	}
	e := Errors(sorted(r.problems))
	if len(e) >= maxProblems {
		last := e[len(e)-1]
		last.Key, last.Message = "", fmt.Sprintf("too many mistakes: only the first %d are shown", maxProblems)
		e = append(e, last)
	}
	return e
}

// texts gives the warnings in order.
func (r *report) texts() []string {
	var texts []string
	for _, p := range sorted(r.warnings) {
		texts = append(texts, p.String())
	}
	return texts
}

func sorted(list []found) []Problem {
	slices.SortStableFunc(list, func(a, b found) int {
		return cmp.Or(
			cmp.Compare(a.order, b.order),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			strings.Compare(a.Key, b.Key),
			strings.Compare(a.Message, b.Message),
		)
	})
	problems := make([]Problem, len(list))
	for i, f := range list {
		problems[i] = f.Problem
	}
	return problems
}

// printable is the last guard of the terminal: messages quote values already,
// but file names and other people's errors stand in them as they are.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// printableKey keeps what a file has for keys from breaking the line or the
// terminal it is printed on.
func printableKey(key string) string {
	const most = 80
	plain := !strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) || r == ':' })
	if plain && len(key) <= most {
		return key
	}
	return quote(key)
}

// quote shows a value in a message: quoted, printable, and not for pages.
func quote(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return strconv.Quote(string(r[:most])) + "…"
	}
	return strconv.Quote(s)
}

// shorten gives a text of several lines on one, cut to its last octets: of what
// a program wrote before it failed, the end says why.
func shorten(s string, most int) string {
	s = strings.ToValidUTF8(strings.TrimSpace(strings.ReplaceAll(s, "\t", " ")), "?")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " / ")
	if len(s) > most {
		s = "…" + strings.ToValidUTF8(s[len(s)-most:], "")
	}
	return s
}
