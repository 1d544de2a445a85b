package config

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// huge are texts that would cost a careless reader its
// stack, its memory or the night.
func huge() map[string]string {
	const size = MaxSize / 8 // the race detector is slow
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	var laughs, steps strings.Builder
	laughs.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&laughs, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	steps.WriteString("a: &a {a: 1, b: 2, c: 3, d: 4, e: 5}\n")
	for i := range 2000 {
		fmt.Fprintf(&steps, "b%d: {<<: *a}\n", i)
	}
	var deep strings.Builder
	for i := 0; deep.Len()+i+3 < size; i++ {
		deep.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return map[string]string{
		"nothing":        "",
		"laughs":         laughs.String(),
		"merges":         steps.String(),
		"deep":           deep.String(),
		"brackets":       fill("["),
		"braces":         fill("{a: "),
		"closed":         strings.Repeat("[", size/2) + strings.Repeat("]", size/2),
		"dashes":         fill("- "),
		"questions":      fill("? "),
		"anchors":        fill("&a "),
		"tags":           fill("!a "),
		"aliases":        fill("*a "),
		"colons":         fill("a: "),
		"documents":      fill("a: 1\n---\n"),
		"same key":       fill("a: 1\n"),
		"blanks":         fill(" "),
		"lines":          fill("\n"),
		"quote":          "a: '" + fill("x")[8:],
		"escapes":        `a: "` + fill(`\n`)[8:] + `"`,
		"block":          "a: |\n" + fill("  x\n")[8:],
		"comments":       fill("#\n"),
		"names":          "alias: [" + fill("web, ")[16:] + "]",
		"bad names":      "alias: [" + fill("w b, ")[16:] + "]",
		"resolvers":      "resolver: " + fill("10.0.0.2,")[16:],
		"expressions":    "name-includes: " + fill("a,")[32:],
		"words":          "on-start: " + fill("a ")[32:],
		"commas":         "host: " + fill(",")[16:],
		"checks":         "health-check: {" + fill("a: {}, ")[32:] + "}",
		"script":         "alias: a\nhealth-check: {a: {script: '" + strings.Repeat("(", size/2) + "'}}",
		"one too many":   strings.Repeat("#", MaxSize+1),
		"unknown, long":  fill("x")[8:] + ": 1",
		"many long keys": strings.Repeat(strings.Repeat("gossip-por", 100)+": 1\n", size/1010),
	}
}

func TestHugeFiles(t *testing.T) {
	wants := map[string]string{
		"laughs":       "aliases (*) stand for more than 20000 values",
		"merges":       "aliases (*) stand for more than 20000 values",
		"brackets":     "nested more than 32 levels deep",
		"dashes":       "nested more than 32 levels deep",
		"deep":         "indented by more than 256 characters",
		"expressions":  "name-includes: more than 1000 entries",
		"documents":    "f:2:1: a second document begins here",
		"same key":     "f:5001:2: more than 5000 keys in one mapping",
		"bad names":    "too many mistakes: only the first 1000 are shown",
		"one too many": "f:1:1: larger than 1048576 octets",
	}
	for name, text := range huge() {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", []byte(text), testOptions())
			list, ok := err.(Errors)
			if !ok {
				t.Fatalf("got %v, want mistakes", err)
			}
			if len(list) > maxProblems+1 {
				t.Errorf("%d mistakes are shown", len(list))
			}
			for _, p := range list {
				if len(p.String()) > 1000 {
					t.Errorf("a message of %d octets: %.200s…", len(p.String()), p)
				}
			}
			if want := wants[name]; !strings.Contains(err.Error(), want) {
				t.Errorf("got %.300v, want %s", err, want)
			}
		})
	}
}

func TestAliasesWithinBounds(t *testing.T) {
	var w strings.Builder
	w.WriteString(minimal + "alias: [")
	for i := range 2000 {
		fmt.Fprintf(&w, "a%d, ", i)
	}
	w.WriteString("]\nhealth-check:\n  a0: &a {script: tcp_check 80, interval: 1}\n")
	for i := 1; i < 2000; i++ {
		fmt.Fprintf(&w, "  a%d: *a\n", i)
	}
	c, err := Parse("f", []byte(w.String()), testOptions())
	if err != nil || len(c.HealthChecks) != 2000 {
		t.Errorf("got %.300v", err)
	}
}

func TestNotAText(t *testing.T) {
	for text, want := range map[string]string{
		"port: 53\nhost: \xff":    "f:2:7: not UTF-8 (octet 0xff)",
		"port: 53\nhöst: \x00":    "f:2:7: control character U+0000 is not allowed",
		"a: 1\rb: 2":              "f:1:5: control character U+000D is not allowed",
		"a: \x1b[2J":              "f:1:4: control character U+001B is not allowed",
		"a: \u2028":               "f:1:4: control character U+2028 is not allowed",
		"\ufeffprot: 1\n":         `prot: unknown key, did you mean "port"?`,
		"a\ufeff: 1\n":            "f:1:2: control character U+FEFF is not allowed",
		"\xfe\xffp\x00o\x00r\x00": "f:1:1: not UTF-8 (octet 0xfe)",
	} {
		if _, err := Parse("f", []byte(text), testOptions()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// A mistake never shows the secret that stands in its line, whatever is wrong
// with the line.
func TestSecretsStayHidden(t *testing.T) {
	const secret = "xyzzy"
	for _, text := range []string{
		"auth-key: 'xyzzy", "auth-key: \"xyzzy\\q\"", "auth-key: [xyzzy", "auth-key: {xyzzy", "auth-key: xyzzy: 1",
		"auth-key:\n  - xyzzy\n - xyzzy", "auth-key: {a: xyzzy}", "auth-key: [[xyzzy]]", "auth-key: @xyzzy", "auth-key: %xyzzy",
		"auth-key: xyzzy\nauth-key: xyzzy", "auth-key: xyzzy\n  port: 1", "auth-key: |\nxyzzy", "auth-key: - xyzzy",
		"notification: {password: [xyzzy]}", "notification: {password: \"xyzzy\\n\"}", "notification: {password: xyzzy}",
		"notification:\n  password: xyzzy: a", "notification:\n  password: 'xyzzy", "aut-key: xyzzy", "pasword: xyzzy",
		"health-check: {a: {script: \"mysql_check 'root', 'xyzzy' 1\"}}", "health-check: {a: {script: 'xyzzy'' }}",
		"init-script: |\n  @options['auth-key'] = 'xyzzy'", "init-script: |\n  @options['password'] = xyzzy\n",
		"auth-key: !!xyz xyzzy", "auth-key: xyzzy", "auth-key: [xyzzy, onion]",
	} {
		if _, err := Parse("f", []byte(text), testOptions()); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", text, err)
		}
	}
	c, err := Parse("f", []byte("host: 10.0.0.1\nauth-key: "+secret), testOptions())
	if err != nil || len(c.Warnings) == 0 || strings.Contains(strings.Join(c.Warnings, ""), secret) {
		t.Errorf("%v %v", c, err)
	}
}

// Every character of a scalar that can be found in the file is found there.
func TestPlaceOfCharacters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-zü(,]([a-zü(,. ]{0,9}[a-zü(,.])?`)
		rows := rapid.SliceOfN(word, 1, 4).Draw(t, "rows")
		pad := strings.Repeat(" ", rapid.IntRange(1, 5).Draw(t, "indent"))
		empty := strings.Repeat("\n", rapid.IntRange(0, 2).Draw(t, "empty lines"))
		style := rapid.SampledFrom([]string{"plain", "single", "double", "block"}).Draw(t, "style")
		lead := strings.Repeat("# ü\n", rapid.IntRange(0, 2).Draw(t, "comments"))
		var text string
		switch style {
		case "plain":
			text = lead + "über: " + rows[0] + " # ü\n"
		case "single":
			text = lead + "über:  '" + rows[0] + "'\n"
		case "double":
			text = lead + "über:  \"" + rows[0] + "\"\n"
		case "block":
			text = lead + "über: | # ü\n" + empty + indented(pad, strings.Join(rows, "\n"))
		}
		src := newSource("f", 0, []byte(text))
		var r report
		root := r.parse(src, []byte(text))
		if root == nil {
			t.Fatalf("%q: %v", text, r.errors())
		}
		n := root.get("über")
		for offset, c := range n.text {
			if c == '\n' {
				continue
			}
			p := n.at(offset)
			line := []rune(src.line(p.line))
			if p.col < 1 || p.col > len(line) || line[p.col-1] != c {
				t.Fatalf("%q: character %d of %q (%q) is said to be at %d:%d", text, offset, n.text, c, p.line, p.col)
			}
		}
	})
}

// What an init-script reads is the file: written out and read back, the tree
// is the same.
func TestEncodeReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawMapping(t, 3)
		text := encode(n)
		var r report
		back := r.parse(newSource("f", 0, []byte(text)), []byte(text))
		if back == nil || len(r.problems) > 0 {
			t.Fatalf("%s\n%v", text, r.errors())
		}
		if got, want := show(back), show(n); got != want {
			t.Fatalf("%s\ngot  %s\nwant %s", text, got, want)
		}
	})
}

func drawMapping(t *rapid.T, depth int) *node {
	n := &node{kind: mapping}
	for _, key := range rapid.SliceOfNDistinct(drawText(), 0, 4, func(s string) string { return s }).Draw(t, "keys") {
		n.fields = append(n.fields, field{&node{kind: scalar, text: key, style: quotedStyle}, drawNode(t, depth-1)})
	}
	return n
}

func drawText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.StringMatching(`[ -~]{0,8}`), rapid.String().Filter(func(s string) bool {
		return utf8.ValidString(s) && !strings.ContainsRune(s, 0xfffd)
	}), rapid.SampledFrom([]string{"", "~", "yes", "- a", "a: b", "# x", "a\nb\n", "\n", " a ", "\u2028", "\x7f", "<<", "%", "null", "0x1"}))
}

func drawNode(t *rapid.T, depth int) *node {
	kinds := []kind{null, scalar}
	if depth > 0 {
		kinds = append(kinds, sequence, mapping)
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case scalar:
		text := drawText().Draw(t, "text")
		if plainText.MatchString(text) && text != "null" && rapid.Bool().Draw(t, "plain") {
			return &node{kind: scalar, text: text, style: plainStyle}
		}
		return &node{kind: scalar, text: text, style: quotedStyle}
	case sequence:
		n := &node{kind: sequence}
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			n.items = append(n.items, drawNode(t, depth-1))
		}
		return n
	case mapping:
		return drawMapping(t, depth)
	}
	return &node{kind: null}
}

// show writes a tree without its places.
func show(n *node) string {
	switch n.kind {
	case scalar:
		return fmt.Sprintf("%q", n.text)
	case sequence:
		var parts []string
		for _, item := range n.items {
			parts = append(parts, show(item))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case mapping:
		var parts []string
		for _, f := range n.fields {
			parts = append(parts, show(f.key)+":"+show(f.value))
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	return "-"
}
