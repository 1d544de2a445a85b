// Package config reads murakumo.yml into typed values, once, and says
// everything that is wrong with it.
//
//	cfg, err := config.Load("/etc/murakumo.yml", config.Options{RunInit: true, Context: ctx})
//	if mistakes, ok := errors.AsType[config.Errors](err); ok {
//		for _, m := range mistakes {
//			fmt.Println(m) // file:line:column: key: message
//		}
//	}
//
// What comes out is checked: values are in their ranges, names are valid and in
// lower case, commands are found and split, expressions are compiled, and every
// check has its alias. The rooms that take their part of a [Config] check
// nothing again.
//
// The way of a file:
//
//	text ── parse ──▶ tree ── initScript ──▶ tree ── readKeys ──▶ Config ── finish
//	      syntax.go         init.go: keys           keys.go: one         checks.go:
//	      tree.go           that a program sets     row for each key     the whole
//
// The tree is our own, made from the YAML parser's: each value in it knows its
// place in the text, which a decoder into structs would forget, and each scalar
// is a text whose meaning its key decides. Nothing stops at the first mistake;
// a value that cannot be read leaves its default in place, and only what would
// follow from that alone is not reported.
//
// The file is written by an operator, but also by programs and by accident. So
// its size, its nesting and what its aliases stand for are bounded before they
// cost anything, and no message shows a secret, not even that of a line which is
// no YAML.
//
// mrkmctl links this package for -t and -A: it knows no driver, no server and no
// cluster.
package config
