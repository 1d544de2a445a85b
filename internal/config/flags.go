package config

import "strings"

// Flag is a key that the command line sets. It beats the file, and what an
// init-script prints.
type Flag struct {
	// Key is a key of the file, which is also the flag's long name.
	Key string
	// Text is the value as it was given, in the form of a text in the file;
	// empty as good as none.
	Text string
}

// place gives where the flag stands: for messages its name, without a line.
func (f Flag) place() place {
	return place{unlined("--"+f.Key, orderFlags), 1, 1}
}

// node gives the flag's value as the file would have it.
func (f Flag) node() *node {
	n := &node{place: f.place(), kind: scalar, text: f.Text, style: foldedStyle, size: 1}
	if f.Text == "" {
		n.kind = null
	}
	return n
}

// applyFlags gives the file with what the flags set. One that is given again
// replaces what it said before, except for alias, which is a list.
func applyFlags(root *node, flags []Flag) *node {
	set := &node{kind: mapping}
	for _, f := range flags {
		n := f.node()
		old := set.get(f.Key)
		switch {
		case f.Key == "alias" && old != nil:
			old.items = append(old.items, n)
			old.size += n.size
			continue
		case f.Key == "alias" && n.kind != null:
			n = &node{place: n.place, kind: sequence, items: []*node{n}, size: 2}
		case old != nil:
			*old = *n
			continue
		}
		set.fields = append(set.fields, field{&node{place: n.place, kind: scalar, text: f.Key}, n})
	}
	if len(set.fields) == 0 {
		return root
	}
	return overlay(root, set)
}

// checkFlags warns of what a command line should not have.
func (l *loader) checkFlags() {
	for _, f := range l.Flags {
		if f.Key == "auth-key" && f.Text != "" && !strings.HasPrefix(f.Text, "/") {
			l.warning(f.place(), f.Key, "a secret on the command line is seen by every user of this host (ps): write it to a file and give its path")
		}
	}
}

// Keys are the keys of the file's top level, in the order of the
// documentation.
func Keys() []string { return names(topKeys) }
