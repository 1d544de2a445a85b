package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"murakumo/internal/ec2"
	"murakumo/internal/ec2/rpmspec"
)

type initCommand struct {
	Tag     []string `sep:"none" placeholder:"KEY[=VALUE]" help:"Initial nodes have this tag; may be repeated."`
	VPC     string   `name:"vpc" placeholder:"VPC" help:"Initial nodes are in this VPC."`
	Domain  string   `placeholder:"DOMAIN" help:"The daemon's domain; otherwise it is read from the file that the daemon gives on standard input."`
	Address string   `placeholder:"ADDRESS" help:"This host's address; otherwise as ip-address tells it."`
	cloud   `embed:""`
	common  `embed:""`
}

// Help is the text below the usage.
func (initCommand) Help() string {
	return `Prints two keys of murakumo.yml. host is this host's address and its tag Name, made a legal host name, or without such a tag the name that the VPC gave it, without the domain. initial-nodes are the addresses of the running instances, without this one.

    # /etc/murakumo.yml
    init-script: murakumo-ec2 init --region ap-northeast-1 --tag role=db

    $ murakumo-ec2 init
    host: "10.0.0.133, server-01"
    initial-nodes: "10.0.0.55, 10.0.0.77"

It may use 25 seconds (--timeout), since the daemon ends an init-script after 30. --verbose shows everything that was asked. Permissions: ec2:DescribeTags, ec2:DescribeInstances.`
}

// Run prints them.
func (c *initCommand) Run(ctx context.Context, e *env) error {
	for _, t := range c.Tag {
		if key, _, _ := strings.Cut(t, "="); key == "" {
			return misuse("--tag %q: expected KEY or KEY=VALUE", t)
		}
	}
	if c.VPC != "" {
		if err := idUsage("--vpc", c.VPC, "vpc-"); err != nil {
			return err
		}
	}
	o := ec2.InitOptions{Tags: c.Tag, VPC: c.VPC}
	if c.Address != "" {
		a, err := netip.ParseAddr(c.Address)
		if err != nil {
			return misuse("--address %q: expected an IP address", c.Address)
		}
		o.Self = a
	} else {
		own, err := ec2.LocalAddress()
		if err != nil {
			return err
		}
		o.Self = own.Address
	}
	ctx, cancel := c.bound(ctx, asInit)
	defer cancel()
	o.Domain = func() (string, error) {
		if c.Domain != "" {
			return c.Domain, nil
		}
		return domainOf(ctx, e.std.in)
	}
	s, err := e.open(ctx, c.cloud, c.common)
	if err != nil {
		return err
	}
	found, err := s.Init(ctx, o)
	if err != nil {
		return err
	}
	if c.JSON {
		return e.voice.json(map[string]any{"host": found.Host, "initial-nodes": found.InitialNodes})
	}
	return e.voice.data(found.YAML())
}

// maxFile is how much of the daemon's file is read: its own limit.
const maxFile = 1 << 20

// domainOf reads the daemon's file from standard input and gives its domain. A
// terminal is not read from: nobody types a file there.
func domainOf(ctx context.Context, in io.Reader) (string, error) {
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return "", nil
		}
	}
	type result struct {
		text []byte
		err  error
	}
	read := make(chan result, 1)
	// It may wait for ever on a pipe that nobody closes, and ends with the
	// process then.
	go func() {
		text, err := io.ReadAll(io.LimitReader(in, maxFile))
		read <- result{text, err}
	}()
	select {
	case r := <-read:
		var file struct {
			Domain string `yaml:"domain"`
		}
		if r.err == nil {
			r.err = yaml.Unmarshal(r.text, &file)
		}
		if r.err != nil {
			return "", fmt.Errorf("standard input is not the daemon's file (--domain says the domain, and </dev/null that there is none): %w", r.err)
		}
		return file.Domain, nil
	case <-ctx.Done():
		return "", fmt.Errorf("standard input does not end (--domain says the domain, and </dev/null that there is none): %w", context.Cause(ctx))
	}
}

type events struct {
	All        bool `help:"Count also what was completed or cancelled, of which EC2 tells for a week."`
	WarnBefore span `placeholder:"DURATION" help:"What begins later than that from now is a warning (exit status 1) only."`
	cloud      `embed:""`
	common     `embed:""`
}

// Help is the text below the usage.
func (events) Help() string {
	return `A plugin for Nagios, Icinga and Sensu: one line of at most 4 kB, and an exit status. All instances are looked at, also those that do not run.

    $ murakumo-ec2 events; echo $?
    i-1a2b3c4d:system-reboot, i-5e6f7a8b:instance-retirement
    2

Exit status: 0 OK, 1 only events that --warn-before puts off, 2 events, 3 could not ask. Permission: ec2:DescribeInstanceStatus.`
}

// Run checks.
func (c *events) Run(ctx context.Context, e *env) error {
	ctx, cancel := c.bound(ctx, usual)
	defer cancel()
	status, counted, err := c.ask(ctx, e)
	if err != nil {
		if c.JSON {
			e.voice.json(map[string]any{"status": "unknown", "error": err.Error(), "events": []int{}})
			return exit(unknown)
		}
		return exit(e.voice.unknown(err))
	}
	if c.JSON {
		word := []string{"ok", "warning", "critical"}[status]
		err = e.voice.json(map[string]any{"status": word, "events": counted})
	} else {
		err = e.voice.data(ec2.EventsLine(counted) + "\n")
	}
	if err != nil {
		return exit(unknown)
	}
	if status != ec2.StatusOK {
		return exit(status)
	}
	return nil
}

func (c *events) ask(ctx context.Context, e *env) (int, []ec2.Scheduled, error) {
	s, err := e.open(ctx, c.cloud, c.common)
	if err != nil {
		return 0, nil, err
	}
	all, err := s.EC2.Events(ctx)
	if err != nil {
		return 0, nil, err
	}
	status, counted := ec2.Judge(all, c.All, time.Duration(c.WarnBefore), time.Now())
	return status, counted, nil
}

type query struct {
	Action     string   `arg:"" name:"ACTION" help:"An action of the EC2 Query API, such as DescribeVpcs."`
	Parameters []string `arg:"" optional:"" sep:"none" name:"Key=Value" help:"Its parameters, such as Filter.1.Name=vpc-id."`
	cloud      `embed:""`
	common     `embed:""`
}

// Help is the text below the usage.
func (query) Help() string {
	return `Prints the XML as it came; --json converts it. Only one page is asked for. What only reads (Describe…, Get…, List…, Search…) is asked again when the answer is lost; anything else is not, since it may have been done.

    $ murakumo-ec2 query DescribeVpcs Filter.1.Name=isDefault Filter.1.Value.1=true
    $ murakumo-ec2 query CreateTags ResourceId.1=i-1 Tag.1.Key=role Tag.1.Value=db`
}

var (
	actionForm = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
	keyForm    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9.]*$`)
	readsOnly  = regexp.MustCompile(`^(Describe|Get|List|Search)`)
)

// maxQuery bounds what a query may print, in octets.
const maxQuery = 64 << 20

// Run asks.
func (c *query) Run(ctx context.Context, e *env) error {
	if !actionForm.MatchString(c.Action) {
		return misuse("action %q: expected one like DescribeVpcs", c.Action)
	}
	params := ec2.Params{}
	for _, p := range c.Parameters {
		key, value, ok := strings.Cut(p, "=")
		switch {
		case !ok || !keyForm.MatchString(key):
			return misuse("parameter %q: expected Key=Value, such as InstanceId.1=i-1", p)
		case key == "Action":
			return misuse("parameter %q: the action is the first word", p)
		}
		if _, twice := params[key]; twice {
			return misuse("parameter %s is given twice", key)
		}
		params[key] = value
	}
	ctx, cancel := c.bound(ctx, usual)
	defer cancel()
	s, err := e.open(ctx, c.cloud, c.common)
	if err != nil {
		return err
	}
	retry := ec2.Untouched
	if readsOnly.MatchString(c.Action) {
		retry = ec2.Always
	}
	r, err := s.EC2.Do(ctx, ec2.Call{Action: c.Action, Params: params, Retry: retry, Most: maxQuery})
	if err != nil {
		if _, lost := errors.AsType[*ec2.SendError](err); lost && retry != ec2.Always {
			err = fmt.Errorf("%w; it may have been done all the same", err)
		}
		return err
	}
	if c.JSON {
		return e.voice.json(r.Root)
	}
	text := string(r.XML)
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return e.voice.data(text)
}

type rpmSpec struct {
	Archive  string   `arg:"" name:"FILE.zip|URL" help:"The archive, with one top folder like ec2-api-tools-1.5.2.4/."`
	DestDir  string   `name:"destdir" default:"/usr" placeholder:"PATH" help:"Where bin and lib are installed (${default})."`
	License  string   `placeholder:"TEXT" help:"The licence; that of ec2-api-tools is known."`
	Summary  string   `placeholder:"TEXT" help:"One line about the package."`
	Release  string   `default:"1" placeholder:"N" help:"The package's release (${default})."`
	Requires []string `sep:"none" placeholder:"PACKAGE" help:"A package that it needs, such as java; may be repeated."`
	Build    bool     `help:"Build the RPM with rpmbuild, and print its path instead of the spec."`
	Output   string   `short:"o" default:"." placeholder:"DIR" help:"Where --build leaves the RPM (${default})."`
	common   `embed:""`
}

// Help is the text below the usage.
func (rpmSpec) Help() string {
	return `Reads the version from the archive's top folder, and prints a spec that installs its bin (mode 755, without *.cmd) and lib (mode 644), listing each file. An archive with links, encrypted members or names that lead elsewhere is refused.

    $ murakumo-ec2 rpm-spec ec2-api-tools.zip --requires java >ec2-api-tools.spec
    $ murakumo-ec2 rpm-spec https://example.org/ec2-api-tools.zip --build
    ec2-api-tools-1.5.2.4-1.noarch.rpm`
}

// Run writes it.
func (c *rpmSpec) Run(ctx context.Context, e *env) error {
	ctx, cancel := c.bound(ctx, usual)
	defer cancel()
	if trace := e.trace(c.common); trace != nil {
		trace("reads " + c.Archive)
	}
	a, err := rpmspec.Fetch(ctx, c.Archive)
	if err != nil {
		return err
	}
	defer a.Close()
	spec, err := rpmspec.New(a, rpmspec.Options{Prefix: c.DestDir, Summary: c.Summary, License: c.License, Release: c.Release, Requires: c.Requires})
	if err != nil {
		return usage{err}
	}
	rpm := ""
	if c.Build {
		if trace := e.trace(c.common); trace != nil {
			trace("builds " + spec.RPM())
		}
		if rpm, err = spec.Build(ctx, c.Output); err != nil {
			return err
		}
	}
	switch {
	case c.JSON:
		out := map[string]any{"name": a.Name, "version": a.Version, "release": spec.Release, "sha256": a.SHA256, "files": spec.Files(), "spec": spec.Text()}
		if rpm != "" {
			out["rpm"] = rpm
		}
		return e.voice.json(out)
	case rpm != "":
		return e.voice.data(rpm + "\n")
	}
	return e.voice.data(spec.Text())
}
