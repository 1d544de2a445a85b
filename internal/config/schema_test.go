package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaFile is where editors find it.
const schemaFile = "packaging/murakumo.schema.json"

// asJSON makes of a schema what JSON would make of it.
func asJSON(t *testing.T, schema any) any {
	t.Helper()
	data, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// describe puts what docs/configuration.md says about a key into its schema.
func describe(t *testing.T, schema map[string]any) {
	t.Helper()
	for _, r := range tables(t) {
		at := schema
		for name := range strings.SplitSeq(r.key, ".") {
			at = property(at, name)
			if at == nil {
				t.Fatalf("no schema for %s", r.key)
			}
		}
		at["description"] = strings.ReplaceAll(r.meaning, "`", "")
		if m := literal.FindStringSubmatch(r.byDefault); m != nil && r.key != "socket" && r.key != "working-dir" {
			var v any
			if json.Unmarshal([]byte(m[1]), &v) != nil {
				v = m[1]
			}
			at["default"] = v
		}
	}
}

// property finds the schema of a key, wherever in the schema of the value above
// it that stands.
func property(in any, name string) map[string]any {
	switch in := in.(type) {
	case map[string]any:
		if props, ok := in["properties"].(map[string]any); ok && in["type"] == "object" {
			if p, ok := props[name].(map[string]any); ok {
				return p
			}
		}
		for _, key := range []string{"anyOf", "items", "additionalProperties"} {
			if p := property(in[key], name); p != nil {
				return p
			}
		}
	case []any:
		for _, v := range in {
			if p := property(v, name); p != nil {
				return p
			}
		}
	}
	return nil
}

// compiled gives the schema in the form of a validator.
func compiled(t *testing.T, schema any) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	if err := c.AddResource("murakumo.schema.json", schema); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("murakumo.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refused gives why the schema refuses a file, nil if it does not. ok is false
// for a file that is no YAML to the parser that editors' would agree with.
func refused(t *testing.T, s *jsonschema.Schema, file string) (why error, ok bool) {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(file), &v); err != nil {
		return nil, false
	}
	if v == nil {
		v = map[string]any{}
	}
	return s.Validate(asJSON(t, keyed(v))), true
}

// keyed makes texts of keys that YAML takes for numbers.
func keyed(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := map[string]any{}
		for k, e := range v {
			key, _ := yaml.Marshal(k)
			m[strings.TrimSpace(string(key))] = keyed(e)
		}
		return m
	case map[string]any:
		for k, e := range v {
			v[k] = keyed(e)
		}
	case []any:
		for i, e := range v {
			v[i] = keyed(e)
		}
	}
	return v
}

// The schema that ships is the one that the loader describes, with the
// documentation's words.
func TestSchemaFile(t *testing.T) {
	schema := asJSON(t, Schema()).(map[string]any)
	describe(t, schema)
	var w bytes.Buffer
	enc := json.NewEncoder(&w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(schema); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("../../"+schemaFile, w.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if docs(t, schemaFile) != w.String() {
		t.Errorf("%s is not what the loader describes: go test ./internal/config -run TestSchemaFile -update", schemaFile)
	}
	compiled(t, asJSON(t, json.RawMessage(w.Bytes())))
}

// files are all the files of the tests and the documents.
func files(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if strings.HasSuffix(f.Name, ".yml") {
				all[path+" "+f.Name] = string(f.Data)
			}
		}
	}
	for key, c := range keyCases {
		all[key+" good"] = fileWith(key, c.good)
		all[key+" out of range"] = fileWith(key, c.outOfRange)
		all[key+" wrong type"] = fileWith(key, c.wrongType)
		all[key+" none"] = fileWith(key, "")
	}
	for _, path := range []string{"docs/configuration.md", "README.md", "docs/migration.md"} {
		if _, err := os.Stat("../../" + path); err == nil {
			for _, b := range yamlBlock.FindAllStringSubmatch(docs(t, path), -1) {
				all[path+" "+b[1]] = b[1]
			}
		}
	}
	sample := docs(t, "packaging/murakumo.yml")
	all["sample"] = sample
	all["sample in force"] = commented.ReplaceAllString(sample, "$1")
	return all
}

// An editor never complains of what the daemon takes.
func TestSchemaAcceptsWhatLoads(t *testing.T) {
	s := compiled(t, asJSON(t, Schema()))
	loaded := 0
	for name, file := range files(t) {
		c, err := Parse("f", []byte(file), testOptions())
		if err != nil {
			continue
		}
		loaded++
		texts := []string{file}
		if len(c.AuthKeys) > 0 && len(c.Host.Addrs) > 0 { // else an init-script was to supply them
			texts = append(texts, string(c.YAML()))
		}
		for _, text := range texts {
			if why, ok := refused(t, s, text); why != nil || !ok {
				t.Errorf("%s: %v\n%s", name, why, text)
			}
		}
	}
	if loaded < 100 {
		t.Errorf("only %d files were tried", loaded)
	}
}

// An editor finds what is wrong with a value by itself: numbers out of their
// range, what is no text where one is wanted, words that are no choice, and all
// of testdata/editor.txtar.
func TestSchemaRefuses(t *testing.T) {
	s := compiled(t, asJSON(t, Schema()))
	refuses := func(name, file string) {
		t.Helper()
		if why, ok := refused(t, s, file); why == nil && ok {
			t.Errorf("%s: accepted:\n%s", name, file)
		}
		if _, err := Parse("f", []byte(file), testOptions()); err == nil {
			t.Errorf("%s: loads:\n%s", name, file)
		}
	}
	tried := 0
	for key, c := range keyCases {
		if strings.ContainsAny(c.wrongType[:1], "{[") {
			tried++
			refuses(key, fileWith(key, c.wrongType))
		}
		if figure.MatchString(c.outOfRange) {
			tried++
			refuses(key, fileWith(key, c.outOfRange))
		}
	}
	if tried < 60 {
		t.Errorf("only %d values were tried", tried)
	}
	archive, err := txtar.ParseFile("testdata/editor.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		if strings.HasSuffix(f.Name, ".yml") {
			refuses(f.Name, string(f.Data))
		}
	}
}

var figure = regexp.MustCompile(`^-?[0-9]*\.?[0-9]+$`)

// What reads a key without saying what it takes is a fault of ours.
func TestSchemaOfSilentKey(t *testing.T) {
	defer func() {
		if s, _ := recover().(string); !strings.Contains(s, "key mute") {
			t.Errorf("got %q", s)
		}
	}()
	object([]key[Config]{{"mute", func(*loader, value, *Config) {}}})
}
