package config

import (
	"strings"

	"murakumo/internal/catalog"
)

// aliasText reads what a TXT record says: one string or a sequence of them. A
// comma divides nothing, since texts have commas of their own.
func (l *loader) aliasText(v value, a *Alias) {
	if l.describes(func() shape {
		return either(textShape(), shape{"type": "array", "items": textShape(), "minItems": 1})
	}) {
		return
	}
	const expected = "a text, or a sequence of texts"
	entries := []*node{v.node}
	if v.kind == sequence {
		entries = v.items
	}
	if len(entries) == 0 {
		l.wrong(v, expected)
	}
	var parts []string
	for _, n := range entries {
		switch {
		case n.kind != scalar:
			l.wrong(v.entry(n), expected)
		case len(n.text) > 255:
			l.problem(n.place, v.key, "a text of %d octets: expected at most 255, or a sequence of several", len(n.text))
		default:
			parts = append(parts, n.text)
		}
	}
	text, err := catalog.NewText(parts...)
	if err != nil {
		l.problem(v.place, v.key, "%s", err)
	}
	a.Text = text
}

// textNode writes what aliasText reads.
func textNode(t catalog.Text) *node {
	if t == "" {
		return nil
	}
	return one(listOf(t.Strings(), text))
}

// aliasTarget reads the name that an alias stands for.
func (l *loader) aliasTarget(v value, a *Alias) {
	written, ok := l.textOf(v, "a name")
	if !ok {
		return
	}
	target, err := readTarget(written, l.suffix)
	if err != nil {
		l.problem(v.place, v.key, "%s", err)
	}
	a.Target = target
}

// readTarget gives a target as a record has it. Without a dot within, or with the
// domain at its end, it is a name of the table; any other is a full one.
func readTarget(written, domain string) (string, error) {
	full := strings.TrimSuffix(strings.TrimSpace(written), ".")
	name, err := readName(full, domain)
	if err != nil {
		return "", err
	}
	if full = catalog.LowerName(full); name == full && (strings.Contains(name, ".") || strings.HasSuffix(written, ".")) {
		name += "."
	}
	return name, nil
}

// target writes what readTarget reads.
func (c *Config) target(target string) string {
	if c.Domain != "" && strings.Contains(target, ".") && !strings.HasSuffix(target, ".") {
		return target + "." + c.Domain
	}
	return target
}

// checkAlias finds what cannot be together in one alias.
func (l *loader) checkAlias(there map[string]value, a *Alias) {
	at, ok := there["cname"]
	if !ok {
		return
	}
	for _, other := range []string{"port", "txt"} {
		if v, ok := there[other]; ok {
			l.problem(v.keyAt, v.key, "cannot stand beside cname: a name that stands for another one has nothing else (RFC 1034 §3.6.2)")
		}
	}
	if a.Target != "" && a.Target == a.Name {
		l.problem(at.place, at.key, "%s would stand for itself", a.Name)
	}
}

// checkTargets finds aliases of this file that stand for each other in a circle,
// and listeners that forward to what has no address here.
func (l *loader) checkTargets(c *Config) {
	targets := map[string]string{}
	for _, a := range c.Aliases {
		if a.Target != "" && a.Target != a.Name {
			targets[a.Name] = a.Target
		}
	}
	told := map[string]bool{}
	for i, a := range c.Aliases {
		way := []string{a.Name}
		for next := targets[a.Name]; next != "" && !told[a.Name]; next = targets[next] {
			way = append(way, next)
			if next == a.Name {
				at := l.aliasAt[i]
				l.problem(at.place, at.key, "the names stand for each other in a circle: %s", strings.Join(way, ", "))
				for _, name := range way {
					told[name] = true
				}
			}
			if len(way) > len(targets)+1 {
				break // a circle that this one only leads to
			}
		}
	}
	for _, p := range c.Proxies {
		if target := targets[p.To.Name]; target != "" {
			at := l.there["proxy"]
			path := join(join("proxy", p.Name), "to")
			l.problem(at.place, path, "%s stands for another name (cname: %s): expected an alias with addresses", p.To.Name, c.target(target))
		}
	}
}
