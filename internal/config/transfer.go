package config

import "slices"

func (l *loader) allowTransfer(v value, c *Config) {
	c.AllowTransfer = nil
	l.prefixes(v, &c.AllowTransfer)
}

// aSecondary is what a list of secondaries has.
const aSecondary = "an IP address, with :port if it is not 53"

// notify reads the secondaries.
func (l *loader) notify(v value, c *Config) {
	c.Notify = nil
	for _, i := range l.list(v, aSecondary) {
		at, err := serverAddr(i.text, 53)
		if err != nil {
			l.problem(i.in(0), i.key, "expected %s, found %s", aSecondary, quote(i.text))
			continue
		}
		if !slices.Contains(c.Notify, at) {
			c.Notify = append(c.Notify, at)
		}
	}
}

// checkTransfer warns of secondaries without a zone.
func (l *loader) checkTransfer(c *Config) {
	for _, key := range []string{"allow-transfer", "notify"} {
		if v, ok := l.there[key]; ok && c.Domain == "" && !l.partial {
			l.warning(v.place, v.key, "means nothing without domain, which is the zone")
		}
	}
}
