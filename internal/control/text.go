package control

import (
	"fmt"
	"strconv"
	"strings"
)

// TableText gives records as people read them, in mrkmctl -L and in murakumo dev:
// one line each, in the order given, those of the asked node with a star.
// Columns are as wide as in the original, whose output scripts cut at positions,
// and grow only for what would not fit: IPv6 addresses, great TTLs. Behind a name
// that stands for another one is that.
func TableText(records []Record) string {
	if len(records) == 0 {
		return "No match\n"
	}
	addr, ttl := 15, 6
	for _, r := range records {
		addr = max(addr, len(r.Address.String()))
		ttl = max(ttl, len(strconv.FormatUint(uint64(r.TTL), 10)))
	}
	var b strings.Builder
	line := func(mark, address, seconds, priority, weight, activity, name string) {
		fmt.Fprintf(&b, "%-2s%-*s  %s  %-9s  %s  %-8s  %s\n", mark, addr, address, seconds, priority, weight, activity, name)
	}
	left := func(width int, s string) string { return fmt.Sprintf("%-*s", width, s) }
	right := func(width int, s string) string { return fmt.Sprintf("%*s", width, s) }
	dashes := func(n int) string { return strings.Repeat("-", n) }

	line("", "IP address", left(ttl, "TTL"), "Priority", left(6, "Weight"), "Activity", "Hostname")
	line("", dashes(addr), dashes(ttl), dashes(9), dashes(6), dashes(8), dashes(10))
	for _, r := range records {
		mark, weight := "", "-"
		if r.Own {
			mark = "*"
		}
		if r.Weight != 0 {
			weight = strconv.Itoa(int(r.Weight))
		}
		name := r.Name
		if r.CNAME != "" {
			name += " -> " + r.CNAME
		}
		line(mark, r.Address.String(), right(ttl, strconv.FormatUint(uint64(r.TTL), 10)),
			capital(r.Priority), right(6, weight), capital(r.Activity), name)
	}
	return b.String()
}

// capital gives a word of the API as the table has it.
func capital(word string) string {
	if word == "" {
		return ""
	}
	return strings.ToUpper(word[:1]) + word[1:]
}
