package config

import (
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"murakumo/internal/check/expr"
)

// classified lists the fields of a struct that settings names, and reports those
// that it does not.
func classified(t *testing.T, typ reflect.Type, prefix string, into map[string]bool) {
	for f := range typ.Fields() {
		path := prefix + f.Name
		under := false
		for s := range settings {
			under = under || strings.HasPrefix(s, path+".")
		}
		switch _, there := settings[path]; {
		case there && under:
			t.Errorf("settings has %s as well as fields of it", path)
		case there:
			into[path] = true
		case under:
			classified(t, f.Type, path+".", into)
		default:
			t.Errorf("settings in diff.go does not say when a change of %s takes effect: Running, if a reload takes it in (say where in internal/node/reload.go), or AtStart", path)
		}
	}
}

// TestEveryFieldIsClassified: whoever adds a setting has to say whether a reload
// takes it in.
func TestEveryFieldIsClassified(t *testing.T) {
	known := map[string]bool{}
	classified(t, reflect.TypeFor[Config](), "", known)
	for field := range settings {
		if !known[field] {
			t.Errorf("settings has %s, but a Config has not", field)
		}
	}
}

// other gives a value that differs from v in one way, for each way. It notes
// which fields of structs it had another value for.
func other(v reflect.Value, tried map[string]bool) []reflect.Value {
	set := func(x any) reflect.Value { return reflect.ValueOf(x).Convert(v.Type()) }
	switch x := v.Interface().(type) {
	case netip.Addr:
		return []reflect.Value{set(netip.MustParseAddr("192.0.2.77"))}
	case netip.AddrPort:
		return []reflect.Value{set(netip.MustParseAddrPort("192.0.2.77:77"))}
	case netip.Prefix:
		return []reflect.Value{set(netip.MustParsePrefix("192.0.2.0/25"))}
	case *regexp.Regexp:
		return []reflect.Value{set(regexp.MustCompile("(?i)other"))}
	case *expr.Script:
		if x == nil {
			return nil
		}
		script, err := expr.Parse("tcp_check 7777")
		if err != nil {
			panic(err)
		}
		return []reflect.Value{set(script)}
	case time.Duration:
		return []reflect.Value{set(x + time.Second)}
	}
	var all []reflect.Value
	switch v.Kind() {
	case reflect.String:
		all = append(all, set(v.String()+"x"))
	case reflect.Bool:
		all = append(all, set(!v.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int64:
		all = append(all, set(v.Int()+1))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		next := v.Uint() + 1
		if v.Kind() == reflect.Uint8 && next > 2 { // words: priorities, duties, verdicts
			next = 1
		}
		all = append(all, set(next))
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		for _, o := range other(v.Elem(), tried) {
			p := reflect.New(v.Type().Elem())
			p.Elem().Set(o)
			all = append(all, p)
		}
		all = append(all, reflect.Zero(v.Type()))
	case reflect.Slice:
		for i := range v.Len() {
			for _, o := range other(v.Index(i), tried) {
				s := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
				reflect.Copy(s, v)
				s.Index(i).Set(o)
				all = append(all, s)
			}
		}
		if v.Len() > 0 {
			all = append(all, v.Slice(0, v.Len()-1))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			variants := other(v.Field(i), tried)
			name := v.Type().Name() + "." + v.Type().Field(i).Name
			tried[name] = tried[name] || len(variants) > 0
			for _, o := range variants {
				s := reflect.New(v.Type()).Elem()
				s.Set(v)
				s.Field(i).Set(o)
				all = append(all, s)
			}
		}
	default:
		panic("no other value of " + v.Type().String() + ": say one here")
	}
	return all
}

// TestEveryDifferenceIsTold: each field of the reference file changed in each
// way is a change that Diff tells; and it is one that a running daemon takes in,
// or one that it keeps, as settings says.
func TestEveryDifferenceIsTold(t *testing.T) {
	now := inForce(t)
	// A check has a script or a command; the reference shows the one.
	by := now.HealthChecks[0]
	by.Name, by.Script, by.Command = "by-command", nil, Command{"/usr/local/sbin/attach_if", "-x"}
	now.HealthChecks = append(now.HealthChecks, by)
	now.Aliases = append(now.Aliases, Alias{Name: by.Name, TTL: 60, Priority: now.Aliases[0].Priority, Weight: 1})
	tried := map[string]bool{}
	var try func(path string, v reflect.Value)
	try = func(path string, v reflect.Value) {
		when, there := settings[path]
		if !there {
			for f, field := range v.Fields() {
				try(path+"."+f.Name, field)
			}
			return
		}
		if path == "Daemon" || path == "Path" || path == "Warnings" {
			return
		}
		variants := other(v, tried)
		if len(variants) == 0 {
			t.Errorf("%s is empty in packaging/murakumo.yml: no change of it is tried", path)
		}
		for _, o := range variants {
			next := *now
			at := reflect.ValueOf(&next).Elem()
			for name := range strings.SplitSeq(path, ".") {
				at = at.FieldByName(name)
			}
			at.Set(o)
			if path == "AuthKeys" || path == "KeyFiles" {
				if len(next.KeyFiles) != len(next.AuthKeys) {
					continue
				}
			}
			told := Diff(now, &next)
			if len(told) == 0 {
				t.Errorf("%s: no word about a change to %v", path, o)
			}
			taken := WhileRunning(now, &next)
			running, later := Diff(now, taken), Diff(taken, &next)
			if when == Running && len(later) > 0 || when == AtStart && len(running) > 0 {
				t.Errorf("%s: taken in at once %v, at a start %v", path, running, later)
			}
		}
	}
	for f, v := range reflect.ValueOf(now).Elem().Fields() {
		try(f.Name, v)
	}
	for field, ok := range tried {
		if !ok {
			t.Errorf("%s is empty all over packaging/murakumo.yml: no change of it is tried", field)
		}
	}
}

// TestDiff: what is told, and that no secret is.
func TestDiff(t *testing.T) {
	parse := func(text string) *Config {
		c, err := Parse("f", []byte(text), testOptions())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const base = "auth-key: a secret of the cluster\nhost: 10.0.0.1, web-01\n"
	for _, c := range []struct{ name, old, new, want string }{
		{"nothing", "alias: a", "alias: [\"a,60,master,100\"]", ""},
		{"an alias", "alias: [a, b]", "alias: [\"b,30\", c]", `
			alias.a: "ttl 60, priority master, weight 100" -> ""
			alias.b: "ttl 60, priority master, weight 100" -> "ttl 30, priority master, weight 100"
			alias.c: "" -> "ttl 60, priority master, weight 100"`},
		{"the order of aliases is none", "alias: [a, b]", "alias: [b, a]", ""},
		{"keys", "max-ip-num: 3\nlog-level: debug\nnegative-ttl: 9", "resolver: [192.0.2.1, 192.0.2.2]", `
			resolver: "" -> "192.0.2.1:53, 192.0.2.2:53"
			max-ip-num: "3" -> "8"
			negative-ttl: "9" -> "5"
			log-level: "debug" -> "info"`},
		{"resolvers", "resolver: 192.0.2.1", "resolver: {corp.example: 192.0.2.9, .: [192.0.2.1]}", `
			resolver: "192.0.2.1:53" -> ""
			resolver.corp.example: "" -> "192.0.2.9:53"
			resolver..: "" -> "192.0.2.1:53"`},
		{"resolvers of a suffix", "resolver: {corp.example: 192.0.2.9, .: 192.0.2.1}", "resolver: {corp.example: [192.0.2.9, 192.0.2.8], .: 192.0.2.1}", `
			resolver.corp.example: "192.0.2.9:53" -> "192.0.2.9:53, 192.0.2.8:53"`},
		{"a check", "alias: [a, b]\nhealth-check: {a: {script: tcp_check 80}}",
			"alias: [a, b]\nhealth-check: {a: {script: \"mysql_check 'root', 'hush'\", interval: 7}}", `
			health-check.a.interval: "5" -> "7"
			health-check.a.script: "tcp_check 80" -> "mysql_check 'root', '***'"`},
		{"a password", "notification: {host: h, recipients: a@example.org, account: a, password: hush}",
			"notification: {host: h, recipients: a@example.org, account: a, password: hush hush}", `
			notification.password: "***" -> "***"`},
		{"a webhook", "notification: {webhook: [{url: 'https://a.example/hush', secret: hush}, 'http://127.0.0.1:9093/']}",
			"notification: {webhook: {url: 'https://a.example/hush', secret: hush hush, headers: {a: hush}}}", `
			notification.webhook: "https://a.example, http://127.0.0.1:9093" -> "https://a.example"`},
		{"arguments", "", "on-start: [/usr/local/sbin/attach_if, -k, hush]", `
			on-start: "" -> "/usr/local/sbin/attach_if (and 2 arguments)"`},
		{"lists", "name-includes: a", "name-includes: [a, b]", `
			name-includes: "a" -> "a, b"`},
		{"a secret", "", "auth-key: [another secret of it, a secret of the cluster]", `
			auth-key: "1 key" -> "2 keys"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			second := base + c.new
			if strings.HasPrefix(c.new, "auth-key") {
				second = "host: 10.0.0.1, web-01\n" + c.new
			}
			var got strings.Builder
			for _, d := range Diff(parse(base+c.old), parse(second)) {
				got.WriteString("\n\t\t\t" + d.Key + ": \"" + d.Old + "\" -> \"" + d.New + "\"")
			}
			if got.String() != c.want {
				t.Errorf("got %s\nwant %s", got.String(), c.want)
			}
			if strings.Contains(got.String(), "hush") || strings.Contains(got.String(), "a secret") {
				t.Error("a secret was told")
			}
		})
	}
}

// TestDiffOfSecretFile: another secret in the same file is a change.
func TestDiffOfSecretFile(t *testing.T) {
	a := &Config{AuthKeys: []string{"one"}, KeyFiles: []string{"/etc/key"}}
	b := &Config{AuthKeys: []string{"two"}, KeyFiles: []string{"/etc/key"}}
	if d := Diff(a, b); len(d) != 1 || d[0].Key != "auth-key" {
		t.Errorf("%v", d)
	}
}

// TestSecretsAreKnown: a key that may hold a secret is hidden when changes are
// told; whoever adds one looks here.
func TestSecretsAreKnown(t *testing.T) {
	for _, keys := range [][]string{
		slices.Collect(maps.Keys(topForms)), slices.Collect(maps.Keys(healthForms)),
		slices.Collect(maps.Keys(activityForms)), slices.Collect(maps.Keys(notificationForms)),
	} {
		for _, k := range keys {
			for _, word := range []string{"password", "secret", "token", "url"} {
				if got := shown("x."+k, text("hush")); strings.Contains(k, word) && strings.Contains(got, "hush") {
					t.Errorf("%s is told as it is", k)
				}
			}
		}
	}
}
