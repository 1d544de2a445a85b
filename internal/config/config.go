package config

import (
	"log/slog"
	"net/netip"
	"regexp"
	"time"

	"murakumo/internal/catalog"
	"murakumo/internal/check/expr"
	"murakumo/internal/failover"
)

// Command is a program with its arguments, found and split when the file is
// read; no shell ever sees it. Empty means that none was configured.
type Command []string

// Config is the whole configuration, checked: every value is in its range and
// every reference leads somewhere. Only when an init-script was not run can
// AuthKeys be empty and Host be the zero Host.
type Config struct {
	Path string // the file it came from, for messages

	AuthKeys []string // the first encrypts, all decrypt
	// KeyFiles has for each of AuthKeys the path of the file that it came
	// from, "" where it stood in the configuration itself.
	KeyFiles       []string
	Bind           []netip.Addr
	Port           uint16
	InitialNodes   []string // host, host:port or [v6]:port, as written
	Host           Host
	Aliases        []Alias
	Static         Static
	MaxRecords     int
	Resolvers      []Resolver // in the order of the file
	Socket         string
	MaxIPNum       int
	Domain         string // lower case, no dots at its ends; "" for none
	DomainOwned    bool
	NegativeTTL    time.Duration
	Cache          bool
	AllowQuery     []netip.Prefix // nil: all
	AllowRecursion []netip.Prefix // nil: loopback, private and link-local
	AllowTransfer  []netip.Prefix
	Notify         []netip.AddrPort
	RateLimit      int // equal answers a second; 0: any number
	RateSlip       int
	TLS            TLS
	Daemon         string // one of DaemonCommands; "": the daemon itself, in the foreground
	WorkingDir     string
	OnStop         OnStop
	Log            Log
	Gossip         Gossip
	Names, Addrs   Filter
	Balancing      []Balance   // the first that matches a name counts
	WhenEmpty      []WhenEmpty // likewise
	HealthChecks   []HealthCheck
	ActivityChecks []ActivityCheck
	Notification   *Notification // nil: no mail
	Proxies        []Proxy       // in the order of the file
	HookTimeout    time.Duration
	OnStart        Command

	// Warnings are what the operator should mend but the daemon can live
	// with: a weak secret, a file that others may read. Each has its place.
	Warnings []string
}

// OnStop is what becomes of the duties of a daemon that is told to stop.
type OnStop uint8

// Release hands them over, with hooks and a goodbye. Keep leaves everything as
// it is, for a run that is back soon.
const (
	Release OnStop = iota
	Keep
)

// String gives the word that the file has for it.
func (s OnStop) String() string {
	if s == Keep {
		return "keep"
	}
	return "release"
}

// Host is the node itself; Addrs[0] is its identity in the cluster.
type Host struct {
	Addrs []netip.Addr
	Name  string
	TTL   uint32
}

// Alias is one further name of the host.
type Alias struct {
	Name     string
	TTL      uint32
	Priority catalog.Priority
	Weight   uint16
	Port     uint16       // of the service; 0: none is known
	Text     catalog.Text // "": none
	Target   string       // the name that it stands for, as in a record; "": none
}

// Log says where the log goes. Path "" is standard error.
type Log struct {
	Path  string
	Level slog.Level
	JSON  bool
}

// Gossip holds the cluster's timing.
type Gossip struct {
	Port           uint16
	NodeLifetime   time.Duration
	SendInterval   time.Duration
	ReceiveTimeout time.Duration
	PingInitNodes  bool
	StartDelay     time.Duration
}

// Filter says which names or addresses are answered from the table.
type Filter struct {
	Includes, Excludes []*regexp.Regexp
}

// HealthCheck is one entry of health-check. Exactly one of Script, Command and
// TTL is set.
type HealthCheck struct {
	Name    string
	Rule    failover.HealthRule
	Script  *expr.Script
	Command Command
	// TTL is for a check that the application makes itself: the time after
	// which silence is a bad verdict. Rule is then the one for a probe that
	// waits for reports: its Timeout is TTL, and the next wait follows at once.
	TTL          time.Duration
	OnActivate   Command
	OnInactivate Command
}

// ActivityCheck is one entry of activity-check.
type ActivityCheck struct {
	Name         string
	Rule         failover.DutyRule
	OnActivate   Command
	OnInactivate Command
}
