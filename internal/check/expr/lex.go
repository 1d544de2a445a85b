package expr

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

type kind uint8

const (
	tEOF kind = iota
	tSep      // end of a line, or ;
	tBad      // text holds the refusal
	tName
	tValue // a string, an integer, nil; val holds it
	tBool  // val holds it
	tAnd
	tOr
	tNot
	tAndAnd
	tOrOr
	tBang
	tOpen
	tClose
	tOpenList
	tCloseList
	tComma
)

// token is one word of a script. For a value, text describes it ("a string"),
// for everything else but tBad it is what was written.
type token struct {
	kind      kind
	line, col int
	text      string
	val       any
	// blank: a blank or a line break stands before it. Ruby reads `f (1)` and `not (x)` unlike
	// `f(1)` and `not(x)`.
	blank bool
}

// lexer cuts a script into tokens. Newlines that do not end a line, because a
// bracket is open or the line ends in an operator or a comma, are left out, so
// that the parser needs to know nothing of layout.
type lexer struct {
	src       []rune
	pos       int
	line, col int
	open      int  // brackets that are open
	folded    bool // a newline was left out since the last token
	out       []token
}

func lex(src string) []token {
	l := &lexer{src: []rune(src), line: 1, col: 1}
	for l.next() {
	}
	return l.out
}

func (l *lexer) peek(ahead int) rune {
	if l.pos+ahead < len(l.src) {
		return l.src[l.pos+ahead]
	}
	return 0
}

// take moves over n characters of this line and returns them.
func (l *lexer) take(n int) string {
	s := string(l.src[l.pos : l.pos+n])
	l.pos += n
	l.col += n
	return s
}

func (l *lexer) newline() {
	l.pos++
	l.line++
	l.col = 1
}

// skipBlanks moves over blanks, comments and continued line ends.
func (l *lexer) skipBlanks() bool {
	start := l.pos
	for {
		switch r := l.peek(0); {
		case r == ' ' || r == '\t' || r == '\r' && l.peek(1) == '\n':
			l.take(1)
		case r == '\\' && l.peek(1) == '\n':
			l.take(1)
			l.newline()
		case r == '#':
			for l.pos < len(l.src) && l.peek(0) != '\n' {
				l.take(1)
			}
		default:
			return l.pos > start
		}
	}
}

// next appends one token; false after the last.
func (l *lexer) next() bool {
	blank := l.skipBlanks()
	t := token{line: l.line, col: l.col, blank: blank || l.folded}
	if l.pos >= len(l.src) {
		l.out = append(l.out, t)
		return false
	}
	switch r := l.peek(0); {
	case r == '\n':
		l.newline()
		if l.endsLine() {
			t.kind = tSep
			l.out = append(l.out, t)
		} else {
			l.folded = true
		}
		return true
	case r == '\'' || r == '"':
		l.str(&t, r)
	case isDigit(r) || r == '-' && isDigit(l.peek(1)):
		l.number(&t)
	case isWord(r):
		l.word(&t)
	default:
		l.symbol(&t)
	}
	l.out = append(l.out, t)
	l.folded = false
	return true
}

// endsLine tells whether a newline here separates lines.
func (l *lexer) endsLine() bool {
	if l.open > 0 || len(l.out) == 0 {
		return false
	}
	switch l.out[len(l.out)-1].kind {
	case tSep, tAnd, tOr, tNot, tAndAnd, tOrOr, tBang, tComma:
		return false
	}
	return true
}

// assignment marks a refused =, for which the name before it is no mistake of
// its own.
type assignment struct{}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func isHex(r rune) bool { return isDigit(r) || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F' }

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) }

func (t *token) bad(format string, args ...any) {
	t.kind = tBad
	t.text = fmt.Sprintf(format, args...)
}

func (l *lexer) word(t *token) {
	n := 0
	for isWord(l.peek(n)) || isDigit(l.peek(n)) {
		n++
	}
	t.text = l.take(n)
	switch t.text {
	case "and":
		t.kind = tAnd
	case "or":
		t.kind = tOr
	case "not":
		t.kind = tNot
	case "nil":
		t.kind = tValue
	case "true", "false":
		t.kind = tBool
		t.val = t.text == "true"
	case "if", "unless", "then", "else", "elsif", "end", "case", "when", "while", "until", "for", "in",
		"do", "begin", "rescue", "ensure", "return", "next", "break", "def", "class", "module", "lambda", "proc", "yield":
		t.bad("Ruby's `%s` does not exist here; a script is checks joined by `and`, `or`, `not`", t.text)
	case "require", "load", "include":
		t.bad("`%s` does not exist here; the checks are built in, and command: in place of script: runs a program", t.text)
	default:
		t.kind = tName
	}
}

func (l *lexer) number(t *token) {
	n := 1
	for isDigit(l.peek(n)) || l.peek(n) == '_' {
		n++
	}
	after := l.peek(n)
	text := l.take(n)
	digits := strings.TrimPrefix(text, "-")
	t.kind, t.text = tValue, "a number"
	switch {
	case isWord(after):
		t.bad("a letter follows the number; write numbers in decimal digits, and strings in quotes")
	case after == '.' && isDigit(l.peek(1)):
		t.bad("no check takes a fraction; write a whole number")
	case strings.HasSuffix(digits, "_") || strings.Contains(digits, "__"):
		t.bad("a stray _ in the number")
	case len(digits) > 1 && digits[0] == '0':
		t.bad("a leading 0 means octal in Ruby; write the number without it")
	default:
		v, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
		if err != nil {
			t.bad("the number is too large")
		}
		t.val = v
	}
}

// str reads a string with Ruby's rules for its kind of quote. After a mistake
// inside it reads on to the closing quote.
func (l *lexer) str(t *token, quote rune) {
	t.kind, t.text = tValue, "a string"
	l.take(1)
	var b strings.Builder
	refuse := func(line, col int, format string, args ...any) {
		if t.kind != tBad {
			t.bad(format, args...)
			t.line, t.col = line, col
		}
	}
	for {
		r := l.peek(0)
		switch {
		case l.pos >= len(l.src) || r == '\n':
			// This one counts more than what may be wrong inside.
			t.kind = tValue
			refuse(t.line, t.col, "the string is not closed; end it with %c on the same line", quote)
			return
		case r == quote:
			l.take(1)
			t.val = b.String()
			return
		case r == '\\':
			e := l.peek(1)
			switch {
			case e == '\\' || e == quote:
				b.WriteRune(e)
				l.take(2)
			case quote == '\'':
				b.WriteRune(r) // Ruby keeps it, too
				l.take(1)
			case e == 'n' || e == 'r' || e == 't' || e == '#':
				b.WriteRune(map[rune]rune{'n': '\n', 'r': '\r', 't': '\t', '#': '#'}[e])
				l.take(2)
			case e == 'x' && isHex(l.peek(2)) && isHex(l.peek(3)):
				octet, _ := strconv.ParseUint(string([]rune{l.peek(2), l.peek(3)}), 16, 8) // the digits were looked at
				b.WriteByte(byte(octet))
				l.take(4)
			case e == '\n' || e == 0:
				l.take(1) // the string is not closed
			default:
				refuse(l.line, l.col, `the escape \%c does not exist here; in "" there are \n \r \t \x0d \" \\ \#`, e)
				l.take(2)
			}
		case quote == '"' && r == '#' && strings.ContainsRune("{$@", l.peek(1)) && l.peek(1) != 0:
			refuse(l.line, l.col, "nothing is filled into strings, so #%c does not work; write the value itself, or use ' for a string with this very text", l.peek(1))
			l.take(2)
		case unicode.IsControl(r) && r != '\t':
			refuse(l.line, l.col, "the control character %U cannot stand here", r)
			l.take(1)
		default:
			b.WriteRune(r)
			l.take(1)
		}
	}
}

// symbol reads everything that is not a word, a number or a string.
func (l *lexer) symbol(t *token) {
	r, after := l.peek(0), l.peek(1)
	pair := func(k kind) {
		t.kind = k
		t.text = l.take(2)
	}
	single := func(k kind) {
		t.kind = k
		t.text = l.take(1)
	}
	switch {
	case r == '&' && after == '&':
		pair(tAndAnd)
		return
	case r == '|' && after == '|':
		pair(tOrOr)
		return
	case r == '!' && after != '=' && after != '~':
		single(tBang)
		return
	case r == '(':
		l.open++
		single(tOpen)
		return
	case r == '[':
		l.open++
		single(tOpenList)
		return
	case r == ')':
		l.open = max(0, l.open-1)
		single(tClose)
		return
	case r == ']':
		l.open = max(0, l.open-1)
		single(tCloseList)
		return
	case r == ',':
		single(tComma)
		return
	case r == ';' && l.open == 0:
		single(tSep)
		return
	}
	l.take(1)
	switch r {
	case ';':
		t.bad("`;` cannot stand between brackets; join checks with `and`")
	case '=', '!', '<', '>', '~':
		if r == '=' && after != '=' && after != '~' && after != '>' {
			t.bad("there are no variables, so nothing can be assigned; write the value into the call")
			t.val = assignment{}
			break
		}
		t.bad("nothing is compared here; a check is true or false by itself, and the values to expect are its arguments")
	case '$', '@':
		t.bad("there are no variables such as %cname; write the value itself", r)
	case '`':
		t.bad("backticks do not exist here; use command: in place of script: to run a program")
	case '{', '}':
		t.bad("there are no blocks and no hashes; write the arguments in their order")
	case '|':
		t.bad("`|` does not exist here; write `or`, or `||` between calls with parentheses")
	case '&':
		t.bad("`&` does not exist here; write `and`, or `&&` between calls with parentheses")
	case ':':
		t.bad("there are no symbols and no named arguments; write strings in quotes and the arguments in their order")
	case '.':
		t.bad("there are no methods and no ranges; name every value, as in [200, 201]")
	case '?':
		t.bad("`? :` does not exist here; join checks with `and`, `or`, `not`")
	case '%':
		t.bad("`%%` does not exist here; write strings in quotes and arrays as [200, 301]")
	case '+', '-', '*', '/', '^':
		t.bad("nothing is computed here; write the value itself")
	case '\\':
		t.bad("`\\` can only stand at the very end of a line that goes on in the next")
	case '‘', '’', '“', '”', '„', '«', '»':
		t.bad("%c is a typographic quote; write ' or \"", r)
	default:
		if unicode.IsPrint(r) {
			t.bad("%c cannot stand here", r)
			break
		}
		t.bad("the character %U cannot stand here", r)
	}
}
