package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Static is what a node tells of things that run no daemon.
type Static struct {
	TTL   uint32
	Hosts []StaticHost // the lines, in their order
	Files []string     // paths of hosts(5) files, whose lines come after those
}

// StaticHost is an address with its names, which are in lower case and without
// domain; there is at least one.
type StaticHost struct {
	Addr  netip.Addr
	Names []string
}

// HostsEntry is a line of a hosts(5) file.
type HostsEntry struct {
	StaticHost
	Line int // counted from 1
}

// maxBadLines is how many mistakes of a hosts(5) file are told one by one. One
// that has more is something else, perhaps a list of what is to be blocked.
const maxBadLines = 20

// ParseHosts reads a hosts(5) file for the node of c: an address and its names on
// a line, with blanks between them and perhaps a comment behind #. What is wrong
// is left out, the rest of it taken; bad tells the first mistakes, more how many
// there are beyond them.
func ParseHosts(path string, data []byte, c *Config) (entries []HostsEntry, bad []Problem, more int) {
	src := newSource(path, orderHosts, data)
	entries = make([]HostsEntry, 0, min(len(src.lines), 1<<17)) // lines can be empty
	for i, line := range src.lines {
		wrong := func(offset int, err error) {
			if len(bad) == maxBadLines {
				more++
				return
			}
			at := len([]rune(line[:offset])) + 1
			bad = append(bad, Problem{File: path, Line: i + 1, Column: at, Message: printable(err.Error())})
		}
		h, at, ok := parseStaticHost(line, c.Domain, wrong)
		if !ok {
			continue
		}
		if err := c.elsewhere(h.Addr); err != nil {
			wrong(at, err)
			continue
		}
		entries = append(entries, HostsEntry{h, i + 1})
	}
	return slices.Clip(entries), bad, more
}

const staticForm = "an address and its names"

// parseStaticHost reads a line and reports what is wrong with it, by its place in
// the text. It is false for a line of which nothing is left; at is the place of
// the address.
func parseStaticHost(text, domain string, wrong func(offset int, err error)) (h StaticHost, at int, ok bool) {
	text, _, _ = strings.Cut(text, "#")
	words := strings.Fields(text)
	if len(words) == 0 {
		return h, 0, false
	}
	offset := 0
	next := func(word string) int {
		start := offset + strings.Index(text[offset:], word)
		offset = start + len(word)
		return start
	}
	at = next(words[0])
	addr, err := parseStaticAddr(words[0])
	switch {
	case err != nil:
		wrong(at, err)
		return h, at, false
	case len(words) == 1:
		wrong(at, fmt.Errorf("expected %s, found no name behind %s", staticForm, quote(words[0])))
		return h, at, false
	}
	h.Addr = addr
	for _, word := range words[1:] {
		here := next(word)
		name, err := readName(word, domain)
		if err != nil {
			wrong(here, err)
			continue
		}
		h.Names = append(h.Names, name)
	}
	if len(h.Names) > 1 {
		given := map[string]bool{}
		h.Names = slices.DeleteFunc(h.Names, func(name string) bool {
			again := given[name]
			given[name] = true
			return again
		})
	}
	return h, at, len(h.Names) > 0
}

func parseStaticAddr(text string) (netip.Addr, error) {
	a, err := parseHostAddr(text)
	if err != nil {
		return a, fmt.Errorf("expected %s, found %w", staticForm, err)
	}
	return a, nil
}

// elsewhere says why an address means nothing on other hosts. Among nodes that
// all live on the loopback interface, to try things, it does.
func (c *Config) elsewhere(a netip.Addr) error {
	if a.IsLoopback() && (len(c.Host.Addrs) == 0 || !c.Host.Addrs[0].IsLoopback()) {
		return fmt.Errorf("%v is each host itself: others would look for the name there", a)
	}
	return nil
}

// static reads lines and paths: a sequence of them, or a text with commas or line
// ends between them.
func (l *loader) static(v value, c *Config) {
	if l.describes(func() shape { return either(textShape(), shape{"type": "array", "items": filled()}) }) {
		return
	}
	const expected = staticForm + ", or the path of a hosts file"
	var items []item
	switch v.kind {
	case scalar:
		from := 0
		for _, part := range strings.FieldsFunc(v.text, func(r rune) bool { return r == ',' || r == '\n' }) {
			from += strings.Index(v.text[from:], part)
			items = append(items, item{v.node, v.key, part, from})
			from += len(part)
		}
	case sequence:
		for _, n := range v.items {
			if n.kind != scalar || strings.TrimSpace(n.text) == "" || strings.Contains(n.text, "\n") {
				l.wrong(v.entry(n), expected)
				continue
			}
			items = append(items, item{n, v.key, n.text, 0})
		}
	default:
		l.wrong(v, expected+", or several")
	}
	for _, i := range items {
		if l.full() {
			return
		}
		trimmed := strings.TrimSpace(i.text)
		if strings.HasPrefix(trimmed, "/") {
			if !slices.Contains(c.Static.Files, trimmed) {
				c.Static.Files = append(c.Static.Files, trimmed)
				l.hostsAt = append(l.hostsAt, item{i.node, i.key, trimmed, i.offset + strings.Index(i.text, trimmed)})
			}
			continue
		}
		h, at, ok := parseStaticHost(i.text, l.suffix, func(offset int, err error) {
			l.problem(i.in(offset), i.key, "%s", err)
		})
		if ok {
			c.Static.Hosts = append(c.Static.Hosts, h)
			l.staticAt = append(l.staticAt, item{i.node, i.key, i.text[at:], i.offset + at})
		}
	}
}

// checkStatic finds static names that are others already, and reads the files for
// what should be known of them now.
func (l *loader) checkStatic(c *Config) {
	type pair struct {
		name string
		addr netip.Addr
	}
	aliases := map[string]bool{}
	for _, a := range c.Aliases {
		aliases[a.Name] = true
	}
	given := map[pair]bool{}
	for i, h := range c.Static.Hosts {
		at := l.staticAt[i]
		if err := c.elsewhere(h.Addr); err != nil {
			l.problem(at.in(0), at.key, "%s", err)
		}
		for _, name := range h.Names {
			switch p := (pair{name, h.Addr}); {
			case l.full():
				return
			case name == c.Host.Name:
				l.problem(at.in(0), at.key, "%s is the name of the host already", name)
			case aliases[name]:
				l.problem(at.in(0), at.key, "%s is an alias already", name)
			case given[p]:
				l.problem(at.in(0), at.key, "%s is given twice for %v", name, h.Addr)
			default:
				given[p] = true
			}
			l.staticNames = append(l.staticNames, name)
		}
	}
	for i, path := range c.Static.Files {
		at := l.hostsAt[i]
		data, _, err := l.readFile(path)
		if err == nil && len(data) > MaxHosts {
			err = errors.New(TooLarge)
		}
		if err != nil {
			l.warning(at.in(0), at.key, "%s cannot be read; its names will be there when it can: %s", path, err)
			continue
		}
		entries, bad, more := ParseHosts(path, data, c)
		src := newSource(path, orderHosts, data)
		for _, p := range bad {
			l.warning(place{src, p.Line, p.Column}, "", "%s", p.Message)
		}
		if more > 0 {
			l.warning(at.in(0), at.key, "%s has %d more mistakes", path, more)
		}
		for _, e := range entries {
			l.staticNames = append(l.staticNames, e.Names...)
		}
	}
}

// MaxHosts is the greatest size of a file that static reads: some 400,000 lines.
const MaxHosts = 16 << 20

// TooLarge is what is said of a file beyond MaxHosts.
const TooLarge = "larger than 16 MiB"

// staticRecords is how many records the lines of a configuration are.
func (c *Config) staticRecords() int {
	n := 0
	for _, h := range c.Static.Hosts {
		n += len(h.Names)
	}
	return n
}

// hasName says whether a health check of the name can be in the file of c.
func (c *Config) hasName(name string) bool {
	return c.hasAlias(name) || len(c.Static.Files) > 0 ||
		slices.ContainsFunc(c.Static.Hosts, func(h StaticHost) bool { return slices.Contains(h.Names, name) })
}

// staticNode writes what static reads.
func staticNode(c *Config) *node {
	list := listOf(c.Static.Hosts, func(h StaticHost) *node {
		words := []string{h.Addr.String()}
		for _, name := range h.Names {
			words = append(words, c.whole(name))
		}
		return text(strings.Join(words, " "))
	})
	list.items = append(list.items, listOf(c.Static.Files, text).items...)
	return some(list)
}
