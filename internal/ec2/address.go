package ec2

import (
	"context"
	"fmt"
)

// A Where is an interface that things can be moved to, as EC2 describes it.
type Where struct {
	ID     string
	Subnet string
	VPC    string
	// Addresses are its private ones, IPv4 and IPv6, the primary one first,
	// each with the public address that is associated with it, "" if none.
	Addresses []WhereAddress
	// Forwards is false if EC2 drops what is not addressed to the interface
	// itself (source/destination check).
	Forwards bool
}

// A WhereAddress is one private address of an interface.
type WhereAddress struct{ Private, Public string }

// Interface describes the interface that things are to be moved to: the one
// with this id, or the primary one of this instance, or where both are "" the
// primary one of the instance that we are on.
func (s *Session) Interface(ctx context.Context, id, instance string) (*Where, error) {
	var item *Node
	var err error
	switch {
	case id == "" && instance == "":
		if id, err = s.Metadata.PrimaryInterface(ctx); err != nil {
			return nil, fmt.Errorf("which is our interface (-n says it): %w", err)
		}
		fallthrough
	case id != "":
		item, err = s.EC2.oneInterface(ctx, id)
	default:
		var items []*Node
		items, err = s.EC2.list(ctx, "DescribeNetworkInterfaces", "networkInterfaceSet", Params{
			"Filter.1.Name": "attachment.instance-id", "Filter.1.Value.1": instance,
			"Filter.2.Name": "attachment.device-index", "Filter.2.Value.1": "0",
		})
		if err == nil && len(items) != 1 {
			err = fmt.Errorf("%s: EC2 tells of no primary interface; is it running, and in %s?", instance, s.EC2.Region)
		} else if err == nil {
			item = items[0]
		}
	}
	if err != nil {
		return nil, err
	}
	w := &Where{
		ID: item.Str("networkInterfaceId"), Subnet: item.Str("subnetId"), VPC: item.Str("vpcId"),
		Forwards: item.Str("sourceDestCheck") == "false",
	}
	for _, a := range item.Items("privateIpAddressesSet") {
		one := WhereAddress{a.Str("privateIpAddress"), a.Str("association", "publicIp")}
		if a.Str("primary") == "true" {
			w.Addresses = append([]WhereAddress{one}, w.Addresses...)
		} else {
			w.Addresses = append(w.Addresses, one)
		}
	}
	for _, a := range item.Items("ipv6AddressesSet") {
		w.Addresses = append(w.Addresses, WhereAddress{Private: a.Str("ipv6Address")})
	}
	return w, nil
}

// elasticIP is an Elastic IP, associated with private addresses of interfaces.
type elasticIP struct {
	c          *Client
	allocation string // one of the two is known from the start, the other
	public     string // after the first reading
	to         *Where
	private    string // "" means the primary one
	holder     string // read last
}

// NewAddress is the Elastic IP with this allocation id or public address,
// wanted at this interface's private address ("": its primary one).
func NewAddress(c *Client, allocation, public string, to *Where, private string) (Thing, error) {
	if len(to.Addresses) == 0 {
		return nil, fmt.Errorf("%s has no private address", to.ID)
	}
	return &elasticIP{c: c, allocation: allocation, public: public, to: to, private: private}, nil
}

func (e *elasticIP) Name() string { return firstOf(e.public, e.allocation) }
func (e *elasticIP) Target() string {
	if e.private == "" {
		return e.to.ID
	}
	return e.to.ID + " " + e.private
}
func (e *elasticIP) Verbs() (took, let, to string) { return "associated", "disassociated", "with" }
func (e *elasticIP) Nature() Nature                { return Nature{} }
func (e *elasticIP) Tagged() []string              { return []string{e.allocation} }

func (e *elasticIP) Read(ctx context.Context) (Seen, error) {
	p := Params{"AllocationId.1": e.allocation}
	if e.allocation == "" {
		p = Params{"PublicIp.1": e.public}
	}
	root, err := e.c.read(ctx, "DescribeAddresses", p)
	if err != nil {
		return Seen{}, err
	}
	items := root.Items("addressesSet")
	if len(items) != 1 {
		return Seen{}, fmt.Errorf("DescribeAddresses: EC2 tells of %d addresses %s", len(items), e.Name())
	}
	a := items[0]
	e.allocation, e.public = a.Str("allocationId"), a.Str("publicIp")
	s := Seen{Holder: a.Str("associationId"), Who: firstOf(a.Str("networkInterfaceId"), a.Str("instanceId"))}
	e.holder = s.Holder
	if s.Holder == "" {
		return Seen{}, nil
	}
	s.Phase = Held
	private := firstOf(e.private, e.to.primary())
	s.Ours = s.Who == e.to.ID && a.Str("privateIpAddress") == private
	if owner := a.Str("networkInterfaceOwnerId"); a.Str("serviceManaged") != "" || len(owner) > 7 && owner[:7] == "amazon-" {
		s.Fixed = fmt.Sprintf("%s is used by an AWS service (%s), which alone moves it", e.Name(), firstOf(a.Str("serviceManaged"), owner))
	}
	return s, nil
}

func (w *Where) primary() string {
	if len(w.Addresses) == 0 {
		return ""
	}
	return w.Addresses[0].Private
}

func (e *elasticIP) associate() Params {
	// Without AllowReassociation=false the address is taken from whoever has
	// it, also from the winner of a race.
	p := Params{"AllocationId": e.allocation, "NetworkInterfaceId": e.to.ID, "AllowReassociation": "false"}
	if e.private != "" {
		p["PrivateIpAddress"] = e.private
	}
	return p
}

// Check looks at what would make the association fail when it is too late.
func (e *elasticIP) Check(ctx context.Context) error {
	private, there := firstOf(e.private, e.to.primary()), false
	for _, a := range e.to.Addresses {
		if a.Private != private {
			continue
		}
		there = true
		if a.Public != "" && a.Public != e.public {
			return fmt.Errorf("%s of %s has the public address %s: disassociate that, or choose another with --private-ip", private, e.to.ID, a.Public)
		}
	}
	if !there {
		return fmt.Errorf("%s has no address %s", e.to.ID, private)
	}
	return unlessDenied(e.c.try(ctx, "AssociateAddress", e.associate()))
}

func (e *elasticIP) Take(ctx context.Context, _ string) (string, error) {
	root, err := e.c.change(ctx, "AssociateAddress", e.associate())
	return root.Str("associationId"), err
}

func (e *elasticIP) Let(ctx context.Context, holder string, _ bool) error {
	_, err := e.c.change(ctx, "DisassociateAddress", Params{"AssociationId": holder})
	return err
}

func (e *elasticIP) Permissions(ctx context.Context, token string) []Permission {
	_, err := e.Read(ctx)
	all := []Permission{{Name: "ec2:DescribeAddresses", Err: err}}
	if err != nil {
		return append(all, Permission{Name: "ec2:AssociateAddress", Untested: "the address is not known"})
	}
	all = append(all, e.c.may(ctx, "AssociateAddress", e.associate()))
	if e.holder == "" {
		all = append(all, Permission{Name: "ec2:DisassociateAddress", Untested: "it is associated with nothing"})
	} else {
		all = append(all, e.c.may(ctx, "DisassociateAddress", Params{"AssociationId": e.holder}))
	}
	return e.c.mayTag(ctx, all, e, token)
}
