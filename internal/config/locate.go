package config

import "time"

// DaemonCommands are the values of `daemon`, which is usually the flag -d.
var DaemonCommands = []string{"start", "stop", "restart", "status"}

// Location is what somebody who asks about the daemon, and does not become it,
// has to know.
type Location struct {
	Daemon      string // one of DaemonCommands, "" for the daemon itself
	WorkingDir  string
	HookTimeout time.Duration
}

// Locate reads only what a Location has. Mistakes elsewhere in the file do not
// matter: a daemon can be stopped whose file has been spoilt since it started.
// It runs no init-script.
func Locate(path string, opts Options) (Location, error) {
	l := newLoader(opts)
	src, data, _, err := l.open(path)
	if err != nil {
		return Location{}, err
	}
	c := defaults(path)
	if root := l.parse(src, data); root != nil {
		root = applyFlags(root, l.Flags)
		wanted := &node{place: root.place, kind: mapping}
		for _, f := range root.fields {
			switch f.key.text {
			case "daemon", "working-dir", "hook-timeout":
				wanted.fields = append(wanted.fields, f)
			}
		}
		readKeys(l, value{node: wanted}, topKeys, c)
	}
	return Location{c.Daemon, c.WorkingDir, c.HookTimeout}, l.errors()
}

func (l *loader) daemon(v value, c *Config) {
	if v.src.order == orderInit {
		l.problem(v.place, v.key, "an init-script cannot set it: by the time it runs, the daemon starts")
		return
	}
	if i := l.choice(v, DaemonCommands...); i >= 0 {
		c.Daemon = DaemonCommands[i]
	}
}

func (l *loader) workingDir(v value, c *Config) {
	l.path(v, &c.WorkingDir)
	if v.src.order == orderInit {
		l.warning(v.place, v.key, "murakumo -d stop and -d status do not run the init-script and look elsewhere: set it in the file")
	}
}
