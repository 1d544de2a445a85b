package config

import (
	"math"
	"regexp"
	"slices"
	"strings"

	"murakumo/internal/balance"
)

// Balance is how the addresses of names that match an expression are ordered.
type Balance struct {
	// Destination does not mind case and searches anywhere in the name without
	// domain.
	Destination *regexp.Regexp
	Algorithm   balance.Algorithm
	MaxIPNum    int // 0: that of the configuration
	// Sources are names, in lower case and without domain, for the algorithms
	// that go by them; there is at least one then.
	Sources []string
}

// balancingKeys are the keys of one entry of balancing.
var balancingKeys = []key[Balance]{
	{"algorithm", func(l *loader, v value, b *Balance) {
		// -1 is none, of which it is not known whether it wants sources.
		b.Algorithm = balance.Algorithm(l.choice(v, balance.Names[:]...))
	}},
	{"max-ip-num", func(l *loader, v value, b *Balance) { integer(l, v, 1, math.MaxInt32, &b.MaxIPNum) }},
	{"sources", (*loader).sources},
}

// sources reads the names of those who ask.
func (l *loader) sources(v value, b *Balance) {
	for _, i := range l.list(v, "a name") {
		name, err := readName(i.text, l.suffix)
		if err != nil {
			l.problem(i.in(0), i.key, "%s", err)
		} else if !slices.Contains(b.Sources, name) {
			b.Sources = append(b.Sources, name)
		}
	}
	if len(b.Sources) == 0 && v.size == 1 && strings.Trim(v.text, ", \t") == "" {
		l.problem(v.place, v.key, "expected at least one name")
	}
}

func (l *loader) balancing(v value, c *Config) {
	if l.describes(func() shape { return named(orNothing(object(balancingKeys))) }) {
		return
	}
	if v.kind != mapping {
		l.wrong(v, "a mapping from destination to algorithm")
		return
	}
	for _, f := range v.fields {
		if l.full() {
			return
		}
		path := join(v.key, f.key.text)
		b := Balance{Destination: l.regexp(item{f.key, path, f.key.text, 0})}
		if f.value.kind != mapping && f.value.kind != null {
			l.wrong(value{f.value, path, f.key.place}, "a mapping")
			continue
		}
		there := readKeys(l, value{f.value, path, f.key.place}, balancingKeys, &b)
		sources, has := there["sources"]
		switch {
		case b.Algorithm.BySource() && !has:
			l.problem(f.key.place, path, "sources is missing: %s goes by the names of those who ask", b.Algorithm)
		case b.Algorithm == balance.WeightedRandom && has:
			l.problem(sources.place, sources.key, "random goes by no sources: take them out, or write algorithm: fix_by_src")
		}
		c.Balancing = append(c.Balancing, b)
	}
}

// balancingNode writes what balancing reads.
func balancingNode(c *Config) *node {
	m := &node{kind: mapping}
	for _, b := range c.Balancing {
		sources := make([]string, len(b.Sources))
		for i, s := range b.Sources {
			sources[i] = c.whole(s)
		}
		b.Sources = sources
		m.fields = append(m.fields, field{text(written(b.Destination)), write(balancingKeys, balancingForms, &b)})
	}
	return m
}

// balancingForms has a form for each of balancingKeys.
var balancingForms = map[string]form[Balance]{
	"algorithm": func(b *Balance) *node { return text(b.Algorithm.String()) },
	"max-ip-num": func(b *Balance) *node {
		if b.MaxIPNum == 0 {
			return nil
		}
		return number(b.MaxIPNum)
	},
	"sources": func(b *Balance) *node { return some(listOf(b.Sources, text)) },
}
