package main

import (
	"context"
	"strings"

	"github.com/goccy/go-yaml"

	"murakumo/internal/ec2"
)

type ipAddress struct {
	common `embed:""`
}

// Help is the text below the usage.
func (ipAddress) Help() string {
	return `The address of the interface that has the default route: the kernel is asked and nobody else. On a host without IPv4 it is the IPv6 address.`
}

// Run prints it.
func (c *ipAddress) Run(_ context.Context, e *env) error {
	own, err := ec2.LocalAddress()
	if err != nil {
		return err
	}
	if c.JSON {
		return e.voice.json(own)
	}
	return e.voice.data(own.Address.String() + "\n")
}

type tags struct {
	Instance string `short:"i" name:"instance-id" placeholder:"ID" help:"The instance; otherwise this one."`
	cloud    `embed:""`
	common   `embed:""`
}

// Help is the text below the usage.
func (tags) Help() string {
	return `One line for each tag: key, a tab, value. Permission: ec2:DescribeTags.

    $ murakumo-ec2 tags
    Name	server-01
    role	db`
}

// Run prints them.
func (c *tags) Run(ctx context.Context, e *env) error {
	ctx, cancel := c.bound(ctx, usual)
	defer cancel()
	s, err := e.open(ctx, c.cloud, c.common)
	if err != nil {
		return err
	}
	id, err := instance(ctx, s, c.Instance)
	if err != nil {
		return err
	}
	all, err := s.EC2.Tags(ctx, id)
	if err != nil {
		return err
	}
	if c.JSON {
		return e.voice.json(all)
	}
	var lines []string
	for _, t := range all {
		lines = append(lines, row(t.Key, t.Value))
	}
	return e.voice.data(strings.Join(lines, ""))
}

// row gives the fields as a line with tabs between them. What would end a field
// inside of it becomes a blank.
func row(fields ...string) string {
	for i, f := range fields {
		fields[i] = strings.NewReplacer("\t", " ", "\n", " ", "\r", " ").Replace(f)
	}
	return strings.Join(fields, "\t") + "\n"
}

// instance gives the instance that a command is about: the given one, or the
// one that we are on.
func instance(ctx context.Context, s *ec2.Session, given string) (string, error) {
	if given == "" {
		return s.Metadata.InstanceID(ctx)
	}
	return given, idUsage("-i", given, "i-")
}

// idUsage makes a usage error of a wrong id.
func idUsage(flag, id, prefix string) error {
	if err := ec2.CheckID(id, prefix); err != nil {
		return misuse("%s: %w", flag, err)
	}
	return nil
}

type instances struct {
	cloud  `embed:""`
	common `embed:""`
}

// Help is the text below the usage.
func (instances) Help() string {
	return `A YAML list with the names of the API. Permission: ec2:DescribeInstances.

    $ murakumo-ec2 instances --json | jq -r '.[] | [.instanceId, .privateIpAddress] | @tsv'`
}

// Run prints them.
func (c *instances) Run(ctx context.Context, e *env) error {
	return e.list(ctx, c.cloud, c.common, func(ctx context.Context, s *ec2.Session) ([]*ec2.Node, error) {
		return s.EC2.Instances(ctx, nil)
	})
}

type interfaces struct {
	cloud  `embed:""`
	common `embed:""`
}

// Help is the text below the usage.
func (interfaces) Help() string {
	return `A YAML list with the names of the API. Permission: ec2:DescribeNetworkInterfaces.`
}

// Run prints them.
func (c *interfaces) Run(ctx context.Context, e *env) error {
	return e.list(ctx, c.cloud, c.common, func(ctx context.Context, s *ec2.Session) ([]*ec2.Node, error) {
		return s.EC2.Interfaces(ctx)
	})
}

// list prints what EC2 describes.
func (e *env) list(ctx context.Context, c cloud, o common, ask func(context.Context, *ec2.Session) ([]*ec2.Node, error)) error {
	ctx, cancel := o.bound(ctx, usual)
	defer cancel()
	s, err := e.open(ctx, c, o)
	if err != nil {
		return err
	}
	all, err := ask(ctx, s)
	if err != nil {
		return err
	}
	if o.JSON {
		return e.voice.json(all)
	}
	text, err := yaml.Marshal(all)
	if err != nil {
		return err
	}
	return e.voice.data("---\n" + string(text))
}

type privateAddresses struct {
	cloud  `embed:""`
	common `embed:""`
}

// Help is the text below the usage.
func (privateAddresses) Help() string {
	return `One line for each private IPv4 address: instance id, a tab, address, a tab, state of the instance. An instance's primary address comes first. Permission: ec2:DescribeInstances.

    $ murakumo-ec2 private-ip-addresses
    i-0a1b2c3d	10.0.0.133	running`
}

// Run prints them.
func (c *privateAddresses) Run(ctx context.Context, e *env) error {
	ctx, cancel := c.bound(ctx, usual)
	defer cancel()
	s, err := e.open(ctx, c.cloud, c.common)
	if err != nil {
		return err
	}
	found, err := s.EC2.Instances(ctx, nil)
	if err != nil {
		return err
	}
	all := ec2.PrivateAddresses(found)
	if c.JSON {
		return e.voice.json(all)
	}
	var b strings.Builder
	for _, a := range all {
		b.WriteString(row(a.Instance, a.Address, a.State))
	}
	return e.voice.data(b.String())
}
