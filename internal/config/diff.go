package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"murakumo/internal/check/expr"
)

// When says when a change of a setting takes effect.
type When uint8

// A daemon takes a setting in while it runs, or at its next start.
const (
	Running When = iota + 1
	AtStart
)

// settings says of each field of a Config when a change of it takes effect. A
// struct stands here itself or with each of its fields.
var settings = map[string]When{
	"AuthKeys":              Running,
	"KeyFiles":              Running,
	"InitialNodes":          Running,
	"Aliases":               Running,
	"Static":                Running,
	"MaxRecords":            Running,
	"Resolvers":             Running,
	"MaxIPNum":              Running,
	"Domain":                Running,
	"DomainOwned":           Running,
	"NegativeTTL":           Running,
	"AllowQuery":            Running,
	"AllowRecursion":        Running,
	"AllowTransfer":         Running,
	"Notify":                Running,
	"RateLimit":             Running,
	"RateSlip":              Running,
	"Cache":                 Running,
	"Balancing":             Running,
	"WhenEmpty":             Running,
	"OnStop":                Running,
	"Log":                   Running,
	"Names":                 Running,
	"Addrs":                 Running,
	"HealthChecks":          Running,
	"ActivityChecks":        Running,
	"Notification":          Running,
	"HookTimeout":           Running,
	"Proxies":               Running,
	"Gossip.NodeLifetime":   Running,
	"Gossip.SendInterval":   Running,
	"Gossip.ReceiveTimeout": Running,
	"Host.TTL":              Running,

	// Sockets, and what this node is known by to others and to its own state.
	"Bind":        AtStart,
	"Port":        AtStart,
	"TLS":         AtStart,
	"Host.Addrs":  AtStart,
	"Host.Name":   AtStart,
	"Socket":      AtStart,
	"WorkingDir":  AtStart,
	"Gossip.Port": AtStart,
	// What is done once.
	"Gossip.PingInitNodes": AtStart,
	"Gossip.StartDelay":    AtStart,
	"OnStart":              AtStart,

	// What the file was like, and whom it is for, not what it says.
	"Daemon":   Running,
	"Path":     Running,
	"Warnings": Running,
}

// WhileRunning gives what a daemon that runs with now can take of next at once:
// all of it, but for the settings that take effect at a start.
func WhileRunning(now, next *Config) *Config {
	c := *next
	for field, when := range settings {
		if when == AtStart {
			at := reflect.ValueOf(&c).Elem()
			from := reflect.ValueOf(now).Elem()
			for name := range strings.SplitSeq(field, ".") {
				at, from = at.FieldByName(name), from.FieldByName(name)
			}
			at.Set(from)
		}
	}
	return &c
}

// Change is a setting that one configuration has other than another.
type Change struct {
	// Key is as in messages about the file: alias.web, health-check.web.interval.
	Key string
	// Old and New are the values, on one line and fit to be read by all: of a
	// secret they tell no more than that it is there. Empty means none.
	Old, New string
}

// Diff gives what is other in next than in now, by key.
func Diff(now, next *Config) []Change {
	type pair struct{ old, new *leaf }
	pairs := map[string]*pair{}
	var paths []string
	at := func(path string) *pair {
		if pairs[path] == nil {
			pairs[path] = new(pair)
			paths = append(paths, path)
		}
		return pairs[path]
	}
	for _, l := range now.leaves() {
		at(l.path).old = &l
	}
	for _, l := range next.leaves() {
		at(l.path).new = &l
	}
	var changes []Change
	for _, path := range paths {
		c := Change{Key: path}
		p := pairs[path]
		if p.old != nil && p.new != nil && p.old.value == p.new.value {
			continue
		}
		if p.old != nil {
			c.Old = p.old.shown
		}
		if p.new != nil {
			c.New = p.new.shown
		}
		changes = append(changes, c)
	}
	order := names(topKeys)
	rank := func(c Change) int {
		top, _, _ := strings.Cut(c.Key, ".")
		return slices.Index(order, top)
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return rank(a) - rank(b) })
	return changes
}

// leaf is one value of a configuration, to be compared and to be shown.
type leaf struct{ path, value, shown string }

// leaves takes apart what would be the file of a configuration.
func (c *Config) leaves() []leaf {
	var all []leaf
	for _, f := range write(topKeys, topForms, c).fields {
		switch key := f.key.text; key {
		case "auth-key":
			// A file of the same name may hold another secret now.
			all = append(all, leaf{key, strings.Join(c.AuthKeys, "\n") + "\n\n" + strings.Join(c.KeyFiles, "\n"), count(len(c.AuthKeys), "key")})
		case "alias":
			for _, a := range c.Aliases {
				n := write(aliasKeys, aliasForms, &a)
				n.fields = slices.DeleteFunc(n.fields, func(f field) bool { return f.key.text == "name" })
				text := oneLine(n)
				all = append(all, leaf{join(key, a.Name), text, text})
			}
		case "notification":
			for _, inner := range f.value.fields {
				if path := join(key, inner.key.text); inner.key.text == "webhook" {
					all = append(all, webhookLeaf(path, c.Notification.Webhooks))
				} else {
					all = leavesOf(all, path, inner.value)
				}
			}
		default:
			all = leavesOf(all, key, f.value)
		}
	}
	return all
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ordered are the mappings whose order means something.
var ordered = []string{"balancing", "when-empty"}

func leavesOf(all []leaf, path string, n *node) []leaf {
	if n.kind != mapping {
		return append(all, leaf{path, oneLine(n), shown(path, n)})
	}
	if slices.Contains(ordered, path) {
		var keys []string
		for _, f := range n.fields {
			keys = append(keys, f.key.text)
		}
		all = append(all, leaf{path, strings.Join(keys, "\n"), strings.Join(keys, ", ")})
	}
	for _, f := range n.fields {
		all = leavesOf(all, join(path, f.key.text), f.value)
	}
	return all
}

// oneLine writes a value on one line.
func oneLine(n *node) string {
	switch n.kind {
	case sequence:
		var parts []string
		for _, i := range n.items {
			parts = append(parts, oneLine(i))
		}
		return strings.Join(parts, ", ")
	case mapping:
		var parts []string
		for _, f := range n.fields {
			parts = append(parts, f.key.text+" "+oneLine(f.value))
		}
		return strings.Join(parts, ", ")
	}
	return n.text
}

// longest is how much of a value is shown, in characters.
const longest = 200

// shown is oneLine for people: arguments of commands and passwords stay hidden.
func shown(path string, n *node) string {
	text := oneLine(n)
	switch key := path[strings.LastIndexByte(path, '.')+1:]; key {
	case "password":
		return "***"
	case "script", "check":
		if script, err := expr.Parse(n.text); err == nil {
			text = strings.ReplaceAll(script.LogValue().String(), "\n", "; ")
		}
	case "command", "on-activate", "on-inactivate", "on-start":
		if n.kind == sequence && len(n.items) > 1 {
			// They may hold an access key.
			text = fmt.Sprintf("%s (and %s)", n.items[0].text, count(len(n.items)-1, "argument"))
		}
	}
	if r := []rune(text); len(r) > longest {
		text = string(r[:longest]) + "…"
	}
	return printable(text)
}
