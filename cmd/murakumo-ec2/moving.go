package main

import (
	"context"
	"os"
	"strings"
	"sync"
	"time"

	"murakumo/internal/ec2"
)

// taking are the flags of the commands that move something.
type taking struct {
	Expect string   `placeholder:"HOLDER|none" help:"Take it only from this holding (an attachment's id, …), or only if nobody has it. Otherwise: exit status 4."`
	Token  string   `placeholder:"N|transition" help:"Write this number as the tag murakumo:token, for people to read; transition is the hook's own, MURAKUMO_TRANSITION. Permission: ec2:CreateTags."`
	DryRun bool     `help:"Test the permissions, and do nothing."`
	Hook   []string `arg:"" optional:"" name:"ADDRESS NAME STATUS" help:"What a hook gets: nothing is ever taken on inactive or unhealthy."`
}

// releasing is the flag of those that can let go.
type releasing struct {
	DetachOnInactive bool `help:"As a hook on inactive or unhealthy: let it go, if it is here."`
}

const hookHelp = `
As a hook of murakumo it gets ADDRESS NAME STATUS appended, and may use 55 seconds. On inactive and unhealthy it does nothing, or with --detach-on-inactive lets go what is here.

Exit status: 0 it is here (or there was nothing to do), 1 it is not, 2 usage error, 4 another host took it, or it was not as --expect says.`

// rules reads the flags; holder is the beginning of a holding's id.
func (t *taking) rules(holder string) (r ec2.Rules, token string, err error) {
	switch {
	case t.Expect == "none":
		r.Expect = new(string)
	case t.Expect != "":
		if holder != "" {
			if err := idUsage("--expect", t.Expect, holder); err != nil {
				return r, "", err
			}
		}
		r.Expect = &t.Expect
	}
	token = t.Token
	if token == "transition" {
		if token = os.Getenv("MURAKUMO_TRANSITION"); token == "" {
			return r, "", misuse("--token transition: MURAKUMO_TRANSITION is not set, this is no hook")
		}
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r < '0' || r > '9' }) || len(token) > 20 {
		return r, "", misuse("--token %q: expected a number, or transition", t.Token)
	}
	return r, token, nil
}

// A mover carries out a command that moves things.
type mover struct {
	*env
	cloud
	common
	taking
	rules   ec2.Rules
	token   string
	letGo   bool // as a hook
	several bool // prints a list as JSON
	// things asks for what there is to know before, and gives what to move.
	things func(ctx context.Context, s *ec2.Session) ([]ec2.Thing, error)
	// after is done when a thing is here; may be nil.
	after func()
}

// run moves all of them at the same time.
func (m mover) run(ctx context.Context) error {
	purpose, err := ec2.HookPurpose(m.Hook, m.letGo)
	if err != nil {
		return usage{err}
	}
	if purpose == ec2.ToLeave && !m.DryRun {
		if m.JSON {
			return m.print([]ec2.Report{{Outcome: ec2.Nothing}})
		}
		return m.voice.data(m.Hook[1] + ": " + m.Hook[2] + ": nothing to do\n")
	}
	time := usual
	if len(m.Hook) > 0 {
		time = asHook
	}
	ctx, cancel := m.bound(ctx, time)
	defer cancel()
	s, err := m.open(ctx, m.cloud, m.common)
	if err != nil {
		return err
	}
	things, err := m.things(ctx, s)
	if err != nil {
		return err
	}
	if m.DryRun {
		return m.dryRun(ctx, things)
	}
	m.rules.LetGo = purpose == ec2.ToLetGo
	reports := make([]ec2.Report, len(things))
	var wg sync.WaitGroup
	for i, thing := range things {
		wg.Go(func() { reports[i] = ec2.Move(ctx, thing, m.rules, m.trace(m.common)) })
	}
	wg.Wait()
	here := false
	for i, r := range reports {
		here = here || r.Outcome == ec2.Taken || r.Outcome == ec2.Already
		if r.Outcome != ec2.Taken || m.token == "" {
			continue
		}
		if err := ec2.WriteToken(ctx, s.EC2, things[i], m.token); err != nil {
			m.voice.warn(err.Error())
		}
	}
	if here && m.after != nil {
		m.after()
	}
	return m.print(reports)
}

// report is a report for programs.
type report struct {
	Thing    string    `json:"resource,omitempty"`
	Outcome  string    `json:"outcome"`
	Target   string    `json:"target,omitempty"`
	Holder   string    `json:"holder,omitempty"`
	Previous *previous `json:"previous,omitempty"`
	Forced   bool      `json:"forced"`
	Seconds  float64   `json:"seconds"`
	Error    string    `json:"error,omitempty"`
}

type previous struct {
	Holder string `json:"holder"`
	Who    string `json:"who,omitempty"`
}

// print tells how it ended, and gives the exit status.
func (m mover) print(reports []ec2.Report) error {
	status := done
	var all []report
	for _, r := range reports {
		j := report{Thing: r.Thing, Outcome: string(r.Outcome), Target: r.Target, Holder: r.Holder, Forced: r.Forced, Seconds: r.Took.Round(time.Millisecond).Seconds()}
		if r.First.Holder != "" && r.Outcome != ec2.Already {
			j.Previous = &previous{r.First.Holder, r.First.Who}
		}
		line := r.String()
		if r.Err != nil {
			j.Error = r.Err.Error()
			line += ": " + j.Error
		}
		all = append(all, j)
		switch r.Outcome {
		case ec2.Failed:
			status = failed
			m.voice.talk("error: " + line)
			continue
		case ec2.Lost:
			if status == done {
				status = lostRaces
			}
			m.voice.talk("error: " + line)
			continue
		}
		if !m.JSON {
			if err := m.voice.data(line + "\n"); err != nil {
				return err
			}
		}
	}
	if m.JSON {
		var err error
		if m.several {
			err = m.voice.json(all)
		} else {
			err = m.voice.json(all[0])
		}
		if err != nil {
			return err
		}
	}
	if status != done {
		return exit(status)
	}
	return nil
}

// dryRun tells which permissions are there.
func (m mover) dryRun(ctx context.Context, things []ec2.Thing) error {
	type permission struct {
		Thing   string `json:"resource"`
		Name    string `json:"permission"`
		Allowed *bool  `json:"allowed"` // null: not tested
		Reason  string `json:"reason,omitempty"`
	}
	all := []permission{}
	status := done
	for _, thing := range things {
		for _, p := range thing.Permissions(ctx, m.token) {
			j := permission{Thing: thing.Name(), Name: p.Name, Reason: p.Untested}
			line := "allowed"
			switch {
			case p.Untested != "":
				line = "not tested: " + p.Untested
			case p.Err != nil:
				status = failed
				j.Allowed, j.Reason = new(bool), p.Err.Error()
				line = "no: " + j.Reason
			default:
				yes := true
				j.Allowed = &yes
			}
			all = append(all, j)
			if !m.JSON {
				if err := m.voice.data(thing.Name() + ": " + p.Name + ": " + line + "\n"); err != nil {
					return err
				}
			}
		}
	}
	if m.JSON {
		if err := m.voice.json(all); err != nil {
			return err
		}
	}
	if status != done {
		return exit(status)
	}
	return nil
}
