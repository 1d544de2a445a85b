// Command murakumo-ec2 reads what there is in EC2, and moves a service from one
// instance to another: as a hook of murakumo, from scripts, and by hand.
//
//	murakumo-ec2 attach-interface -n eni-0a1b2c3d      takes an interface
//	murakumo-ec2 tags                                  the tags of this instance
//	murakumo-ec2 events                                a monitoring check
//	murakumo-ec2 init                                  an init-script
//	murakumo-ec2 --help                                all commands
//
// Under the original's names (murakumo-show-ec2-tags, …) it is that command.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"murakumo/internal/ec2"
)

// version is set by the linker.
var version = "devel"

type stdio struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		// Whoever asks twice does not want to wait.
		<-ctx.Done()
		stop()
	}()
	os.Exit(run(ctx, os.Args, stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// The exit statuses. A command that is also a monitoring check has its own.
const (
	done      = 0
	failed    = 1
	misused   = 2
	unknown   = 3 // events and check: could not ask
	lostRaces = 4
)

// commands are what the program can do.
type commands struct {
	Version kong.VersionFlag `short:"v" help:"Print the version."`

	IPAddress          ipAddress        `cmd:"" name:"ip-address" group:"Reading:" help:"Print this host's own address."`
	Tags               tags             `cmd:"" group:"Reading:" help:"Print the tags of an instance."`
	Instances          instances        `cmd:"" group:"Reading:" help:"Print all instances as YAML."`
	Interfaces         interfaces       `cmd:"" group:"Reading:" help:"Print all network interfaces as YAML."`
	PrivateIPAddresses privateAddresses `cmd:"" name:"private-ip-addresses" group:"Reading:" help:"Print the private addresses of all instances."`

	AttachInterface  attachInterface  `cmd:"" group:"Moving a service here:" help:"Take a network interface."`
	AssociateAddress associateAddress `cmd:"" group:"Moving a service here:" help:"Take an Elastic IP."`
	AssignPrivateIP  assignPrivateIP  `cmd:"" name:"assign-private-ip" group:"Moving a service here:" help:"Take a secondary private address."`
	ReplaceRoute     replaceRoute     `cmd:"" group:"Moving a service here:" help:"Take a route."`
	Check            check            `cmd:"" group:"Moving a service here:" help:"Tell whether such a thing is here now."`

	Init    initCommand `cmd:"" group:"For the daemon and for monitoring:" help:"Print host and initial-nodes, as an init-script."`
	Events  events      `cmd:"" group:"For the daemon and for monitoring:" help:"Check for scheduled events of all instances."`
	Query   query       `cmd:"" group:"Anything else:" help:"Ask EC2 for any action."`
	RPMSpec rpmSpec     `cmd:"" name:"rpm-spec" group:"Anything else:" help:"Write an RPM spec for a zip of tools."`
}

// run is main without the process around it. args[0] is the name that it was
// called by.
func run(ctx context.Context, args []string, std stdio) int {
	v := voice{std.out, std.err}
	words, err := oldName(filepath.Base(args[0]), args[1:])
	if err != nil {
		return v.misuse(err)
	}
	var c commands
	exited := -1
	parser, err := kong.New(&c, kong.Name("murakumo-ec2"), kong.Description(description),
		kong.Writers(std.out, std.err), kong.Exit(func(code int) { exited = code }), kong.Vars{"version": "murakumo-ec2 " + version},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}))
	if err != nil {
		return v.failure(err)
	}
	parsed, err := parser.Parse(words)
	if exited >= 0 {
		return exited // after --help or --version
	}
	if err != nil {
		if slices.Contains(words, "events") {
			return v.unknown(err)
		}
		return v.misuse(err)
	}
	e := &env{std: std, voice: v}
	err = parsed.Run(e)
	status, ok := errors.AsType[exit](err)
	switch {
	case err == nil:
		return done
	case ok:
		return int(status)
	}
	if u, ok := errors.AsType[usage](err); ok {
		return v.misuse(u.error)
	}
	return v.failure(err)
}

const description = `The EC2 toolbox of Murakumo. "murakumo-ec2 COMMAND --help" has examples; docs/ec2.md has the permissions that each command needs.

Exit status: 0 done, 1 failed, 2 usage error, 3 check and events could not ask, 4 lost the thing to another host.`

// exit is an exit status when everything is said already.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usage is an error of the command line that only the command itself could see.
type usage struct{ error }

func misuse(format string, args ...any) error { return usage{fmt.Errorf(format, args...)} }

// env is what the commands have around them.
type env struct {
	std   stdio
	voice voice
}

// common are the flags of every command.
type common struct {
	Timeout span `placeholder:"DURATION" help:"Give up after this time (60s unless the text above says otherwise)."`
	JSON    bool `name:"json" help:"Print JSON."`
	Verbose bool `help:"Tell on standard error everything that is asked."`
}

// bound gives a context with the command's time in it.
func (c common) bound(ctx context.Context, otherwise time.Duration) (context.Context, context.CancelFunc) {
	d := time.Duration(c.Timeout)
	if d == 0 {
		d = otherwise
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("not finished within %s (--timeout)", d))
}

// What a command has without --timeout.
const (
	usual = 60 * time.Second
	// An init-script is killed after 30 s, a hook after 60 (hook-timeout): the
	// sentence about what went wrong has to come before.
	asInit = 25 * time.Second
	asHook = 55 * time.Second
)

// cloud are the flags that say whom to ask.
type cloud struct {
	AccessKey    string `short:"k" placeholder:"KEY" help:"Access key id; otherwise AWS_ACCESS_KEY_ID, the shared files, the container's or the instance's role."`
	SecretKey    string `short:"s" placeholder:"SECRET" help:"Its secret, which ps shows while this runs; otherwise AWS_SECRET_ACCESS_KEY."`
	SessionToken string `placeholder:"TOKEN" help:"The token that temporary keys come with; otherwise AWS_SESSION_TOKEN."`
	Region       string `short:"r" placeholder:"REGION" help:"Region, or the host name of its endpoint; otherwise AWS_REGION, the shared files, the instance's own."`
	Endpoint     string `placeholder:"URL" help:"Ask here instead of at the region's public endpoint; otherwise AWS_ENDPOINT_URL_EC2."`
	CABundle     string `name:"ca-bundle" placeholder:"FILE" help:"Certificates that vouch for the endpoint instead of the system's; otherwise AWS_CA_BUNDLE."`
}

// open finds out whom to ask.
func (e *env) open(ctx context.Context, c cloud, o common) (*ec2.Session, error) {
	s := ec2.Settings{
		AccessKey: c.AccessKey, SecretKey: c.SecretKey, SessionToken: c.SessionToken, Region: c.Region, Endpoint: c.Endpoint, CABundle: c.CABundle,
		Version: version, Warn: func(s string) { e.voice.warn(s) }, Trace: e.trace(o),
	}
	return ec2.Open(ctx, s)
}

// trace gives where --verbose goes, nil without it.
func (e *env) trace(o common) func(string) {
	if !o.Verbose {
		return nil
	}
	return func(s string) { e.voice.talk(s) }
}
