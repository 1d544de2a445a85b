package catalog

import (
	"errors"
	"fmt"
	"strings"
)

// maxText is the most octets of a Text: it has to fit into an answer over UDP
// beside the rest, and old nodes carry it along as what they do not know.
const maxText = 1024

// Text is what a TXT record says: strings of at most 255 octets, each behind its
// length (RFC 1035 §3.3.14), 1024 octets in all. "" is no TXT record.
type Text string

// NewText makes a Text of several strings.
func NewText(parts ...string) (Text, error) {
	var b strings.Builder
	for _, s := range parts {
		if len(s) > 255 {
			return "", fmt.Errorf("a text of %d octets: at most 255 are allowed", len(s))
		}
		b.WriteByte(byte(len(s)))
		b.WriteString(s)
	}
	t := Text(b.String())
	return t, t.check()
}

// Strings gives the strings of the text. One that breaks off, which no record has,
// ends where it does.
func (t Text) Strings() []string {
	var parts []string
	for len(t) > 0 {
		end := min(1+int(t[0]), len(t))
		parts = append(parts, string(t[1:end]))
		t = t[end:]
	}
	return parts
}

func (t Text) check() error {
	if len(t) > maxText {
		return fmt.Errorf("a text of %d octets: at most %d are allowed", len(t), maxText)
	}
	for len(t) > 0 {
		end := 1 + int(t[0])
		if end > len(t) {
			return errors.New("a text that breaks off within a string")
		}
		t = t[end:]
	}
	return nil
}

// checkKind is the part of Check about what a record has beside its address.
func (r Record) checkKind() error {
	text, target := r.Text(), r.Target()
	if err := text.check(); err != nil {
		return fmt.Errorf("record %s: %w", r.Name, err)
	}
	switch {
	case target == "":
		if r.Priority == Origin && (r.Port != 0 || text != "") {
			return fmt.Errorf("record %s: an origin has neither a port nor a text", r.Name)
		}
		return nil
	case r.Priority == Origin, r.Static, r.Port != 0, text != "":
		return fmt.Errorf("record %s: it stands for another name, so it has nothing else (RFC 1034 §3.6.2)", r.Name)
	case target == r.Name:
		return fmt.Errorf("record %s: it stands for itself", r.Name)
	}
	if err := ValidName(strings.TrimSuffix(target, ".")); err != nil {
		return fmt.Errorf("record %s: target: %w", r.Name, err)
	}
	return nil
}

// protocols are those that services have names for.
var protocols = []string{"_tcp", "_udp"}

// ServiceName gives the name under which the service of an alias is asked for
// (RFC 2782): _web._tcp for web, _web._tcp.east for web.east. The protocol is
// _tcp or _udp.
func ServiceName(alias, protocol string) string {
	service, rest, more := strings.Cut(alias, ".")
	name := "_" + service + "." + protocol
	if more {
		name += "." + rest
	}
	return name
}

// ServiceOf is the way back from ServiceName. It is false for what is no such
// name.
func ServiceOf(name string) (alias string, ok bool) {
	if name == "" || name[0] != '_' { // most names
		return "", false
	}
	service, rest, _ := strings.Cut(name[1:], ".")
	protocol, rest, more := strings.Cut(rest, ".")
	if service == "" || protocol != "_tcp" && protocol != "_udp" {
		return "", false
	}
	if more {
		service += "." + rest
	}
	return service, true
}
