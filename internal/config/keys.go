package config

import (
	"errors"
	"log/slog"
	"math"
	"strings"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/check/expr"
	"murakumo/internal/failover"
)

// topKeys are the keys of the file, in the order of docs/configuration.md. Its
// defaults stand in defaults.go.
var topKeys = []key[Config]{
	{"auth-key", (*loader).authKey},
	{"address", (*loader).address},
	{"port", func(l *loader, v value, c *Config) { integer(l, v, 1, math.MaxUint16, &c.Port) }},
	{"initial-nodes", (*loader).initialNodes},
	{"host", (*loader).host},
	{"alias", (*loader).aliases},
	{"aliases", (*loader).aliases},
	{"static", (*loader).static},
	{"static-ttl", func(l *loader, v value, c *Config) { integer(l, v, 0, catalog.MaxTTL, &c.Static.TTL) }},
	{"max-records", func(l *loader, v value, c *Config) { integer(l, v, 1, 1_000_000, &c.MaxRecords) }},
	{"resolver", (*loader).resolver},
	{"socket", (*loader).socket},
	{"max-ip-num", func(l *loader, v value, c *Config) { integer(l, v, 1, math.MaxInt32, &c.MaxIPNum) }},
	{"domain", (*loader).domain},
	{"domain-owned", func(l *loader, v value, c *Config) { l.boolean(v, &c.DomainOwned) }},
	{"negative-ttl", (*loader).negativeTTL},
	{"enable-cache", func(l *loader, v value, c *Config) { l.boolean(v, &c.Cache) }},
	{"allow-query", (*loader).allowQuery},
	{"allow-recursion", (*loader).allowRecursion},
	{"allow-transfer", (*loader).allowTransfer},
	{"notify", (*loader).notify},
	{"rate-limit", func(l *loader, v value, c *Config) { integer(l, v, 0, 1_000_000, &c.RateLimit) }},
	{"rate-limit-slip", func(l *loader, v value, c *Config) { integer(l, v, 0, 100, &c.RateSlip) }},
	{"tls-port", func(l *loader, v value, c *Config) { integer(l, v, 1, math.MaxUint16, &c.TLS.Port) }},
	{"tls-cert", func(l *loader, v value, c *Config) { l.path(v, &c.TLS.Cert) }},
	{"tls-key", func(l *loader, v value, c *Config) { l.path(v, &c.TLS.Key) }},
	{"daemon", (*loader).daemon},
	{"working-dir", (*loader).workingDir},
	{"on-stop", func(l *loader, v value, c *Config) {
		if i := l.choice(v, Release.String(), Keep.String()); i >= 0 {
			c.OnStop = OnStop(i)
		}
	}},
	{"log-path", func(l *loader, v value, c *Config) { l.path(v, &c.Log.Path) }},
	{"log-level", (*loader).logLevel},
	{"log-format", (*loader).logFormat},
	{"gossip-port", func(l *loader, v value, c *Config) { integer(l, v, 1, math.MaxUint16, &c.Gossip.Port) }},
	{"gossip-node-lifetime", func(l *loader, v value, c *Config) {
		l.duration(v, 500*time.Millisecond, 300*time.Second, &c.Gossip.NodeLifetime)
	}},
	{"gossip-send-interval", func(l *loader, v value, c *Config) {
		l.duration(v, 10*time.Millisecond, 30*time.Second, &c.Gossip.SendInterval)
	}},
	{"gossip-receive-timeout", func(l *loader, v value, c *Config) {
		l.duration(v, 100*time.Millisecond, 300*time.Second, &c.Gossip.ReceiveTimeout)
	}},
	{"ping-init-nodes", func(l *loader, v value, c *Config) { l.boolean(v, &c.Gossip.PingInitNodes) }},
	{"gossip-start-delay", func(l *loader, v value, c *Config) { l.duration(v, 0, time.Hour, &c.Gossip.StartDelay) }},
	{"init-script", (*loader).initKey},
	{"name-includes", func(l *loader, v value, c *Config) { l.regexps(v, &c.Names.Includes) }},
	{"name-excludes", func(l *loader, v value, c *Config) { l.regexps(v, &c.Names.Excludes) }},
	{"addr-includes", func(l *loader, v value, c *Config) { l.regexps(v, &c.Addrs.Includes) }},
	{"addr-excludes", func(l *loader, v value, c *Config) { l.regexps(v, &c.Addrs.Excludes) }},
	{"balancing", (*loader).balancing},
	{"when-empty", (*loader).whenEmpty},
	{"health-check", (*loader).healthChecks},
	{"activity-check", (*loader).activityChecks},
	{"notification", (*loader).notification},
	{"proxy", (*loader).proxies},
	{"on-start", func(l *loader, v value, c *Config) { l.command(v, &c.OnStart) }},
	{"hook-timeout", func(l *loader, v value, c *Config) {
		l.duration(v, 100*time.Millisecond, time.Hour, &c.HookTimeout)
	}},
}

// The bounds of the checks' own times and counts.
const (
	minTime  = 50 * time.Millisecond
	maxTime  = 300 * time.Second
	maxCount = 60
)

// healthKeys are the keys of one entry of health-check.
var healthKeys = []key[HealthCheck]{
	{"interval", func(l *loader, v value, h *HealthCheck) { l.duration(v, minTime, maxTime, &h.Rule.Interval) }},
	{"timeout", func(l *loader, v value, h *HealthCheck) { l.duration(v, minTime, maxTime, &h.Rule.Timeout) }},
	{"healthy", func(l *loader, v value, h *HealthCheck) { integer(l, v, 1, maxCount, &h.Rule.Rise) }},
	{"unhealthy", func(l *loader, v value, h *HealthCheck) { integer(l, v, 1, maxCount, &h.Rule.Fall) }},
	{"init-status", func(l *loader, v value, h *HealthCheck) {
		if i := l.choice(v, "active", "inactive"); i >= 0 {
			h.Rule.Init = []failover.Health{failover.Healthy, failover.Unhealthy}[i]
		}
	}},
	{"on-activate", func(l *loader, v value, h *HealthCheck) { l.command(v, &h.OnActivate) }},
	{"on-inactivate", func(l *loader, v value, h *HealthCheck) { l.command(v, &h.OnInactivate) }},
	{"script", func(l *loader, v value, h *HealthCheck) { l.script(v, &h.Script) }},
	{"command", func(l *loader, v value, h *HealthCheck) { l.command(v, &h.Command) }},
	{"ttl", func(l *loader, v value, h *HealthCheck) { l.duration(v, 100*time.Millisecond, 24*time.Hour, &h.TTL) }},
}

// activityKeys are the keys of one entry of activity-check.
var activityKeys = []key[ActivityCheck]{
	{"start-delay", func(l *loader, v value, a *ActivityCheck) { l.duration(v, 0, maxTime, &a.Rule.StartDelay) }},
	{"interval", func(l *loader, v value, a *ActivityCheck) { l.duration(v, minTime, maxTime, &a.Rule.Interval) }},
	{"active", func(l *loader, v value, a *ActivityCheck) { integer(l, v, 1, maxCount, &a.Rule.Active) }},
	{"inactive", func(l *loader, v value, a *ActivityCheck) { integer(l, v, 1, maxCount, &a.Rule.Inactive) }},
	{"init-status", func(l *loader, v value, a *ActivityCheck) {
		if i := l.choice(v, "active", "inactive", "undefined"); i >= 0 {
			a.Rule.Init = []catalog.Duty{catalog.DutyActive, catalog.DutyInactive, catalog.DutyUndefined}[i]
		}
	}},
	{"on-activate", func(l *loader, v value, a *ActivityCheck) { l.command(v, &a.OnActivate) }},
	{"on-inactivate", func(l *loader, v value, a *ActivityCheck) { l.command(v, &a.OnInactivate) }},
}

func (l *loader) negativeTTL(v value, c *Config) {
	l.duration(v, 0, 24*time.Hour, &c.NegativeTTL)
	if c.NegativeTTL%time.Second != 0 {
		l.wrong(v, "whole seconds, as DNS counts them")
	}
}

// LevelFatal is the log level of what ends the daemon.
const LevelFatal = slog.LevelError + 4

func (l *loader) logLevel(v value, c *Config) {
	if i := l.choice(v, "debug", "info", "warn", "error", "fatal"); i >= 0 {
		c.Log.Level = []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, LevelFatal}[i]
	}
}

func (l *loader) logFormat(v value, c *Config) {
	c.Log.JSON = l.choice(v, "text", "json") == 1
}

// script reads the expression of a health check.
func (l *loader) script(v value, into **expr.Script) {
	if l.describes(func() shape { return scriptShape() }) {
		return
	}
	text, ok := l.textOf(v, "an expression such as tcp_check 80")
	if !ok {
		return
	}
	if strings.HasPrefix(text, "/") {
		l.problem(v.place, v.key, "expected an expression such as tcp_check 80: to run a program, write it as command")
		return
	}
	script, problems := parseScript(v.text)
	for _, p := range problems {
		l.problem(v.at(offsetOf(v.text, p.Line, p.Column)), v.key, "%s", p.Msg)
	}
	*into = script
}

func parseScript(text string) (*expr.Script, []expr.Error) {
	script, err := expr.Parse(text)
	if err == nil {
		return script, nil
	}
	if e, ok := errors.AsType[*expr.ParseError](err); ok {
		return nil, e.Errors
	}
	return nil, []expr.Error{{Line: 1, Column: 1, Msg: err.Error()}}
}

// offsetOf gives the octet at which a line's character stands, both counted
// from 1; the end of the text for what lies behind it.
func offsetOf(text string, line, column int) int {
	offset := 0
	for range line - 1 {
		next := strings.IndexByte(text[offset:], '\n')
		if next < 0 {
			return len(text)
		}
		offset += next + 1
	}
	for range column - 1 {
		if offset == len(text) || text[offset] == '\n' {
			break
		}
		offset++
		for offset < len(text) && text[offset]&0xc0 == 0x80 { // inside of a character
			offset++
		}
	}
	return offset
}

// word reads a text without blanks.
func (l *loader) word(v value, expected string, into *string) {
	text, ok := l.textOf(v, expected)
	if !ok {
		return
	}
	if text == "" || strings.ContainsAny(text, " \t\r\n") {
		l.wrong(v, expected)
		return
	}
	*into = text
}
