package ec2

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
)

// maxDepth is more than EC2 nests: a reply of DescribeInstances has nine levels.
const maxDepth = 64

// A Node is one element of a reply. The methods of a nil Node say that there is
// nothing, so that paths into a reply need no checks on the way.
type Node struct {
	Name string
	Text string // of an element without elements inside
	Kids []*Node
}

// decode reads one document. It needs the whole of it: a reply that was cut off
// must not pass for a short list.
func decode(r io.Reader) (*Node, error) {
	d := xml.NewDecoder(r)
	var root *Node
	var open []*Node
	var texts [][]byte // of those; a text may come in many pieces, between comments
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && root != nil && len(open) == 0 {
			return root, nil
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			n := &Node{Name: token.Name.Local}
			switch {
			case len(open) > 0:
				parent := open[len(open)-1]
				parent.Kids = append(parent.Kids, n)
			case root != nil:
				return nil, errors.New("a second document follows the first")
			default:
				root = n
			}
			texts = append(texts, nil)
			if open = append(open, n); len(open) > maxDepth {
				return nil, fmt.Errorf("elements are nested deeper than %d", maxDepth)
			}
		case xml.EndElement:
			last := len(open) - 1
			if n := open[last]; len(n.Kids) == 0 { // otherwise blanks between elements
				n.Text = string(texts[last])
			}
			open, texts = open[:last], texts[:last]
		case xml.CharData:
			if last := len(open) - 1; last >= 0 {
				texts[last] = append(texts[last], token...)
			}
		}
	}
}

// Get follows a path of names and gives the first element there, nil if none.
func (n *Node) Get(path ...string) *Node {
	for _, name := range path {
		if n = n.kid(name); n == nil {
			return nil
		}
	}
	return n
}

func (n *Node) kid(name string) *Node {
	if n != nil {
		for _, k := range n.Kids {
			if k.Name == name {
				return k
			}
		}
	}
	return nil
}

// Str gives the text at a path, "" if there is none.
func (n *Node) Str(path ...string) string {
	if n = n.Get(path...); n == nil {
		return ""
	}
	return strings.TrimSpace(n.Text)
}

// Items gives the elements of the list at a path.
func (n *Node) Items(path ...string) []*Node {
	if n = n.Get(path...); n == nil {
		return nil
	}
	return n.Kids
}

// list says whether the element is one of EC2's lists, whose elements are all
// called item; Errors has Error elements.
func (n *Node) list() bool {
	for _, k := range n.Kids {
		if !strings.EqualFold(k.Name, "item") && (n.Name != "Errors" || k.Name != "Error") {
			return false
		}
	}
	return len(n.Kids) > 0
}

// value is the element as YAML and JSON have it, the way the original printed
// it: a list of items is a sequence, other elements are a mapping with the
// API's names in the API's order, text is a string, and an empty element is
// null.
func (n *Node) value() any {
	switch {
	case n.list():
		all := make([]any, len(n.Kids))
		for i, k := range n.Kids {
			all[i] = k.value()
		}
		return all
	case len(n.Kids) > 0:
		var all fields
		at := map[string]int{}
		for _, k := range n.Kids {
			// No reply has one name twice outside of a list. If one ever does,
			// nothing is dropped.
			if i, twice := at[k.Name]; twice {
				more, ok := all[i].Value.(twins)
				if !ok {
					more = twins{all[i].Value}
				}
				all[i].Value = append(more, k.value())
				continue
			}
			at[k.Name] = len(all)
			all = append(all, yaml.MapItem{Key: k.Name, Value: k.value()})
		}
		return all
	case strings.TrimSpace(n.Text) == "":
		return nil
	case strings.ContainsFunc(n.Text, func(r rune) bool { return r < ' ' }):
		return quoted(n.Text)
	}
	return n.Text
}

// quoted is a text that YAML gets between quotation marks: a tab in a plain one
// is legal, and lost by some who read it.
type quoted string

// MarshalYAML writes it as JSON does, which is YAML.
func (q quoted) MarshalYAML() ([]byte, error) { return json.Marshal(string(q)) }

// twins are the values of one name that came more than once.
type twins []any

// fields is a mapping that keeps its order.
type fields yaml.MapSlice

// MarshalYAML gives the mapping to the YAML library in its own form.
func (f fields) MarshalYAML() (any, error) { return yaml.MapSlice(f), nil }

// MarshalJSON writes the mapping in its order.
func (f fields) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, field := range f {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(field.Key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(field.Value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return []byte(b.String()), nil
}

// MarshalYAML and MarshalJSON print an element as what value gives, so that a
// slice of elements prints as EC2's list.
func (n *Node) MarshalYAML() (any, error) { return n.value(), nil }

// MarshalJSON is like MarshalYAML.
func (n *Node) MarshalJSON() ([]byte, error) { return json.Marshal(n.value()) }
