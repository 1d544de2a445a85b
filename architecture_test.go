// Package murakumo has no code of its own; its tests hold the documents
// against the tree.
package murakumo

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// goList runs go list over the module and gives one line a package.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// TestArrows compares the arrows drawn in ARCHITECTURE.md with the imports of
// the code, both ways: an arrow that is drawn and not there misleads as much
// as one that is there and not drawn.
func TestArrows(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "```arrows\n")
	block, _, ok2 := strings.Cut(block, "```")
	if !ok || !ok2 {
		t.Fatal("ARCHITECTURE.md has no ```arrows block")
	}
	drawn := map[string]string{}
	for line := range strings.Lines(block) {
		room, to, _ := strings.Cut(strings.TrimSpace(line), "->")
		arrows := strings.Fields(strings.ReplaceAll(to, ",", " "))
		slices.Sort(arrows)
		drawn[strings.TrimSpace(room)] = strings.Join(arrows, " ")
	}

	real := map[string]string{}
	for _, line := range goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./internal/...", "./cmd/...") {
		words := strings.Fields(line)
		var arrows []string
		for _, imp := range words[1:] {
			if room, ours := strings.CutPrefix(imp, "murakumo/"); ours {
				arrows = append(arrows, strings.TrimPrefix(room, "internal/"))
			}
		}
		slices.Sort(arrows)
		room := strings.TrimPrefix(strings.TrimPrefix(words[0], "murakumo/"), "internal/")
		real[room] = strings.Join(arrows, " ")
	}
	for room, arrows := range real {
		if d, ok := drawn[room]; !ok {
			t.Errorf("%s is not drawn in ARCHITECTURE.md (imports: %s)", room, arrows)
		} else if d != arrows {
			t.Errorf("%s: drawn -> %s, imports %s", room, d, arrows)
		}
	}
	for room := range drawn {
		if _, ok := real[room]; !ok {
			t.Errorf("%s is drawn in ARCHITECTURE.md and does not exist", room)
		}
	}
}

// TestPackagesHaveDocs notices a package without a comment that says what it
// is for.
func TestPackagesHaveDocs(t *testing.T) {
	for _, line := range goList(t, "-f", "{{.ImportPath}}|{{.Doc}}", "./internal/...", "./cmd/...", "./e2e/...") {
		if pkg, doc, _ := strings.Cut(line, "|"); len(doc) < 20 {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}

// TestNotLinked says what a program must not carry, each with its reason.
func TestNotLinked(t *testing.T) {
	for _, c := range []struct{ program, dep, reason string }{
		{"./cmd/mrkmctl", "github.com/hashicorp/memberlist", "a control command takes no part in gossip"},
		{"./cmd/mrkmctl", "github.com/miekg/dns", "it answers no queries"},
		{"./cmd/mrkmctl", "github.com/go-sql-driver/mysql", "it runs no checks itself"},
		{"./cmd/mrkmctl", "github.com/wneessen/go-mail", "it sends no mail"},
		{"./cmd/mrkmctl", "github.com/aws/", "clouds are reached through executables"},
		{"./cmd/murakumo", "github.com/aws/", "clouds are reached through executables"},
		{"./cmd/murakumo-ec2", "github.com/aws/aws-sdk-go-v2/service/ec2", "its types cost two minutes of compilation"},
		{"./cmd/murakumo-ec2", "murakumo/internal/ec2/ec2test", "a fake has no place in the program"},
		{"./cmd/murakumo-ec2", "github.com/hashicorp/memberlist", "it is one command in one room"},
		{"./cmd/murakumo", "google.golang.org/grpc", "two fields are asked for; the library is for the tests"},
	} {
		for _, dep := range goList(t, "-deps", c.program) {
			if strings.HasPrefix(dep, c.dep) {
				t.Errorf("%s links %s, but %s", c.program, dep, c.reason)
			}
		}
	}
}
