package ec2

import (
	"context"
	"fmt"
	"net/netip"
)

// privateIP is a secondary private address, assigned to interfaces of one
// subnet.
type privateIP struct {
	c      *Client
	addr   netip.Addr
	to     *Where
	holder string // read last
}

// NewPrivateIP is the secondary address, IPv4 or IPv6, wanted at this
// interface. The holding has no id of its own: the interface stands in.
func NewPrivateIP(c *Client, addr netip.Addr, to *Where) Thing {
	return &privateIP{c: c, addr: addr.Unmap(), to: to}
}

func (a *privateIP) Name() string                  { return a.addr.String() }
func (a *privateIP) Target() string                { return a.to.ID }
func (a *privateIP) Verbs() (took, let, to string) { return "assigned", "unassigned", "to" }
func (a *privateIP) Nature() Nature                { return Nature{} }
func (a *privateIP) Tagged() []string              { return []string{a.to.ID} }

func (a *privateIP) Read(ctx context.Context) (Seen, error) {
	filter, set, field := "addresses.private-ip-address", "privateIpAddressesSet", "privateIpAddress"
	if a.addr.Is6() {
		filter, set, field = "ipv6-addresses.ipv6-address", "ipv6AddressesSet", "ipv6Address"
	}
	items, err := a.c.list(ctx, "DescribeNetworkInterfaces", "networkInterfaceSet", Params{
		"Filter.1.Name": filter, "Filter.1.Value.1": a.addr.String(),
		// Another VPC may have the same address.
		"Filter.2.Name": "subnet-id", "Filter.2.Value.1": a.to.Subnet,
	})
	if err != nil {
		return Seen{}, err
	}
	a.holder = ""
	if len(items) == 0 {
		return Seen{}, nil
	}
	item := items[0]
	s := Seen{Holder: item.Str("networkInterfaceId"), Who: item.Str("attachment", "instanceId"), Phase: Held}
	a.holder = s.Holder
	s.Ours = s.Holder == a.to.ID
	for _, one := range item.Items(set) {
		if one.Str(field) == a.addr.String() && one.Str("primary") == "true" {
			s.Fixed = fmt.Sprintf("%s is the primary address of %s, which cannot be unassigned", a.addr, s.Holder)
		}
	}
	if item.Str("requesterManaged") == "true" {
		s.Fixed = fmt.Sprintf("%s is used by an AWS service (%s)", a.addr, firstOf(item.Str("description"), s.Holder))
	}
	return s, nil
}

// on gives an action of the address's family and its parameters.
func (a *privateIP) on(verb, id string) (string, Params) {
	if a.addr.Is6() {
		return verb + "Ipv6Addresses", Params{"NetworkInterfaceId": id, "Ipv6Addresses.1": a.addr.String()}
	}
	// AllowReassignment, which would take the address from whoever has it, is
	// false unless it is given.
	return verb + "PrivateIpAddresses", Params{"NetworkInterfaceId": id, "PrivateIpAddress.1": a.addr.String()}
}

func (a *privateIP) Check(ctx context.Context) error {
	action, p := a.on("Assign", a.to.ID)
	return unlessDenied(a.c.try(ctx, action, p))
}

func (a *privateIP) Take(ctx context.Context, _ string) (string, error) {
	action, p := a.on("Assign", a.to.ID)
	_, err := a.c.change(ctx, action, p)
	return "", err
}

func (a *privateIP) Let(ctx context.Context, holder string, _ bool) error {
	action, p := a.on("Unassign", holder)
	_, err := a.c.change(ctx, action, p)
	return err
}

func (a *privateIP) Permissions(ctx context.Context, token string) []Permission {
	_, err := a.Read(ctx)
	all := []Permission{{Name: "ec2:DescribeNetworkInterfaces", Err: err}}
	action, p := a.on("Assign", a.to.ID)
	all = append(all, a.c.may(ctx, action, p))
	if action, p = a.on("Unassign", a.holder); a.holder == "" {
		all = append(all, Permission{Name: "ec2:" + action, Untested: "nobody has the address"})
	} else {
		all = append(all, a.c.may(ctx, action, p))
	}
	return a.c.mayTag(ctx, all, a, token)
}
