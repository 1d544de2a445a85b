package catalog

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// The longest name and label, in octets (RFC 1035 §2.3.4).
const (
	maxName  = 253
	maxLabel = 63
)

// MaxTTL is the greatest TTL of a record, in seconds (RFC 2181 §8).
const MaxTTL = math.MaxInt32

// LowerName gives a name in lower case: the letters of ASCII only, by which DNS
// compares (RFC 4343). Whatever is no letter there stays, for ValidName to
// refuse: in Unicode the Kelvin sign has a k for its lower case.
func LowerName(name string) string {
	first := strings.IndexFunc(name, func(r rune) bool { return 'A' <= r && r <= 'Z' })
	if first < 0 {
		return name
	}
	lower := []byte(name)
	for i, c := range lower[first:] {
		if 'A' <= c && c <= 'Z' {
			lower[first+i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}

// ValidName says what is wrong with a name, nil if nothing: lower case letters,
// digits, hyphen and underscore in labels of 1 to 63 octets with dots between
// them, 253 octets in all, and no hyphen at its very beginning, since hooks get
// names as arguments. Callers that take names in any case call LowerName first.
func ValidName(name string) error {
	if name == "" {
		return errors.New("name is empty")
	}
	if len(name) > maxName {
		return fmt.Errorf("name %q… has %d octets: at most %d are allowed", name[:32], len(name), maxName)
	}
	if name[0] == '-' {
		return fmt.Errorf("name %q begins with a hyphen: programs would take it for an option", name)
	}
	label := 0 // octets of the current label so far
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return fmt.Errorf("name %q has an empty label: dots stand between labels only", name)
			}
			label = 0
			continue
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			label++
		case 'A' <= c && c <= 'Z':
			return fmt.Errorf("name %q is not in lower case", name)
		default:
			return fmt.Errorf("name %q has a character that is not allowed: use letters, digits, hyphen, underscore and dot", name)
		}
		if label > maxLabel {
			return fmt.Errorf("name %q has a label longer than %d octets", name, maxLabel)
		}
	}
	if label == 0 {
		return fmt.Errorf("name %q has an empty label: dots stand between labels only", name)
	}
	return nil
}

// checkAddr refuses what cannot be a record's or an owner's address. An IPv4
// address written as IPv6 is refused, not mended: two spellings of one address
// would be two keys.
func checkAddr(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return errors.New("address is missing")
	case a.Is4In6():
		return fmt.Errorf("address %v is IPv4 in IPv6 form: expected plain IPv4", a)
	case a.Zone() != "":
		return fmt.Errorf("address %v has a zone, which means nothing on other hosts", a)
	case a.IsUnspecified():
		return fmt.Errorf("address %v is unspecified", a)
	}
	return nil
}

// Check says what keeps a record from being published, nil if nothing.
func (r Record) Check() error {
	if err := ValidName(r.Name); err != nil {
		return err
	}
	if err := checkAddr(r.Addr); err != nil {
		return fmt.Errorf("record %s: %w", r.Name, err)
	}
	switch {
	case r.TTL > MaxTTL:
		return fmt.Errorf("record %s: TTL %d is greater than %d", r.Name, r.TTL, MaxTTL)
	case r.Priority == 0:
		return fmt.Errorf("record %s: priority is missing", r.Name)
	case r.Priority == Origin && r.Weight != 0:
		return fmt.Errorf("record %s: an origin has no weight, got %d", r.Name, r.Weight)
	case r.Priority.known() && r.Priority != Origin && r.Weight == 0:
		return fmt.Errorf("record %s: weight is 0, expected 1 to 65535", r.Name)
	}
	return r.checkKind()
}

// known is false for a priority of a later protocol. Such a record stays in its
// set and is passed on, but this node can neither answer nor rank it.
func (p Priority) known() bool { return p >= Master && p <= Origin }
