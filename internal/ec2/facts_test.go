package ec2_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-yaml"
	"pgregory.net/rapid"

	"murakumo/internal/config"
	"murakumo/internal/ec2"
	"murakumo/internal/ec2/ec2test"
)

func TestLegalName(t *testing.T) {
	long := strings.Repeat("a", 70)
	for in, want := range map[string]string{
		"server-01": "server-01", "Web Server #1": "Web-Server-1", "db.example.com": "db.example.com", "a_b": "a_b",
		"": "", "日本": "", "日本-01": "01", "-x-": "x", " x ": "x", "a..b.": "a.b", ".a": "a", "a, b": "a-b", "x\ny": "x-y", "--": "",
		long: long[:63], "a b/c": "a-b-c", strings.Repeat(long+".", 5): strings.Repeat(long[:63]+".", 2) + long[:63],
	} {
		if got := ec2.LegalName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Whatever people write into a tag, the daemon takes what init prints.
func TestInitIsTaken(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		name := ec2.LegalName(rapid.String().Draw(t, "tag"))
		if name == "" {
			return
		}
		out := ec2.Init{Host: "10.0.0.1, " + name, InitialNodes: []string{"10.0.0.2", "10.0.0.3"}}
		file := filepath.Join(dir, "murakumo.yml")
		if err := os.WriteFile(file, []byte("auth-key: 0123456789abcdef\n"+out.YAML()), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(file, config.Options{})
		if err != nil {
			t.Fatalf("%s: %v", out.YAML(), err)
		}
		if c.Host.Name != strings.ToLower(name) || len(c.InitialNodes) != 2 {
			t.Fatalf("%s: read as %q %v", out.YAML(), c.Host.Name, c.InitialNodes)
		}
	})
}

func TestPrivateAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world()
		w.Instances = append(w.Instances, ec2test.Instance{ID: "i-off", VPC: "vpc-1", Zone: "a", State: "stopped"})
		w.Interfaces = append(w.Interfaces, primary("eni-off", "i-off", "a", "10.0.0.9"))
		// A secondary address may be on its way elsewhere, and is no node.
		w.Interfaces[0].Addresses = append(w.Interfaces[0].Addresses, "10.0.0.200")
		f := ec2test.New(w, ec2test.Options{PageSize: 1})
		all, err := client(f, "AKIANEW").Instances(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range ec2.PrivateAddresses(all) {
			got = append(got, a.Instance+" "+a.Address+" "+a.State)
		}
		want := []string{
			"i-old 10.0.0.1 running", "i-old 10.0.0.200 running", "i-old 10.0.0.100 running", "i-new 10.0.0.2 running",
			"i-third 10.0.0.3 running", "i-far 10.0.1.4 running", "i-off 10.0.0.9 stopped",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}

func TestHookPurpose(t *testing.T) {
	for _, c := range []struct {
		args  string
		letGo bool
		want  ec2.Purpose
		bad   bool
	}{
		{"", false, ec2.ToTake, false}, {"", true, ec2.ToTake, false},
		{"10.0.0.1 db active", false, ec2.ToTake, false}, {"10.0.0.1 db healthy", true, ec2.ToTake, false},
		{"10.0.0.1 db inactive", false, ec2.ToLeave, false}, {"10.0.0.1 db unhealthy", false, ec2.ToLeave, false},
		{"10.0.0.1 db inactive", true, ec2.ToLetGo, false}, {"10.0.0.1 db unhealthy", true, ec2.ToLetGo, false},
		{"10.0.0.1 db", false, ec2.ToLeave, true}, {"10.0.0.1 db Active", false, ec2.ToLeave, true}, {"a b active x", true, ec2.ToLeave, true},
	} {
		got, err := ec2.HookPurpose(strings.Fields(c.args), c.letGo)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%q %t: %d %v", c.args, c.letGo, got, err)
		}
	}
}

func TestEventsLine(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *time.Time { u := now.Add(d); return &u }
	day := 24 * time.Hour
	events := []ec2.Scheduled{
		{Instance: "i-3", Code: "system-reboot", NotBefore: at(10 * day)},
		{Instance: "i-2", Code: "instance-retirement", NotBefore: at(3 * day)},
		{Instance: "i-1", Code: "system-maintenance", NotBefore: at(3 * day)},
		{Instance: "i-4", Code: "instance-stop", NotBefore: at(-time.Hour)}, // goes on
		{Instance: "i-5", Code: "system-reboot", Over: true, NotBefore: at(-day)},
		{Instance: "i-6", Code: "instance-reboot"}, // no time
	}
	for _, c := range []struct {
		events []ec2.Scheduled
		all    bool
		before time.Duration
		status int
		line   string
	}{
		{nil, false, 0, 0, "OK"},
		{events, false, 0, 2, "i-6:instance-reboot, i-4:instance-stop, i-1:system-maintenance, i-2:instance-retirement, i-3:system-reboot"},
		{events, true, 0, 2, "i-6:instance-reboot, i-5:system-reboot, i-4:instance-stop, i-1:system-maintenance, i-2:instance-retirement, i-3:system-reboot"},
		{events[:1], false, 7 * day, 1, "i-3:system-reboot"},
		{events[:1], false, 10 * day, 2, "i-3:system-reboot"},
		{events[:2], false, 7 * day, 2, "i-2:instance-retirement, i-3:system-reboot"},
		{events[4:5], false, 7 * day, 0, "OK"},
		{events[5:], false, 7 * day, 2, "i-6:instance-reboot"},
		{[]ec2.Scheduled{{Instance: "i-1\n|", Code: "x"}}, false, 0, 2, "i-1  :x"},
	} {
		status, counted := ec2.Judge(c.events, c.all, c.before, now)
		if line := ec2.EventsLine(counted); status != c.status || line != c.line {
			t.Errorf("got %d %q, want %d %q", status, line, c.status, c.line)
		}
	}
	// Never more than 4 kB with its newline, and what was left out is counted.
	for n := range 600 {
		many := make([]ec2.Scheduled, n)
		for i := range many {
			many[i] = ec2.Scheduled{Instance: fmt.Sprintf("i-%017x", i), Code: "system-maintenance"}
		}
		line := ec2.EventsLine(many)
		if len(line+"\n") > 4096 {
			t.Fatalf("%d events: %d octets", n, len(line))
		}
		if told := strings.Count(line, ":"); told < n && !strings.HasSuffix(line, fmt.Sprintf(", and %d more", n-told)) {
			t.Fatalf("%d events, %d told: …%s", n, told, line[len(line)-40:])
		}
	}
	if line := ec2.UnknownLine(fmt.Errorf("%s\nx", strings.Repeat("ü", 5000))); len(line+"\n") > 4096 || strings.Contains(line, "\n") || !strings.HasPrefix(line, "UNKNOWN: üü") {
		t.Errorf("%d octets", len(line))
	}
}

// What EC2 says as text stays text in YAML and JSON, whatever it looks like.
func TestListsKeepText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world()
		odd := []string{"true", "no", "null", "~", "1e3", "0x1F", "007", "2026-01-01", "2026-01-01T00:00:00Z", "12:30:00", "- a", "a: b", "#c", "'", `"`, "&a", "*a", "!x", "%x", "@x", " lead", "trail ", "é", "a\tb", "a\nb", "<&>", "{}", "[]", "=", "<<", "|", ">", "-"}
		w.Tags["i-old"] = map[string]string{}
		for i, v := range odd {
			w.Tags["i-old"][fmt.Sprintf("k%02d", i)] = v
		}
		all, err := client(ec2test.New(w, ec2test.Options{}), "AKIANEW").Instances(t.Context(), ec2.Params{"Filter.1.Name": "instance-id", "Filter.1.Value.1": "i-old"})
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		type tags []struct {
			Key   any `yaml:"key" json:"key"`
			Value any `yaml:"value" json:"value"`
		}
		var fromYAML, fromJSON []struct {
			TagSet tags `yaml:"tagSet" json:"tagSet"`
		}
		if err := yaml.Unmarshal(text, &fromYAML); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		js, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(js, &fromJSON); err != nil {
			t.Fatal(err)
		}
		for i, v := range odd {
			// EC2 trims nothing, and neither do we.
			if got := fromYAML[0].TagSet[i].Value; got != v {
				t.Errorf("YAML: %q became %#v", v, got)
			}
			if got := fromJSON[0].TagSet[i].Value; got != v {
				t.Errorf("JSON: %q became %#v", v, got)
			}
		}
	})
}
