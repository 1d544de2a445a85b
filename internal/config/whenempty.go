package config

import "regexp"

// Emptiness is what is answered for a name that has no Active record.
type Emptiness uint8

// The policies, in the order of their names below.
const (
	NoData   Emptiness = iota // nothing
	LastGood                  // what was Active last
	FailOpen                  // all records
)

var emptinessNames = [...]string{NoData: "nodata", LastGood: "last-good", FailOpen: "all"}

// String gives the word that the file has for it.
func (e Emptiness) String() string { return emptinessNames[e] }

// WhenEmpty is the policy of names that match an expression.
type WhenEmpty struct {
	// Destination is as in Balance.
	Destination *regexp.Regexp
	Answer      Emptiness
}

func (l *loader) whenEmpty(v value, c *Config) {
	if l.describes(func() shape { return named(choiceShape(emptinessNames[:])) }) {
		return
	}
	if v.kind != mapping {
		l.wrong(v, "a mapping from destination to nodata, last-good or all")
		return
	}
	for _, f := range v.fields {
		if l.full() {
			return
		}
		path := join(v.key, f.key.text)
		w := WhenEmpty{Destination: l.regexp(item{f.key, path, f.key.text, 0})}
		if i := l.choice(value{f.value, path, f.key.place}, emptinessNames[:]...); i >= 0 {
			w.Answer = Emptiness(i)
		}
		c.WhenEmpty = append(c.WhenEmpty, w)
	}
}

// whenEmptyNode writes what whenEmpty reads.
func whenEmptyNode(c *Config) *node {
	m := &node{kind: mapping}
	for _, w := range c.WhenEmpty {
		m.fields = append(m.fields, field{text(written(w.Destination)), text(w.Answer.String())})
	}
	return m
}
