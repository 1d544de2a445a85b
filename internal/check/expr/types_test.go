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

// The defaults of the checks that are not of the original.
func TestDefaults(t *testing.T) {
	for src, want := range map[string]string{
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
