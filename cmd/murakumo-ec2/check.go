package main

import (
	"context"
	"errors"
	"fmt"

	"murakumo/internal/ec2"
)

type check struct {
	AttachInterface  checkInterface `cmd:"" default:"withargs" help:"Is the interface attached here? (the default)"`
	AssociateAddress checkAddress   `cmd:"" help:"Is the Elastic IP associated here?"`
	AssignPrivateIP  checkPrivateIP `cmd:"" name:"assign-private-ip" help:"Is the address assigned here?"`
	ReplaceRoute     checkRoute     `cmd:"" help:"Do the routes lead here?"`
}

const checkHelp = `For a hook or a script that repairs. The flags are those of the command that takes it. Exit status: 0 it is here, 1 it is not, 2 usage error, 3 could not ask.`

// Help is the text below the usage.
func (check) Help() string {
	return checkHelp + `

    $ murakumo-ec2 check -n eni-0a1b2c3d || murakumo-ec2 attach-interface -n eni-0a1b2c3d`
}

type checkInterface struct {
	eni    `embed:""`
	cloud  `embed:""`
	common `embed:""`
}

// Help is the text below the usage.
func (checkInterface) Help() string { return checkHelp }

// Run tells.
func (c *checkInterface) Run(ctx context.Context, e *env) error {
	if err := c.eni.check(); err != nil {
		return err
	}
	return e.ours(ctx, c.cloud, c.common, c.things)
}

type checkAddress struct {
	eip    `embed:""`
	cloud  `embed:""`
	common `embed:""`
}

// Help is the text below the usage.
func (checkAddress) Help() string { return checkHelp }

// Run tells.
func (c *checkAddress) Run(ctx context.Context, e *env) error {
	if err := c.eip.check(); err != nil {
		return err
	}
	return e.ours(ctx, c.cloud, c.common, c.things)
}

type checkPrivateIP struct {
	secondary `embed:""`
	cloud     `embed:""`
	common    `embed:""`
}

// Help is the text below the usage.
func (checkPrivateIP) Help() string { return checkHelp }

// Run tells.
func (c *checkPrivateIP) Run(ctx context.Context, e *env) error {
	if err := c.place.check(); err != nil {
		return err
	}
	return e.ours(ctx, c.cloud, c.common, c.things)
}

type checkRoute struct {
	routes `embed:""`
	cloud  `embed:""`
	common `embed:""`
}

// Help is the text below the usage.
func (checkRoute) Help() string { return checkHelp }

// Run tells.
func (c *checkRoute) Run(ctx context.Context, e *env) error {
	if err := c.routes.check(); err != nil {
		return err
	}
	return e.ours(ctx, c.cloud, c.common, c.things)
}

// ours tells whether all of the things are here.
func (e *env) ours(ctx context.Context, c cloud, o common, things func(context.Context, *ec2.Session) ([]ec2.Thing, error)) error {
	ctx, cancel := o.bound(ctx, usual)
	defer cancel()
	cannot := func(err error) error {
		if _, ok := errors.AsType[usage](err); ok {
			return err
		}
		e.voice.failure(err)
		return exit(unknown)
	}
	s, err := e.open(ctx, c, o)
	if err != nil {
		return cannot(err)
	}
	all, err := things(ctx, s)
	if err != nil {
		return cannot(err)
	}
	type verdict struct {
		Thing  string `json:"resource"`
		Ours   bool   `json:"ours"`
		Target string `json:"target"`
		Holder string `json:"holder,omitempty"`
		Who    string `json:"who,omitempty"`
		State  string `json:"state"`
	}
	verdicts := []verdict{}
	status := done
	for _, thing := range all {
		seen, err := thing.Read(ctx)
		if err != nil {
			return cannot(err)
		}
		v := verdict{thing.Name(), seen.Ours && seen.Phase == ec2.Held, thing.Target(), seen.Holder, seen.Who, seen.State()}
		verdicts = append(verdicts, v)
		word := "ours"
		if !v.Ours {
			word, status = "not ours", failed
		}
		if !o.JSON {
			if err := e.voice.data(fmt.Sprintf("%s: %s: %s\n", v.Thing, word, seen)); err != nil {
				return err
			}
		}
	}
	if o.JSON {
		if err := e.voice.json(verdicts); err != nil {
			return err
		}
	}
	if status != done {
		return exit(status)
	}
	return nil
}
