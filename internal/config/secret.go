package config

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
)

// minSecret is the shortest secret that is not warned of, in octets: 128 bits
// if they are random. The cluster's key is made from it alone.
const minSecret = 16

// maxSecret is the greatest key file, in octets: who names a log by mistake
// should not have it for a key.
const maxSecret = 64 << 10

// authKey reads a secret, the path of a file with one, or a sequence of both.
// The message never has the value in it, a path excepted.
func (l *loader) authKey(v value, c *Config) {
	if l.describes(func() shape { return oneOrMore(filled()) }) {
		return
	}
	const expected = "a text, a path that begins with /, or a sequence of them"
	entries := []*node{v.node}
	if v.kind == sequence {
		entries = v.items
	}
	if len(entries) == 0 {
		l.problem(v.place, v.key, "expected %s", expected)
	}
	for _, n := range entries {
		text, path, ok := l.secretText(n, v.key, expected)
		if !ok {
			continue
		}
		l.weigh(text, n.place, v.key)
		c.AuthKeys = append(c.AuthKeys, text)
		c.KeyFiles = append(c.KeyFiles, path)
	}
}

// secretText reads a secret, or the path of a file with one, which is given as
// well.
func (l *loader) secretText(n *node, key, expected string) (text, path string, ok bool) {
	text = strings.TrimSpace(n.text)
	switch {
	case n.kind == broken:
		return "", "", false
	case n.kind != scalar || text == "":
		l.problem(n.place, key, "expected %s", expected)
		return "", "", false
	case strings.HasPrefix(text, "/"):
		secret, err := l.keyFile(text, n, key)
		if err != nil {
			l.problem(n.place, key, "%s", err)
			return "", "", false
		}
		return secret, text, true
	}
	l.secret = l.secret || n.src.order == orderFile
	return text, "", true
}

// weigh warns of a secret that others would guess.
func (l *loader) weigh(secret string, at place, key string) {
	switch {
	case secret == "onion":
		l.warning(at, key, "is that of every example: take one of your own, such as `openssl rand -hex 16` prints")
	case len(secret) < minSecret:
		l.warning(at, key, "shorter than %d octets and easy to guess: take one such as `openssl rand -hex 16` prints", minSecret)
	}
}

// keyFile reads a secret from a file; blanks and line ends around it do not
// count.
func (l *loader) keyFile(name string, n *node, key string) (string, error) {
	data, info, err := l.readFile(name)
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return "", &fs.PathError{Op: "read the secret from", Path: name, Err: err}
	}
	if len(data) > maxSecret {
		return "", &fs.PathError{Op: "read the secret from", Path: name, Err: errors.New("larger than 64 KiB, is it the right file?")}
	}
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return "", &fs.PathError{Op: "read the secret from", Path: name, Err: errors.New("the file is empty")}
	}
	if perm := info.Mode().Perm(); perm&0o004 != 0 {
		l.warning(n.place, key, "%s is readable by others (mode %04o): chmod o-r %s", name, perm, name)
	}
	return string(data), nil
}
