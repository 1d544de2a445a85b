package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// MaxSize is the greatest size of a configuration file, of what an init-script
// prints and of a key file, in octets.
const MaxSize = 1 << 20

// initTimeout is what an init-script has to finish: it may ask a cloud's API,
// and a host that hangs while it starts helps nobody.
const initTimeout = 30 * time.Second

// Options say how to load. The zero value reads and checks the file and runs
// nothing.
type Options struct {
	// RunInit runs the file's init-script. Without it, keys that the
	// init-script may supply are not missing: AuthKeys and Host of the
	// result can be empty.
	RunInit bool
	// Flags are what the command line sets; they beat the file.
	Flags []Flag
	// Optional takes a file that is not there for an empty one, so that flags
	// alone can be a configuration.
	Optional bool
	// Background is for a daemon without a standard error: its log goes to
	// log/murakumo.log under working-dir unless log-path says otherwise.
	Background bool
	// Context ends a running init-script; nil for none.
	Context context.Context
	// Daemon says that this process is going to run the programs: one that
	// another user could change is refused, and not only warned of.
	Daemon bool
	// Warn, if not nil, is told the warnings of a file that has mistakes, too, so
	// that both can be mended in one go. Those of a good one are in the result.
	Warn func(text string)
	// Lstat looks at programs and what leads to them; nil for os.Lstat.
	Lstat func(name string) (fs.FileInfo, error)
	// Hostname is the default of the host's name; nil for os.Hostname.
	Hostname func() (string, error)

	readlink    func(name string) (string, error) // nil for os.Readlink
	readFile    func(name string) ([]byte, fs.FileInfo, error)
	initTimeout time.Duration
}

// Load reads the file at path, runs its init-script if the options say so, and
// checks everything. If the file has mistakes the error is an [Errors] with all
// of them; if it cannot be read, it wraps the reason.
func Load(path string, opts Options) (*Config, error) {
	l := newLoader(opts)
	src, data, mode, err := l.open(path)
	if err != nil {
		return nil, err
	}
	cfg, err := l.load(src, data, mode)
	if cfg != nil {
		cfg.Path = path
	}
	return cfg, err
}

// Parse is Load for a text that is in no file. The name stands in messages.
func Parse(name string, data []byte, opts Options) (*Config, error) {
	return newLoader(opts).load(newSource(name, orderFile, data), data, 0)
}

// open reads the file.
func (l *loader) open(path string) (*source, []byte, fs.FileMode, error) {
	data, info, err := l.readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && l.Optional:
		return unlined(path+" (not there)", orderFile), nil, 0, nil
	case err != nil:
		return nil, nil, 0, fmt.Errorf("read configuration: %w", err)
	}
	return newSource(path, orderFile, data), data, info.Mode().Perm(), nil
}

// loader reads one configuration.
type loader struct {
	report
	Options
	cfg *Config

	// asked, if not nil, makes it describe keys in place of reading them.
	asked *description
	// partial says that an init-script was not run, so that what is missing
	// may come from it.
	partial bool
	// there are the keys of the top level that have a value.
	there map[string]value
	// secret says that the file itself holds a secret.
	secret bool
	// suffix is the domain, known before any name is read.
	suffix string
	// Where things stand that are judged when all is read: aliasAt beside
	// Config.Aliases, resolverAt beside Config.Resolvers.
	aliasAt    []value
	resolverAt []item
	staticAt   []item // beside Config.Static.Hosts
	hostsAt    []item // beside Config.Static.Files
	checkAt    []checkPlace
	// aliasKey is the key that the aliases came from, alias or aliases.
	aliasKey string
}

func newLoader(opts Options) *loader {
	l := &loader{Options: opts}
	if l.Context == nil {
		l.Context = context.Background()
	}
	if l.Hostname == nil {
		l.Hostname = os.Hostname
	}
	if l.readFile == nil {
		l.readFile = readFile
	}
	if l.initTimeout == 0 {
		l.initTimeout = initTimeout
	}
	return l
}

// load does the work. mode is that of the file, 0 for none.
func (l *loader) load(src *source, data []byte, mode fs.FileMode) (*Config, error) {
	whole := place{src, 1, 1}
	if len(data) > MaxSize {
		l.problem(whole, "", "larger than %d octets", MaxSize)
		return nil, l.errors()
	}
	root := l.parse(src, data)
	if root == nil {
		readKeys(l, value{node: applyFlags(&node{kind: mapping}, l.Flags)}, topKeys, defaults(src.name))
		return nil, l.errors()
	}
	// It says what the daemon runs, as root mostly: as with a hook's file, whoever
	// can write it can run anything. So its init-script is not run either.
	if mode&0o002 != 0 {
		l.problem(whole, "", "writable by others (mode %04o), who could have the daemon run anything: chmod o-w %s", mode, src.name)
		l.RunInit = false
	}
	// The init-script sees what the flags say, as the original's did, and what
	// it prints does not replace that.
	root, err := l.initScript(applyFlags(root, l.Flags))
	if err != nil {
		return nil, err
	}
	root = applyFlags(root, l.Flags)
	l.checkFlags()
	l.cfg = defaults(src.name)
	if d := root.get("domain"); d != nil {
		l.suffix = domainOf(d.text)
	}
	l.there = readKeys(l, value{node: root}, topKeys, l.cfg)
	l.finish(whole)
	if l.secret && mode&0o004 != 0 {
		l.warning(whole, "", "readable by others (mode %04o) while it holds a secret: chmod o-r %s", mode, src.name)
	}
	if err := l.errors(); err != nil {
		if l.Warn != nil {
			for _, w := range l.texts() {
				l.Warn(w)
			}
		}
		return nil, err
	}
	l.cfg.Warnings = l.texts()
	return l.cfg, nil
}

// readFile reads a regular file of at most MaxHosts octets. Of one that is larger
// although it does not say so it gives one octet more, by which the caller sees that.
func readFile(name string) ([]byte, fs.FileInfo, error) {
	// Opening a FIFO would wait for its writer, perhaps for ever.
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	// As it is before it is read: what is written meanwhile is another file.
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	if info.Size() > MaxHosts { // as a node finds every second that waits for a smaller one
		return nil, nil, &fs.PathError{Op: "read", Path: name, Err: errTooLarge}
	}
	data := bytes.NewBuffer(make([]byte, 0, min(info.Size(), MaxHosts)+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(f, MaxHosts+1)); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return data.Bytes(), info, nil
}
