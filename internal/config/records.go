package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"murakumo/internal/catalog"
)

// The defaults of a record.
const (
	defaultTTL    = 60
	defaultWeight = 100
)

// hostForm is what `host:` looks like.
const hostForm = "ip[, hostname[, ttl]]"

// host reads the node's own record: an entry, or a sequence of entries that
// differ in their addresses only.
func (l *loader) host(v value, c *Config) {
	if l.describes(func() shape { return oneOrMore(patterned(`[0-9A-Fa-f.:]+\s*(,[^,]*){0,2}`)) }) {
		return
	}
	entries := []*node{v.node}
	if v.kind == sequence {
		entries = v.items
	}
	if len(entries) == 0 {
		l.wrong(v, hostForm)
	}
	var h Host
	named, timed := false, false // by an earlier entry
	for _, n := range entries {
		if n.kind != scalar {
			l.wrong(v.entry(n), hostForm)
			continue
		}
		parts := fields(item{n, v.key, n.text, 0})
		if len(parts) > 3 {
			l.wrong(v.entry(n), hostForm)
			continue
		}
		if a, err := parseHostAddr(parts[0].text); err != nil {
			l.problem(parts[0].in(0), v.key, "expected %s, found %s", hostForm, err)
		} else if slices.Contains(h.Addrs, a) {
			l.problem(parts[0].in(0), v.key, "address %v is given twice", a)
		} else {
			h.Addrs = append(h.Addrs, a)
		}
		if len(parts) > 1 && parts[1].text != "" {
			name, err := readName(parts[1].text, l.suffix)
			switch {
			case err != nil:
				l.problem(parts[1].in(0), v.key, "%s", err)
			case named && name != h.Name:
				l.problem(parts[1].in(0), v.key, "expected the same hostname at each address: %s, found %s", h.Name, name)
			default:
				h.Name, named = name, true
			}
		}
		if len(parts) > 2 {
			ttl, err := parseTTL(parts[2].text)
			switch {
			case err != nil:
				l.problem(parts[2].in(0), v.key, "%s", err)
			case timed && ttl != h.TTL:
				l.problem(parts[2].in(0), v.key, "expected the same TTL at each address: %d, found %d", h.TTL, ttl)
			default:
				h.TTL, timed = ttl, true
			}
		}
	}
	if !timed {
		h.TTL = defaultTTL
	}
	if !named && len(h.Addrs) > 0 {
		h.Name = l.systemName(v)
	}
	c.Host = h
}

// systemName gives the default of the host's name.
func (l *loader) systemName(v value) string {
	system, err := l.Hostname()
	if err == nil {
		system, err = readName(system, l.suffix)
	}
	if err != nil {
		l.problem(v.place, v.key, "the system's hostname cannot be used: %s: write one (%s)", err, hostForm)
	}
	return system
}

func parseHostAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return a, errors.New(quote(text))
	}
	a = a.Unmap() // ::ffff:0.0.0.0 is 0.0.0.0
	if a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return a, fmt.Errorf("%s, which is no address of a host", quote(text))
	}
	return a, nil
}

// fields divides a record's text at its commas.
func fields(whole item) []item {
	var parts []item
	from := 0
	for _, to := range append(commas(whole.text, false), len(whole.text)) {
		part := whole.text[from:to]
		text := strings.TrimSpace(part)
		parts = append(parts, item{whole.node, whole.key, text, whole.offset + from + strings.Index(part, text)})
		from = to + 1
	}
	return parts
}

// aliasForm is what an alias looks like as a text.
const aliasForm = "hostname[, ttl[, priority[, weight]]]"

// ParseAlias reads an alias as a file and mrkmctl -A have it:
// name[,ttl[,priority[,weight]]] with 60, master and 100 for what is missing.
func ParseAlias(text string) (Alias, error) {
	a := Alias{TTL: defaultTTL, Priority: catalog.Master, Weight: defaultWeight}
	var err error
	parseAlias(item{text: text}, "", &a, func(_ item, e error) {
		if err == nil {
			err = e
		}
	})
	if err != nil {
		return Alias{}, err
	}
	return a, nil
}

// parseAlias reads into a what the text has and reports what is wrong with it.
func parseAlias(whole item, domain string, a *Alias, wrong func(item, error)) {
	parts := fields(whole)
	if len(parts) > 4 {
		wrong(parts[4], fmt.Errorf("expected %s, found %d fields", aliasForm, len(parts)))
		return
	}
	read := []func(string) error{
		func(s string) (err error) { a.Name, err = readName(s, domain); return },
		func(s string) (err error) { a.TTL, err = parseTTL(s); return },
		func(s string) (err error) { a.Priority, err = catalog.ParsePriority(s); return },
		func(s string) (err error) { a.Weight, err = parseWeight(s); return },
	}
	for i, part := range parts {
		if err := read[i](part.text); err != nil {
			wrong(part, err)
		}
	}
}

// aliases reads one alias or a sequence of them.
func (l *loader) aliases(v value, c *Config) {
	if l.describes(func() shape {
		entry := either(patterned(`[^,]+(,[^,]*){0,3}`), object(aliasKeys).requiring("name"))
		return either(entry, shape{"type": "array", "items": entry})
	}) {
		return
	}
	if l.aliasKey != "" {
		l.problem(v.place, v.key, "is the same key as %s: expected one of them", l.aliasKey)
		return
	}
	l.aliasKey = v.key
	entries := []*node{v.node}
	if v.kind == sequence {
		entries = v.items
	}
	for _, n := range entries {
		if l.full() {
			return
		}
		a := Alias{TTL: defaultTTL, Priority: catalog.Master, Weight: defaultWeight}
		e := v.entry(n)
		switch {
		case n.kind == mapping:
			there := readKeys(l, e, aliasKeys, &a)
			if _, ok := there["name"]; !ok {
				l.problem(n.place, v.key, "name is missing")
			}
			l.checkAlias(there, &a)
		case n.kind != scalar:
			l.wrong(e, aliasForm)
		case n.style == plainStyle && decimal.MatchString(n.text):
			// [web,60,master] is a list of three, not one alias.
			l.problem(n.place, v.key, "expected %s, found the number %s: in [ ] put the whole in quotes", aliasForm, n.text)
		default:
			parseAlias(item{n, v.key, n.text, 0}, l.suffix, &a, func(part item, err error) {
				l.problem(part.in(0), v.key, "%s", err)
			})
		}
		c.Aliases = append(c.Aliases, a)
		l.aliasAt = append(l.aliasAt, e)
	}
}

// aliasKeys are the keys of an alias that is a mapping.
var aliasKeys = []key[Alias]{
	{"name", func(l *loader, v value, a *Alias) {
		if text, ok := l.textOf(v, "a name"); ok {
			var err error
			if a.Name, err = readName(text, l.suffix); err != nil {
				l.problem(v.place, v.key, "%s", err)
			}
		}
	}},
	{"ttl", func(l *loader, v value, a *Alias) { integer(l, v, 0, catalog.MaxTTL, &a.TTL) }},
	{"priority", func(l *loader, v value, a *Alias) {
		if i := l.choice(v, "master", "secondary", "backup"); i >= 0 {
			a.Priority = []catalog.Priority{catalog.Master, catalog.Secondary, catalog.Backup}[i]
		}
	}},
	{"weight", func(l *loader, v value, a *Alias) { integer(l, v, 1, 65535, &a.Weight) }},
	{"port", func(l *loader, v value, a *Alias) { integer(l, v, 1, 65535, &a.Port) }},
	{"txt", (*loader).aliasText},
	{"cname", (*loader).aliasTarget},
}

// parseTTL reads a TTL of a record.
func parseTTL(text string) (uint32, error) {
	n, ok := parseInteger(text)
	if !ok || n < 0 || n > catalog.MaxTTL {
		return 0, fmt.Errorf("ttl: expected whole seconds 0…%d, found %s", catalog.MaxTTL, quote(text))
	}
	return uint32(n), nil
}

func parseWeight(text string) (uint16, error) {
	n, ok := parseInteger(text)
	if !ok || n < 1 || n > 65535 {
		return 0, fmt.Errorf("weight: expected a whole number 1…65535, found %s", quote(text))
	}
	return uint16(n), nil
}
