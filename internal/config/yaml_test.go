package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// tb is what testing and rapid have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

// content is all that a configuration says, in text: places and warnings are of
// its file, and not of it.
func content(c *Config) string {
	d := *c
	d.Path, d.Warnings = "", nil
	var w strings.Builder
	dumpDiff(&w, "", reflect.ValueOf(Config{}), reflect.ValueOf(d))
	return w.String()
}

// roundTrip writes a configuration and reads it again.
func roundTrip(t tb, c *Config) {
	t.Helper()
	is := *c
	c = &is
	c.Daemon = "" // it is not written
	file := c.YAML()
	again, err := Parse("again", file, testOptions())
	if err != nil {
		t.Fatalf("%v\nin what was written:\n%s", err, file)
	}
	if got, want := content(again), content(c); got != want {
		t.Fatalf("read again:\n%s\nit was:\n%s\nwritten:\n%s", got, want, file)
	}
	if twice := again.YAML(); string(twice) != string(file) {
		t.Fatalf("written again:\n%s\nit was:\n%s", twice, file)
	}
}

// inForce is the commented reference with every setting in force.
func inForce(t *testing.T) *Config {
	t.Helper()
	const path = "packaging/murakumo.yml"
	sample := docs(t, path)
	c, err := Parse(path, []byte(commented.ReplaceAllString(sample, "$1")), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every key of every table is written, or it is said why not.
func TestEveryKeyHasAForm(t *testing.T) {
	check := func(under string, keys, forms []string) {
		for _, key := range keys {
			why, excused := unwritten[under+key]
			if slices.Contains(forms, key) == excused {
				t.Errorf("%s%s: a form in yaml.go is wanted for mrkmctl -y, or a reason in unwritten (there: %q)", under, key, why)
			}
		}
		for _, form := range forms {
			if !slices.Contains(keys, form) {
				t.Errorf("%s%s has a form, but the loader does not know it", under, form)
			}
		}
	}
	check("", names(topKeys), slices.Collect(maps.Keys(topForms)))
	check("alias.", names(aliasKeys), slices.Collect(maps.Keys(aliasForms)))
	check("health-check.", names(healthKeys), slices.Collect(maps.Keys(healthForms)))
	check("activity-check.", names(activityKeys), slices.Collect(maps.Keys(activityForms)))
	check("notification.", names(notificationKeys), slices.Collect(maps.Keys(notificationForms)))
	check("balancing.", names(balancingKeys), slices.Collect(maps.Keys(balancingForms)))
	check("proxy.", names(proxyKeys), slices.Collect(maps.Keys(proxyForms)))
	check("proxy.backends.", names(proxyBackendKeys), slices.Collect(maps.Keys(proxyBackendForms)))
	check("notification.webhook.", names(webhookKeys), slices.Collect(maps.Keys(webhookForms)))
}

// What is written loads to the same configuration: the reference file with all
// that is in it, and each key alone with a good value. Together they set every
// field that a configuration has; one that is not among them would be one that
// nobody has seen being written.
func TestYAMLRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	try := func(c *Config) {
		roundTrip(t, c)
		fieldsSet(reflect.ValueOf(*c), reflect.ValueOf(*defaults("")), "Config", seen)
	}
	try(inForce(t))
	sample, err := Parse("sample", []byte(docs(t, "packaging/murakumo.yml")), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	try(sample)
	for _, key := range slices.Sorted(maps.Keys(keyCases)) {
		if key == "init-script" {
			continue // not run here, so that nothing supplies what is missing
		}
		c, err := Parse("f", []byte(fileWith(key, keyCases[key].good)), testOptions())
		if err != nil {
			t.Fatal(err)
		}
		try(c)
	}
	for _, path := range allFields(reflect.TypeFor[Config](), "Config") {
		if !seen[path] && path != "Config.Path" && path != "Config.Daemon" && path != "Config.Warnings" {
			t.Errorf("%s has its default in all of these configurations: set it in one of keyCases or in packaging/murakumo.yml, so that it is shown to survive mrkmctl -y", path)
		}
	}
}

// ours tells whether a type is a struct or a list of our own, to be looked into.
func ours(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && strings.HasPrefix(t.PkgPath(), "murakumo/internal/") && !t.Implements(reflect.TypeFor[fmt.Stringer]()) &&
		!reflect.PointerTo(t).Implements(reflect.TypeFor[fmt.Stringer]())
}

// allFields lists the fields of a type that have no fields themselves.
func allFields(t reflect.Type, path string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if !ours(t) {
		return []string{path}
	}
	var all []string
	for f := range t.Fields() {
		if f.IsExported() {
			all = append(all, allFields(f.Type, path+"."+f.Name)...)
		}
	}
	return all
}

// fieldsSet notes the fields whose value is not the default.
func fieldsSet(v, base reflect.Value, path string, seen map[string]bool) {
	switch {
	case v.Kind() == reflect.Slice && v.Len() > 0 && ours(indirect(v.Type().Elem())):
		for i := range v.Len() {
			fieldsSet(v.Index(i), reflect.Zero(v.Type().Elem()), path, seen)
		}
	case v.Kind() == reflect.Pointer && ours(v.Type().Elem()):
		if !v.IsNil() {
			fieldsSet(v.Elem(), reflect.Zero(v.Type().Elem()), path, seen)
		}
	case ours(v.Type()):
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			fieldsSet(v.Field(i), base.Field(i), path+"."+v.Type().Field(i).Name, seen)
		}
	case !reflect.DeepEqual(v.Interface(), base.Interface()):
		seen[path] = true
	}
}

func indirect(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// Any number of keys together, with values that YAML, lists and names find hard.
func TestYAMLRoundTripOfAny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, err := Parse("f", []byte(anyFile(t)), testOptions())
		if err != nil {
			t.Skip(err) // good values that do not go together; rapid minds if there are too many
		}
		roundTrip(t, c)
	})
}

// anyFile generates a file. Keys that none of the generators below makes have
// the good value of keyCases.
func anyFile(t *rapid.T) string {
	scalar := func(s string) string { return encodeScalar(&node{kind: 1, text: s, style: quotedStyle}) }
	hard := rapid.OneOf(
		rapid.SampledFrom([]string{"null", "~", "true", "no", "0x35", "1e3", "- a", "a: b", "#", "a #b", "[a]", "{a", "*a", "&a", "!a", "|", ">", "'", `"`, `\`, "%", "@", "`", "---", "...", "=", "<<", "a,b", "ü", "\u2028", "日本"}),
		rapid.StringOf(rapid.RuneFrom([]rune("ab1 '\"\\:#-[]{},&*!|>%@`~?=\tü\u0001\u00a0\u2028🙂"))),
	)
	word := rapid.Map(hard, func(s string) string {
		if s = strings.Join(strings.Fields(s), ""); s == "" {
			return "x"
		}
		return s
	})
	label := rapid.StringMatching(`[a-z_][a-z0-9_-]{0,8}`)
	domain := rapid.SampledFrom([]string{"", "b.example", "example", "a"}).Draw(t, "domain")
	name := rapid.Custom(func(t *rapid.T) string {
		n := label.Draw(t, "label")
		for range rapid.IntRange(0, 2).Draw(t, "domains") {
			if domain != "" {
				n += "." + domain
			}
		}
		return n
	})
	seconds := func(lo, hi int) *rapid.Generator[string] { // milliseconds
		return rapid.Map(rapid.IntRange(lo, hi), func(ms int) string { return fmt.Sprintf("%dms", ms) })
	}
	argv := rapid.Custom(func(t *rapid.T) string {
		words := []string{"notify"}
		for _, w := range rapid.SliceOfN(hard, 0, 4).Draw(t, "arguments") {
			words = append(words, scalar(w))
		}
		return "[" + strings.Join(words, ", ") + "]"
	})
	script := rapid.SampledFrom([]string{
		"tcp_check 80", "tcp_check 80 and http_get '/'\nmysql_check 'root', \"a\\tb'c\"", "not (tcp_check 1 or tcp_check 2)",
		`mysql_check "it's #1\\", 'a: b'`, "http_get '/ü', [200, 301], 8080, 'h'\n\n# why\ntrue",
	})

	sets := map[string]string{}
	set := func(key, value string) {
		if rapid.Bool().Draw(t, key) {
			sets[key] = value
		}
	}
	for _, k := range topKeys {
		if _, excused := unwritten[k.name]; !excused {
			set(k.name, keyCases[k.name].good)
		}
	}
	for _, key := range []string{"alias", "health-check", "activity-check", "notification", "max-records"} {
		delete(sets, key) // made below
	}
	if sets["tls-cert"] != "" || sets["tls-key"] != "" { // one needs the other
		sets["tls-cert"], sets["tls-key"] = keyCases["tls-cert"].good, keyCases["tls-key"].good
	}
	secrets := rapid.SliceOfN(rapid.Map(word, func(s string) string {
		if strings.HasPrefix(s, "/") {
			s = "x" + s
		}
		return scalar(s)
	}), 1, 3).Draw(t, "secrets")
	sets["auth-key"] = "[" + strings.Join(append(secrets, "/etc/murakumo.key"), ", ") + "]"
	delete(sets, "domain")
	if domain != "" {
		sets["domain"] = domain
	}
	host := "host-" + name.Draw(t, "host")
	sets["host"] = fmt.Sprintf("['10.0.0.1, %s, %d', 'fd00::1']", host, rapid.IntRange(0, 1<<31-1).Draw(t, "ttl"))
	set("name-excludes", "["+scalar(rapid.SampledFrom([]string{`^a\.b`, `'`, "a,b", "#", "[{,}]", "ü"}).Draw(t, "re"))+"]")
	var rules []string
	for _, re := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"", `^a\.b`, "'", "a,b", "#", "a #b", "[{,}]", "ü", "a: b", `"`, "*?", "null", "(?i)a", "42"}), 0, 4, rapid.ID[string]).Draw(t, "destinations") {
		how := rapid.SampledFrom([]string{"", "algorithm: random", "max-ip-num: 3", "algorithm: fix_by_src, sources: [" + scalar(name.Draw(t, "source")) + ", app]"}).Draw(t, "how")
		rules = append(rules, scalar(re)+": {"+how+"}")
	}
	delete(sets, "balancing")
	if len(rules) > 0 {
		sets["balancing"] = "{" + strings.Join(rules, ", ") + "}"
	}
	set("resolver", rapid.SampledFrom([]string{"10.0.0.2, '[::1]:5353'", "{b.example: [10.0.0.9, 10.0.0.2], .: 10.0.0.2}", "{Example.: 10.0.0.9}"}).Draw(t, "resolvers"))
	set("hook-timeout", seconds(100, 3_600_000).Draw(t, "hook-timeout"))
	set("max-records", rapid.SampledFrom([]string{"10", "1000000"}).Draw(t, "max-records"))
	sets["gossip-node-lifetime"] = seconds(31_000, 300_000).Draw(t, "lifetime")
	set("on-start", argv.Draw(t, "on-start"))

	bare := map[string]bool{}
	var aliases, health, activity []string
	for _, n := range rapid.SliceOfN(name, 0, 4).Draw(t, "aliases") {
		if read, err := readName(n, domain); err != nil || bare[read] {
			continue
		} else {
			bare[read] = true
		}
		aliases = append(aliases, fmt.Sprintf("'%s,%d,%s,%d'", n, rapid.IntRange(0, 1<<31-1).Draw(t, "ttl"),
			rapid.SampledFrom([]string{"master", "secondary", "backup"}).Draw(t, "priority"), rapid.IntRange(1, 65535).Draw(t, "weight")))
		if rapid.Bool().Draw(t, "health") {
			health = append(health, fmt.Sprintf("  %s:\n    interval: %s\n    script: %s\n    on-activate: %s\n", scalar(n),
				seconds(50, 300_000).Draw(t, "interval"), scalar(script.Draw(t, "script")), argv.Draw(t, "hook")))
		}
		if rapid.Bool().Draw(t, "activity") {
			activity = append(activity, fmt.Sprintf("  %s:\n    start-delay: %s\n    init-status: %s\n    on-inactivate: %s\n", scalar(n),
				seconds(0, 300_000).Draw(t, "delay"), rapid.SampledFrom([]string{"active", "inactive", "undefined"}).Draw(t, "init"), argv.Draw(t, "hook")))
		}
	}
	if len(aliases) > 0 {
		sets["alias"] = "[" + strings.Join(aliases, ", ") + "]"
	}
	if len(health) > 0 {
		sets["health-check"] = "\n" + strings.TrimSuffix(strings.Join(health, ""), "\n")
	}
	if len(activity) > 0 {
		sets["activity-check"] = "\n" + strings.TrimSuffix(strings.Join(activity, ""), "\n")
	}
	if rapid.Bool().Draw(t, "notification") {
		password := strings.Map(func(r rune) rune {
			if r == '\n' {
				return -1
			}
			return r
		}, hard.Draw(t, "password"))
		header := strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return -1
			}
			return r
		}, hard.Draw(t, "header"))
		webhook := fmt.Sprintf("webhook: [{url: 'https://a.example/?x,y=%%20', secret: %s, headers: {b: c, A: %s}}, https://b.example]",
			scalar("s"+word.Draw(t, "secret")), scalar(header))
		mail := fmt.Sprintf("host: mail, account: %s, password: %s, recipients: [%s, a@b]", scalar(word.Draw(t, "account")), scalar("x"+password),
			scalar(rapid.SampledFrom([]string{"a@b", `"a b"@c`, "Some One <c@d>", `"x,y"@z`}).Draw(t, "to")))
		sets["notification"] = "{" + rapid.SampledFrom([]string{mail, webhook, mail + ", " + webhook}).Draw(t, "ways") + "}"
	}
	return lines("", sets)
}

// A check of an alias that was taken out is left out with it.
func TestYAMLOfADeletedAlias(t *testing.T) {
	c := inForce(t)
	c.Static.Files = nil // the name could be in one
	c.Aliases = slices.DeleteFunc(slices.Clone(c.Aliases), func(a Alias) bool { return a.Name == "mysql-server" })
	again, err := Parse("again", c.YAML(), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if len(again.HealthChecks)+len(again.ActivityChecks) > 0 || len(again.Aliases) != len(c.Aliases) {
		t.Errorf("got %+v %+v %+v", again.Aliases, again.HealthChecks, again.ActivityChecks)
	}
}

// As a person sees it.
func TestYAMLText(t *testing.T) {
	c, err := Parse("f", []byte(minimal+`
alias: [db, 'web,5,backup,7']
health-check: {db: {script: "tcp_check 80\nhttp_get '/'"}, web: {script: tcp_check 1}}
activity-check: {db: {on-activate: "notify 'a b' on"}}
resolver: 10.0.0.2
socket: /run/s
`), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	const want = `# The configuration of a running murakumo, as mrkmctl -y writes it.
# There may be secrets in it: keep it from others (chmod 600).
---
auth-key: 0123456789abcdef
address: 0.0.0.0
port: 53
host: "10.0.0.1, web-01, 60"
alias:
  - db,60,master,100
  - web,5,backup,7
static-ttl: 60
max-records: 10000
resolver:
  - "10.0.0.2:53"
socket: /run/s
max-ip-num: 8
domain-owned: false
negative-ttl: 5
enable-cache: false
rate-limit: 0
rate-limit-slip: 2
working-dir: /var
on-stop: release
log-level: info
log-format: text
gossip-port: 10870
gossip-node-lifetime: 10
gossip-send-interval: 0.3
gossip-receive-timeout: 3
ping-init-nodes: false
gossip-start-delay: 0
health-check:
  db:
    interval: 5
    timeout: 5
    healthy: 2
    unhealthy: 2
    script: |-
      tcp_check 80
      http_get '/'
  web:
    interval: 5
    timeout: 5
    healthy: 2
    unhealthy: 2
    script: tcp_check 1
activity-check:
  db:
    start-delay: 60
    interval: 10
    active: 2
    inactive: 2
    init-status: undefined
    on-activate:
      - /usr/local/sbin/notify
      - "a b"
      - "on"
hook-timeout: 60
`
	if got := string(c.YAML()); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
