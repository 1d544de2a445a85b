package control

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// Phrase chooses records: a regular expression (RE2, so no phrase can take
// long), case-insensitive and anchored at the start of the address, the name,
// the priority or the activity. Hence "active" does not choose what is inactive,
// and "10.0.0.1" chooses 10.0.0.133 as well.
type Phrase struct{ re *regexp.Regexp }

// ParsePhrase reads a phrase; the empty one chooses everything.
func ParsePhrase(s string) (Phrase, error) {
	re, err := regexp.Compile("(?i)" + s)
	if se, ok := errors.AsType[*syntax.Error](err); ok {
		return Phrase{}, fmt.Errorf("phrase %q is no regular expression: %s: %q", s, se.Code, strings.TrimPrefix(se.Expr, "(?i)"))
	}
	if err != nil {
		return Phrase{}, fmt.Errorf("phrase %q is no regular expression: %w", s, err)
	}
	return Phrase{re}, nil
}

// Match says whether the phrase chooses r.
func (p Phrase) Match(r Record) bool {
	return p.starts(r.Address.String()) || p.starts(r.Name) ||
		p.starts(r.Priority) || p.starts(r.Activity)
}

// starts asks where the leftmost match begins. Writing ^(?:…) around the
// operator's text would be no anchor at all for "a)|(b", and no expression for
// "\Qa".
func (p Phrase) starts(s string) bool {
	at := p.re.FindStringIndex(s)
	return at != nil && at[0] == 0
}
