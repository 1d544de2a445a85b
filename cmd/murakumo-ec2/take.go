package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"murakumo/internal/ec2"
)

// place are the flags that say which interface a thing is to be moved to.
type place struct {
	Interface string `short:"n" name:"interface" placeholder:"ENI" help:"The interface to move it to; otherwise the primary one of the instance."`
	Instance  string `short:"i" name:"instance-id" placeholder:"ID" help:"The instance; otherwise this one."`
}

// where gives the interface.
func (p place) where(ctx context.Context, s *ec2.Session) (*ec2.Where, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return s.Interface(ctx, p.Interface, p.Instance)
}

func (p place) check() error {
	switch {
	case p.Interface != "" && p.Instance != "":
		return misuse("-n and -i: give one of them")
	case p.Interface != "":
		return idUsage("-n", p.Interface, "eni-")
	case p.Instance != "":
		return idUsage("-i", p.Instance, "i-")
	}
	return nil
}

// eni are the flags that name an interface and where it is wanted.
type eni struct {
	Interface string `short:"n" name:"network-if-id" aliases:"interface" required:"" placeholder:"ENI" help:"The interface."`
	Index     int    `short:"d" name:"device-index" default:"1" placeholder:"INDEX" help:"The device index that it gets here, 1 or more."`
	Instance  string `short:"i" name:"instance-id" placeholder:"ID" help:"The instance; otherwise this one."`
}

func (n eni) check() error {
	if n.Index < 1 {
		return misuse("-d %d: expected 1 or more; 0 is an instance's own first interface", n.Index)
	}
	if n.Instance != "" {
		if err := idUsage("-i", n.Instance, "i-"); err != nil {
			return err
		}
	}
	return idUsage("-n", n.Interface, "eni-")
}

func (n eni) things(ctx context.Context, s *ec2.Session) ([]ec2.Thing, error) {
	id, err := instance(ctx, s, n.Instance)
	if err != nil {
		return nil, err
	}
	return []ec2.Thing{ec2.NewInterface(s.EC2, n.Interface, id, n.Index)}, nil
}

type attachInterface struct {
	eni        `embed:""`
	ForceAfter patience `default:"5s" placeholder:"DURATION|never" help:"Detach by force when the holder has not let go after this time (${default})."`
	taking     `embed:""`
	releasing  `embed:""`
	cloud      `embed:""`
	common     `embed:""`
}

// Help is the text below the usage.
func (attachInterface) Help() string {
	return `Reads who holds the interface, detaches that attachment and no other, waits, attaches the interface here, and waits until it is attached. Safe to run twice, and from two hosts at once: one of them gets it. When it is here already, nothing is done. When it could not be attached here (another zone, an index that is taken, a missing permission), it is left where it is.

    $ murakumo-ec2 attach-interface -n eni-0a1b2c3d
    eni-0a1b2c3d: attached to i-1 as eni-attach-2, detached from eni-attach-1 of i-0, in 7.4s

Permissions: ec2:DescribeNetworkInterfaces, ec2:AttachNetworkInterface, ec2:DetachNetworkInterface.
` + hookHelp
}

// Run takes it.
func (c *attachInterface) Run(ctx context.Context, e *env) error {
	if err := c.eni.check(); err != nil {
		return err
	}
	rules, token, err := c.rules("eni-attach-")
	if err != nil {
		return err
	}
	rules.ForceAfter = time.Duration(c.ForceAfter)
	m := mover{env: e, cloud: c.cloud, common: c.common, taking: c.taking, rules: rules, token: token, letGo: c.DetachOnInactive, things: c.things}
	if c.Instance == "" {
		m.after = func() {
			if w := ec2.MetadataRoute(); w != "" {
				e.voice.warn(w)
			}
		}
	}
	return m.run(ctx)
}

// eip are the flags that name an Elastic IP and where it is wanted.
type eip struct {
	Allocation string     `name:"allocation-id" placeholder:"EIPALLOC" xor:"eip" required:"" help:"The Elastic IP, by its allocation's id."`
	Public     netip.Addr `name:"public-ip" placeholder:"ADDRESS" xor:"eip" required:"" help:"The Elastic IP, by its address."`
	Private    netip.Addr `name:"private-ip" placeholder:"ADDRESS" help:"The private address of the interface to associate it with; otherwise the primary one."`
	place      `embed:""`
}

func (p eip) check() error {
	if p.Allocation != "" {
		if err := idUsage("--allocation-id", p.Allocation, "eipalloc-"); err != nil {
			return err
		}
	}
	return p.place.check()
}

func (p eip) things(ctx context.Context, s *ec2.Session) ([]ec2.Thing, error) {
	w, err := p.where(ctx, s)
	if err != nil {
		return nil, err
	}
	thing, err := ec2.NewAddress(s.EC2, p.Allocation, text(p.Public), w, text(p.Private))
	return []ec2.Thing{thing}, err
}

// text gives an address, "" for none.
func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

type associateAddress struct {
	eip       `embed:""`
	taking    `embed:""`
	releasing `embed:""`
	cloud     `embed:""`
	common    `embed:""`
}

// Help is the text below the usage.
func (associateAddress) Help() string {
	return `Disassociates the association that it read and no other, and associates the Elastic IP here; EC2 refuses the second of two hosts.

    $ murakumo-ec2 associate-address --public-ip 203.0.113.7
    203.0.113.7: associated with eni-1 as eipassoc-2, disassociated from eipassoc-1 of eni-0, in 1.1s

Permissions: ec2:DescribeAddresses, ec2:AssociateAddress, ec2:DisassociateAddress, ec2:DescribeNetworkInterfaces.
` + hookHelp
}

// Run takes it.
func (c *associateAddress) Run(ctx context.Context, e *env) error {
	if err := c.eip.check(); err != nil {
		return err
	}
	rules, token, err := c.rules("eipassoc-")
	if err != nil {
		return err
	}
	return mover{env: e, cloud: c.cloud, common: c.common, taking: c.taking, rules: rules, token: token, letGo: c.DetachOnInactive, things: c.things}.run(ctx)
}

// secondary are the flags that name a private address and where it is wanted.
type secondary struct {
	IP    netip.Addr `name:"ip" required:"" placeholder:"ADDRESS" help:"The address, IPv4 or IPv6, of the interface's subnet."`
	place `embed:""`
}

func (p secondary) things(ctx context.Context, s *ec2.Session) ([]ec2.Thing, error) {
	w, err := p.where(ctx, s)
	if err != nil {
		return nil, err
	}
	return []ec2.Thing{ec2.NewPrivateIP(s.EC2, p.IP, w)}, nil
}

type assignPrivateIP struct {
	secondary `embed:""`
	taking    `embed:""`
	releasing `embed:""`
	cloud     `embed:""`
	common    `embed:""`
}

// Help is the text below the usage.
func (assignPrivateIP) Help() string {
	return `Unassigns the address from the interface that has it, and assigns it to ours; EC2 refuses the second of two hosts. The address must be configured on this host as well (ip addr add), and an Elastic IP that was associated with it is not any more.

    $ murakumo-ec2 assign-private-ip --ip 10.0.0.200
    10.0.0.200: assigned to eni-1, unassigned from eni-0 of i-0, in 1.0s

Permissions: ec2:DescribeNetworkInterfaces, ec2:AssignPrivateIpAddresses, ec2:UnassignPrivateIpAddresses; for IPv6 ec2:AssignIpv6Addresses, ec2:UnassignIpv6Addresses.
` + hookHelp
}

// Run takes it.
func (c *assignPrivateIP) Run(ctx context.Context, e *env) error {
	if err := c.place.check(); err != nil {
		return err
	}
	rules, token, err := c.rules("eni-")
	if err != nil {
		return err
	}
	return mover{env: e, cloud: c.cloud, common: c.common, taking: c.taking, rules: rules, token: token, letGo: c.DetachOnInactive, things: c.things}.run(ctx)
}

// routes are the flags that name routes and where they shall lead.
type routes struct {
	Prefix netip.Prefix `required:"" placeholder:"PREFIX" help:"The destination, IPv4 or IPv6."`
	Table  []string     `required:"" placeholder:"RTB" help:"The route table; may be repeated."`
	place  `embed:""`
}

func (p routes) check() error {
	if p.Prefix != p.Prefix.Masked() {
		return misuse("--prefix %s: expected %s", p.Prefix, p.Prefix.Masked())
	}
	seen := map[string]bool{}
	for _, t := range p.Table {
		if err := idUsage("--table", t, "rtb-"); err != nil {
			return err
		}
		if seen[t] {
			return misuse("--table %s is given twice", t)
		}
		seen[t] = true
	}
	return p.place.check()
}

func (p routes) things(ctx context.Context, s *ec2.Session) ([]ec2.Thing, error) {
	w, err := p.where(ctx, s)
	if err != nil {
		return nil, err
	}
	var all []ec2.Thing
	for _, t := range p.Table {
		all = append(all, ec2.NewRoute(s.EC2, t, p.Prefix, w))
	}
	return all, nil
}

type replaceRoute struct {
	routes `embed:""`
	taking `embed:""`
	cloud  `embed:""`
	common `embed:""`
}

// Help is the text below the usage.
func (replaceRoute) Help() string {
	return `Lets the prefix lead to our interface, in each of the tables, and creates the route where there is none. EC2 has no lock for a route: it replaces whatever is there, and of two hosts the last one has it. So each reads once more a second later, and one that has lost says so (exit status 4); what another host took in the meantime is never replaced.

    $ murakumo-ec2 replace-route --prefix 10.9.0.0/24 --table rtb-1 --table rtb-2
    10.9.0.0/24 in rtb-1: routed to eni-1, taken from eni-0 of i-0, in 1.5s
    10.9.0.0/24 in rtb-2: routed to eni-1, taken from eni-0 of i-0, in 1.5s

The interface must have its source/destination check off. Permissions: ec2:DescribeRouteTables, ec2:ReplaceRoute, ec2:CreateRoute, ec2:DescribeNetworkInterfaces.
` + hookHelp
}

// Run takes it.
func (c *replaceRoute) Run(ctx context.Context, e *env) error {
	if err := c.routes.check(); err != nil {
		return err
	}
	rules, token, err := c.rules("")
	if err != nil {
		return err
	}
	forwards := true
	m := mover{env: e, cloud: c.cloud, common: c.common, taking: c.taking, rules: rules, token: token, several: true}
	m.things = func(ctx context.Context, s *ec2.Session) ([]ec2.Thing, error) {
		w, err := c.where(ctx, s)
		if err != nil {
			return nil, err
		}
		forwards = w.Forwards
		c.place = place{Interface: w.ID}
		return c.routes.things(ctx, s)
	}
	m.after = func() {
		if !forwards {
			e.voice.warn(fmt.Sprintf("%s has its source/destination check on, and drops what the route brings: aws ec2 modify-network-interface-attribute --network-interface-id %s --no-source-dest-check", c.place.Interface, c.place.Interface))
		}
	}
	return m.run(ctx)
}
