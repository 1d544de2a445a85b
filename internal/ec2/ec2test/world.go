package ec2test

import (
	"maps"
	"slices"
	"time"
)

// A World is what there is: the part of an account in one region that the fake
// knows. It can be read from JSON.
type World struct {
	Region      string
	Keys        map[string]string   // access key id to secret
	Denied      []string            // actions that nobody may do
	DeniedTo    map[string][]string // access key id to the actions that it may not do
	Subnets     map[string]string   // id to IPv4 prefix; those that are not here have no limits
	Instances   []Instance
	Interfaces  []Interface
	Addresses   []Address
	RouteTables []RouteTable
	Tags        map[string]map[string]string // resource id to its tags
}

// An Instance of the world.
type Instance struct {
	ID    string
	State string // running unless given
	VPC   string
	Zone  string
	// MaxInterfaces and MaxAddresses are what the type allows; 4 and 10 unless
	// given.
	MaxInterfaces, MaxAddresses int
	// Hung instances do not let go of an interface unless they are forced.
	Hung   bool
	Role   string // whose credentials the metadata service gives
	Events []Event
}

// An Event is a scheduled one.
type Event struct {
	ID, Code, Description string
	NotBefore, NotAfter   time.Time
}

// An Interface of the world.
type Interface struct {
	ID, Subnet, VPC, Zone, MAC string
	Addresses                  []string // IPv4, the primary one first
	IPv6                       []string
	Managed                    string // the AWS service that it belongs to
	NoSourceDestCheck          bool
	Attachment                 *Attachment
}

// An Attachment of an interface.
type Attachment struct {
	ID       string
	Instance string
	Index    int
	Since    time.Time
	Status   string // attaching, attached, detaching; attached unless given
	// Until is when attaching and detaching end; zero is never.
	Until time.Time
}

// An Address is an Elastic IP.
type Address struct {
	Allocation, Public              string
	Association, Interface, Private string
}

// A RouteTable of the world.
type RouteTable struct {
	ID, VPC string
	Routes  []Route
}

// A Route leads to an interface, or to what Target says ("local", an igw- id).
type Route struct {
	Prefix     string
	Interface  string
	Target     string
	Propagated bool
}

func (w *World) clone() *World {
	c := *w
	c.Tags = map[string]map[string]string{}
	for id, tags := range w.Tags {
		c.Tags[id] = maps.Clone(tags)
	}
	c.Keys = maps.Clone(w.Keys)
	c.Instances = slices.Clone(w.Instances)
	c.Interfaces = slices.Clone(w.Interfaces)
	for i := range c.Interfaces {
		n := &c.Interfaces[i]
		n.Addresses, n.IPv6 = slices.Clone(n.Addresses), slices.Clone(n.IPv6)
		if n.Attachment != nil {
			a := *n.Attachment
			n.Attachment = &a
		}
	}
	c.Addresses = slices.Clone(w.Addresses)
	c.RouteTables = slices.Clone(w.RouteTables)
	for i := range c.RouteTables {
		c.RouteTables[i].Routes = slices.Clone(c.RouteTables[i].Routes)
	}
	return &c
}

func (w *World) instance(id string) *Instance {
	for i := range w.Instances {
		if w.Instances[i].ID == id {
			return &w.Instances[i]
		}
	}
	return nil
}

func (w *World) iface(id string) *Interface {
	for i := range w.Interfaces {
		if w.Interfaces[i].ID == id {
			return &w.Interfaces[i]
		}
	}
	return nil
}

// attached gives the interfaces of an instance, by device index.
func (w *World) attached(instance string) []*Interface {
	var all []*Interface
	for i := range w.Interfaces {
		if a := w.Interfaces[i].Attachment; a != nil && a.Instance == instance {
			all = append(all, &w.Interfaces[i])
		}
	}
	slices.SortFunc(all, func(a, b *Interface) int { return a.Attachment.Index - b.Attachment.Index })
	return all
}

// A Change is an interface that came to an instance or left it.
type Change struct {
	Attached  bool
	Interface string
	Instance  string
	Index     int
}

// settle lets time pass: what was attaching is attached, what was detaching is
// gone (API API_NetworkInterfaceAttachment: attaching, attached, detaching,
// detached).
func (w *World) settle(now time.Time) (changes []Change) {
	for i := range w.Interfaces {
		n := &w.Interfaces[i]
		a := n.Attachment
		if a == nil || a.Until.IsZero() || now.Before(a.Until) {
			continue
		}
		switch a.Status {
		case "attaching":
			a.Status, a.Until = "attached", time.Time{}
			changes = append(changes, Change{true, n.ID, a.Instance, a.Index})
		case "detaching":
			n.Attachment = nil
			changes = append(changes, Change{false, n.ID, a.Instance, a.Index})
		}
	}
	return changes
}
