package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// attributes are the settings that mrkmctl -g and -s know, under the original's
// names, with the keys of the file that they are.
var attributes = []struct{ name, key string }{
	{"node_lifetime", "gossip-node-lifetime"},
	{"send_interval", "gossip-send-interval"},
	{"receive_timeout", "gossip-receive-timeout"},
	{"log_level", "log-level"},
}

// AttributeNames gives the names that Attribute and SetAttribute take.
func AttributeNames() []string {
	list := make([]string, len(attributes))
	for i, a := range attributes {
		list[i] = a.name
	}
	return list
}

// attributeKey gives the key of an attribute.
func attributeKey(name string) (key[Config], error) {
	for _, a := range attributes {
		if a.name == name {
			i := slices.IndexFunc(topKeys, func(k key[Config]) bool { return k.name == a.key })
			return topKeys[i], nil
		}
	}
	return key[Config]{}, fmt.Errorf("no attribute %s: expected one of %s%s", quote(name), strings.Join(AttributeNames(), ", "), meant(name, AttributeNames()))
}

// Attribute gives the value of an attribute as the file would have it.
func (c *Config) Attribute(name string) (string, error) {
	k, err := attributeKey(name)
	if err != nil {
		return "", err
	}
	return topForms[k.name](c).text, nil
}

// SetAttribute changes an attribute, whose value is written and bounded as in
// the file.
func (c *Config) SetAttribute(name, value string) error {
	k, err := attributeKey(name)
	if err != nil {
		return err
	}
	l := newLoader(Options{})
	k.read(l, valueOf(k.name, value), c)
	if mistakes, ok := errors.AsType[Errors](l.errors()); ok {
		return fmt.Errorf("%s: %s", name, mistakes[0].Message)
	}
	return nil
}

// ParseAttribute reads NAME=VALUE and says what is wrong with it whatever the
// other attributes are.
func ParseAttribute(text string) (name, value string, err error) {
	name, value, ok := strings.Cut(text, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || name == "" || value == "" {
		return "", "", fmt.Errorf("%s: expected name=value", quote(text))
	}
	return name, value, defaults("").SetAttribute(name, value)
}

// valueOf makes the value of a key that stands in no file.
func valueOf(key, text string) value {
	src := newSource("", 0, []byte(text))
	return value{node: &node{place: place{src, 1, 1}, kind: scalar, text: text}, key: key}
}
