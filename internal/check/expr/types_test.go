package expr

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// refuses parses each script, which has one mistake, "line:column part of the
// message".
func refuses(t *testing.T, scripts map[string]string) {
	t.Helper()
	for src, want := range scripts {
		_, err := Parse(src)
		var pe *ParseError
		if !errors.As(err, &pe) || len(pe.Errors) != 1 {
			t.Errorf("Parse(%q): %v, want one mistake", src, err)
			continue
		}
		place, part, _ := strings.Cut(want, " ")
		if e := pe.Errors[0]; place != fmt.Sprintf("%d:%d", e.Line, e.Column) || !strings.Contains(e.Msg, part) {
			t.Errorf("Parse(%q): %v, want %q", src, err, want)
		}
	}
}

func TestRegexp(t *testing.T) {
	for _, regex := range []string{`^\d+ ok$`, `(?i)alive`, `a{2,5}`, "[[:alpha:]]"} {
		s := mustParse(t, "http_match '/', '"+regex+"'")
		if got := s.lines[0].(Call).Regexp("regex").String(); got != regex {
			t.Errorf("got %s, want %s", got, regex)
		}
	}
	refuses(t, map[string]string{
		"http_match '/'":                 "1:1 takes 2 to 4 arguments, got 1: http_match(path, regex, port=80, host='127.0.0.1')",
		"http_match '/', nil":            "1:17 regex: expected a regular expression (RE2) in quotes; got nil",
		"http_match '/', ''":             "1:17 matches everything",
		"http_match '/', 'a(hunter'":     "1:17 missing closing )",
		"http_match '/', 'a[b'":          "1:17 missing closing ]",
		"true and\n http_match '/', '*'": `2:18 missing argument to repetition operator: "anything" is written .*`,
		"http_match '/', '(?<!a)b'":      "1:17 it looks neither ahead nor behind",
		"http_match '/', '(?=a)b'":       "1:17 it looks neither ahead nor behind",
		`http_match '/', '\Z'`:           "1:17 invalid escape sequence",
		"http_match '/', 'a{1,9999}'":    "1:17 invalid repeat count",
		`http_match '/', "\xff"`:         "1:17 invalid UTF-8",
	})
	_, err := Parse("http_match '/', 'a(hunter'")
	if err == nil || strings.Contains(err.Error(), "hunter") {
		t.Errorf("the message shows the text: %v", err)
	}
}

func TestBool(t *testing.T) {
	s := mustParse(t, "https_get '/x', [200, 301], 8443, 'www', true\nhttps_get '/'")
	all, bare := s.lines[0].(Call), s.lines[1].(Call)
	if !all.Bool("insecure") || bare.Bool("insecure") {
		t.Error("insecure")
	}
	if bare.Int("port") != 443 || bare.Text("host") != "127.0.0.1" || !reflect.DeepEqual(bare.Ints("statuses"), []int{200}) {
		t.Errorf("the defaults of %s", bare)
	}
	if got, want := s.String(), "https_get '/x', [200, 301], 8443, 'www', true\nhttps_get '/'"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	refuses(t, map[string]string{
		"https_get '/', [200], 443, 'a', 1":     "1:33 insecure: expected true or false; got an integer",
		"https_get '/', [200], 443, 'a', nil":   "1:33 got nil",
		"https_get '/', [200], 443, 'a', 'yes'": "1:33 got a string",
	})
}

func TestRefusedArguments(t *testing.T) {
	const domain, unit = "expected a domain name in quotes; ", "expected the name of a unit in quotes, such as 'nginx.service'; "
	refuses(t, map[string]string{
		"file_check":               "1:1 file_check takes 1 argument, got 0: file_check(path)",
		"file_check '/a', '/b'":    "1:18 file_check takes 1 argument, got 2",
		"file_check 'etc/nologin'": "1:12 path: expected an absolute path in quotes; this string does not begin with /",
		`file_check "/a\x00b"`:     "1:12 NUL",
		"file_check nil":           "1:12 got nil",
		"dns_check '10.0.0.1'":     "1:11 name: " + domain + "this string is an address",
		"dns_check 'a..b'":         "1:11 " + "name: " + domain + "this string is no domain name",
		"dns_check '.'":            "1:11 no domain name",
		"dns_check ''":             "1:11 no domain name",
		"dns_check 'a b'":          "1:11 no domain name",
		"dns_check '" + strings.Repeat("a", 64) + ".b'":  "1:11 no domain name",
		"dns_check '" + strings.Repeat("a.", 127) + "a'": "1:11 no domain name",
		"dns_check 'a', 'b', 0":                          "1:21 0 is out of range",
		"tcp_match 1, 2, 'x'":                            "1:14 send: expected a string in quotes or nil; got an integer",
		"tcp_match 1, nil, nil":                          "1:19 regex: expected a regular expression (RE2) in quotes; got nil",
		"tcp_match 1, nil, '('":                          "1:19 missing closing )",
		"tcp_match 1, nil":                               "1:1 tcp_match takes 3 or 4 arguments, got 2: tcp_match(port, send, regex, host='127.0.0.1')",
		"udp_match 1, nil, 'x'":                          "1:14 send: expected a string in quotes; got nil",
		"udp_match 1, 'x', '['":                          "1:19 missing closing ]",
		"tls_check 443, 'a', -1":                         "1:21 days_left: expected an integer of days 0…3650; -1 is out of range",
		"tls_check 443, 'a', 3651":                       "1:21 3651 is out of range",
		"tls_check 443, 'a', '14'":                       "1:21 got a string",
		"unit_check ''":                                  "1:12 unit: " + unit + "this string is no name of a unit",
		"unit_check 'ngin*'":                             "1:12 unit: " + unit + "this string has a character that names of units do not have",
		"unit_check 'a b.service'":                       "1:12 has a character",
		"unit_check '" + strings.Repeat("a", 256) + "'":  "1:12 no name of a unit",
		"ping_check":                                     "1:1 ping_check takes 1 argument, got 0: ping_check(host)",
		"ping_check 'a b'":                               "1:12 neither name nor address",
		"grpc_check 5":                                   "1:12 service: expected a string in quotes or nil; got an integer",
	})
}

// The defaults of the checks that are not of the original.
func TestDefaults(t *testing.T) {
	for src, want := range map[string]string{
		"dns_check 'a.'":                      "dns_check('a.', '127.0.0.1', 53)",
		"file_check '/a b'":                   "file_check('/a b')",
		"tcp_match 1, nil, 'x'":               "tcp_match(1, nil, 'x', '127.0.0.1')",
		"tls_check":                           "tls_check(443, '127.0.0.1', 0)",
		"tls_check 636, 'ldap', 3650":         "tls_check(636, 'ldap', 3650)",
		"udp_match 1, '', 'x', 'h'":           "udp_match(1, '', 'x', 'h')",
		`unit_check 'a\x2d@b:c_d.mount'`:      `unit_check('a\\x2d@b:c_d.mount')`,
		"grpc_check":                          "grpc_check(nil, 50051, '127.0.0.1')",
		"grpc_check 'shop.Cart', 443, 'shop'": "grpc_check('shop.Cart', 443, 'shop')",
	} {
		c := mustParse(t, src).lines[0].(Call)
		var args []string
		for _, v := range c.args {
			var b strings.Builder
			writeValue(&b, v)
			args = append(args, b.String())
		}
		if got := c.Name + "(" + strings.Join(args, ", ") + ")"; got != want {
			t.Errorf("%s is %s, want %s", src, got, want)
		}
	}
}

// For a service on another host every check asks that host: what is this one by
// default or by its address is replaced, and no other.
func TestAt(t *testing.T) {
	for src, want := range map[string]string{
		"tcp_check 80":                  "tcp_check 80, '10.0.0.9'",
		"tcp_check 80, '127.0.0.1'":     "tcp_check 80, '10.0.0.9'",
		"tcp_check 80, '10.0.0.7'":      "tcp_check 80, '10.0.0.7'",
		"dns_check 'www.example.com'":   "dns_check 'www.example.com', '10.0.0.9'",
		"dns_check 'a', '10.0.0.7', 54": "dns_check 'a', '10.0.0.7', 54",
		"mysql_check '127.0.0.1'":       "mysql_check '127.0.0.1', nil, 3306, '10.0.0.9'",
		"file_check '/etc/x'":           "file_check '/etc/x'",
	} {
		c := mustParse(t, src).lines[0].(Call)
		before := c.String()
		if got := c.At("10.0.0.9").String(); got != want {
			t.Errorf("%s at another host is %s, want %s", src, got, want)
		}
		if c.String() != before {
			t.Errorf("%s has changed", src)
		}
	}
}
