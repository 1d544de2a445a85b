package control

import (
	"context"
	"net/netip"
	"time"

	"murakumo/internal/catalog"
)

// Node is what the handler needs of the daemon. Its methods are called by many
// requests at once. They return soon after ctx ends; its deadline is 20 s.
//
// Errors made by Errorf carry their kind and reach the operator as written;
// any other error counts as internal.
type Node interface {
	// View gives the present table. It is called for every request and every
	// event and must not block.
	View() *catalog.View
	// AddRecords adds or updates records of this node, one per address of the
	// host for each spec, and gives them as they are published now: all of
	// them, or none and an error. Names are in lower case and well formed but
	// may carry the domain. The origin keeps its priority.
	AddRecords(ctx context.Context, specs []RecordSpec) ([]catalog.Record, error)
	// DeleteRecords takes the aliases with these names away, all or none. A
	// name this node does not have is NotFound; the origin is refused with
	// Conflict.
	DeleteRecords(ctx context.Context, names []string) error
	// AddNodes joins the hosts, each an address or a name with or without a
	// port. It goes on past one that fails and then names it.
	AddNodes(ctx context.Context, hosts []string) error
	// DeleteNodes removes the hosts from the cluster, alive or dead.
	DeleteNodes(ctx context.Context, hosts []string) error
	// Report is what an application says of the service behind one of the
	// node's aliases; the name is as in AddRecords. It returns when the verdict
	// has been taken.
	Report(ctx context.Context, name string, good bool) error
	// Version is the daemon's, as every answer's Server header tells it.
	Version() string
	Controls
}

// RecordSpec asks for a record of the node that is asked, checked.
type RecordSpec struct {
	Name     string           // lower case, well formed, perhaps with the domain
	TTL      uint32           // seconds, 0 … 2³¹−1
	Priority catalog.Priority // Master, Secondary or Backup
	Weight   uint16           // 1 … 65535
}

// Record is one line of the table as the API tells it.
type Record struct {
	Owner   netip.Addr `json:"owner"` // the node that published it
	Own     bool       `json:"own"`   // that node is the one that was asked
	Address netip.Addr `json:"address"`
	Name    string     `json:"name"`
	TTL     uint32     `json:"ttl"` // seconds
	// Priority is master, secondary, backup or origin.
	Priority string `json:"priority"`
	// Weight is 1 … 65535, and absent for an origin, which has none.
	Weight uint16 `json:"weight,omitempty"`
	// Activity is active or inactive.
	Activity string `json:"activity"`
	// Duty is undefined, active or inactive; Transition is the number of the
	// transition that led there, rising per alias of one owner.
	Duty       string `json:"duty"`
	Transition uint64 `json:"transition"`
	// Static says that it is the name of something that runs no daemon.
	Static bool `json:"static,omitempty"`
	// Port is that of the service, Text the strings of the TXT record, CNAME the name
	// that it stands for: with a dot at its end a full one, without one a name as
	// Name is. Absent for a record without.
	Port  uint16   `json:"port,omitempty"`
	Text  []string `json:"txt,omitempty"`
	CNAME string   `json:"cname,omitempty"`
}

// Member is one daemon of the cluster as the asked node sees it.
type Member struct {
	Address netip.Addr `json:"address"`
	Own     bool       `json:"own"`
	// Name is the origin's, empty while no set of this member arrived.
	Name string `json:"name,omitempty"`
	// Status is unknown, alive, dead, left or removed.
	Status string `json:"status"`
	// Since is when the asked node learned the status, by its own clock.
	Since time.Time `json:"since,omitzero"`
	// Records counts those it published last, also while they are hidden.
	Records int `json:"records"`
}

// Label names the member for people: its address, and its name if that is known.
func (m Member) Label() string {
	if m.Name == "" {
		return m.Address.String()
	}
	return m.Address.String() + " " + m.Name
}
