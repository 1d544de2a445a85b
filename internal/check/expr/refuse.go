package expr

import (
	"errors"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strings"
)

// refuseRegexp says what is wrong with a regular expression, and never what
// stands in it. An empty one is a mistake, too: it would find itself in
// anything.
func refuseRegexp(v string) string {
	if v == "" {
		return "an empty one matches everything"
	}
	_, err := regexp.Compile(v)
	e, ok := errors.AsType[*syntax.Error](err)
	switch {
	case err == nil:
		return ""
	case !ok:
		return "this string is none"
	case strings.HasPrefix(e.Expr, "(?"):
		return e.Code.String() + ": it looks neither ahead nor behind"
	case e.Code == syntax.ErrMissingRepeatArgument:
		return e.Code.String() + ": \"anything\" is written .*"
	}
	return e.Code.String()
}

// refuseDomain takes what can be asked for, with or without a dot at the end.
func refuseDomain(v string) string {
	if _, err := netip.ParseAddr(v); err == nil {
		return "this string is an address"
	}
	name := strings.TrimSuffix(v, ".")
	if len(name) > 253 || !isHost(name) {
		return "this string is no domain name"
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "this string is no domain name"
		}
	}
	return ""
}

// refuseUnit takes the characters that the names of units are made of. Among
// those that are left out are * and ?: systemctl would look for any unit like
// that.
func refuseUnit(v string) string {
	if v == "" || len(v) > 255 {
		return "this string is no name of a unit"
	}
	for _, r := range v {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(`:-_.\@`, r) {
			return "this string has a character that names of units do not have"
		}
	}
	return ""
}

func refuseFile(v string) string {
	switch {
	case !strings.HasPrefix(v, "/"):
		return "this string does not begin with /"
	case strings.ContainsRune(v, 0):
		return "this string has a NUL in it"
	}
	return ""
}
