package config

import (
	"fmt"
	"regexp"
	"strings"
)

// encode writes a mapping as YAML, one line per scalar, for the standard input
// of an init-script: with aliases written out and comments gone, so that a
// script can do with grep and sed.
func encode(n *node) string {
	var w encoder
	if len(n.fields) == 0 {
		return "{}\n"
	}
	w.block(n, 0)
	return w.String()
}

// encoder writes YAML.
type encoder struct {
	strings.Builder
	// literal lets texts of several lines stand as such (|), for people.
	literal bool
}

func (w *encoder) block(n *node, indent int) {
	pad := strings.Repeat(" ", indent)
	for _, f := range n.fields {
		w.WriteString(pad + encodeScalar(f.key) + ":")
		w.value(f.value, indent)
	}
	for _, item := range n.items {
		w.WriteString(pad + "-")
		w.value(item, indent)
	}
}

// value writes what stands behind a colon or a dash, with the line end.
func (w *encoder) value(n *node, indent int) {
	switch {
	case n.kind == null:
		w.WriteString("\n")
	case n.kind == scalar && w.literal && n.style == blockStyle && literalText.MatchString(n.text):
		pad := strings.Repeat(" ", indent+2)
		w.WriteString(" |-\n" + pad + strings.ReplaceAll(n.text, "\n", "\n"+pad) + "\n")
	case n.kind == scalar:
		w.WriteString(" " + encodeScalar(n) + "\n")
	case n.kind == sequence && len(n.items) == 0:
		w.WriteString(" []\n")
	case n.kind == mapping && len(n.fields) == 0:
		w.WriteString(" {}\n")
	default:
		w.WriteString("\n")
		w.block(n, indent+2)
	}
}

// literalText is what can stand below | as it is: lines of printable characters
// that begin and end with no blank.
var literalText = regexp.MustCompile(`^([!-~]|[!-~][ -~]*[!-~])(\n([!-~]|[!-~][ -~]*[!-~]))+$`)

// plainText is what needs no quotes if it had none before. It leaves out much
// that would need none either.
var plainText = regexp.MustCompile(`^[A-Za-z0-9_/.^]([A-Za-z0-9_/.,@^\\*+() -]*[A-Za-z0-9_/.,@^\\*+()-])?$`)

func encodeScalar(n *node) string {
	if n.style == plainStyle && plainText.MatchString(n.text) {
		return n.text
	}
	var w strings.Builder
	w.WriteByte('"')
	for _, c := range n.text {
		switch {
		case c == '"' || c == '\\':
			w.WriteRune('\\')
			w.WriteRune(c)
		case c == '\n':
			w.WriteString(`\n`)
		case c == '\t':
			w.WriteString(`\t`)
		case c < ' ', c >= 0x7f && c < 0xa0, c == '\u2028', c == '\u2029', c == '\ufeff':
			fmt.Fprintf(&w, `\u%04X`, c)
		default:
			w.WriteRune(c)
		}
	}
	w.WriteByte('"')
	return w.String()
}
