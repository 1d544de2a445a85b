package node_test

import (
	"strings"
	"testing"

	"murakumo/internal/catalog"
	"murakumo/internal/config"
	"murakumo/internal/control"
	"murakumo/internal/sim"
)

// TestKinds: what an alias has beside its address is published, lasts through
// mrkmctl -A and -D, is written by -y, and changes when the file says so.
func TestKinds(t *testing.T) {
	pair(t, func(t *testing.T, c *sim.Cluster) {
		h := c.Hosts[0]
		service := h.File().Aliases
		with := func(port uint16, target string) func(*config.Config) {
			return func(cfg *config.Config) {
				cfg.Aliases = append(service[:len(service):len(service)],
					config.Alias{Name: "web", TTL: 60, Priority: catalog.Master, Weight: 100, Port: port, Text: "\x03a=b"},
					config.Alias{Name: "www", TTL: 60, Priority: catalog.Master, Weight: 100, Target: target})
			}
		}
		expect := func(when string, port uint16, target string) {
			t.Helper()
			if r := own(h, "web"); len(r) != 1 || r[0].Port != port || r[0].Text() != "\x03a=b" {
				t.Errorf("%s: web is %+v", when, r)
			}
			if r := own(h, "www"); len(r) != 1 || r[0].Target() != target {
				t.Errorf("%s: www is %+v", when, r)
			}
		}
		file := func() string { return string(h.Core().Configuration()) }

		reload(t, h, with(80, "web"))
		expect("from the file", 80, "web")
		addByHand(t, h, "web", 5)
		addByHand(t, h, "www", 5)
		expect("changed by hand", 80, "web")
		for _, want := range []string{"port: 80\n", "txt: \"a=b\"\n", "cname: web\n", "ttl: 5\n"} {
			if !strings.Contains(file(), want) {
				t.Errorf("no %q in the running configuration:\n%s", want, file())
			}
		}
		if err := h.Core().DeleteRecords(t.Context(), []string{"web", "www"}); err != nil {
			t.Fatal(err)
		}
		addByHand(t, h, "web", 6)
		addByHand(t, h, "www", 6)
		expect("added again by hand", 80, "web")
		reload(t, h, with(81, "www.example.org."))
		expect("another file", 81, "www.example.org.")

		table := control.Table(h.Core().View())
		told := map[string]control.Record{}
		for _, r := range table {
			told[r.Name] = r
		}
		if r := told["web"]; r.Port != 81 || len(r.Text) != 1 || r.Text[0] != "a=b" || r.CNAME != "" {
			t.Errorf("told: %+v", r)
		}
		if r := told["www"]; r.Port != 0 || r.Text != nil || r.CNAME != "www.example.org." {
			t.Errorf("told: %+v", r)
		}
	})
}
