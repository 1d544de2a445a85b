package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The parser recurses, and notes with every value the path to it: a file that
// is one long row of brackets would cost it the square of its length and then
// the stack. So nesting is bounded before it starts. The deepest file that
// means anything has 4 levels.
const (
	maxDepth  = 32
	maxIndent = 256 // characters before a line's first token
	// It also takes the square of the number of keys in a mapping: these are
	// 0.2 s.
	maxKeys = 5000
)

// parse reads a text into a tree. It gives nil, and at least one problem, when
// the text is not one YAML document or not a mapping; an empty text is an
// empty mapping.
func (r *report) parse(src *source, data []byte) *node {
	if !r.checkText(src, data) {
		return nil
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	tokens := lexer.Tokenize(text)
	if !r.checkTokens(src, tokens) {
		return nil
	}
	file, err := parseTokens(tokens)
	if err != nil {
		at, message := syntaxError(src, err)
		r.problem(at, "", "%s", message)
		return nil
	}
	top := &node{place: place{src, 1, 1}, kind: mapping}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return top
	}
	b := &builder{report: r, src: src, anchors: map[string]*node{}}
	root := b.build(file.Docs[0].Body, "")
	switch root.kind {
	case mapping:
		return root
	case null:
		return top
	case scalar, sequence:
		r.problem(root.place, "", "expected keys with values (port: 53), found %s", root.what())
	}
	return nil
}

// checkText refuses what is no text: other encodings and control characters,
// which would end in names, commands and log lines.
func (r *report) checkText(src *source, data []byte) bool {
	line, col := 1, 1
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		at := place{src, line, col}
		switch {
		case c == utf8.RuneError && size == 1:
			r.problem(at, "", "not UTF-8 (octet 0x%02x)", data[i])
			return false
		case c == '\n':
			line, col = line+1, 0
		case c == '\t', c == '\r' && i+1 < len(data) && data[i+1] == '\n', c == '\ufeff' && i == 0:
		case c < ' ', c >= 0x7f && c < 0xa0, c == '\u2028', c == '\u2029', c == '\ufeff':
			r.problem(at, "", "control character %U is not allowed", c)
			return false
		}
		col++
		i += size
	}
	return true
}

// checkTokens bounds the nesting and the keys of a mapping, and refuses a second
// document.
func (r *report) checkTokens(src *source, tokens token.Tokens) bool {
	depth, line, entries, seen := 0, 0, 0, false
	column := 0                 // of the line's first token, 0 after its colon
	var keys [maxIndent + 1]int // by column, since a line stood further left
	deepest := 0                // column in keys that is not 0
	for _, t := range tokens {
		if t.Position == nil {
			continue
		}
		at := place{src, t.Position.Line, t.Position.Column}
		if t.Position.Line != line {
			line, entries, column = t.Position.Line, 0, 0
			if depth == 0 {
				if t.Position.Column > maxIndent {
					r.problem(at, "", "indented by more than %d characters", maxIndent)
					return false
				}
				for ; deepest > t.Position.Column; deepest-- {
					keys[deepest] = 0
				}
				if t.Type != token.SequenceEntryType {
					column = t.Position.Column
				}
			}
		}
		switch t.Type {
		case token.DocumentHeaderType:
			if seen {
				r.problem(at, "", "a second document begins here: expected one only")
				return false
			}
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth = max(0, depth-1)
		case token.MappingValueType:
			if depth == 0 && column > 0 {
				keys[column]++
				deepest = max(deepest, column)
				if keys[column] > maxKeys {
					r.problem(at, "", "more than %d keys in one mapping", maxKeys)
					return false
				}
				column = 0
			}
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			entries++
		}
		if depth > maxDepth || entries > maxDepth && depth == 0 {
			r.problem(at, "", "nested more than %d levels deep", maxDepth)
			return false
		}
		seen = seen || t.Type != token.CommentType && t.Type != token.DirectiveType
	}
	return true
}

// parseTokens is the parser with its panics turned into errors: a malformed
// file must never end the daemon that reloads it.
func parseTokens(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the parser gave up: %v", p)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// positioned is what the parser's errors are.
type positioned interface {
	error
	GetToken() *token.Token
	GetMessage() string
}

// syntaxError says in our words what the parser met, and where. It never shows
// the value on the line, which may be the secret, only the key before it.
func syntaxError(src *source, err error) (place, string) {
	at, raw := place{src, 1, 1}, ""
	// Error of such an error would print all of the text with an excerpt.
	if p, ok := errors.AsType[positioned](err); ok {
		raw = p.GetMessage()
		if t := p.GetToken(); t != nil && t.Position != nil {
			at.line, at.col = t.Position.Line, t.Position.Column
		}
	}
	message := "not valid YAML"
	for _, w := range wordings {
		if strings.Contains(raw, w.parser) {
			message = w.ours
			break
		}
	}
	if strings.Contains(raw, "mapping value is not allowed") {
		at, message = secondColon(src, at, message)
	}
	if m := keyOnLine.FindStringSubmatch(src.line(at.line)); m != nil {
		message += fmt.Sprintf(" (at %q)", m[1]+" …")
	}
	return at, message
}

// secondColon looks for the colon that the parser did not expect. It names the
// line of the value before it, but a key that is indented too far stands on the
// next one, and only there the operator sees what is wrong.
func secondColon(src *source, at place, message string) (place, string) {
	rest := from(src.line(at.line), at.col)
	if strings.Contains(rest, ": ") || strings.HasSuffix(rest, ":") {
		return at, message
	}
	for n := at.line + 1; n <= len(src.lines); n++ {
		line := src.line(n)
		if keyOnLine.MatchString(line) {
			indent := len(line) - len(strings.TrimLeft(line, " "))
			return place{src, n, indent + 1}, fmt.Sprintf("indented further than line %d, which has a value already", at.line)
		}
		if strings.TrimSpace(line) != "" {
			break
		}
	}
	return at, message
}

// keyOnLine finds the key that a line begins with, after dashes.
var keyOnLine = regexp.MustCompile(`^[\s-]*([A-Za-z0-9_.-]{1,64}:)(?:\s|$)`)

// wordings translates what the parser says; the first that is contained wins.
var wordings = []struct{ parser, ours string }{
	{"cannot start any token", "a tab cannot indent: use spaces"},
	{"tab character", "a tab cannot stand here: use spaces"},
	{"could not find end character of single-quoted", "the text that begins here with ' has no closing '"},
	{"could not find end character of double-quoted", `the text that begins here with " has no closing "`},
	{"unknown escape character", `unknown escape after \: in "…" a backslash is written \\, in '…' it stands for itself`},
	{"escape character", `bad escape after \: in "…" a backslash is written \\, in '…' it stands for itself`},
	{"sequence end token ']'", "the list that begins here with [ has no closing ]"},
	{"',' or ']'", "expected , or ] in the list"},
	{"expected sequence element", "a comma without a value before it in the list"},
	{"flow mapping end token '}'", "the mapping that begins here with { has no closing }"},
	{"',' or '}'", "expected , or } in the mapping"},
	{"corresponding to", "a closing bracket without an opening one"},
	{"flow map content", "the mapping in { } is not complete"},
	{"reserved character", "a value cannot begin with this character: put it in quotes"},
	{"directive", "a value cannot begin with %: put it in quotes"},
	{"mapping value is not allowed", "a second colon: put a value with a colon and a blank in quotes"},
	{"block sequence entries are not allowed", "a list with - begins on a line of its own"},
	{"non-map value", "a line without a colon: expected key: value"},
	{"map key-value is pre-defined", "the key above has a value already: is this line indented too far?"},
	{"map key-value delimiter", "expected a colon and a blank after the key"},
	{"could not find value for mapping key", "a key without a colon: expected key: value"},
	{"unexpected key name", "a line without a colon: expected key: value"},
	{"implicit line break", "a key cannot go over two lines"},
	{"anchor", "an anchor (&) cannot stand here, or has no name: put a value that begins with & in quotes"},
	{"alias", "an alias (*) cannot stand here, or has no name: put a value that begins with * in quotes"},
	{"tag", "a tag (!) cannot stand here: put a value that begins with ! in quotes"},
	{"multi-line header", "the block is not indented as its | or > says"},
	{"indent", "the block is not indented as its | or > says"},
	{"header option", "unknown sign after | or >"},
	{"invalid key for this map", "a key in brackets: expected key: value"},
	{"merge key", "<<: cannot stand here"},
	{"document separator", "nothing can stand behind ---, and no --- inside of a value"},
	{"YAML version", "unknown version of YAML"},
	{"value is not allowed in this context", "a value where none can stand: is the line indented as those around it?"},
	{"unexpected", "something else was expected here: is the line indented as those around it?"},
}
