package action

import (
	"fmt"
	"net/netip"

	"murakumo/internal/failover"
)

// maxName is the longest name that DNS can hold (RFC 1035 §2.3.4).
const maxName = 253

// checkName refuses a name that a script, a shell behind it or a mail header
// could read as something else. Names were checked where they came in; this is
// the last door before they leave the process.
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("name of %d characters: expected 1 to %d", len(name), maxName)
	}
	if name[0] == '-' {
		return fmt.Errorf("name %q begins with '-', which programs take for an option", name)
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '.', c == '_':
		default:
			return fmt.Errorf("name %q: only letters, digits, '-', '.' and '_' are allowed", name)
		}
	}
	return nil
}

// checkTransition refuses what must reach neither a hook nor a mail.
func checkTransition(t failover.Transition) error {
	if err := checkName(t.Name); err != nil {
		return err
	}
	// A zone is free text (fe80::1%anything).
	if t.Addr == (netip.Addr{}) || t.Addr.Zone() != "" {
		return fmt.Errorf("address %q of %s: expected a plain IP address", t.Addr, t.Name)
	}
	switch t.Status {
	case "active", "inactive", "healthy", "unhealthy":
		return nil
	}
	return fmt.Errorf("status %q of %s: expected active, inactive, healthy or unhealthy", t.Status, t.Name)
}
