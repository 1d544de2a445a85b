package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"murakumo/internal/config"
)

// docs/ec2.md is held against the program: every command and flag is there, its
// policies are JSON and name every permission that the help names, and its
// sample file is one.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/ec2.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	parser, err := kong.New(&commands{}, kong.Name("murakumo-ec2"), kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	permission := regexp.MustCompile(`ec2:[A-Z][A-Za-z0-9]+`)
	needed := map[string]bool{}
	for _, cmd := range parser.Model.Leaves(false) {
		name := strings.TrimSuffix(strings.TrimPrefix(cmd.FullPath(), "murakumo-ec2 "), " attach-interface")
		if !strings.Contains(doc, "`"+name) && !strings.Contains(doc, "murakumo-ec2 "+name) {
			t.Errorf("the command %s is not there", name)
		}
		for _, f := range cmd.Flags {
			there := strings.Contains(doc, "--"+f.Name)
			if f.Short != 0 {
				there = there || regexp.MustCompile("[ `\\[]-"+string(f.Short)+"[ `\\]]").MatchString(doc)
			}
			if !there && f.Name != "help" && f.Name != "version" {
				t.Errorf("%s: the flag --%s is not there", name, f.Name)
			}
		}
		for _, p := range permission.FindAllString(cmd.Help+cmd.Detail+flagHelp(cmd), -1) {
			needed[p] = true
		}
	}
	var policies [][]string
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		var policy struct {
			Version   string
			Statement []struct {
				Effect   string
				Action   []string
				Resource any
			}
		}
		d := json.NewDecoder(strings.NewReader(block[1]))
		d.DisallowUnknownFields()
		if err := d.Decode(&policy); err != nil {
			t.Fatalf("%v in\n%s", err, block[1])
		}
		var actions []string
		for _, s := range policy.Statement {
			actions = append(actions, s.Action...)
		}
		policies = append(policies, actions)
	}
	if len(policies) != 2 {
		t.Fatalf("%d policies", len(policies))
	}
	whole := policies[1]
	for p := range needed {
		if !slices.Contains(whole, p) {
			t.Errorf("the policy for everything lacks %s", p)
		}
	}
	for _, p := range whole {
		if !needed[p] {
			t.Errorf("no command's help names %s", p)
		}
	}

	m := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(doc)
	dir := t.TempDir()
	tool := filepath.Join(dir, "murakumo-ec2")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "murakumo.yml")
	text := "auth-key: 0123456789abcdef\nhost: 10.0.0.1, db-1\n" + strings.ReplaceAll(m[1], "murakumo-ec2 ", tool+" ")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(file, config.Options{}); err != nil {
		t.Errorf("%v in\n%s", err, text)
	}
}

func flagHelp(cmd *kong.Node) string {
	text := ""
	for _, f := range cmd.Flags {
		text += f.Help
	}
	return text
}

// Each command's help names the permissions of its row.
func TestHelpNamesPermissions(t *testing.T) {
	b, err := os.ReadFile("../../docs/ec2.md")
	if err != nil {
		t.Fatal(err)
	}
	permission := regexp.MustCompile(`ec2:[A-Z][A-Za-z0-9]+`)
	for name, help := range map[string]string{
		"tags": tags{}.Help(), "interfaces": interfaces{}.Help(), "init": initCommand{}.Help(), "events": events{}.Help(),
		"attach-interface": attachInterface{}.Help(), "associate-address": associateAddress{}.Help(),
		"assign-private-ip": assignPrivateIP{}.Help(), "replace-route": replaceRoute{}.Help(),
	} {
		row := regexp.MustCompile("(?m)^\\| `" + name + "` \\| (.*ec2:.*) \\|$").FindStringSubmatch(string(b))
		if row == nil {
			t.Errorf("%s has no row", name)
			continue
		}
		if got, want := permission.FindAllString(help, -1), permission.FindAllString(row[1], -1); !slices.Equal(got, want) {
			t.Errorf("%s: the help names %q, the row %q", name, got, want)
		}
	}
}
