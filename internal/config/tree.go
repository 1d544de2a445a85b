package config

import (
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// kind is what a node of the tree is.
type kind uint8

const (
	null kind = iota
	scalar
	sequence
	mapping
	broken // reported already; nobody asks further
)

// node is a value of the file that knows its place. Scalars are texts: what
// they mean is for the key to say, so `port: 53` and `port: "53"` are the same,
// and a password of digits stays as it was written.
type node struct {
	place
	kind   kind
	text   string // of a scalar
	style  style
	items  []*node // of a sequence
	fields []field // of a mapping, in the order of the file, keys once each
	size   int     // nodes in it, aliases written out
}

// style is how a scalar was written; it tells where its characters stand.
type style uint8

const (
	plainStyle  style = iota // a: text
	quotedStyle              // a: "text"
	blockStyle               // a: | and lines below
	foldedStyle              // a: > and lines below
)

// field is one key of a mapping with its value.
type field struct {
	key   *node
	value *node
}

// get gives the value of a key, nil if it has none or null.
func (n *node) get(key string) *node {
	for _, f := range n.fields {
		if f.key.text == key && f.value.kind != null {
			return f.value
		}
	}
	return nil
}

// what names the kind for a message.
func (n *node) what() string {
	switch n.kind {
	case scalar:
		return quote(n.text)
	case sequence:
		return "a sequence"
	case mapping:
		return "a mapping"
	}
	return "nothing"
}

// at gives the place of the octet at offset of a scalar's text; for texts that
// YAML has put together (folded, escaped, of several lines) that of the whole.
func (n *node) at(offset int) place {
	p := n.place
	if n.kind != scalar || offset < 0 || offset > len(n.text) {
		return p
	}
	before := n.text[:offset]
	switch n.style {
	case blockStyle:
		// The end of a block is that of its last line, not the line below.
		before = before[:min(offset, len(strings.TrimRight(n.text, "\n")))]
		if before == "" && strings.Trim(n.text, "\n") == "" {
			break
		}
		row := strings.Count(before, "\n")
		inRow := before[strings.LastIndexByte(before, '\n')+1:]
		p.line += 1 + row
		p.col = 1 + n.indent() + utf8.RuneCountInString(inRow)
	case plainStyle, quotedStyle:
		skip := 0
		if n.style == quotedStyle {
			skip = 1
		}
		if skip+offset > 0 && strings.HasPrefix(from(n.src.line(p.line), p.col+skip), n.text) {
			p.col += skip + utf8.RuneCountInString(before)
		}
	}
	return p
}

// from gives the rest of a line from a column on.
func from(line string, col int) string {
	for i := range line {
		if col--; col == 0 {
			return line[i:]
		}
	}
	return ""
}

// indent is how far the lines of a block stand from the left, in characters.
func (n *node) indent() int {
	for i, row := range strings.Split(n.text, "\n") {
		if kept := strings.TrimLeft(row, " "); kept != "" {
			line := n.src.line(n.line + 1 + i)
			return max(0, len(line)-len(strings.TrimLeft(line, " "))-(len(row)-len(kept)))
		}
	}
	return 0
}

// maxAliased bounds what aliases (*name) may add to a tree, in nodes. Without a
// bound a file of a hundred lines can mean more values than memory has
// (the billion laughs).
const maxAliased = 20_000

// builder turns the parser's tree into ours: tags refused, anchors and merge
// keys resolved, keys checked for being texts and for standing there once.
type builder struct {
	*report
	src     *source
	anchors map[string]*node
	aliased int
}

func (b *builder) placeOf(n ast.Node) place {
	p := place{src: b.src, line: 1, col: 1}
	if n == nil {
		return p
	}
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		return b.placeOf(m.Values[0].Key) // its own token is a colon
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		p.line, p.col = max(t.Position.Line, 1), max(t.Position.Column, 1)
	}
	return p
}

// build never gives nil: what cannot be is reported and becomes broken. The
// path is that of the key to which the node belongs.
func (b *builder) build(n ast.Node, path string) *node {
	out := &node{place: b.placeOf(n), size: 1}
	switch n := n.(type) {
	case nil, *ast.NullNode:
	case *ast.StringNode:
		out.kind, out.text = scalar, n.Value
		if n.Token != nil && n.Token.Indicator == token.QuotedScalarIndicator {
			out.style = quotedStyle
		}
	case *ast.LiteralNode:
		out.kind, out.style = scalar, foldedStyle
		if n.Start != nil && strings.HasPrefix(n.Start.Value, "|") {
			out.style = blockStyle
		}
		if n.Value != nil {
			out.text = n.Value.Value
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		out.kind, out.text = scalar, n.GetToken().Value
	case *ast.SequenceNode:
		out.kind = sequence
		for _, v := range n.Values {
			item := b.build(v, path)
			out.items = append(out.items, item)
			out.size += item.size
		}
	case *ast.MappingNode:
		out.kind = mapping
		b.fill(out, n.Values, path)
	case *ast.MappingValueNode:
		out.kind = mapping
		out.place = b.placeOf(n.Key)
		b.fill(out, []*ast.MappingValueNode{n}, path)
	case *ast.AnchorNode:
		out = b.build(n.Value, path)
		b.anchors[tokenText(n.Name)] = out
	case *ast.AliasNode:
		return b.alias(n, out, path)
	case *ast.TagNode:
		out.kind = broken
		b.problem(out.place, path, "tag %s is not supported: write the value without it", quote(n.Start.Value))
	default:
		out.kind = broken
		b.problem(out.place, path, "a %s is not expected here", strings.ToLower(n.Type().String()))
	}
	return out
}

func (b *builder) alias(n *ast.AliasNode, out *node, path string) *node {
	out.kind = broken
	name := tokenText(n.Value)
	target, ok := b.anchors[name]
	switch {
	case !ok:
		// Also an alias inside of what its anchor marks: that never ends.
		b.problem(out.place, path, "*%s: no anchor &%s stands before it; put a text that begins with * in quotes", printableKey(name), printableKey(name))
		return out
	case !b.spend(out.place, path, target.size):
		return out
	}
	return target
}

// spend counts nodes that an alias or a merge key adds, and refuses beyond the
// bound.
func (b *builder) spend(at place, path string, size int) bool {
	if b.aliased > maxAliased {
		return false // said before
	}
	if b.aliased += size; b.aliased > maxAliased {
		b.problem(at, path, "aliases (*) stand for more than %d values: write them out", maxAliased)
		return false
	}
	return true
}

// fill reads the fields of a mapping. Merged keys come last, so that the
// mapping's own win.
func (b *builder) fill(out *node, values []*ast.MappingValueNode, path string) {
	own := map[string]*node{}
	var merges []*node
	for _, v := range values {
		if v.Key.IsMergeKey() {
			merges = append(merges, b.build(v.Value, path))
			continue
		}
		key := b.key(v.Key, path)
		if key == nil {
			continue
		}
		here := join(path, key.text)
		value := b.build(v.Value, here)
		out.size += 1 + value.size
		if first, twice := own[key.text]; twice {
			b.problem(key.place, here, "given twice: it is already at line %d", first.line)
			continue
		}
		own[key.text] = key
		out.fields = append(out.fields, field{key, value})
	}
	for _, m := range merges {
		b.merge(out, own, m, path)
	}
}

// key gives a key as a scalar, nil after reporting that it is none.
func (b *builder) key(n ast.Node, path string) *node {
	if k, ok := n.(*ast.MappingKeyNode); ok { // ? key
		n = k.Value
	}
	key := b.build(n, path)
	if key.kind == null && n != nil && n.Type() == ast.NullType {
		key.kind, key.text = scalar, n.GetToken().Value
	}
	if key.kind != scalar {
		b.problem(key.place, path, "a key must be a plain word")
		return nil
	}
	return key
}

// merge adds what `<<: *a` or `<<: [*a, *b]` gives and the mapping lacks.
func (b *builder) merge(out *node, own map[string]*node, from *node, path string) {
	switch from.kind {
	case broken:
	case sequence:
		for _, item := range from.items {
			b.merge(out, own, item, path)
		}
	case mapping:
		if !b.spend(from.place, path, from.size) {
			return
		}
		for _, f := range from.fields {
			if _, there := own[f.key.text]; there {
				continue
			}
			own[f.key.text] = f.key
			out.fields = append(out.fields, f)
			out.size += 1 + f.value.size
		}
	default:
		b.problem(from.place, join(path, "<<"), "expected a mapping, found %s", from.what())
	}
}

// tokenText gives the name of an anchor or an alias.
func tokenText(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return ""
	}
	return n.GetToken().Value
}
