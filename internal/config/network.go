package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"murakumo/internal/catalog"
)

func (l *loader) address(v value, c *Config) {
	c.Bind = nil
	for _, i := range l.list(v, "an IP address") {
		a, err := netip.ParseAddr(i.text)
		if err != nil {
			l.problem(i.in(0), i.key, "expected an IP address, found %s", quote(i.text))
			continue
		}
		if a = a.Unmap(); !slices.Contains(c.Bind, a) {
			c.Bind = append(c.Bind, a)
		}
	}
	if v.size == 1 && len(v.items) == 0 && strings.Trim(v.text, ", \t") == "" {
		l.wrong(v, "an IP address")
	}
}

// initialNodes keeps the peers as they were written: a name is looked up anew
// at each attempt, and a port that is missing is gossip-port.
func (l *loader) initialNodes(v value, c *Config) {
	for _, i := range l.list(v, "an address or a name, with :port if it is not gossip-port") {
		host, port, err := splitPort(i.text)
		if err == nil && port != "" {
			_, err = parsePort(port)
		}
		if err == nil {
			_, err = parseHost(host)
		}
		if err != nil {
			l.problem(i.in(0), i.key, "%s: expected an address or a name, with :port if it is not gossip-port", err)
			continue
		}
		if !slices.Contains(c.InitialNodes, i.text) {
			c.InitialNodes = append(c.InitialNodes, i.text)
		}
	}
}

// splitPort divides host:port, [v6]:port, v6 and host; the port may be missing.
func splitPort(text string) (host, port string, err error) {
	if _, err := netip.ParseAddr(text); err == nil {
		return text, "", nil
	}
	if !strings.Contains(text, ":") {
		return text, "", nil
	}
	host, port, err = net.SplitHostPort(text)
	if err != nil || port == "" {
		return "", "", fmt.Errorf("%s is neither host:port nor [address]:port", quote(text))
	}
	return host, port, nil
}

func parsePort(text string) (uint16, error) {
	n, ok := parseInteger(text)
	if !ok || n < 1 || n > 65535 {
		return 0, fmt.Errorf("port %s is not in 1…65535", quote(text))
	}
	return uint16(n), nil
}

// parseHost takes an IP address or a host name.
func parseHost(text string) (string, error) {
	if _, err := netip.ParseAddr(text); err == nil {
		return text, nil
	}
	name := strings.TrimSuffix(catalog.LowerName(text), ".")
	if err := catalog.ValidName(name); err != nil {
		return "", err
	}
	// 10.0.0.300 is a name by the letter, and by mistake an address.
	if last := name[strings.LastIndexByte(name, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		return "", fmt.Errorf("%s is no IP address", quote(text))
	}
	return text, nil
}

func (l *loader) socket(v value, c *Config) {
	l.path(v, &c.Socket)
	if len(c.Socket) > maxSocket {
		l.problem(v.place, v.key, "expected a path of at most %d octets, as the system allows for sockets, found %d",
			maxSocket, len(c.Socket))
	}
}

func (l *loader) domain(v value, c *Config) {
	text, ok := l.textOf(v, "a domain")
	if !ok {
		return
	}
	d := domainOf(text)
	if d == "" && text == "" {
		return
	}
	if err := catalog.ValidName(d); err != nil {
		l.problem(v.place, v.key, "expected a domain: %s", err)
		return
	}
	c.Domain = d
}

// domainOf takes the dots at its ends from a domain.
func domainOf(text string) string {
	return catalog.LowerName(strings.Trim(strings.TrimSpace(text), "."))
}

func (l *loader) allowQuery(v value, c *Config) {
	c.AllowQuery = []netip.Prefix{} // not nil: nobody, if nothing follows
	l.prefixes(v, &c.AllowQuery)
}

func (l *loader) allowRecursion(v value, c *Config) {
	c.AllowRecursion = []netip.Prefix{} // not nil: nobody, if nothing follows
	l.prefixes(v, &c.AllowRecursion)
}

// prefixes reads a list of prefixes and addresses.
func (l *loader) prefixes(v value, into *[]netip.Prefix) {
	const expected = "a prefix (10.0.0.0/8) or an address"
	for _, i := range l.list(v, expected) {
		p, err := parsePrefix(i.text)
		if err != nil {
			hint := ""
			if p.IsValid() && p != p.Masked() { // which of the two is the mistake, only the writer knows
				hint = ", did you mean " + p.Masked().String() + "?"
			}
			l.problem(i.in(0), i.key, "expected %s, found %s%s", expected, quote(i.text), hint)
			continue
		}
		*into = append(*into, p)
	}
}

func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, err
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%v is IPv4 in IPv6 form", p)
	case p != p.Masked():
		return p, fmt.Errorf("%v has bits beyond its length", p)
	}
	return p, nil
}

// regexps reads a list of regular expressions. In `a, b` a comma within
// brackets or braces divides nothing.
func (l *loader) regexps(v value, into *[]*regexp.Regexp) {
	*into = nil
	divide := func(text string) []int { return commas(text, true) }
	for _, i := range l.entries(v, "a regular expression", divide) {
		if re := l.regexp(i); re != nil {
			*into = append(*into, re)
		}
	}
}

// regexp reads a regular expression that does not mind case; nil after reporting
// that it is none.
func (l *loader) regexp(i item) *regexp.Regexp {
	// Once as it stands, so that the mistake is named as it was written.
	_, err := regexp.Compile(i.text)
	var re *regexp.Regexp
	if err == nil {
		re, err = regexp.Compile("(?i)" + i.text)
	}
	if err != nil {
		at, message := regexpError(i, err)
		l.problem(at, i.key, "%s", message)
		return nil
	}
	return re
}

func regexpError(i item, err error) (place, string) {
	e, ok := err.(*syntax.Error)
	if !ok {
		return i.in(0), fmt.Sprintf("expected a regular expression (RE2): %s", err)
	}
	message := fmt.Sprintf("expected a regular expression (RE2): %s %s", e.Code, quote(e.Expr))
	switch {
	case e.Expr == `\Z`:
		message += `: write \z`
	case strings.HasPrefix(e.Expr, "(?"):
		message += ": it looks neither ahead nor behind"
	case e.Code == syntax.ErrMissingRepeatArgument:
		message += `: "anything" is written .*`
	}
	return i.in(max(0, strings.Index(i.text, e.Expr))), message
}

// Match says whether a name or an address is answered from the table: it
// matches one of Includes, or there are none, and none of Excludes. The zero
// Filter lets everything through.
func (f Filter) Match(s string) bool {
	match := func(re *regexp.Regexp) bool { return re.MatchString(s) }
	if slices.ContainsFunc(f.Excludes, match) {
		return false
	}
	return len(f.Includes) == 0 || slices.ContainsFunc(f.Includes, match)
}
