package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// value is a node with the dotted path that leads to it.
type value struct {
	*node
	key   string
	keyAt place // of its key; the zero place for an entry of a sequence
}

// entry gives a node of a sequence as a value of the sequence's key.
func (v value) entry(n *node) value { return value{node: n, key: v.key} }

// item is a text within a value: an entry of a list, or the whole.
type item struct {
	*node
	key    string
	text   string
	offset int // of text in the node's text
}

// in gives the place of an octet of the item.
func (i item) in(offset int) place { return i.at(i.offset + offset) }

// key is one key that a mapping may have, and how its value is read into T.
// A null value never gets there: `name-excludes:` with nothing behind it is as
// good as a line left out.
type key[T any] struct {
	name string
	read func(l *loader, v value, into *T)
}

// names lists the keys, for suggestions.
func names[T any](keys []key[T]) []string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.name
	}
	return list
}

// readKeys reads a mapping, reports unknown keys and gives what was there.
func readKeys[T any](l *loader, v value, keys []key[T], into *T) map[string]value {
	there := map[string]value{}
	known := map[string]key[T]{}
	for _, k := range keys {
		known[k.name] = k
	}
	for _, f := range v.fields {
		path := join(v.key, f.key.text)
		k, ok := known[f.key.text]
		switch {
		case l.full():
			return there
		case !ok:
			l.problem(f.key.place, path, "unknown key%s", meant(f.key.text, names(keys)))
		case f.value.kind == null:
		default:
			there[k.name] = value{f.value, path, f.key.place}
			if f.value.kind != broken {
				k.read(l, there[k.name], into)
			}
		}
	}
	return there
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// wrong reports a value that is not what its key wants.
func (l *loader) wrong(v value, expected string) {
	if v.kind == broken {
		return
	}
	l.problem(v.place, v.key, "expected %s, found %s", expected, v.what())
}

// textOf gives a scalar without blanks around it.
func (l *loader) textOf(v value, expected string) (string, bool) {
	if l.describes(func() shape { return textShape() }) {
		return "", false
	}
	if v.kind != scalar {
		l.wrong(v, expected)
		return "", false
	}
	return strings.TrimSpace(v.text), true
}

// integer reads a whole number from lo to hi.
func integer[T ~int | ~int64 | ~uint16 | ~uint32](l *loader, v value, lo, hi T, into *T) {
	if l.describes(func() shape { return integerShape(int64(lo), int64(hi)) }) {
		return
	}
	expected := fmt.Sprintf("a whole number %d…%d", lo, hi)
	if int64(hi) == math.MaxInt32 && int64(lo) <= 1 {
		expected = fmt.Sprintf("a whole number, %d or more", lo)
	}
	text, ok := l.textOf(v, expected)
	if !ok {
		return
	}
	n, ok := parseInteger(text)
	if !ok || n < int64(lo) || n > int64(hi) {
		l.wrong(v, expected)
		return
	}
	*into = T(n)
}

var decimal = regexp.MustCompile(`^[+-]?(0|[1-9][0-9]{0,17})$`)

// parseInteger reads decimal digits. Neither 0x35 nor 053 is taken: what the
// latter means, 43 or 53, has changed between the versions of YAML.
func parseInteger(text string) (int64, bool) {
	if !decimal.MatchString(text) {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

var seconds = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$`)

// duration reads seconds (5, 0.3) or a Go duration (250ms) from lo to hi.
func (l *loader) duration(v value, lo, hi time.Duration, into *time.Duration) {
	if l.describes(func() shape { return durationShape(lo, hi) }) {
		return
	}
	expected := fmt.Sprintf("seconds or a duration such as 250ms, %s…%s", inSeconds(lo), inSeconds(hi))
	text, ok := l.textOf(v, expected)
	if !ok {
		return
	}
	if seconds.MatchString(text) {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < lo || d > hi {
		l.wrong(v, expected)
		return
	}
	*into = d
}

// inSeconds writes a duration that is not negative as the file would have it,
// to the nanosecond: what a float makes of 2.345 is another number.
func inSeconds(d time.Duration) string {
	text := fmt.Sprintf("%d.%09d", d/time.Second, d%time.Second)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// boolean reads true and false, and the other words that the original's YAML
// took for them.
func (l *loader) boolean(v value, into *bool) {
	if l.describes(func() shape { return booleanShape() }) {
		return
	}
	const expected = "true or false"
	text, ok := l.textOf(v, expected)
	if !ok {
		return
	}
	switch strings.ToLower(text) {
	case "true", "yes", "on":
		*into = true
	case "false", "no", "off":
		*into = false
	default:
		l.wrong(v, expected)
	}
}

// choice reads one of some words, in any case. It gives the word's place in the
// list, -1 after reporting that it is none of them.
func (l *loader) choice(v value, words ...string) int {
	if l.describes(func() shape { return choiceShape(words) }) {
		return -1
	}
	expected := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	text, ok := l.textOf(v, expected)
	if !ok {
		return -1
	}
	for i, w := range words {
		if strings.EqualFold(w, text) {
			return i
		}
	}
	l.problem(v.place, v.key, "expected %s, found %s%s", expected, v.what(), meant(text, words))
	return -1
}

// list reads `a, b, c` or a sequence. Empty entries of the former are skipped,
// as the original did.
func (l *loader) list(v value, expected string) []item {
	return l.entries(v, expected, func(text string) []int { return commas(text, false) })
}

// entries reads a list whose texts are divided at the octets that divide gives,
// or a sequence of whole texts.
func (l *loader) entries(v value, expected string, divide func(string) []int) []item {
	if l.describes(func() shape { return listShape() }) {
		return nil
	}
	var list []item
	switch v.kind {
	case scalar:
		from := 0
		for _, to := range append(divide(v.text), len(v.text)) {
			part := v.text[from:to]
			if text := strings.TrimSpace(part); text != "" {
				list = append(list, item{v.node, v.key, text, from + strings.Index(part, text)})
			}
			from = to + 1
		}
	case sequence:
		for _, n := range v.items {
			text := strings.TrimSpace(n.text)
			if n.kind != scalar || text == "" {
				l.wrong(v.entry(n), expected)
				continue
			}
			list = append(list, item{n, v.key, text, strings.Index(n.text, text)})
		}
	default:
		l.wrong(v, expected+", or several")
	}
	if len(list) > maxEntries {
		l.problem(v.place, v.key, "more than %d entries", maxEntries)
		return nil
	}
	return list
}

// maxEntries bounds a list. No list here is meant to be long: each of its
// entries is gone through again and again while the daemon runs.
const maxEntries = 1000

// commas finds the commas that divide a list; with brackets, only those outside
// of (), [] and {}, which in a regular expression belong to it.
func commas(text string, brackets bool) []int {
	var at []int
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == ',' && depth == 0:
			at = append(at, i)
		case !brackets:
		case c == '\\':
			i++
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth = max(0, depth-1)
		}
	}
	return at
}

// path reads an absolute path. What the daemon's own directory is depends on
// who starts it, so a relative one would lead anywhere.
func (l *loader) path(v value, into *string) {
	if l.describes(func() shape { return pathShape() }) {
		return
	}
	const expected = "an absolute path"
	text, ok := l.textOf(v, expected)
	if !ok {
		return
	}
	if !strings.HasPrefix(text, "/") {
		l.wrong(v, expected)
		return
	}
	*into = text
}
