package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"murakumo/internal/check/expr"
)

// docs gives one of the project's texts.
func docs(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// row is one line of a table of keys in docs/configuration.md.
type row struct{ key, byDefault, limits, meaning string }

func tables(t *testing.T) []row {
	t.Helper()
	under := map[string]string{
		"Keys": "", "alias as a mapping": "alias.", "balancing": "balancing.", "health-check": "health-check.",
		"activity-check": "activity-check.", "notification": "notification.", "webhook": "notification.webhook.",
		"proxy": "proxy.", "proxy.backends": "proxy.backends.",
	}
	var rows []row
	section := ""
	for line := range strings.Lines(docs(t, "docs/configuration.md")) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(title)
		}
		cells := strings.Split(line, "|")
		for i, cell := range cells {
			cells[i] = strings.TrimSpace(cell)
		}
		if key, ok := strings.CutPrefix(line, "| `"); ok && len(cells) == 6 {
			key, _, _ = strings.Cut(key, "`")
			prefix, ok := under[section]
			if !ok {
				t.Fatalf("a table of keys in section %q, which this test does not know", section)
			}
			rows = append(rows, row{prefix + key, cells[2], cells[3], cells[4]})
		}
	}
	return rows
}

func TestDocumentationNamesEveryKey(t *testing.T) {
	var documented []string
	for _, r := range tables(t) {
		documented = append(documented, r.key)
	}
	known := knownKeys()
	for _, key := range known {
		if !slices.Contains(documented, key) {
			t.Errorf("%s is not in docs/configuration.md", key)
		}
	}
	for i, key := range documented {
		if !slices.Contains(known, key) {
			t.Errorf("%s is in docs/configuration.md, but the loader does not know it", key)
		}
		if slices.Contains(documented[:i], key) {
			t.Errorf("%s is in docs/configuration.md twice", key)
		}
	}
}

var (
	literal = regexp.MustCompile("^`?([0-9][0-9.]*|/[^`]*|true|false|info|text|master|undefined|[a-z]+@[^`]*)`?$")
	limits  = regexp.MustCompile(`^[0-9.]+…[0-9.]+`)
)

// A default that the documentation gives changes nothing when it is written
// down, and a range that it gives is the one that the message names.
func TestDocumentedDefaultsAndRanges(t *testing.T) {
	without := func(key, value string) string {
		d := outcome(Parse("f", []byte(fileWith(key, value)), testOptions()))
		if strings.HasPrefix(d, "f:") {
			t.Errorf("%s: %s: %s", key, value, d)
		}
		return d
	}
	defaults, ranges := 0, 0
	for _, r := range tables(t) {
		if m := literal.FindStringSubmatch(r.byDefault); m != nil && r.key != "socket" {
			defaults++
			if with, none := without(r.key, m[1]), without(r.key, "null"); with != none {
				t.Errorf("%s: the documented default %s changes something:\n%s\nwithout it:\n%s", r.key, m[1], with, none)
			}
		}
		if m := limits.FindString(r.limits); m != "" {
			ranges++
			file := fileWith(r.key, keyCases[r.key].outOfRange)
			if got := outcome(Parse("f", []byte(file), testOptions())); !strings.Contains(got, m) && !strings.Contains(m, "2147483647") {
				t.Errorf("%s: documented range %s, got: %s", r.key, m, got)
			}
		}
	}
	if defaults < 25 || ranges < 20 {
		t.Errorf("only %d defaults and %d ranges were found in the tables", defaults, ranges)
	}
}

// The checks that the texts speak of are those that there are.
func TestDocumentedChecks(t *testing.T) {
	checks := map[string]bool{}
	for _, s := range expr.Signatures() {
		checks[s.Name] = true
		if line := "- `" + s.String() + "`\n"; !strings.Contains(docs(t, "docs/configuration.md"), line) {
			t.Errorf("docs/configuration.md has no line %s", line)
		}
	}
	for _, path := range []string{"docs/configuration.md", "packaging/murakumo.yml"} {
		for _, name := range regexp.MustCompile(`\b[a-z]+_(check|get|match)\b`).FindAllString(docs(t, path), -1) {
			if !checks[name] {
				t.Errorf("%s speaks of %s, which is no check", path, name)
			}
		}
	}
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

func TestDocumentedExamplesLoad(t *testing.T) {
	for _, path := range []string{"docs/configuration.md", "docs/migration.md", "README.md"} {
		blocks := yamlBlock.FindAllStringSubmatch(docs(t, path), -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no example", path)
		}
		for _, b := range blocks {
			if _, err := Parse(path, []byte(b[1]), testOptions()); err != nil {
				t.Errorf("%v\nin:\n%s", err, b[1])
			}
		}
	}
}

// commented matches a line of the sample that is a setting without its #: what
// explains has one blank behind the #.
var commented = regexp.MustCompile(`(?m)^#([a-z]|  +[a-z^-])`)

func TestSampleLoads(t *testing.T) {
	const path = "packaging/murakumo.yml"
	sample := docs(t, path)
	c, err := Parse(path, []byte(sample), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("the sample warns: %s", c.Warnings)
	}
	all := commented.ReplaceAllString(sample, "$1")
	if _, err := Parse(path, []byte(all), testOptions()); err != nil {
		t.Errorf("with every setting in force: %v", err)
	}
	src := newSource(path, 0, []byte(all))
	root := new(report).parse(src, []byte(all))
	for _, key := range knownKeys() {
		if key == "aliases" || key == "health-check.command" || key == "health-check.ttl" {
			continue // other forms of what is there
		}
		block, inner, nested := strings.Cut(key, ".")
		n := root.get(block)
		switch {
		case n == nil:
		case nested && block == "alias":
			if n.items[1].get(inner) != nil {
				n = n.items[1].get(inner)
			} else {
				n = n.items[2].get(inner)
			}
		case strings.HasPrefix(key, "proxy.backends."):
			_, inner, _ = strings.Cut(inner, ".")
			n = n.fields[1].value.get("backends").items[1].get(inner)
		case nested && block == "proxy" && n.fields[0].value.get(inner) == nil:
			n = n.fields[1].value.get(inner)
		case nested && strings.HasPrefix(inner, "webhook."):
			n = n.get("webhook").items[0].get(strings.TrimPrefix(inner, "webhook."))
		case nested && block == "notification":
			n = n.get(inner)
		case nested:
			n = n.fields[0].value.get(inner)
		}
		if n == nil {
			t.Errorf("the sample does not show %s", key)
		}
	}
}
