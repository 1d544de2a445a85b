package ec2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// route is one prefix in one route table.
type route struct {
	c      *Client
	table  string
	prefix netip.Prefix
	to     *Where
}

// NewRoute is the route of the prefix in the table, wanted to lead to this
// interface. EC2 replaces a route whatever it was, so there is no lock.
func NewRoute(c *Client, table string, prefix netip.Prefix, to *Where) Thing {
	return &route{c: c, table: table, prefix: prefix.Masked(), to: to}
}

func (r *route) Name() string                  { return r.prefix.String() + " in " + r.table }
func (r *route) Target() string                { return r.to.ID }
func (r *route) Verbs() (took, let, to string) { return "routed", "taken", "to" }
func (r *route) Nature() Nature                { return Nature{Unlocked: true} }
func (r *route) Tagged() []string              { return []string{r.table} }

// routeTargets are the fields that say where a route leads, the most telling
// first: a route to an instance has its interface, too.
var routeTargets = []string{
	"networkInterfaceId", "gatewayId", "natGatewayId", "transitGatewayId", "vpcPeeringConnectionId", "localGatewayId",
	"carrierGatewayId", "egressOnlyInternetGatewayId", "coreNetworkArn", "odbNetworkArn", "instanceId",
}

func (r *route) Read(ctx context.Context) (Seen, error) {
	root, err := r.c.read(ctx, "DescribeRouteTables", Params{"RouteTableId.1": r.table})
	if err != nil {
		return Seen{}, err
	}
	tables := root.Items("routeTableSet")
	if len(tables) != 1 {
		return Seen{}, fmt.Errorf("DescribeRouteTables: EC2 tells of %d tables %s", len(tables), r.table)
	}
	if vpc := tables[0].Str("vpcId"); vpc != r.to.VPC {
		return Seen{Phase: Held, Holder: r.table, Fixed: fmt.Sprintf("%s is in %s, and %s in %s", r.table, vpc, r.to.ID, r.to.VPC)}, nil
	}
	for _, item := range tables[0].Items("routeSet") {
		p, err := netip.ParsePrefix(firstOf(item.Str("destinationCidrBlock"), item.Str("destinationIpv6CidrBlock")))
		if err != nil || p != r.prefix {
			continue
		}
		s := Seen{Phase: Held, Who: item.Str("instanceId")}
		for _, field := range routeTargets {
			if s.Holder = item.Str(field); s.Holder != "" {
				break
			}
		}
		s.Ours = s.Holder == r.to.ID
		switch {
		case s.Holder == "local":
			s.Fixed = fmt.Sprintf("%s is the VPC's own local route", r.prefix)
		case item.Str("origin") == "EnableVgwRoutePropagation":
			s.Fixed = fmt.Sprintf("%s in %s is propagated by %s, and not in the table itself", r.prefix, r.table, s.Holder)
		case s.Holder == "":
			s.Holder = "something that EC2 does not name"
		}
		return s, nil
	}
	return Seen{}, nil
}

func (r *route) params() Params {
	p := Params{"RouteTableId": r.table, "NetworkInterfaceId": r.to.ID}
	if r.prefix.Addr().Is6() {
		p["DestinationIpv6CidrBlock"] = r.prefix.String()
	} else {
		p["DestinationCidrBlock"] = r.prefix.String()
	}
	return p
}

// Check is not asked: nothing is let go before it is taken.
func (r *route) Check(context.Context) error { return nil }

func (r *route) Take(ctx context.Context, from string) (string, error) {
	action := "ReplaceRoute"
	if from == "" {
		action = "CreateRoute"
	}
	_, err := r.c.change(ctx, action, r.params())
	return "", err
}

// Let is not asked either.
func (r *route) Let(context.Context, string, bool) error {
	return errors.New("a route is replaced, and not let go")
}

func (r *route) Permissions(ctx context.Context, token string) []Permission {
	_, err := r.Read(ctx)
	all := []Permission{
		{Name: "ec2:DescribeRouteTables", Err: err},
		r.c.may(ctx, "ReplaceRoute", r.params()),
		r.c.may(ctx, "CreateRoute", r.params()),
	}
	return r.c.mayTag(ctx, all, r, token)
}
