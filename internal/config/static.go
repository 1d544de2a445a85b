package config

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// Static is what a node tells of things that run no daemon.
type Static struct {
	TTL   uint32
	Hosts []StaticHost // the lines, in their order
	Files []string     // paths of hosts(5) files, whose lines come after those

	read map[string]*HostsFile
}

// Take gives what was read of a file together with the configuration, nil when it
// could not be. It gives it once, and then keeps it no longer: a file changes more often
// than a configuration, which would hold 16 MiB that nobody needs any more. So a
// configuration is for one node, which calls it from one goroutine at a time.
func (s *Static) Take(path string) *HostsFile {
	file := s.read[path]
	delete(s.read, path)
	return file
}

// StaticHost is an address with its names, which are in lower case and without
// domain; there is at least one.
type StaticHost struct {
	Addr  netip.Addr
	Names []string
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
		var h StaticHost
		at, ok := h.parse(i.text, l.suffix, func(offset int, err error) {
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
		}
	}
	for i, path := range c.Static.Files {
		at := l.hostsAt[i]
		file, bad, more, err := readHosts(l.readFile, path, c)
		if err != nil {
			l.warning(at.in(0), at.key, "%s cannot be read; its names will be there when it can: %s", path, err)
			continue
		}
		for _, p := range bad {
			l.warned(p, orderHosts)
		}
		if more > 0 {
			l.warning(at.in(0), at.key, "%s has %d more mistakes", path, more)
		}
		if c.Static.read == nil {
			c.Static.read = map[string]*HostsFile{}
		}
		c.Static.read[path] = file
	}
}

// staticNames gives the names of the lines, and of the files as they were read.
func (c *Config) staticNames() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, h := range c.Static.Hosts {
			for _, name := range h.Names {
				if !yield(name) {
					return
				}
			}
		}
		for _, path := range c.Static.Files {
			if file := c.Static.read[path]; file != nil {
				for n := range file.All() {
					if !yield(n.Name) {
						return
					}
				}
			}
		}
	}
}

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
