package config

import (
	"fmt"
	"log/slog"
	"net/mail"
	"regexp"
	"strconv"
	"strings"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/check/expr"
	"murakumo/internal/failover"
)

// YAML gives the configuration as a file that loads to the same one, without an
// init-script: every key stands there with its value, defaults included, as far
// as it has one. Secrets are in it, those apart that came from a file of their
// own, which is named. A check whose alias c does not have is left out, since no
// file could have it.
func (c *Config) YAML() []byte {
	w := encoder{literal: true}
	w.WriteString("# The configuration of a running murakumo, as mrkmctl -y writes it.\n")
	w.WriteString("# There may be secrets in it: keep it from others (chmod 600).\n---\n")
	w.block(write(topKeys, topForms, c), 0)
	return []byte(w.String())
}

// form writes the value of a key, nil for one that is not there.
type form[T any] func(*T) *node

// write makes a mapping of the keys that have a value, in the order of the
// table. A key without a form is a fault of ours, which a test finds.
func write[T any](keys []key[T], forms map[string]form[T], from *T) *node {
	m := &node{kind: mapping}
	for _, k := range keys {
		f := forms[k.name]
		if f == nil {
			continue
		}
		if n := f(from); n != nil {
			m.fields = append(m.fields, field{text(k.name), n})
		}
	}
	return m
}

// unwritten are the keys that have no form, and why.
var unwritten = map[string]string{
	"aliases":     "is the same key as alias",
	"daemon":      "is for the command that started it: a file with it would not start the same node",
	"init-script": "has run: what it set is in the other keys",
}

// topForms has a form for each of topKeys, those of unwritten apart; likewise
// the tables below.
var topForms = map[string]form[Config]{
	"auth-key": func(c *Config) *node {
		keys := make([]string, len(c.AuthKeys))
		for i, k := range c.AuthKeys {
			keys[i] = k
			if i < len(c.KeyFiles) && c.KeyFiles[i] != "" {
				keys[i] = c.KeyFiles[i]
			}
		}
		return one(listOf(keys, text))
	},
	"address":       func(c *Config) *node { return one(listOf(c.Bind, textOf)) },
	"port":          func(c *Config) *node { return number(c.Port) },
	"initial-nodes": func(c *Config) *node { return some(listOf(c.InitialNodes, text)) },
	"host": func(c *Config) *node {
		var entries []string
		for _, a := range c.Host.Addrs {
			entries = append(entries, fmt.Sprintf("%s, %s, %d", a, c.whole(c.Host.Name), c.Host.TTL))
		}
		return one(listOf(entries, text))
	},
	"alias": func(c *Config) *node {
		return some(listOf(c.Aliases, func(a Alias) *node {
			a.Name, a.Target = c.whole(a.Name), c.target(a.Target)
			return aliasNode(&a)
		}))
	},
	"static":       staticNode,
	"static-ttl":   func(c *Config) *node { return number(c.Static.TTL) },
	"max-records":  func(c *Config) *node { return number(c.MaxRecords) },
	"resolver":     func(c *Config) *node { return some(resolverNode(c)) },
	"socket":       func(c *Config) *node { return text(c.Socket) },
	"max-ip-num":   func(c *Config) *node { return number(c.MaxIPNum) },
	"domain":       func(c *Config) *node { return optional(c.Domain) },
	"domain-owned": func(c *Config) *node { return boolean(c.DomainOwned) },
	"negative-ttl": func(c *Config) *node { return duration(c.NegativeTTL) },
	"enable-cache": func(c *Config) *node { return boolean(c.Cache) },
	"allow-query": func(c *Config) *node {
		if c.AllowQuery == nil {
			return nil // all
		}
		return listOf(c.AllowQuery, textOf)
	},
	"allow-recursion": func(c *Config) *node {
		if c.AllowRecursion == nil {
			return nil // the default, which has no form of its own
		}
		return listOf(c.AllowRecursion, textOf)
	},
	"allow-transfer":  func(c *Config) *node { return some(listOf(c.AllowTransfer, textOf)) },
	"notify":          func(c *Config) *node { return some(listOf(c.Notify, textOf)) },
	"rate-limit":      func(c *Config) *node { return number(c.RateLimit) },
	"rate-limit-slip": func(c *Config) *node { return number(c.RateSlip) },
	"tls-port": func(c *Config) *node {
		if c.TLS == defaults("").TLS {
			return nil // it is not served
		}
		return number(c.TLS.Port)
	},
	"tls-cert":               func(c *Config) *node { return optional(c.TLS.Cert) },
	"tls-key":                func(c *Config) *node { return optional(c.TLS.Key) },
	"working-dir":            func(c *Config) *node { return text(c.WorkingDir) },
	"on-stop":                func(c *Config) *node { return text(c.OnStop.String()) },
	"log-path":               func(c *Config) *node { return optional(c.Log.Path) },
	"log-level":              func(c *Config) *node { return text(LevelName(c.Log.Level)) },
	"log-format":             func(c *Config) *node { return text(map[bool]string{false: "text", true: "json"}[c.Log.JSON]) },
	"gossip-port":            func(c *Config) *node { return number(c.Gossip.Port) },
	"gossip-node-lifetime":   func(c *Config) *node { return duration(c.Gossip.NodeLifetime) },
	"gossip-send-interval":   func(c *Config) *node { return duration(c.Gossip.SendInterval) },
	"gossip-receive-timeout": func(c *Config) *node { return duration(c.Gossip.ReceiveTimeout) },
	"ping-init-nodes":        func(c *Config) *node { return boolean(c.Gossip.PingInitNodes) },
	"gossip-start-delay":     func(c *Config) *node { return duration(c.Gossip.StartDelay) },
	"name-includes":          func(c *Config) *node { return regexps(c.Names.Includes) },
	"name-excludes":          func(c *Config) *node { return regexps(c.Names.Excludes) },
	"addr-includes":          func(c *Config) *node { return regexps(c.Addrs.Includes) },
	"addr-excludes":          func(c *Config) *node { return regexps(c.Addrs.Excludes) },
	"balancing":              func(c *Config) *node { return some(balancingNode(c)) },
	"when-empty":             func(c *Config) *node { return some(whenEmptyNode(c)) },
	"health-check": func(c *Config) *node {
		m := &node{kind: mapping}
		for _, h := range c.HealthChecks {
			if c.hasName(h.Name) {
				m.fields = append(m.fields, field{text(c.whole(h.Name)), write(healthKeys, healthForms, &h)})
			}
		}
		return some(m)
	},
	"activity-check": func(c *Config) *node {
		m := &node{kind: mapping}
		for _, a := range c.ActivityChecks {
			if c.hasAlias(a.Name) {
				m.fields = append(m.fields, field{text(c.whole(a.Name)), write(activityKeys, activityForms, &a)})
			}
		}
		return some(m)
	},
	"notification": func(c *Config) *node {
		if c.Notification == nil {
			return nil
		}
		return notificationNode(c.Notification)
	},
	"proxy": func(c *Config) *node {
		m := &node{kind: mapping}
		for _, p := range c.Proxies {
			p.To.Name = c.whole(p.To.Name)
			m.fields = append(m.fields, field{text(p.Name), write(proxyKeys, proxyForms, &p)})
		}
		return some(m)
	},
	"on-start":     func(c *Config) *node { return command(c.OnStart) },
	"hook-timeout": func(c *Config) *node { return duration(c.HookTimeout) },
}

var aliasForms = map[string]form[Alias]{
	"name":     func(a *Alias) *node { return text(a.Name) },
	"ttl":      func(a *Alias) *node { return number(a.TTL) },
	"priority": func(a *Alias) *node { return text(strings.ToLower(a.Priority.String())) },
	"weight":   func(a *Alias) *node { return number(a.Weight) },
	"port": func(a *Alias) *node {
		if a.Port == 0 {
			return nil
		}
		return number(a.Port)
	},
	"txt":   func(a *Alias) *node { return textNode(a.Text) },
	"cname": func(a *Alias) *node { return optional(a.Target) },
}

var healthForms = map[string]form[HealthCheck]{
	"interval":  func(h *HealthCheck) *node { return h.pulled(h.Rule.Interval) },
	"timeout":   func(h *HealthCheck) *node { return h.pulled(h.Rule.Timeout) },
	"healthy":   func(h *HealthCheck) *node { return number(h.Rule.Rise) },
	"unhealthy": func(h *HealthCheck) *node { return number(h.Rule.Fall) },
	"init-status": func(h *HealthCheck) *node {
		return optional(map[failover.Health]string{failover.Healthy: "active", failover.Unhealthy: "inactive"}[h.Rule.Init])
	},
	"on-activate":   func(h *HealthCheck) *node { return command(h.OnActivate) },
	"on-inactivate": func(h *HealthCheck) *node { return command(h.OnInactivate) },
	"script":        func(h *HealthCheck) *node { return script(h.Script) },
	"command":       func(h *HealthCheck) *node { return command(h.Command) },
	"ttl": func(h *HealthCheck) *node {
		if h.TTL == 0 {
			return nil
		}
		return duration(h.TTL)
	},
}

// pulled writes a time of the rule that a check which the application makes
// itself does not have.
func (h *HealthCheck) pulled(d time.Duration) *node {
	if h.TTL > 0 {
		return nil
	}
	return duration(d)
}

var activityForms = map[string]form[ActivityCheck]{
	"start-delay": func(a *ActivityCheck) *node { return duration(a.Rule.StartDelay) },
	"interval":    func(a *ActivityCheck) *node { return duration(a.Rule.Interval) },
	"active":      func(a *ActivityCheck) *node { return number(a.Rule.Active) },
	"inactive":    func(a *ActivityCheck) *node { return number(a.Rule.Inactive) },
	"init-status": func(a *ActivityCheck) *node {
		return text(map[catalog.Duty]string{
			catalog.DutyUndefined: "undefined", catalog.DutyActive: "active", catalog.DutyInactive: "inactive",
		}[a.Rule.Init])
	},
	"on-activate":   func(a *ActivityCheck) *node { return command(a.OnActivate) },
	"on-inactivate": func(a *ActivityCheck) *node { return command(a.OnInactivate) },
}

// whole gives a name of the table as the file has to have it: one that would
// lose a second domain when it is read gets another.
func (c *Config) whole(name string) string {
	if c.Domain != "" && strings.HasSuffix(name, "."+c.Domain) {
		return name + "." + c.Domain
	}
	return name
}

func (c *Config) hasAlias(name string) bool {
	for _, a := range c.Aliases {
		if a.Name == name {
			return true
		}
	}
	return false
}

// aliasNode writes an alias in the short form if that holds all it has.
func aliasNode(a *Alias) *node {
	m := write(aliasKeys, aliasForms, a)
	if len(m.fields) > 4 {
		return m
	}
	var parts []string
	for _, f := range m.fields {
		parts = append(parts, f.value.text)
	}
	return &node{kind: scalar, text: strings.Join(parts, ",")}
}

// plainWord is what needs no quotes, whatever a reader of YAML makes of words.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_/][A-Za-z0-9_/.,-]*[A-Za-z0-9_/]$`)

// text writes a text. Words that mean null or a truth to somebody get quotes.
func text(s string) *node {
	n := &node{kind: scalar, text: s, style: quotedStyle}
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off":
	default:
		if plainWord.MatchString(s) {
			n.style = plainStyle
		}
	}
	return n
}

// optional is a text that means "none" when it is empty.
func optional(s string) *node {
	if s == "" {
		return nil
	}
	return text(s)
}

// script writes an expression, one of several lines as such.
func script(s *expr.Script) *node {
	if s == nil {
		return nil
	}
	n := plain(s.String())
	if strings.Contains(n.text, "\n") {
		n.style = blockStyle
	}
	return n
}

func textOf[T fmt.Stringer](v T) *node { return text(v.String()) }

func plain(s string) *node { return &node{kind: scalar, text: s} }

func number[T ~int | ~uint16 | ~uint32](v T) *node { return plain(strconv.FormatInt(int64(v), 10)) }

func boolean(b bool) *node { return plain(strconv.FormatBool(b)) }

func duration(d time.Duration) *node { return plain(inSeconds(d)) }

// command writes a command as a sequence, which needs no quoting rules.
func command(c Command) *node {
	if len(c) == 0 {
		return nil
	}
	return listOf(c, text)
}

func regexps(all []*regexp.Regexp) *node {
	return some(listOf(all, func(re *regexp.Regexp) *node { return text(written(re)) }))
}

// written gives a regular expression as the file has it.
func written(re *regexp.Regexp) string { return strings.TrimPrefix(re.String(), "(?i)") }

// mailbox writes a mail address, in brackets when it cannot stand alone.
func mailbox(address string) *node {
	if a, err := mail.ParseAddress(address); err != nil || a.Address != address {
		return text((&mail.Address{Address: address}).String())
	}
	return text(address)
}

func listOf[T any](all []T, of func(T) *node) *node {
	list := &node{kind: sequence}
	for _, v := range all {
		list.items = append(list.items, of(v))
	}
	return list
}

// some leaves out a list or mapping that is empty.
func some(n *node) *node {
	if len(n.items)+len(n.fields) == 0 {
		return nil
	}
	return n
}

// one writes a list of one entry as that entry, and leaves out an empty one.
func one(list *node) *node {
	if len(list.items) == 1 {
		return list.items[0]
	}
	return some(list)
}

// levels are the log levels by name, from the one that tells the most.
var levels = []struct {
	name  string
	level slog.Level
}{{"debug", slog.LevelDebug}, {"info", slog.LevelInfo}, {"warn", slog.LevelWarn}, {"error", slog.LevelError}, {"fatal", LevelFatal}}

// LevelName gives the name of a log level as the file has it.
func LevelName(level slog.Level) string {
	for _, l := range levels {
		if level <= l.level {
			return l.name
		}
	}
	return "fatal"
}
