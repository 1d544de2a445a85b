package config

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"
)

// The schema is made by the functions that read the file: each is asked to
// describe what it takes, in place of taking it, and says so by [loader.describes]
// before it does anything else. So a key's range stands in one place, and a key
// that cannot be described is found by a test.
//
// A schema knows less than the loader: nothing of names that refer to each other,
// of files, of expressions. What it refuses, the loader refuses, too; what it
// accepts may still be wrong.

// shape is a JSON Schema, or a part of one.
type shape map[string]any

// description is how a loader is asked to describe.
type description struct{ said shape }

// describes says whether the loader was asked what the value of a key may be, and
// not to read one. Only the first answer counts: who reads by means of another
// function may say more than that would.
func (l *loader) describes(s func() shape) bool {
	if l.asked == nil {
		return false
	}
	if l.asked.said == nil {
		l.asked.said = s()
	}
	return true
}

// Schema gives the JSON Schema of the file (draft 2020-12) without its
// descriptions: packaging/murakumo.schema.json has them, too.
func Schema() map[string]any {
	s := object(topKeys)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "murakumo.yml"
	// What is missing an init-script may supply.
	s["anyOf"] = []any{shape{"allOf": []any{has("auth-key"), has("host")}}, has("init-script")}
	s["not"] = shape{"allOf": []any{has("alias"), has("aliases")}}
	return s
}

// object describes a mapping with these keys. Keys with nothing behind them are
// as good as none.
func object[T any](keys []key[T]) shape {
	properties := shape{}
	nowhere := &node{place: place{unlined("", orderFile), 1, 1}, kind: broken}
	for _, k := range keys {
		l := &loader{asked: new(description)}
		var into T
		k.read(l, value{node: nowhere, key: k.name}, &into)
		if l.asked.said == nil {
			panic(fmt.Sprintf("key %s: the function that reads it does not begin with `if l.describes(…) { return }`", k.name))
		}
		properties[k.name] = orNothing(l.asked.said)
	}
	return shape{"type": "object", "properties": properties, "additionalProperties": false}
}

// with gives the shape with more said.
func (s shape) with(key string, value any) shape {
	s = maps.Clone(s)
	s[key] = value
	return s
}

// has describes an object with a key that has a value.
func has(key string) shape {
	return shape{"required": []any{key}, "properties": shape{key: shape{"not": shape{"type": "null"}}}}
}

// requiring gives an object that must have these keys.
func (s shape) requiring(keys ...string) shape { return s.with("allOf", having(keys)) }

// requiringOne gives an object that must have one of these keys.
func (s shape) requiringOne(keys ...string) shape {
	return s.with("anyOf", having(keys))
}

// requiringJustOne gives an object that must have one of these keys and no other
// of them.
func (s shape) requiringJustOne(keys ...string) shape {
	return s.with("oneOf", having(keys))
}

func having(keys []string) []any {
	list := make([]any, len(keys))
	for i, k := range keys {
		list[i] = has(k)
	}
	return list
}

func either(shapes ...shape) shape {
	list := make([]any, len(shapes))
	for i, s := range shapes {
		list[i] = s
	}
	return shape{"anyOf": list}
}

func orNothing(s shape) shape {
	if list, ok := s["anyOf"].([]any); ok && len(s) == 1 {
		return shape{"anyOf": append(list[:len(list):len(list)], shape{"type": "null"})}
	}
	return either(s, shape{"type": "null"})
}

// named describes a mapping from names of the file's own to s.
func named(s shape) shape {
	return shape{"type": "object", "additionalProperties": s}
}

// textShape describes what is no mapping and no sequence: a password of digits is a
// text, too.
func textShape() shape { return shape{"type": []any{"string", "number", "boolean"}} }

// filled describes a text that is not empty.
func filled() shape {
	return either(shape{"type": "string", "pattern": `\S`}, shape{"type": []any{"number", "boolean"}})
}

// patterned describes a text with a pattern. Blanks around it do not count.
func patterned(pattern string) shape {
	return shape{"type": "string", "pattern": `^\s*(` + pattern + `)\s*$`}
}

// oneOrMore describes an entry or a sequence of entries.
func oneOrMore(entry shape) shape {
	return either(entry, shape{"type": "array", "items": entry, "minItems": 1})
}

// listShape describes `a, b, c` or a sequence.
func listShape() shape {
	return either(textShape(), shape{"type": "array", "items": textShape(), "maxItems": maxEntries})
}

func integerShape(lo, hi int64) shape {
	return either(shape{"type": "integer", "minimum": lo, "maximum": hi}, patterned(`[+-]?[0-9]+`))
}

func durationShape(lo, hi time.Duration) shape {
	const unit = `(ns|us|µs|μs|ms|s|m|h)`
	const figure = `([0-9]+\.?[0-9]*|\.[0-9]+)`
	return either(
		shape{"type": "number", "minimum": lo.Seconds(), "maximum": hi.Seconds()},
		patterned(`[+-]?(`+figure+`|(`+figure+unit+`)+)`))
}

func booleanShape() shape {
	return either(shape{"type": "boolean"}, anyCase("true", "yes", "on", "false", "no", "off"))
}

// choiceShape names the words, for editors that offer them, and takes them in any
// case.
func choiceShape(words []string) shape {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	return either(shape{"enum": list}, anyCase(words...))
}

// anyCase describes words whose letters may be capital.
func anyCase(words ...string) shape {
	var w strings.Builder
	for i, word := range words {
		if i > 0 {
			w.WriteByte('|')
		}
		for _, c := range word {
			lower, upper := strings.ToLower(string(c)), strings.ToUpper(string(c))
			if lower == upper {
				w.WriteString(regexp.QuoteMeta(lower))
			} else {
				w.WriteString("[" + lower + upper + "]")
			}
		}
	}
	return patterned(w.String())
}

func pathShape() shape { return shape{"type": "string", "pattern": `^\s*/`} }

func commandShape() shape {
	return either(
		shape{"type": "string", "pattern": `\S`},
		shape{"type": "array", "items": textShape(), "minItems": 1})
}

// scriptShape describes an expression; what begins with a slash is a program.
func scriptShape() shape {
	return shape{"type": "string", "pattern": `^\s*[^/\s]`}
}
