package nameserver

import (
	"net/netip"
	"slices"
	"strings"
)

// Rules is what the configuration says about answering.
type Rules struct {
	// Domain is the suffix under which the table's names are also known, in
	// lower case and without dots at its ends; "" for none.
	Domain string
	// Host is this node's own name, without Domain: the server that the SOA and
	// NS records of Domain name. "": Domain itself.
	Host string
	// DomainOwned says that nobody else serves Domain, so that an unknown
	// name under it does not exist.
	DomainOwned bool
	// MaxAnswers is the most addresses of one tier in an answer, at least 1.
	MaxAnswers int
	// Balancing says how the addresses of names are ordered; nil: all by
	// weighted random.
	Balancing *Balancing
	// NegativeTTL is how long, in seconds, a client may believe that there
	// is nothing.
	NegativeTTL uint32
	// WhenEmpty says what is answered for names that have no Active record, by the
	// first that matches; NoData where none does.
	WhenEmpty []WhenEmpty
	// Names says which names are answered from the table, Addrs which
	// addresses are in reverse lookups; the others are treated as if the
	// table did not have them. Names gets the name in lower case and without
	// Domain. nil: all. Both are called for every query, from many
	// goroutines.
	Names func(name string) bool
	Addrs func(netip.Addr) bool
	// AllowQuery lists who is answered, the others are refused. nil: all;
	// empty: nobody.
	AllowQuery []netip.Prefix
	// AllowRecursion lists who may have questions forwarded. nil: loopback,
	// private and link-local addresses; empty: nobody.
	AllowRecursion []netip.Prefix
	// AllowTransfer lists who may have all records of Domain at once. None:
	// nobody.
	AllowTransfer []netip.Prefix
	// Notify lists the secondaries that are told when Domain has changed.
	Notify []netip.AddrPort
	// RateLimit is how many equal answers a network gets over UDP in a second; 0:
	// any number. Of those beyond it each RateSlip-th is sent without records, to
	// come again over TCP; 0: none is.
	RateLimit, RateSlip int
	// Cache keeps what the resolvers answered for as long as they say.
	Cache bool

	// nsid is what identifier gives, made once.
	nsid string
	// last is what was good last; nil: nobody remembers.
	last *memory
}

// identifier is what tells this server from others that answer at the same
// address (RFC 5001 §2.3): the host's full name.
func (r *Rules) identifier() string {
	if r.Host == "" {
		return ""
	}
	return strings.TrimSuffix(r.qualify(r.Host), ".")
}

// homePrefixes may recurse when the file does not say who may: addresses that
// cannot reach us from the internet, for an open resolver is a weapon against
// others. 100.64.0.0/10 (RFC 6598) is left out. Behind a carrier's NAT those
// are strangers; who uses it as his own network says so in allow-recursion.
var homePrefixes = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("10.0.0.0/8"), // RFC 1918
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("fc00::/7"),       // RFC 4193
	netip.MustParsePrefix("169.254.0.0/16"), // RFC 3927
	netip.MustParsePrefix("fe80::/10"),      // RFC 4291 §2.5.6
}

// mayRecurse says whether questions of client may be forwarded.
func (r *Rules) mayRecurse(client netip.Addr) bool {
	allowed := r.AllowRecursion
	if allowed == nil {
		allowed = homePrefixes
	}
	return within(allowed, client)
}

// mayAsk says whether client is answered at all.
func (r *Rules) mayAsk(client netip.Addr) bool {
	return r.AllowQuery == nil || within(r.AllowQuery, client)
}

// mayTransfer says whether client may have all records of the domain.
func (r *Rules) mayTransfer(client netip.Addr) bool { return within(r.AllowTransfer, client) }

func within(prefixes []netip.Prefix, client netip.Addr) bool {
	// A prefix contains no address that has a zone, and link-local clients
	// have one; a dual-stack socket of the system may hand out mapped ones.
	client = client.Unmap().WithZone("")
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(client) })
}

// Upstream is what stands behind the table for one question.
type Upstream uint8

const (
	// NoUpstream: no resolver is configured.
	NoUpstream Upstream = iota
	// NotForYou: there are resolvers, but this client may not use them, or
	// did not ask for recursion.
	NotForYou
	// MayForward: the question may go to the resolvers.
	MayForward
)
