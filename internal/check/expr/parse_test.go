package expr

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustParse(t testing.TB, src string) *Script {
	t.Helper()
	s, err := Parse(src)
	if err != nil {
		t.Fatalf("Parse(%q): %v", src, err)
	}
	return s
}

// Source and canonical text.
func TestParse(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"mysql_check 'root'", "mysql_check 'root'"},
		{"  mysql_check('root')\r\n\r\n", "mysql_check 'root'"},
		{"tcp_check 80", "tcp_check 80"},
		{"tcp_check(80,)", "tcp_check 80"},
		{"tcp_check (80)", "tcp_check 80"},
		{"tcp_check 80, '127.0.0.1'", "tcp_check 80"},
		{"tcp_check 80, '::1'", "tcp_check 80, '::1'"},
		{"tcp_check 80, 'db_1.Example.org'", "tcp_check 80, 'db_1.Example.org'"},
		{"tcp_check 8_080", "tcp_check 8080"},
		{"http_get '/index.html', [200, 301], 8080", "http_get '/index.html', [200, 301], 8080"},
		{"http_get'/'", "http_get '/'"},
		{`http_get "/"`, "http_get '/'"},
		{"http_get '//x?y=%20%23z'", "http_get '//x?y=%20%23z'"},
		{"http_get '/', [200], 80, 'example.org'", "http_get '/', [200], 80, 'example.org'"},
		{"http_get '/', [\n 200, # fine\n 301,\n]", "http_get '/', [200, 301]"},
		{"mysql_check 'root', nil, '/run/mysqld/mysqld.sock'", "mysql_check 'root', nil, '/run/mysqld/mysqld.sock'"},
		{"mysql_check 'root', nil, 3306, '127.0.0.1', nil", "mysql_check 'root'"},
		{"mysql_check 'root', ''", "mysql_check 'root', ''"},

		// Strings.
		{`mysql_check 'it\'s \\ \n "#{x}"'`, `mysql_check 'it\'s \\ \\n "#{x}"'`},
		{`mysql_check "a\tb\"\\\n\#{c} #d"`, `mysql_check "a\tb\"\\\n\#{c} \#d"`},
		{`mysql_check "#"`, `mysql_check '#'`},
		{`mysql_check "\r\n\x00\x7f\xc3\xbc\xC2\x85\xff"`, `mysql_check "\r\n\x00\x7fü\xc2\x85\xff"`},
		{`mysql_check "\x61\x09b"`, `mysql_check "a\tb"`},
		{`mysql_check 'ünï' # and 'this'`, `mysql_check 'ünï'`},

		// Operators.
		{"tcp_check(1) && tcp_check(2)", "tcp_check 1 and tcp_check 2"},
		{"mysql_check('root') && tcp_check(80)", "mysql_check 'root' and tcp_check 80"},
		{"tcp_check(1) || tcp_check(2) && tcp_check(3)", "tcp_check 1 or (tcp_check 2 and tcp_check 3)"},
		{"tcp_check 1 or tcp_check 2 and tcp_check 3", "tcp_check 1 or tcp_check 2 and tcp_check 3"},
		{"tcp_check 1 and http_get '/'", "tcp_check 1 and http_get '/'"},
		{"tcp_check(1)and tcp_check(2)", "tcp_check 1 and tcp_check 2"},
		{"not tcp_check 80", "not tcp_check 80"},
		{"!tcp_check(80)", "not tcp_check 80"},
		{"!tcp_check 80", "not tcp_check 80"},
		{"not !tcp_check 80", "not not tcp_check 80"},
		{"not(tcp_check 1) && tcp_check(2)", "not tcp_check 1 and tcp_check 2"},
		{"not (tcp_check 1) && tcp_check(2)", "not (tcp_check 1 and tcp_check 2)"},
		{"not\n(tcp_check 1) && tcp_check(2)", "not (tcp_check 1 and tcp_check 2)"},
		{"tcp_check(1) && !not(tcp_check(2))", "tcp_check 1 and not not tcp_check 2"},
		{"(tcp_check 1) && (tcp_check 2)", "tcp_check 1 and tcp_check 2"},
		{"((tcp_check 1 or tcp_check 2)) and true", "(tcp_check 1 or tcp_check 2) and true"},
		{"!true || !false", "not true or not false"},

		// Lines.
		{"tcp_check 1\n\n# why\ntcp_check 2; ;tcp_check 3;", "tcp_check 1\ntcp_check 2\ntcp_check 3"},
		{"tcp_check 1 and # why\n\n  # because\n tcp_check 2", "tcp_check 1 and tcp_check 2"},
		{"tcp_check(1) &&\ntcp_check(2) ||\ntcp_check(3)", "(tcp_check 1 and tcp_check 2) or tcp_check 3"},
		{"tcp_check 1,\n 'a'", "tcp_check 1, 'a'"},
		{"tcp_check \\\n 1", "tcp_check 1"},
		{"(tcp_check 1\n and tcp_check(\n2\n))", "tcp_check 1 and tcp_check 2"},
		{"!\ntcp_check 1", "not tcp_check 1"},
	} {
		if got := mustParse(t, c.src).String(); got != c.want {
			t.Errorf("Parse(%q) gives %q, want %q", c.src, got, c.want)
		}
	}
}

// Source and its mistakes, each "line:column part of the message"; all of them
// and no others.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		src  string
		want []string
	}{
		{"", []string{"1:1 empty"}},
		{"\n # nothing\n;", []string{"1:1 empty"}},

		// Names.
		{"tcp_chek 80", []string{"1:1 unknown check tcp_chek; did you mean tcp_check?"}},
		{"mysql 'root'", []string{"1:1 did you mean mysql_check?"}},
		{"frobnicate", []string{"1:1 unknown check frobnicate (known:"}},
		{"system 'ls'", []string{"1:1 command:"}},
		{"tcp_chek 80 and (htp_get('/') or\n  !tcp_check(0))", []string{"1:1 tcp_check?", "1:18 http_get?", "2:14 out of range"}},
		{"ünï_check 5 and tcp_check 0", []string{"1:1 unknown check ünï_check", "1:27 0 is out of range"}},

		// Arguments.
		{"tcp_check", []string{"1:1 takes 1 or 2 arguments, got 0: tcp_check(port, host='127.0.0.1')"}},
		{"tcp_check()", []string{"1:1 got 0"}},
		{"tcp_check 80, 'a', 3", []string{"1:20 got 3"}},
		{"mysql_check('a', 'b', 1, 'c', 'd', 'e')", []string{"1:36 1 to 5 arguments, got 6: mysql_check(user, password=nil, port_or_socket=3306, host='127.0.0.1', db=nil)"}},
		{"tcp_check '80'", []string{"1:11 tcp_check: port: expected an integer 1…65535; got a string"}},
		{"tcp_check 0; tcp_check 65536; tcp_check -1", []string{"1:11 0 is out", "1:24 65536 is out", "1:41 -1 is out"}},
		{"tcp_check nil", []string{"1:11 got nil"}},
		{"tcp_check 80, nil", []string{"1:15 host: expected a host name or address in quotes; got nil"}},
		{"tcp_check 80, ''", []string{"1:15 neither name nor address"}},
		{"tcp_check 80, 'a b'", []string{"1:15 neither name nor address"}},
		{"tcp_check 80, '[::1]'", []string{"1:15 neither name nor address"}},
		{"tcp_check 80, 'http://a'", []string{"1:15 neither name nor address"}},
		{"http_get '/', 200", []string{"1:15 statuses: expected an array of integers 200…599 such as [200, 301]; got an integer"}},
		{"http_get '/', [], true", []string{"1:15 empty array", "1:19 port: expected an integer 1…65535; got true"}},
		{"http_get '/', [200, '3']", []string{"1:15 holds a string"}},
		{"http_get '/', [199]", []string{"1:15 199 is out of range"}},
		{"http_get '/', [600]", []string{"1:15 600 is out of range"}},
		{"http_get '/', [[200]]", []string{"1:15 holds an array"}},
		{"http_get 'index.html'", []string{"1:10 begins with /"}},
		{"http_get '/a b'", []string{"1:10 blank"}},
		{"http_get '/%zz'", []string{"1:10 escape"}},
		{"http_get '/a#b'", []string{"1:10 a #"}},
		{"http_get 5", []string{"1:10 path: expected a path in quotes that begins with /; got an integer"}},
		{"mysql_check 'root', nil, 'mysqld.sock'", []string{"1:26 absolute path"}},
		{"mysql_check 'root', nil, 0", []string{"1:26 0 is out of range"}},
		{"mysql_check [1]", []string{"1:13 user: expected a string in quotes; got an array"}},
		{"mysql_check 'root', 5", []string{"1:21 password: expected a string in quotes or nil; got an integer"}},

		// No boolean.
		{"'root'", []string{"1:1 a string is neither true nor false"}},
		{"80\nnil\n[80]", []string{"1:1 a number is neither", "2:1 `nil` is neither", "3:1 an array is neither"}},
		{"tcp_check 80 and 'x'", []string{"1:18 a string is neither"}},

		// Leftovers and gaps.
		{"tcp_check(80) tcp_check(81)", []string{"1:15 found `tcp_check`"}},
		{"mysql_check 'a' 'b'", []string{"1:17 expected `and`, `or` or the end of the line, found a string"}},
		{"tcp_check 80 and", []string{"1:17 expected a check, found the end of the script"}},
		{"tcp_check 80 or ;", []string{"1:17 found `;`"}},
		{"tcp_check 80,", []string{"1:14 expected a value"}},
		{"tcp_check(80", []string{"1:10 never closed"}},
		{"http_get '/', [200", []string{"1:15 never closed"}},
		{"(tcp_check 80", []string{"1:1 never closed"}},
		{"tcp_check(80))", []string{"1:14 closes nothing"}},
		{"tcp_check(80]", []string{"1:13 found `]`"}},
		{"()", []string{"1:2 expected a check, found `)`"}},
		{"(tcp_check 80\ntcp_check 81)\n'x'", []string{"2:1 expected `and`, `or` or `)` for the `(` of line 1, column 1", "3:1 neither"}},
		{"(tcp_check 80; tcp_check 81)", []string{"1:14 `;` cannot stand between brackets"}},
		{"tcp_check(80)\nand tcp_check 81", []string{"2:1 end of the line above"}},
		{"tcp_check(80)\n&& tcp_check(81)", []string{"2:1 end of the line above"}},

		// && takes the argument.
		{"tcp_check 80 && tcp_check 81", []string{"1:14 `&&` would belong to the argument of tcp_check; write tcp_check(…) && …, or use `and`"}},
		{"tcp_check (80) || tcp_check(81)", []string{"1:16 or use `or`"}},
		{"!tcp_check 80 && tcp_check(81)", []string{"1:15 would belong"}},
		{"tcp_check(80) && tcp_check 81", []string{"1:18 after `&&` a check needs parentheses"}},
		{"tcp_check(80) && !tcp_check 81", []string{"1:18 after `&&`"}},
		{"true || tcp_check(80) && tcp_check 81", []string{"1:26 after `&&`"}},
		{"true || tcp_check 81", []string{"1:9 after `||`"}},
		{"tcp_check(80) && not tcp_check(81)", []string{"1:18 `!`"}},
		{"tcp_check(80) && not (tcp_check(81))", []string{"1:18 `!`"}},
		{"tcp_check !80", []string{"1:11 not an expression"}},
		{"tcp_check(tcp_check(80))", []string{"1:11 bare word"}},
		{"tcp_check((80))", []string{"1:11 not an expression"}},

		// Strings and numbers.
		{"mysql_check 'root\ntcp_check 0", []string{"1:13 end it with '", "2:11 out of range"}},
		{`mysql_check "root\`, []string{`1:13 end it with "`}},
		{`mysql_check "a#{b}", "\e"`, []string{"1:15 #{"}},
		{`mysql_check "a", "\e"`, []string{`1:19 escape \e`}},
		{`mysql_check "\x6"`, []string{`1:14 escape \x`}},
		{`mysql_check "\xg0"`, []string{`1:14 escape \x`}},
		{`mysql_check "#$a" or mysql_check 5`, []string{"1:14 #$"}},
		{"tcp_check 80.5", []string{"1:11 fraction"}},
		{"tcp_check 0x50", []string{"1:11 letter follows"}},
		{"tcp_check 080", []string{"1:11 octal"}},
		{"tcp_check 8__0", []string{"1:11 stray _"}},
		{"tcp_check 99999999999999999999", []string{"1:11 too large"}},

		// Ruby that is not ours.
		{"if tcp_check 80\n  tcp_check 81\nend", []string{"1:1 `if`", "3:1 `end`"}},
		{"tcp_check 80 if true", []string{"1:14 `if`"}},
		{"3.times do |i|", []string{"1:1 neither"}},
		{"x = 5", []string{"1:3 variables"}},
		{"tcp_check 80 == true", []string{"1:14 compared"}},
		{"tcp_check(80) != true", []string{"1:15 compared"}},
		{"tcp_check(80) =~ /x/", []string{"1:15 compared"}},
		{"tcp_check $port", []string{"1:11 $name"}},
		{"tcp_check @options[:port]", []string{"1:11 @name"}},
		{"`ls`", []string{"1:1 command:"}},
		{"require 'socket'", []string{"1:1 command:"}},
		{"tcp_check(80) { |x| x }", []string{"1:15 blocks"}},
		{"tcp_check port: 80", []string{"1:15 named arguments"}},
		{"tcp_check(80) ? true : false", []string{"1:15 `? :`"}},
		{"http_get '/', %w[200]", []string{"1:15 `%`"}},
		{"http_get '/', 200..399", []string{"1:15 got an integer", "1:18 ranges"}},
		{"tcp_check(80) & tcp_check(81)", []string{"1:15 `and`"}},
		{"tcp_check(80) | tcp_check(81)", []string{"1:15 `or`"}},
		{"tcp_check 40 + 40", []string{"1:14 computed"}},
		{"tcp_check \\ 80", []string{"1:11 very end of a line"}},
		{"http_get “/”", []string{"1:10 typographic"}},
		{"tcp_check\u00a080", []string{"1:10 U+00A0"}},
		{"tcp_check 80 \x00", []string{"1:14 U+0000"}},
		{"mysql_check 'a\x1bb'", []string{"1:15 U+001B"}},
	} {
		_, err := Parse(c.src)
		var pe *ParseError
		if !errors.As(err, &pe) {
			t.Errorf("Parse(%q): %v, want a *ParseError", c.src, err)
			continue
		}
		ok := len(pe.Errors) == len(c.want)
		for i := 0; ok && i < len(c.want); i++ {
			place, part, _ := strings.Cut(c.want[i], " ")
			e := pe.Errors[i]
			ok = place == fmt.Sprintf("%d:%d", e.Line, e.Column) && strings.Contains(e.Msg, part)
		}
		if !ok {
			t.Errorf("Parse(%q):\n%v\nwant %q", c.src, err, c.want)
		}
	}
}

// No message may show what could be a password, in quotes or not.
func TestParseErrorsKeepSecrets(t *testing.T) {
	for _, src := range []string{
		"mysql_check 'root', 'hunter2",
		"mysql_check 'root' 'hunter2'",
		"mysql_check 'root', hunter2",
		"mysql_check 'root', 2hunter",
		"mysql_check 'root', 'x' hunter2: 1",
		`mysql_check 'root', "hunter2#{}"`,
		`mysql_check 'root', "hunter2\x"`,
		"mysql_check 'root', ['hunter2']",
		"mysql_chek 'root', 'hunter2'",
		"mysql_check('root', 'hunter2', 1, 'h', 'd', 'hunter2')",
		"mysql_check 'root', nil, 'hunter2'",
		"'hunter2'",
	} {
		_, err := Parse(src)
		if err == nil {
			t.Errorf("Parse(%q) has no error", src)
		} else if strings.Contains(err.Error(), "hunter") {
			t.Errorf("Parse(%q) tells: %v", src, err)
		}
	}
}

func TestCall(t *testing.T) {
	s := mustParse(t, `mysql_check 'root', 'hunter2', '/run/s', '10.0.0.1'; http_get '/x', [200, 301]; mysql_check 'a'`)
	my, web, bare := s.lines[0].(Call), s.lines[1].(Call), s.lines[2].(Call)
	if my.Name != "mysql_check" || my.Text("user") != "root" || my.Text("password") != "hunter2" ||
		my.Value("port_or_socket") != "/run/s" || my.Text("host") != "10.0.0.1" || my.Value("db") != nil || my.Text("db") != "" {
		t.Errorf("wrong arguments: %#v", my)
	}
	if web.Text("path") != "/x" || !reflect.DeepEqual(web.Ints("statuses"), []int{200, 301}) || web.Int("port") != 80 || web.Text("host") != "127.0.0.1" {
		t.Errorf("wrong arguments: %#v", web)
	}
	if got, want := my.String(), `mysql_check 'root', '***', '/run/s', '10.0.0.1'`; got != want {
		t.Errorf("String gives %q, want %q", got, want)
	}
	if got, want := bare.String(), `mysql_check 'a'`; got != want {
		t.Errorf("String gives %q, want %q", got, want)
	}
	if got := s.LogValue().String(); strings.Contains(got, "hunter2") || !strings.Contains(got, "'***'") {
		t.Errorf("LogValue gives %q", got)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "script", s)
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("the log has the password: %s", log.String())
	}
	defer func() {
		if recover() == nil {
			t.Error("an argument that does not exist was given")
		}
	}()
	web.Value("prot")
}

// The table is what the manual and the drivers go by: required parameters
// first, defaults that their own type accepts.
func TestSignatures(t *testing.T) {
	last := ""
	for _, s := range Signatures() {
		if s.Name <= last {
			t.Errorf("%s is out of order", s.Name)
		}
		last = s.Name
		optional := false
		for _, p := range s.Params {
			if p.Required && (optional || p.Default != nil) {
				t.Errorf("%s: %s is required behind an optional one, or has a default", s.Name, p.Name)
			}
			optional = optional || !p.Required
			if p.Default != nil && p.Type.refuse(p.Default) != "" {
				t.Errorf("%s: the default of %s is refused: %s", s.Name, p.Name, p.Type.refuse(p.Default))
			}
		}
	}
}

func TestDeepAndLong(t *testing.T) {
	const n = 10_000
	for _, src := range []string{
		strings.Repeat("(", n), strings.Repeat("!", n), strings.Repeat("not ", n), strings.Repeat("not(", n),
		"http_get '/', " + strings.Repeat("[", n),
		strings.Repeat("(", maxDepth+1) + "true" + strings.Repeat(")", maxDepth+1),
	} {
		_, err := Parse(src)
		var pe *ParseError
		if !errors.As(err, &pe) || len(pe.Errors) != 1 || !strings.Contains(err.Error(), "deeper than") {
			t.Errorf("%.20q…: %.200v", src, err)
		}
	}
	deep := strings.Repeat("(", maxDepth) + "true" + strings.Repeat(")", maxDepth)
	if _, err := Parse(deep + "\n" + deep); err != nil {
		t.Errorf("%d brackets: %v", maxDepth, err)
	}
	// The depth of a line that failed does not count in the next.
	bad := strings.Repeat("(", maxDepth) + "5" + strings.Repeat(")", maxDepth)
	_, err := Parse(bad + "\n" + bad + "\n" + deep)
	if err == nil || strings.Contains(err.Error(), "deeper") {
		t.Errorf("%v", err)
	}
	// Length is no depth.
	s := mustParse(t, "true"+strings.Repeat(" and true or false", n))
	if err := s.Eval(t.Context(), nil); err != nil {
		t.Error(err)
	}
	mustParse(t, s.String())
}

// scripts draws the text of a script in every form that the grammar has.
func scripts() *rapid.Generator[string] {
	blank := rapid.SampledFrom([]string{" ", "  ", " \\\n ", "\t"})
	str := rapid.Custom(func(t *rapid.T) string {
		s := rapid.SampledFrom([]string{"", "a", "it's", `\`, `"`, "#{x}", "ü", `\\'`, "a b", "\t", "\n\\\"#@", "\r\n", "\x00\x1b\xff", "\u0085"}).Draw(t, "text")
		if strings.ContainsAny(s, "\n\x00\u0085") || rapid.Bool().Draw(t, "double") {
			var b strings.Builder
			for _, octet := range []byte(s) {
				fmt.Fprintf(&b, `\x%02X`, octet)
			}
			return `"` + b.String() + `"`
		}
		return "'" + single.Replace(s) + "'"
	})
	args := rapid.Custom(func(t *rapid.T) []string {
		switch rapid.IntRange(0, 2).Draw(t, "check") {
		case 0:
			return []string{"tcp_check", "80", "'h'"}[:rapid.IntRange(2, 3).Draw(t, "count")]
		case 1:
			return []string{"http_get", "'/x?%20'", "[200,\n 301]", "8080", "'127.0.0.1'"}[:rapid.IntRange(2, 5).Draw(t, "count")]
		}
		pass := rapid.OneOf(str, rapid.Just("nil")).Draw(t, "pass")
		port := rapid.SampledFrom([]string{"1", "3306", "'/s'"}).Draw(t, "port")
		return []string{"mysql_check", str.Draw(t, "user"), pass, port, "'h'", pass}[:rapid.IntRange(2, 6).Draw(t, "count")]
	})
	closed := rapid.Custom(func(t *rapid.T) string {
		a := args.Draw(t, "args")
		return a[0] + "(" + strings.Join(a[1:], ", ") + ")"
	})
	bare := rapid.Custom(func(t *rapid.T) string {
		a := args.Draw(t, "args")
		return a[0] + " " + strings.Join(a[1:], ",\n")
	})
	var line func(t *rapid.T, depth int) string
	var tight func(t *rapid.T, depth int) string
	tight = func(t *rapid.T, depth int) string {
		if depth == 0 {
			return closed.Draw(t, "call")
		}
		switch rapid.IntRange(0, 6).Draw(t, "tight") {
		case 0:
			return "!" + tight(t, depth-1)
		case 1:
			return "(" + line(t, depth-1) + ")"
		case 2:
			return "not(" + line(t, depth-1) + ")"
		case 3:
			return tight(t, depth-1) + " && " + tight(t, depth-1)
		case 4:
			return tight(t, depth-1) + "||" + tight(t, depth-1)
		case 5:
			return rapid.SampledFrom([]string{"true", "false"}).Draw(t, "bool")
		}
		return closed.Draw(t, "call")
	}
	line = func(t *rapid.T, depth int) string {
		if depth == 0 {
			return bare.Draw(t, "call")
		}
		b := blank.Draw(t, "blank")
		switch rapid.IntRange(0, 5).Draw(t, "line") {
		case 0:
			return line(t, depth-1) + b + "and" + b + line(t, depth-1)
		case 1:
			return line(t, depth-1) + b + "or\n" + b + line(t, depth-1)
		case 2:
			return "not" + b + line(t, depth-1)
		case 3:
			return "!" + bare.Draw(t, "call")
		case 4:
			return bare.Draw(t, "call")
		}
		return tight(t, depth)
	}
	return rapid.Custom(func(t *rapid.T) string {
		lines := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return line(t, 4) }), 1, 3).Draw(t, "lines")
		return strings.Join(lines, rapid.SampledFrom([]string{"\n", ";", " # x\n\n"}).Draw(t, "separator"))
	})
}

func sameAgain(t interface {
	Helper()
	Fatalf(string, ...any)
}, s *Script) {
	t.Helper()
	text := s.String()
	again, err := Parse(text)
	if err != nil {
		t.Fatalf("the canonical text %q does not parse: %v", text, err)
	}
	if !reflect.DeepEqual(s, again) {
		t.Fatalf("the canonical text %q parses to something else: %q", text, again.String())
	}
}

func TestCanonicalTextParsesToTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := scripts().Draw(t, "script")
		s, err := Parse(src)
		if err != nil {
			t.Fatalf("Parse(%q): %v", src, err)
		}
		sameAgain(t, s)
	})
}

func FuzzParse(f *testing.F) {
	for _, src := range []string{
		"mysql_check 'root'",
		"tcp_check 80 and http_get '/index.html', [200, 301], 8080",
		"mysql_check 'root', nil, '/run/mysqld/mysqld.sock'",
		"not (tcp_check(80) && !tcp_check(81)) or\n true # why\nhttp_get \"/\\t\\#{\"",
		"not(tcp_check 80) || (false; x",
		"if @options[:x] then `ls` end",
		"tcp_check \\\n 8_0, '::1'",
	} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		s, err := Parse(src)
		if err == nil {
			sameAgain(t, s)
			return
		}
		var pe *ParseError
		if !errors.As(err, &pe) || len(pe.Errors) == 0 {
			t.Fatalf("%v", err)
		}
		lines := strings.Split(src, "\n")
		for _, e := range pe.Errors {
			if e.Line < 1 || e.Line > len(lines) || e.Column < 1 || e.Column > len([]rune(lines[e.Line-1]))+1 {
				t.Fatalf("%q: a place that does not exist: %v", src, e)
			}
			if len(e.Msg) > 500 {
				t.Fatalf("%q: a message of %d bytes", src, len(e.Msg))
			}
		}
	})
}
