package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// An answer is what dig printed.
type answer struct {
	status  string
	flags   []string
	records []string // "name type data", sorted
	ttls    []int
	text    string
}

// dig asks the server at an address, from inside a namespace ("" for outside
// of all), once; further arguments are dig's own.
func dig(ns, server string, args ...string) (answer, error) {
	argv := append([]string{"dig", "@" + server, "+tries=1", "+time=2"}, args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	if ns != "" {
		cmd = in(ns, argv...)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return parseDig(string(out))
}

// parseDig reads dig's usual output.
func parseDig(text string) (answer, error) {
	a := answer{text: text}
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, ";; ->>HEADER<<-"):
			_, rest, _ := strings.Cut(line, "status: ")
			a.status, _, _ = strings.Cut(rest, ",")
		case strings.HasPrefix(line, ";; flags:"):
			flags, _, _ := strings.Cut(strings.TrimPrefix(line, ";; flags:"), ";")
			a.flags = strings.Fields(flags)
		case strings.HasPrefix(line, ";; ") && strings.HasSuffix(line, " SECTION:"):
			section = strings.Fields(line)[1]
		case line == "" || strings.HasPrefix(line, ";"):
		case section == "ANSWER":
			f := strings.Fields(line)
			if len(f) < 5 {
				return a, fmt.Errorf("dig printed an answer of %d words: %q", len(f), line)
			}
			ttl, err := strconv.Atoi(f[1])
			if err != nil {
				return a, fmt.Errorf("dig printed a TTL %q: %w", f[1], err)
			}
			a.ttls = append(a.ttls, ttl)
			a.records = append(a.records, f[0]+" "+f[3]+" "+strings.Join(f[4:], " "))
		}
	}
	if a.status == "" {
		return a, fmt.Errorf("dig printed no answer: %s", text)
	}
	slices.Sort(a.records)
	return a, nil
}

// want says how the answer differs from this status and these records
// ("name. type data"), or "".
func (a answer) want(status string, records ...string) string {
	slices.Sort(records)
	if a.status != status || !slices.Equal(a.records, records) {
		return fmt.Sprintf("answer %s %q, want %s %q\n%s", a.status, a.records, status, records, a.text)
	}
	return ""
}

// wantOurs is want for an answer out of the table: authoritative, recursion
// offered, and every record with this TTL.
func (a answer) wantOurs(ttl int, records ...string) string {
	if wrong := a.want("NOERROR", records...); wrong != "" {
		return wrong
	}
	for _, flag := range []string{"qr", "aa", "rd", "ra"} {
		if !slices.Contains(a.flags, flag) {
			return fmt.Sprintf("flag %s is missing:\n%s", flag, a.text)
		}
	}
	for _, got := range a.ttls {
		if got != ttl {
			return fmt.Sprintf("TTL %d, want %d:\n%s", got, ttl, a.text)
		}
	}
	return ""
}
