package ec2test

import (
	"net/netip"
	"slices"
	"strings"
)

func (w *World) table(id string) *RouteTable {
	for i := range w.RouteTables {
		if w.RouteTables[i].ID == id {
			return &w.RouteTables[i]
		}
	}
	return nil
}

// describeRouteTables (API API_DescribeRouteTables.html and API_Route.html).
func describeRouteTables(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	ids := numbered(p, "RouteTableId")
	for _, id := range ids {
		if w.table(id) == nil {
			return nil, fail("InvalidRouteTableID.NotFound", "The routeTable ID '%s' does not exist", id)
		}
	}
	var all []element
	for _, t := range w.RouteTables {
		fits, bad := matches(p, func(name string) ([]string, bool) {
			switch name {
			case "route-table-id":
				return []string{t.ID}, true
			case "vpc-id":
				return []string{t.VPC}, true
			}
			return w.tagFilter(t.ID, name)
		})
		if bad != nil {
			return nil, bad
		}
		if !fits || len(ids) > 0 && !slices.Contains(ids, t.ID) {
			continue
		}
		var routes []element
		for _, r := range t.Routes {
			kind := "destinationCidrBlock"
			if strings.Contains(r.Prefix, ":") {
				kind = "destinationIpv6CidrBlock"
			}
			e := el("item", tx(kind, r.Prefix))
			if r.Interface != "" {
				e.kids = append(e.kids, tx("networkInterfaceId", r.Interface))
				if n := w.iface(r.Interface); n != nil && n.Attachment != nil {
					e.kids = append(e.kids, tx("instanceId", n.Attachment.Instance))
				}
			} else {
				e.kids = append(e.kids, tx("gatewayId", r.Target))
			}
			origin := "CreateRoute"
			switch {
			case r.Target == "local":
				origin = "CreateRouteTable"
			case r.Propagated:
				origin = "EnableVgwRoutePropagation"
			}
			e.kids = append(e.kids, tx("origin", origin), tx("state", "active"))
			routes = append(routes, e)
		}
		all = append(all, el("item", tx("routeTableId", t.ID), tx("vpcId", t.VPC), el("routeSet", routes...), el("tagSet", w.tagItems(t.ID)...)))
	}
	return f.page(p, "routeTableSet", all, false, 5, 100)
}

// routeOf gives the table, the prefix, and the place of the route in the table,
// -1 if there is none.
func routeOf(w *World, p map[string]string) (t *RouteTable, prefix string, at int, bad *failure) {
	if bad := missing(p, "RouteTableId", "NetworkInterfaceId"); bad != nil {
		return nil, "", 0, bad
	}
	prefix = or(p["DestinationCidrBlock"], p["DestinationIpv6CidrBlock"])
	if q, err := netip.ParsePrefix(prefix); err != nil || q.Masked() != q || q.Addr().Is6() != (p["DestinationIpv6CidrBlock"] != "") {
		return nil, "", 0, fail("InvalidParameterValue", "Value (%s) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block.", prefix)
	}
	if t = w.table(p["RouteTableId"]); t == nil {
		return nil, "", 0, fail("InvalidRouteTableID.NotFound", "The routeTable ID '%s' does not exist", p["RouteTableId"])
	}
	n := w.iface(p["NetworkInterfaceId"])
	switch {
	case n == nil:
		return nil, "", 0, fail("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", p["NetworkInterfaceId"])
	case n.VPC != t.VPC:
		return nil, "", 0, fail("InvalidParameterValue", "route table %s and interface %s belong to different networks", t.ID, n.ID)
	}
	return t, prefix, slices.IndexFunc(t.Routes, func(r Route) bool { return r.Prefix == prefix && !r.Propagated }), nil
}

// createRoute (API API_CreateRoute.html; RouteAlreadyExists in
// errors-overview.html).
func createRoute(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	t, prefix, at, bad := routeOf(w, p)
	if bad != nil {
		return nil, bad
	}
	if at >= 0 {
		return nil, fail("RouteAlreadyExists", "The route identified by %s already exists.", prefix)
	}
	t.Routes = append(t.Routes, Route{Prefix: prefix, Interface: p["NetworkInterfaceId"]})
	return yes, nil
}

// replaceRoute (API API_ReplaceRoute.html): whatever the route was.
func replaceRoute(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	t, prefix, at, bad := routeOf(w, p)
	if bad != nil {
		return nil, bad
	}
	if at < 0 {
		return nil, fail("InvalidParameterValue", "There is no route defined for '%s' in the route table. Use CreateRoute instead.", prefix)
	}
	t.Routes[at] = Route{Prefix: prefix, Interface: p["NetworkInterfaceId"]}
	return yes, nil
}
