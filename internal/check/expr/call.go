package expr

import (
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Call is one check with its arguments: one for each parameter of its
// signature, of the parameter's type, defaults filled in.
type Call struct {
	Name string
	sig  *Signature
	args []any
}

// Value gives the argument for the named parameter: nil, a bool, an int, a
// string or an []any. A name that the signature does not have is a mistake of the
// program and panics.
func (c Call) Value(param string) any {
	if c.sig != nil {
		for i, p := range c.sig.Params {
			if p.Name == param {
				return c.args[i]
			}
		}
	}
	panic(fmt.Sprintf("expr: %s has no parameter %s", c.Name, param))
}

// Int gives an argument of type Port, or of another one of integers that is not
// nil.
func (c Call) Int(param string) int { return c.Value(param).(int) }

// Text gives an argument of type Text, Host, Path or Role; nil is "".
func (c Call) Text(param string) string {
	s, _ := c.Value(param).(string)
	return s
}

// Ints gives an argument of type Statuses.
func (c Call) Ints(param string) []int {
	list := c.Value(param).([]any)
	ints := make([]int, len(list))
	for i, v := range list {
		ints[i] = v.(int)
	}
	return ints
}

// Bool gives an argument of type Bool.
func (c Call) Bool(param string) bool { return c.Value(param).(bool) }

// Regexp gives an argument of type Regexp, which compiled when the script was
// parsed.
func (c Call) Regexp(param string) *regexp.Regexp {
	return regexp.MustCompile(c.Value(param).(string))
}

// Secrets gives the arguments that nobody may read in a log, without those of
// less than four octets: to take such a one out of a text leaves no text.
func (c Call) Secrets() []string {
	var secrets []string
	if c.sig != nil {
		for i, p := range c.sig.Params {
			if s, _ := c.args[i].(string); p.Secret && len(s) >= 4 {
				secrets = append(secrets, s)
			}
		}
	}
	return secrets
}

// At gives the call as it is for a service on another host: a host that is this
// one, by default or by its address, is replaced.
func (c Call) At(host string) Call {
	if c.sig == nil {
		return c
	}
	for i, p := range c.sig.Params {
		if p.Type == Host && c.args[i] == localhost {
			c.args = slices.Clone(c.args)
			c.args[i] = host
		}
	}
	return c
}

// String writes the call without parentheses, without arguments that only
// repeat a default and with *** for secrets: for logs and errors.
func (c Call) String() string {
	w := writer{hide: true}
	c.write(&w)
	return w.String()
}

// String gives the canonical text, one check or chain of checks per line,
// which parses to the same script. It holds the passwords of the script: it is
// for files. Logs take the script itself, see [Script.LogValue].
func (s *Script) String() string {
	var w writer
	s.write(&w)
	return w.String()
}

// LogValue gives the text with *** for secrets.
func (s *Script) LogValue() slog.Value {
	w := writer{hide: true}
	s.write(&w)
	return slog.StringValue(w.String())
}

func (s *Script) write(w *writer) {
	for i, n := range s.lines {
		if i > 0 {
			w.WriteByte('\n')
		}
		n.write(w)
	}
}

type writer struct {
	strings.Builder
	hide bool // *** for secrets
}

// operand writes n so that it can stand between and, or and after not.
func (w *writer) operand(n node) {
	if _, ok := n.(*chain); !ok {
		n.write(w)
		return
	}
	w.WriteByte('(')
	n.write(w)
	w.WriteByte(')')
}

func (b literal) write(w *writer) { w.WriteString(strconv.FormatBool(bool(b))) }

func (n *negation) write(w *writer) {
	// The blank matters: `not(x)` is another rule than `not (x)`.
	w.WriteString("not ")
	w.operand(n.of)
}

func (c *chain) write(w *writer) {
	w.operand(c.first)
	for _, l := range c.rest {
		if l.or {
			w.WriteString(" or ")
		} else {
			w.WriteString(" and ")
		}
		w.operand(l.term)
	}
}

func (c Call) write(w *writer) {
	w.WriteString(c.Name)
	if c.sig == nil {
		return
	}
	n := len(c.args)
	for n > 0 && !c.sig.Params[n-1].Required && reflect.DeepEqual(c.args[n-1], c.sig.Params[n-1].Default) {
		n--
	}
	for i, v := range c.args[:n] {
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteByte(' ')
		if w.hide && c.sig.Params[i].Secret && v != nil {
			v = "***"
		}
		writeValue(&w.Builder, v)
	}
}

var single = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// needsEscape tells whether a character cannot stand in a string as it is.
// Octets that are no UTF-8 come as utf8.RuneError of size 1.
func needsEscape(r rune, size int) bool {
	return unicode.IsControl(r) || r == utf8.RuneError && size == 1
}

// writeString uses the quotes in which less has to be escaped.
func writeString(b *strings.Builder, s string) {
	plain := true
	for i := 0; i < len(s) && plain; {
		r, size := utf8.DecodeRuneInString(s[i:])
		plain = !needsEscape(r, size)
		i += size
	}
	if plain {
		b.WriteString(`'` + single.Replace(s) + `'`)
		return
	}
	b.WriteByte('"')
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\\' || r == '"' || r == '#':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case needsEscape(r, size):
			for _, octet := range []byte(s[i : i+size]) {
				fmt.Fprintf(b, `\x%02x`, octet)
			}
		default:
			b.WriteRune(r)
		}
		i += size
	}
	b.WriteByte('"')
}

func writeValue(b *strings.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("nil")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int:
		b.WriteString(strconv.Itoa(v))
	case string:
		writeString(b, v)
	case []any:
		b.WriteByte('[')
		for i, one := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			writeValue(b, one)
		}
		b.WriteByte(']')
	}
}
