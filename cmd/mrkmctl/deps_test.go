package main

import (
	"os/exec"
	"strings"
	"testing"
)

// mrkmctl runs on every login of every operator, also where the daemon is not
// installed: it stays small, and what the daemon needs stays out.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	linked := strings.Fields(string(out))
	if len(linked) < 50 {
		t.Fatalf("go list gives %d packages only", len(linked))
	}
	for _, c := range []struct{ prefix, reason string }{
		{"github.com/hashicorp/memberlist", "the cluster is asked through the daemon; a second gossip stack would be a second member"},
		{"github.com/miekg/dns", "it asks no DNS question: it must work when DNS does not"},
		{"github.com/go-sql-driver/mysql", "checks run in the daemon; drivers are for the prober, config knows only the language"},
		{"github.com/wneessen/go-mail", "notices are sent by the daemon; -t checks their keys and sends none"},
		{"github.com/aws/", "clouds are reached through executables"},
		{"murakumo/internal/node", "it builds the daemon, and with it all of the above"},
		{"murakumo/internal/gossip", "alone knows memberlist"},
		{"murakumo/internal/nameserver", "alone knows the DNS library"},
		{"murakumo/internal/action", "nothing that mrkmctl does runs a hook"},
	} {
		for _, pkg := range linked {
			if strings.HasPrefix(pkg, c.prefix) {
				t.Errorf("mrkmctl links %s: %s", pkg, c.reason)
			}
		}
	}
	for _, pkg := range linked {
		if pkg == "murakumo/internal/check" {
			t.Errorf("mrkmctl links %s: it has the drivers; config needs only check/expr", pkg)
		}
	}
}
