package expr

import (
	"fmt"
	"slices"
)

// maxDepth bounds how deep brackets and negations nest. People need three;
// the parser and the evaluation recurse that deep, so it also keeps a file of
// a million brackets from eating the stack.
const maxDepth = 100

// Script is a parsed script. Its zero value is no script: it is never true.
type Script struct {
	lines []node // all must be true
}

// Parse reads a script. The error is a *[ParseError] with every mistake: at
// most one of grammar per line, and all wrong names and arguments.
func Parse(src string) (*Script, error) {
	p := &parser{toks: lex(src)}
	s := &Script{}
	for p.tok().kind != tEOF {
		if p.tok().kind == tSep {
			p.advance()
			continue
		}
		n, ok := p.statement()
		if ok {
			s.lines = append(s.lines, n)
			continue
		}
		for p.tok().kind != tSep && p.tok().kind != tEOF {
			p.advance()
		}
	}
	if len(s.lines) == 0 && len(p.errs) == 0 {
		p.fail(token{line: 1, col: 1}, "the script is empty; write a check such as `tcp_check 80`")
	}
	if len(p.errs) > 0 {
		slices.SortStableFunc(p.errs, func(a, b Error) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return nil, &ParseError{Errors: p.errs}
	}
	return s, nil
}

// A node is an expression: call, literal, negation or chain.
type node interface {
	eval(e *evaluation) (no, stop error)
	write(w *writer)
}

type literal bool

type negation struct{ of node }

// chain is terms joined by operators of equal rank, evaluated from left to
// right. It is flat, so that a long line is not a deep tree.
type chain struct {
	first node
	rest  []link
}

type link struct {
	or   bool // else and
	term node
}

type parser struct {
	toks  []token
	pos   int
	depth int
	errs  []Error
}

func (p *parser) tok() token { return p.toks[p.pos] }

func (p *parser) advance() token {
	t := p.toks[p.pos]
	if t.kind != tEOF {
		p.pos++
	}
	return t
}

// mistake notes an error after which parsing goes on.
func (p *parser) mistake(at token, format string, args ...any) {
	p.errs = append(p.errs, Error{at.line, at.col, fmt.Sprintf(format, args...)})
}

// fail notes an error of grammar; the rest of the line is not read. A token
// that the lexer refused speaks for itself.
func (p *parser) fail(at token, format string, args ...any) (node, bool) {
	if at.kind == tBad {
		p.mistake(at, "%s", at.text)
	} else {
		p.mistake(at, format, args...)
	}
	return nil, false
}

// found words a token for "…, found …".
func (t token) found() string {
	switch {
	case t.kind == tEOF:
		return "the end of the script"
	case t.kind == tSep && t.text == "":
		return "the end of the line"
	case t.kind == tValue && t.text != "nil":
		return t.text
	case t.kind == tName && lookup(t.text) == nil:
		return "a bare word" // not repeated: it may be a password without quotes
	}
	return "`" + clip(t.text) + "`"
}

func (p *parser) statement() (node, bool) {
	p.depth = 0 // a line that failed did not count back
	switch t := p.tok(); t.kind {
	case tAnd, tOr, tAndAnd, tOrOr, tComma:
		return p.fail(t, "a line cannot begin with `%s`; put it at the end of the line above", t.text)
	}
	n, ok := p.line()
	if !ok {
		return nil, false
	}
	switch t := p.tok(); t.kind {
	case tSep, tEOF:
		return n, true
	case tClose, tCloseList:
		return p.fail(t, "`%s` closes nothing", t.text)
	default:
		return p.fail(t, "expected `and`, `or` or the end of the line, found %s", t.found())
	}
}

func (p *parser) deeper(at token) bool {
	if p.depth++; p.depth > maxDepth {
		p.fail(at, "brackets and negations nest deeper than %d", maxDepth)
		return false
	}
	return true
}

// line = negated { ( "and" | "or" ) negated }
func (p *parser) line() (node, bool) {
	first, ok := p.negated()
	if !ok {
		return nil, false
	}
	var rest []link
	for p.tok().kind == tAnd || p.tok().kind == tOr {
		or := p.advance().kind == tOr
		n, ok := p.negated()
		if !ok {
			return nil, false
		}
		rest = append(rest, link{or, n})
	}
	return chained(first, rest), true
}

func chained(first node, rest []link) node {
	if len(rest) == 0 {
		return first
	}
	return &chain{first, rest}
}

// tight tells whether `not(` stands here, which Ruby reads as one operand;
// `not (` negates the whole rest up to and, or.
func (p *parser) tight() bool {
	return p.tok().kind == tNot && p.toks[p.pos+1].kind == tOpen && !p.toks[p.pos+1].blank
}

// negated = "not" negated | either
func (p *parser) negated() (node, bool) {
	if p.tok().kind != tNot || p.tight() {
		return p.either()
	}
	if !p.deeper(p.advance()) {
		return nil, false
	}
	defer func() { p.depth-- }()
	n, ok := p.negated()
	return &negation{n}, ok
}

// either = both { "||" both }
func (p *parser) either() (node, bool) {
	n, _, ok := p.joined(tOrOr, func() (node, string, bool) {
		return p.joined(tAndAnd, p.single)
	})
	return n, ok
}

// joined reads operands between op, which is && or ||. Each operand says,
// besides its node, which call without parentheses it ends in; such a call
// would take && and what follows as its argument, and Ruby allows none behind
// && at all.
func (p *parser) joined(op kind, operand func() (node, string, bool)) (node, string, bool) {
	first, bare, ok := operand()
	if !ok {
		return nil, "", false
	}
	var rest []link
	for p.tok().kind == op {
		t := p.tok()
		if bare != "" {
			p.fail(t, "`%s` would belong to the argument of %s; write %s(…) %s …, or use `%s`", t.text, bare, bare, t.text, word(op))
			return nil, "", false
		}
		p.advance()
		at := p.tok()
		var n node
		n, bare, ok = operand()
		if !ok {
			return nil, "", false
		}
		if bare != "" {
			p.fail(at, "after `%s` a check needs parentheses; write %s(…), or use `%s`", t.text, bare, word(op))
			return nil, "", false
		}
		rest = append(rest, link{op == tOrOr, n})
	}
	return chained(first, rest), bare, true
}

func word(op kind) string {
	if op == tOrOr {
		return "or"
	}
	return "and"
}

// single = "!" single | "(" line ")" | "not(" line ")" | "true" | "false" | call
func (p *parser) single() (_ node, bare string, ok bool) {
	switch t := p.tok(); {
	case t.kind == tBang:
		p.advance()
		if !p.deeper(t) {
			return nil, "", false
		}
		defer func() { p.depth-- }()
		n, bare, ok := p.single()
		return &negation{n}, bare, ok
	case t.kind == tOpen:
		n, ok := p.group()
		return n, "", ok
	case p.tight():
		p.advance()
		n, ok := p.group()
		return &negation{n}, "", ok
	case t.kind == tNot:
		p.fail(t, "`not` cannot stand here; write `!` between calls with parentheses")
	case t.kind == tBool:
		p.advance()
		return literal(t.val.(bool)), "", true
	case t.kind == tName:
		return p.call()
	case t.kind == tValue || t.kind == tOpenList:
		what := t.found()
		if t.kind == tOpenList {
			what = "an array"
		}
		p.fail(t, "%s is neither true nor false; write a check such as `tcp_check 80`", what)
	default:
		p.fail(t, "expected a check, found %s", t.found())
	}
	return nil, "", false
}

// group = "(" line ")"
func (p *parser) group() (node, bool) {
	open := p.advance()
	if !p.deeper(open) {
		return nil, false
	}
	defer func() { p.depth-- }()
	n, ok := p.line()
	if !ok {
		return nil, false
	}
	return n, p.closing(open, tClose, "`and`, `or`")
}

// closing moves over the bracket that closes open.
func (p *parser) closing(open token, k kind, others string) bool {
	t := p.tok()
	switch {
	case t.kind == k:
		p.advance()
		return true
	case t.kind == tEOF:
		p.fail(open, "this `%s` is never closed", open.text)
	default:
		closer := ")"
		if k == tCloseList {
			closer = "]"
		}
		p.fail(t, "expected %s or `%s` for the `%s` of line %d, column %d, found %s",
			others, closer, open.text, open.line, open.col, t.found())
	}
	return false
}

// argument is a value and where it stands.
type argument struct {
	at  token
	val any
}

// call = name [ "(" values ")" | values ]
func (p *parser) call() (_ node, bare string, ok bool) {
	name := p.advance()
	sig := lookup(name.text)
	if t := p.tok(); t.kind == tBad && t.val == (assignment{}) {
		p.fail(t, "")
		return nil, "", false
	}
	if sig == nil {
		p.mistake(name, "%s", unknown(name.text))
	}
	var args []argument
	switch t := p.tok(); {
	case t.kind == tOpen:
		if t.blank {
			// Ruby takes `f (1) && x` for `f((1) && x)`.
			bare = name.text
		}
		p.advance()
		args, ok = p.values(tClose)
		ok = ok && p.closing(t, tClose, "`,`")
	case startsValue(t.kind):
		bare = name.text
		args, ok = p.values(tSep)
	default:
		ok = true
	}
	if !ok {
		return nil, "", false
	}
	if sig == nil {
		return literal(false), bare, true // for the parser only: Parse fails
	}
	return p.bind(name, sig, args), bare, true
}

// startsValue tells whether a call without parentheses goes on here. A name, !
// or a refused character is no value, but the better message comes from there.
func startsValue(k kind) bool {
	switch k {
	case tValue, tBool, tOpenList, tName, tBang, tBad:
		return true
	}
	return false
}

// values reads values up to, not over, the closing token; tSep stands for the
// end of a call without parentheses.
func (p *parser) values(end kind) ([]argument, bool) {
	var args []argument
	for end == tSep || p.tok().kind != end {
		at := p.tok()
		v, ok := p.value()
		if !ok {
			return nil, false
		}
		args = append(args, argument{at, v})
		if p.tok().kind != tComma {
			break
		}
		p.advance()
	}
	return args, true
}

// value = string | integer | "[" values "]" | "nil" | "true" | "false"
func (p *parser) value() (any, bool) {
	t := p.advance()
	switch t.kind {
	case tValue, tBool:
		return t.val, true
	case tOpenList:
		if !p.deeper(t) {
			return nil, false
		}
		defer func() { p.depth-- }()
		args, ok := p.values(tCloseList)
		if !ok || !p.closing(t, tCloseList, "`,`") {
			return nil, false
		}
		list := make([]any, len(args))
		for i, a := range args {
			list[i] = a.val
		}
		return list, true
	case tName:
		if next := p.tok(); next.kind == tBad && !next.blank {
			t = next // name: and name.method have their own refusals
		}
		// Not repeated: it may be a password without quotes.
		p.fail(t, "expected a value, found a bare word; write a string in quotes")
	case tAndAnd, tOrOr, tBang, tNot, tOpen:
		p.fail(t, "expected a value, found `%s`; an argument is a plain value, not an expression", t.text)
	default:
		p.fail(t, "expected a value, found %s", t.found())
	}
	return nil, false
}

// bind matches arguments with the parameters of a check and fills in the
// defaults.
func (p *parser) bind(name token, sig *Signature, args []argument) node {
	if n := len(args); n < sig.required() || n > len(sig.Params) {
		at := name
		if n > len(sig.Params) {
			at = args[len(sig.Params)].at
		}
		p.mistake(at, "%s takes %s, got %d: %s", sig.Name, sig.count(), n, *sig)
	}
	c := Call{Name: sig.Name, sig: sig, args: make([]any, len(sig.Params))}
	for i, param := range sig.Params {
		if i >= len(args) {
			c.args[i] = param.Default
			continue
		}
		v := args[i].val
		c.args[i] = v
		if v == nil && !param.Required && param.Default == nil {
			continue
		}
		if why := param.Type.refuse(v); why != "" {
			or := ""
			if !param.Required && param.Default == nil {
				or = " or nil"
			}
			p.mistake(args[i].at, "%s: %s: expected %s%s; %s", sig.Name, param.Name, param.Type, or, why)
		}
	}
	return c
}
