package failover

import (
	"bufio"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"murakumo/internal/catalog"
)

var update = flag.Bool("update", false, "write the stories' expected output anew; commit only a difference you understand")

// TestDutyStories plays testdata/duty. A story is blocks of commands, a line
// of dashes and what the steps answered:
//
//	rule active=2 inactive=2 init=undefined   (before anything else)
//	me PRIORITY active|inactive|absent        our own record
//	other ADDR PRIORITY active|inactive duty=D activated=N acted=N
//	                                          another member's record, alive;
//	                                          acted is activated unless given
//	dead ADDR / gone ADDR                     it died / its record is deleted
//	table                                     a change of the table, no round
//	round                                     a round of the activity check
//	failed NUMBER                             our hook of that number failed
//	release REASON                            shutdown or manual
func TestDutyStories(t *testing.T) {
	files, err := filepath.Glob("testdata/duty/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("%s tells another story now:\n%s", file, got)
			}
		})
	}
}

type player struct {
	t     *testing.T
	rule  DutyRule
	state DutyState
	facts Facts
	prio  map[catalog.Owner]catalog.Priority
	up    map[catalog.Owner]bool
}

func play(t *testing.T, text string) string {
	p := &player{t: t, rule: DutyRule{Active: 2, Inactive: 2},
		prio: map[catalog.Owner]catalog.Priority{}, up: map[catalog.Owner]bool{}}
	p.facts.Members = map[catalog.Owner]Member{}
	var out strings.Builder
	var effects []Effect
	expected := false // inside the old output, which is left out
	for sc := bufio.NewScanner(strings.NewReader(text)); sc.Scan(); {
		line := sc.Text()
		switch {
		case line == "----":
			expected = true
			out.WriteString("----\n")
			if len(effects) == 0 {
				out.WriteString("nothing\n")
			}
			for _, e := range effects {
				kind := "turn"
				if e.Initial {
					kind = "initial"
				}
				fmt.Fprintf(&out, "%s %s -> %s, reason %s, transition %d: %s\n", kind, e.Previous, e.Status, e.Reason, e.Number, e.Why)
			}
			effects = nil
		case line == "":
			expected = false
			out.WriteString("\n")
		case !expected:
			out.WriteString(line + "\n")
			if !strings.HasPrefix(line, "#") {
				effects = append(effects, p.command(strings.Fields(line))...)
			}
		}
	}
	return out.String()
}

func (p *player) command(w []string) []Effect {
	switch w[0] {
	case "rule":
		for _, kv := range w[1:] {
			k, v, _ := strings.Cut(kv, "=")
			switch k {
			case "active":
				p.rule.Active = p.int(v)
			case "inactive":
				p.rule.Inactive = p.int(v)
			case "init":
				p.rule.Init = p.duty(v)
				p.state.Duty = p.rule.Init
			case "number":
				p.state.Number = uint64(p.int(v))
			case "covered": // ADDR:NUMBER, from an earlier run
				a, n, _ := strings.Cut(v, ":")
				p.state.Others = map[catalog.Owner]Holder{netip.MustParseAddr(a): {Activation: uint64(p.int(n)), Covered: true}}
			default:
				p.t.Fatalf("rule %q", kv)
			}
		}
		return nil
	case "me":
		p.facts.Present, p.facts.Active = w[1] != "absent", false
		if p.facts.Present {
			p.facts.Priority, p.facts.Active = p.priority(w[1]), w[2] == "active"
		}
	case "other":
		a := netip.MustParseAddr(w[1])
		m := Member{Alive: true}
		for _, kv := range w[4:] {
			k, v, _ := strings.Cut(kv, "=")
			switch k {
			case "duty":
				m.Duty = p.duty(v)
			case "activated":
				m.Activated = uint64(p.int(v))
				m.Acted = m.Activated
			case "acted":
				m.Acted = uint64(p.int(v))
			default:
				p.t.Fatalf("other %q", kv)
			}
		}
		p.facts.Members[a], p.prio[a], p.up[a] = m, p.priority(w[2]), w[3] == "active"
	case "dead":
		a := netip.MustParseAddr(w[1])
		m := p.facts.Members[a]
		m.Alive = false
		p.facts.Members[a], p.up[a] = m, false
	case "gone":
		a := netip.MustParseAddr(w[1])
		delete(p.facts.Members, a)
		delete(p.up, a)
	case "round":
		return p.step(Round{p.look()})
	case "table":
		return p.step(TableChanged{p.look()})
	case "failed":
		return p.step(HookFailed{Facts: p.look(), Number: uint64(p.int(w[1]))})
	case "release":
		return p.step(Release{Facts: p.look(), Reason: Reason(w[1])})
	default:
		p.t.Fatalf("unknown command %q", w)
	}
	return nil
}

func (p *player) look() Facts {
	f := p.facts
	f.Rival = catalog.Owner{}
	for a, up := range p.up {
		// The lowest address, as Look takes it; a map has no order.
		if up && p.prio[a] < f.Priority && (!f.Rival.IsValid() || a.Less(f.Rival)) {
			f.Rival = a
		}
	}
	return f
}

func (p *player) step(ev Event) (effects []Effect) {
	p.state, effects = StepDuty(p.rule, p.state, ev)
	return effects
}

func (p *player) int(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func (p *player) priority(s string) catalog.Priority {
	pr, err := catalog.ParsePriority(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return pr
}

func (p *player) duty(s string) catalog.Duty {
	for _, d := range []catalog.Duty{catalog.DutyUndefined, catalog.DutyInactive, catalog.DutyActive} {
		if d.String() == s {
			return d
		}
	}
	p.t.Fatalf("duty %q", s)
	return 0
}
