package ec2

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the stories' expected output anew; commit only a difference you understand")

// TestTakeoverStories plays testdata/takeover. A story is blocks of commands, a
// line of dashes and what was to be done next after each of them:
//
//	rules [expect=HOLDER|none] [force-after=D|never] [let-go] [unlocked]
//	saw free
//	saw HOLDER WHO [ours] coming|held|going [since=SECONDS] [fixed=WHY]
//	checked ok|WHY
//	let REPLY                    done, unsure, busy, refused, odd, denied
//	took REPLY [HOLDER]
//	later D                      time passes; no event
//	expired
func TestTakeoverStories(t *testing.T) {
	files, err := filepath.Glob("testdata/takeover/*.txt")
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
	t   *testing.T
	now time.Time
	s   Takeover
}

func play(t *testing.T, text string) string {
	p := &player{t: t, now: time.Unix(1e6, 0)}
	var out strings.Builder
	var said []string
	expected := false // inside the old output, which is left out
	for sc := bufio.NewScanner(strings.NewReader(text)); sc.Scan(); {
		line := sc.Text()
		switch {
		case line == "----":
			expected = true
			out.WriteString("----\n")
			for _, s := range said {
				out.WriteString(s + "\n")
			}
			said = nil
		case line == "":
			expected = false
			out.WriteString("\n")
		case !expected:
			out.WriteString(line + "\n")
			if strings.HasPrefix(line, "#") {
				continue
			}
			if ev := p.command(strings.Fields(line)); ev != nil {
				var next Next
				p.s, next = p.s.Step(ev, p.now)
				said = append(said, describeNext(next))
			}
		}
	}
	return out.String()
}

func describeNext(next Next) string {
	if end, ok := next.(End); ok {
		if end.Err != nil {
			return fmt.Sprintf("%s: %v", end.Outcome, end.Err)
		}
		return string(end.Outcome)
	}
	return said(next)
}

func (p *player) command(w []string) Event {
	p.t.Helper()
	switch w[0] {
	case "rules":
		p.s = Takeover{Rules: Rules{ForceAfter: 5 * time.Second}, Confirm: time.Second}
		for _, kv := range w[1:] {
			k, v, _ := strings.Cut(kv, "=")
			switch k {
			case "expect":
				if v == "none" {
					v = ""
				}
				p.s.Expect = &v
			case "force-after":
				if p.s.ForceAfter = -1; v != "never" {
					p.s.ForceAfter = p.duration(v)
				}
			case "let-go":
				p.s.LetGo = true
			case "unlocked":
				p.s.Unlocked = true
			default:
				p.t.Fatalf("rules %q", kv)
			}
		}
		return nil
	case "later":
		p.now = p.now.Add(p.duration(w[1]))
		return nil
	case "saw":
		if w[1] == "free" {
			return Saw{}
		}
		s := Seen{Holder: w[1], Who: w[2]}
		for i, word := range w[3:] {
			k, v, _ := strings.Cut(word, "=")
			switch k {
			case "ours":
				s.Ours = true
			case "since":
				s.Since = time.Unix(int64(p.duration(v+"s").Seconds()), 0)
			case "fixed":
				s.Fixed = strings.Join(append([]string{v}, w[3+i+1:]...), " ")
				return Saw{s}
			default:
				s.Phase = Phase(slices.Index([]string{"free", "coming", "held", "going"}, word))
			}
		}
		return Saw{s}
	case "checked":
		if w[1] == "ok" {
			return Checked{}
		}
		return Checked{errors.New(strings.Join(w[1:], " "))}
	case "let":
		r, err := p.reply(w[1])
		return Let{r, err}
	case "took":
		r, err := p.reply(w[1])
		ev := Took{Reply: r, Err: err}
		if len(w) > 2 {
			ev.ID = w[2]
		}
		return ev
	case "expired":
		return Expired{errors.New("no more time")}
	}
	p.t.Fatalf("unknown command %q", w)
	return nil
}

func (p *player) duration(s string) time.Duration {
	p.t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *player) reply(word string) (Reply, error) {
	p.t.Helper()
	for r := Done; r <= Denied; r++ {
		if r.String() == word {
			if r == Done {
				return r, nil
			}
			return r, fmt.Errorf("EC2 said %s", word)
		}
	}
	p.t.Fatalf("reply %q", word)
	return 0, nil
}
