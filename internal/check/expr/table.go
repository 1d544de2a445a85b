package expr

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// Type is what a parameter accepts.
type Type uint8

// The types of the parameters.
const (
	Text         Type = iota // any string
	Host                     // a host name or an address
	Port                     // an integer 1…65535
	PortOrSocket             // a Port, or the absolute path of a unix socket
	Path                     // an HTTP path with an optional query
	Statuses                 // at least one HTTP status; interim ones (1xx) are never final
	Bool                     // true or false
	Regexp                   // a regular expression of RE2 that does not match everything

	Role    // 'master' or 'replica'
	Seconds // an integer 0…2592000, thirty days

	Payload // octets to send, or nil for none
	Domain  // a domain name, which an address is not
	Days    // an integer 0…3650, ten years
	Unit    // the name of a unit of systemd
	File    // an absolute path
)

// String describes the type as error messages and the manual do.
func (t Type) String() string {
	switch t {
	case Host:
		return "a host name or address in quotes"
	case Port:
		return "an integer 1…65535"
	case PortOrSocket:
		return "an integer 1…65535 or the path of a socket in quotes"
	case Path:
		return "a path in quotes that begins with /"
	case Statuses:
		return "an array of integers 200…599 such as [200, 301]"
	case Bool:
		return "true or false"
	case Regexp:
		return "a regular expression (RE2) in quotes"
	case Role:
		return "'master' or 'replica'"
	case Seconds:
		return "an integer of seconds 0…2592000"
	case Payload:
		return "a string in quotes or nil"
	case Domain:
		return "a domain name in quotes"
	case Days:
		return "an integer of days 0…3650"
	case Unit:
		return "the name of a unit in quotes, such as 'nginx.service'"
	case File:
		return "an absolute path in quotes"
	}
	return "a string in quotes"
}

// refuse says what is wrong with v, or "". It repeats numbers, but no strings.
func (t Type) refuse(v any) string {
	switch v := v.(type) {
	case nil:
		if t == Payload {
			return ""
		}
	case bool:
		if t == Bool {
			return ""
		}
	case int:
		lo, hi, ok := t.limits()
		if !ok {
			break
		}
		if v < lo || v > hi {
			return fmt.Sprintf("%d is out of range", v)
		}
		return ""
	case string:
		switch t {
		case Text, Payload:
			return ""
		case Domain:
			return refuseDomain(v)
		case Unit:
			return refuseUnit(v)
		case File:
			return refuseFile(v)
		case Host:
			if !isHost(v) {
				return "this string is neither name nor address"
			}
			return ""
		case PortOrSocket:
			if !strings.HasPrefix(v, "/") {
				return "this string is not an absolute path"
			}
			return ""
		case Path:
			if !strings.HasPrefix(v, "/") {
				return "this string does not begin with /"
			}
			// A path that cannot stand in a request line would only fail at
			// the first check; what is behind a # never reaches a server.
			if _, err := url.ParseRequestURI(v); err != nil || strings.ContainsRune(v, '#') || strings.ContainsFunc(v, unicode.IsSpace) {
				return "this string has a blank, a # or a broken %-escape"
			}
			return ""
		case Regexp:
			return refuseRegexp(v)
		case Role:
			if v != "master" && v != "replica" {
				return "this string is another"
			}
			return ""
		}
	case []any:
		if t != Statuses {
			break
		}
		if len(v) == 0 {
			return "an empty array matches no answer"
		}
		for _, one := range v {
			n, ok := one.(int)
			if !ok {
				return "the array holds " + kindOf(one)
			}
			if n < 200 || n > 599 {
				return fmt.Sprintf("%d is out of range", n)
			}
		}
		return ""
	}
	return "got " + kindOf(v)
}

// limits gives the range of an integer, and false for a type that takes none.
func (t Type) limits() (lo, hi int, ok bool) {
	switch t {
	case Port, PortOrSocket:
		return 1, 65535, true
	case Seconds:
		return 0, 30 * 24 * 60 * 60, true
	case Days:
		return 0, 3650, true
	}
	return 0, 0, false
}

// isHost takes the names that murakumo itself takes, with no limit to the
// length: the resolver will say.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_", r)
	})
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case bool:
		return strconv.FormatBool(v)
	case int:
		return "an integer"
	case string:
		return "a string"
	}
	return "an array"
}

// Param is one parameter of a check.
type Param struct {
	Name string
	Type Type
	// Required parameters come first and have no default.
	Required bool
	// Default is nil, a bool, an int, a string or an []any of ints. A parameter whose
	// default is nil accepts nil, too.
	Default any
	// Secret values are shown as *** wherever people read.
	Secret bool
}

// Signature is the name of a check and its parameters in order.
type Signature struct {
	Name   string
	Params []Param
}

// String writes the signature as the manual does, for example
// tcp_check(port, host='127.0.0.1').
func (s Signature) String() string {
	var b strings.Builder
	b.WriteString(s.Name + "(")
	for i, p := range s.Params {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.Name)
		if !p.Required {
			b.WriteString("=")
			writeValue(&b, p.Default)
		}
	}
	b.WriteString(")")
	return b.String()
}

const localhost = "127.0.0.1"

// signatures is the whole vocabulary, in the order of the names. The order of
// the parameters and the defaults are those of the Ruby helpers.
var signatures = []Signature{
	{"dns_check", []Param{
		{Name: "name", Type: Domain, Required: true},
		{Name: "server", Type: Host, Default: localhost},
		{Name: "port", Type: Port, Default: 53},
	}},
	{"file_check", []Param{
		{Name: "path", Type: File, Required: true},
	}},
	{"grpc_check", []Param{
		{Name: "service", Type: Text},
		{Name: "port", Type: Port, Default: 50051},
		{Name: "host", Type: Host, Default: localhost},
	}},
	{"http_get", []Param{
		{Name: "path", Type: Path, Required: true},
		{Name: "statuses", Type: Statuses, Default: []any{200}},
		{Name: "port", Type: Port, Default: 80},
		{Name: "host", Type: Host, Default: localhost},
	}},
	{"http_match", []Param{
		{Name: "path", Type: Path, Required: true},
		{Name: "regex", Type: Regexp, Required: true},
		{Name: "port", Type: Port, Default: 80},
		{Name: "host", Type: Host, Default: localhost},
	}},
	{"https_get", []Param{
		{Name: "path", Type: Path, Required: true},
		{Name: "statuses", Type: Statuses, Default: []any{200}},
		{Name: "port", Type: Port, Default: 443},
		{Name: "host", Type: Host, Default: localhost},
		{Name: "insecure", Type: Bool, Default: false},
	}},
	{"memcached_check", []Param{
		{Name: "port", Type: Port, Default: 11211},
		{Name: "host", Type: Host, Default: localhost},
	}},
	{"mysql_check", []Param{
		{Name: "user", Type: Text, Required: true},
		{Name: "password", Type: Text, Secret: true},
		{Name: "port_or_socket", Type: PortOrSocket, Default: 3306},
		{Name: "host", Type: Host, Default: localhost},
		{Name: "db", Type: Text},
	}},
	{"mysql_role", []Param{
		{Name: "user", Type: Text, Required: true},
		{Name: "password", Type: Text, Secret: true},
		{Name: "port_or_socket", Type: PortOrSocket, Default: 3306},
		{Name: "host", Type: Host, Default: localhost},
		{Name: "role", Type: Role},
		{Name: "max_lag", Type: Seconds},
	}},
	{"ping_check", []Param{
		{Name: "host", Type: Host, Required: true},
	}},
	{"postgres_check", []Param{
		{Name: "user", Type: Text, Required: true},
		{Name: "password", Type: Text, Secret: true},
		{Name: "port_or_socket", Type: PortOrSocket, Default: 5432},
		{Name: "host", Type: Host, Default: localhost},
		{Name: "db", Type: Text},
	}},
	{"postgres_role", []Param{
		{Name: "user", Type: Text, Required: true},
		{Name: "password", Type: Text, Secret: true},
		{Name: "port_or_socket", Type: PortOrSocket, Default: 5432},
		{Name: "host", Type: Host, Default: localhost},
		{Name: "role", Type: Role},
		{Name: "max_lag", Type: Seconds},
	}},
	{"redis_check", []Param{
		{Name: "port", Type: Port, Default: 6379},
		{Name: "host", Type: Host, Default: localhost},
		{Name: "password", Type: Text, Secret: true},
		{Name: "role", Type: Role},
	}},
	{"smtp_check", []Param{
		{Name: "host", Type: Host, Required: true},
		{Name: "port", Type: Port, Default: 25},
		{Name: "helo", Type: Host},
		{Name: "user", Type: Text},
		{Name: "password", Type: Text, Secret: true},
	}},
	{"tcp_check", []Param{
		{Name: "port", Type: Port, Required: true},
		{Name: "host", Type: Host, Default: localhost},
	}},
	{"tcp_match", []Param{
		{Name: "port", Type: Port, Required: true},
		{Name: "send", Type: Payload, Required: true, Secret: true},
		{Name: "regex", Type: Regexp, Required: true},
		{Name: "host", Type: Host, Default: localhost},
	}},
	{"tls_check", []Param{
		{Name: "port", Type: Port, Default: 443},
		{Name: "host", Type: Host, Default: localhost},
		{Name: "days_left", Type: Days, Default: 0},
	}},
	{"udp_match", []Param{
		{Name: "port", Type: Port, Required: true},
		{Name: "send", Type: Text, Required: true, Secret: true},
		{Name: "regex", Type: Regexp, Required: true},
		{Name: "host", Type: Host, Default: localhost},
	}},
	{"unit_check", []Param{
		{Name: "unit", Type: Unit, Required: true},
	}},
}

// Signatures gives the checks that a script can call, ordered by name. The
// caller must not change what it gets.
func Signatures() []Signature { return signatures }

func lookup(name string) *Signature {
	for i := range signatures {
		if signatures[i].Name == name {
			return &signatures[i]
		}
	}
	return nil
}

func (s *Signature) required() int {
	n := 0
	for _, p := range s.Params {
		if p.Required {
			n++
		}
	}
	return n
}

// count says how many arguments the check takes: "1 or 2 arguments", "1 to 4
// arguments".
func (s *Signature) count() string {
	least, most := s.required(), len(s.Params)
	switch {
	case most == 1 && least == 1:
		return "1 argument"
	case most == least:
		return fmt.Sprintf("%d arguments", most)
	case most == least+1:
		return fmt.Sprintf("%d or %d arguments", least, most)
	}
	return fmt.Sprintf("%d to %d arguments", least, most)
}

// unknown words the refusal of a name that is no check.
func unknown(name string) string {
	var known []string
	best, least := "", max(2, len(name)/3)+1
	for _, s := range signatures {
		known = append(known, s.Name)
		d := distance(strings.ToLower(name), s.Name)
		if strings.HasPrefix(s.Name, strings.ToLower(name)) {
			d = 0 // `mysql` can only mean one thing
		}
		if d < least {
			best, least = s.Name, d
		}
	}
	hint := " (known: " + strings.Join(known, ", ") + ")"
	if best != "" {
		hint = "; did you mean " + best + "?"
	}
	if name == "system" || name == "exec" || name == "spawn" {
		hint = "; use command: in place of script: to run a program"
	}
	return "unknown check " + clip(name) + hint
}

// clip keeps a message short whatever stands in the file.
func clip(word string) string {
	if r := []rune(word); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return word
}

// distance is the number of letters to insert, delete or replace to get from a
// to b. It is only asked for short b; a longer than 64 is far from everything.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
