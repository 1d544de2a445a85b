package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"murakumo/internal/config"
	"murakumo/internal/optparse"
)

// defaultConfig is the file that is read where none is named, if it is there.
const defaultConfig = "/etc/murakumo.yml"

// flags is the command line. Letters and long names are the original's; a long
// name is also the key of the file that the flag beats.
type flags struct {
	Help    bool        `short:"h" help:"this text"`
	Version bool        `short:"v" help:"the version"`
	Schema  bool        `help:"the JSON Schema of the configuration, for editors"`
	Config  pathSetting `short:"c" placeholder:"PATH" help:"the configuration (/etc/murakumo.yml, if it is there)"`

	AuthKey      setting     `short:"K" placeholder:"SECRET" help:"shared secret of the cluster, or the path of a file with it"`
	Host         setting     `short:"H" placeholder:"RECORD" help:"this host: ip[,hostname[,ttl]]"`
	Alias        settings    `short:"A" placeholder:"RECORD" help:"a further name of it: hostname[,ttl[,priority[,weight]]], repeatable"`
	InitialNodes setting     `short:"i" placeholder:"NODES" help:"hosts of the cluster, with commas between them"`
	Daemon       setting     `short:"d" placeholder:"COMMAND" help:"start, stop, restart or status of the daemon in the background"`
	WorkingDir   pathSetting `short:"w" placeholder:"PATH" help:"where the pid file and the state are (/var)"`
	Socket       pathSetting `short:"S" placeholder:"PATH" help:"the control socket"`
	LogPath      pathSetting `short:"l" placeholder:"PATH" help:"the log (standard error)"`
	LogLevel     setting     `short:"L" placeholder:"LEVEL" help:"debug, info, warn, error or fatal"`

	Address     setting `short:"a" placeholder:"IPS" help:"where DNS listens (0.0.0.0)"`
	Port        setting `short:"p" placeholder:"PORT" help:"DNS port (53)"`
	Resolver    setting `short:"r" placeholder:"IPS" help:"who is asked for names that are not ours"`
	MaxIPNum    setting `short:"n" name:"max-ip-num" placeholder:"N" help:"most addresses in one answer, per tier (8)"`
	Domain      setting `short:"b" placeholder:"DOMAIN" help:"db.DOMAIN means db"`
	EnableCache toggle  `short:"e" help:"keep what the resolvers answered"`

	GossipPort           setting `short:"P" placeholder:"PORT" help:"gossip port (10870)"`
	GossipNodeLifetime   setting `short:"T" placeholder:"TIME" help:"silence after which a node is dead (10)"`
	GossipSendInterval   setting `short:"I" placeholder:"TIME" help:"time between messages (0.3)"`
	GossipReceiveTimeout setting `short:"O" placeholder:"TIME" help:"timeout of an exchange by TCP (3)"`
	PingInitNodes        toggle  `short:"V" help:"wait until one of the initial nodes answers"`
	GossipStartDelay     setting `short:"D" placeholder:"TIME" help:"wait before gossip starts (0)"`

	Run struct{} `cmd:"" default:"1" hidden:""`
	Dev struct{} `cmd:""`

	InstallInitScript install `cmd:""`

	DevService struct {
		Listen string `arg:""`
		Name   string `arg:""`
	} `cmd:"" hidden:""`
}

// setting is a flag that sets a key of the file. Given again, the last counts.
type setting struct {
	given bool
	text  string
}

// Decode takes the value as it stands; config reads it. --flag= takes away what
// the file says.
func (s *setting) Decode(ctx *kong.DecodeContext) (err error) {
	*s = setting{given: true}
	if next := ctx.Scan.Peek(); next.Type == kong.FlagValueToken && next.Value == "" {
		ctx.Scan.Pop()
		return nil
	}
	s.text, err = optparse.Value(ctx)
	return err
}

func (s *setting) values() []string {
	if !s.given {
		return nil
	}
	return []string{s.text}
}

// pathSetting is the path of a file. In the file it is absolute; here a relative
// one has a meaning, which is gone once the daemon leaves the folder where it
// was started.
type pathSetting struct{ setting }

// Decode makes the path absolute.
func (p *pathSetting) Decode(ctx *kong.DecodeContext) error {
	if err := p.setting.Decode(ctx); err != nil || p.text == "" {
		return err
	}
	path, err := filepath.Abs(p.text)
	if err != nil {
		return fmt.Errorf("%s: %w", p.text, err)
	}
	p.text = path
	return nil
}

// settings is a flag that may be repeated.
type settings struct{ texts []string }

// Decode adds one.
func (s *settings) Decode(ctx *kong.DecodeContext) error {
	text, err := optparse.Value(ctx)
	s.texts = append(s.texts, text)
	return err
}

func (s *settings) values() []string { return s.texts }

// toggle is a flag that needs no value; --flag=false is for a file that says
// true.
type toggle struct{ setting }

// IsBool tells the parser that the next word belongs to something else.
func (*toggle) IsBool() bool { return true }

// Decode takes a value only behind =.
func (t *toggle) Decode(ctx *kong.DecodeContext) error {
	t.given, t.text = true, "true"
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		t.text = fmt.Sprint(ctx.Scan.Pop().Value)
	}
	return nil
}

// commandLine is what the arguments say.
type commandLine struct {
	flags
	args     []string
	command  string
	settings []config.Flag // in the order of flags
	help     string
}

// parse reads the arguments.
func parse(args []string) (*commandLine, error) {
	c := &commandLine{args: args}
	parser, err := kong.New(&c.flags, kong.Name("murakumo"), kong.NoDefaultHelp(), kong.Exit(func(int) {}))
	if err != nil {
		return nil, fmt.Errorf("make the parser: %w", err)
	}
	var names []string
	for _, f := range parser.Model.Flags {
		names = append(names, f.Name)
	}
	for _, command := range parser.Model.Children {
		for _, f := range command.Flags {
			names = append(names, f.Name)
		}
	}
	if args, err = optparse.Expand(args, names); err != nil {
		return nil, err
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return nil, err
	}
	c.command = ctx.Command()
	c.help = usage(parser.Model.Flags)
	for _, f := range parser.Model.Flags {
		given, ok := f.Target.Addr().Interface().(interface{ values() []string })
		if !ok || f.Name == "config" {
			continue
		}
		for _, text := range given.values() {
			c.settings = append(c.settings, config.Flag{Key: f.Name, Text: text})
		}
	}
	if c.command != "run" && (len(c.settings) > 0 || c.Config.given) {
		return nil, fmt.Errorf("%s takes no flags", ctx.Selected().Name)
	}
	return c, nil
}

// options say how to load the configuration that the command line means.
func (c *commandLine) options() (path string, opts config.Options) {
	opts.Flags = c.settings
	if !c.Config.given {
		opts.Optional = true
		return defaultConfig, opts
	}
	return c.Config.text, opts
}

// usage is the text of --help.
func usage(list []*kong.Flag) string {
	var w strings.Builder
	w.WriteString(`usage: murakumo [flags]     the daemon
       murakumo dev         a cluster of three nodes on 127.0.0.x, to try things
                            on: no root, no configuration
       murakumo install-init-script [--root PATH] [--force]
                            installs the systemd unit; the same as
                            murakumo-install-init-script

A flag beats the key of its name in the file.

`)
	for _, f := range list {
		form := fmt.Sprintf("-%c, --%s %s", f.Short, f.Name, f.PlaceHolder)
		if f.Short == 0 {
			form = "    --" + f.Name
		}
		if len(form) > 35 {
			form += "\n" + strings.Repeat(" ", 37)
		}
		fmt.Fprintf(&w, "  %-35s %s\n", strings.TrimRight(form, " "), f.Help)
	}
	w.WriteString(`
exit status: 0 done, 1 failed, 2 usage error, 5 removed from the cluster by
mrkmctl -d; of -d status: 0 running, 3 not running, 4 not known
`)
	return w.String()
}
