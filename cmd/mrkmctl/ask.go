package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"murakumo/internal/config"
	"murakumo/internal/control"
)

// errBad is how a check that ran and found its service bad ends.
var errBad = errors.New("the verdict is bad")

// attribute is -g and -s.
func attribute(ctx context.Context, c *control.Client, do command, f *flags, v voice) error {
	if do == set {
		name, value, err := config.ParseAttribute(string(f.Set))
		if err != nil {
			return control.Errorf(control.Invalid, "%w", err)
		}
		_, err = c.SetAttribute(ctx, name, value)
		return err
	}
	if _, err := new(config.Config).Attribute(string(f.Get)); err != nil {
		return control.Errorf(control.Invalid, "%w", err)
	}
	a, err := c.Attribute(ctx, string(f.Get))
	if err != nil {
		return err
	}
	return v.data(a.Name + "=" + a.Value + "\n")
}

// runCheck is --check.
func runCheck(ctx context.Context, c *control.Client, f *flags, v voice) error {
	said, err := c.RunCheck(ctx, string(f.Check))
	switch {
	case err != nil:
		return err
	case f.JSON:
		err = v.json(said)
	default:
		because := ""
		if said.Error != "" {
			because = ": " + said.Error
		}
		err = v.data(fmt.Sprintf("%s: %s after %.3f s%s\n", said.Name, said.Verdict, said.Seconds, because))
	}
	if err == nil && !said.Good() {
		return errBad
	}
	return err
}

// follow is --watch. With --json each event is an object on a line of its own,
// the first of kind "ready".
func follow(ctx context.Context, c *control.Client, f *flags, v voice) error {
	return c.Watch(ctx, func(e control.Event) error {
		switch {
		case f.JSON:
			line, err := json.Marshal(struct {
				Kind control.EventKind `json:"kind"`
				control.Event
			}{e.Kind, e})
			if err != nil {
				return fmt.Errorf("encode an event: %w", err)
			}
			return v.data(string(line) + "\n")
		case e.Kind == control.EventReady:
			return v.talk(fmt.Sprintf("watching what %s sees; ctrl-c ends it", e.Member.Label()))
		case e.Kind == control.EventMissed:
			return v.talk(e.String())
		}
		return v.data(e.Time.Local().Format("2006-01-02 15:04:05 ") + e.String() + "\n")
	})
}
