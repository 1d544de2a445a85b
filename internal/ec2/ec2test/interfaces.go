package ec2test

import (
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// attachNetworkInterface (API API_AttachNetworkInterface.html). The codes are
// those of API errors-overview.html.
func attachNetworkInterface(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	if bad := missing(p, "NetworkInterfaceId", "InstanceId", "DeviceIndex"); bad != nil {
		return nil, bad
	}
	n, in := w.iface(p["NetworkInterfaceId"]), w.instance(p["InstanceId"])
	index, err := strconv.Atoi(p["DeviceIndex"])
	if err != nil || index < 0 {
		return nil, fail("InvalidParameterValue", "Value (%s) for parameter deviceIndex is invalid", p["DeviceIndex"])
	}
	if bad := malformed(p["NetworkInterfaceId"], "eni-", "InvalidNetworkInterfaceId.Malformed"); bad != nil {
		return nil, bad
	}
	switch {
	case n == nil:
		return nil, fail("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", p["NetworkInterfaceId"])
	case in == nil:
		return nil, fail("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", p["InstanceId"])
	case n.Managed != "":
		return nil, fail("OperationNotPermitted", "The network interface %s is managed by %s", n.ID, n.Managed)
	// "InvalidNetworkInterface.InUse": the interface is in use and cannot be
	// attached to another instance. It is in use until it is detached.
	case n.Attachment != nil:
		return nil, fail("InvalidNetworkInterface.InUse", "Interface: [%s] in use.", n.ID)
	// "IncorrectInstanceState"; Guide using-eni.html: an instance that runs or
	// is stopped can be attached to.
	case in.State != "running" && in.State != "stopped":
		return nil, fail("IncorrectInstanceState", "Instance %s is not 'running' or 'stopped'", in.ID)
	// Guide using-eni.html: instance and interface are in one availability
	// zone, the subnets may differ; the VPC, too (API, since 2023).
	case n.Zone != in.Zone:
		return nil, fail("InvalidParameterCombination", "You may not attach a network interface to an instance if they are not in the same availability zone")
	}
	there := w.attached(in.ID)
	// Guide AvailableIpPerENI.html: the type limits the number.
	if len(there) >= in.MaxInterfaces {
		return nil, fail("AttachmentLimitExceeded", "Interface count %d exceeds the limit for the instance type", len(there)+1)
	}
	for _, o := range there {
		if o.Attachment.Index == index {
			return nil, fail("InvalidParameterValue", "Instance '%s' already has an interface attached at device index '%d'.", in.ID, index)
		}
	}
	n.Attachment = &Attachment{ID: f.id("eni-attach-"), Instance: in.ID, Index: index, Since: time.Now(), Status: "attaching", Until: f.later(f.opts.AttachDelay)}
	return []element{tx("attachmentId", n.Attachment.ID), tx("networkCardIndex", "0")}, nil
}

// detachNetworkInterface (API API_DetachNetworkInterface.html).
func detachNetworkInterface(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	if bad := missing(p, "AttachmentId"); bad != nil {
		return nil, bad
	}
	if bad := malformed(p["AttachmentId"], "eni-attach-", "InvalidAttachmentID.Malformed"); bad != nil {
		return nil, bad
	}
	i := slices.IndexFunc(w.Interfaces, func(n Interface) bool { return n.Attachment != nil && n.Attachment.ID == p["AttachmentId"] })
	if i < 0 {
		return nil, fail("InvalidAttachmentID.NotFound", "The interface attachment '%s' does not exist.", p["AttachmentId"])
	}
	n := &w.Interfaces[i]
	a := n.Attachment
	force := p["Force"] == "true"
	switch {
	// Guide using-eni.html: the primary interface cannot be detached.
	case a.Index == 0:
		return nil, fail("OperationNotPermitted", "The network interface at device index 0 cannot be detached.")
	case n.Managed != "":
		return nil, fail("OperationNotPermitted", "You are not allowed to manage 'ela-attach' attachments.")
	// "IncorrectState": not possible in this state. That attaching and
	// detaching are such states, and that Force goes past the second only, is
	// our guess.
	case a.Status == "attaching":
		return nil, fail("IncorrectState", "The attachment %s is attaching", a.ID)
	case a.Status == "detaching" && !force:
		return nil, fail("IncorrectState", "The attachment %s is detaching", a.ID)
	}
	in := w.instance(a.Instance)
	a.Status = "detaching"
	switch {
	case force, in == nil:
		a.Until = f.later(f.opts.DetachDelay / 4)
	case in.Hung:
		a.Until = time.Time{} // until somebody forces it
	default:
		a.Until = f.later(f.opts.DetachDelay)
	}
	return yes, nil
}

// describeNetworkInterfaces (API API_DescribeNetworkInterfaces.html and
// API_NetworkInterface.html).
func describeNetworkInterfaces(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	ids := numbered(p, "NetworkInterfaceId")
	for _, id := range ids {
		if bad := malformed(id, "eni-", "InvalidNetworkInterfaceId.Malformed"); bad != nil {
			return nil, bad
		}
		if w.iface(id) == nil {
			return nil, fail("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", id)
		}
	}
	var all []element
	for i := range w.Interfaces {
		n := &w.Interfaces[i]
		fits, bad := matches(p, func(name string) ([]string, bool) { return interfaceFilter(w, n, name) })
		if bad != nil {
			return nil, bad
		}
		if fits && (len(ids) == 0 || slices.Contains(ids, n.ID)) {
			all = append(all, w.describeInterface(n))
		}
	}
	return f.page(p, "networkInterfaceSet", all, len(ids) > 0, 5, 1000)
}

func interfaceFilter(w *World, n *Interface, name string) ([]string, bool) {
	a := n.Attachment
	if a == nil {
		a = &Attachment{Index: -1}
	}
	switch name {
	case "network-interface-id":
		return []string{n.ID}, true
	case "subnet-id":
		return []string{n.Subnet}, true
	case "vpc-id":
		return []string{n.VPC}, true
	case "availability-zone":
		return []string{n.Zone}, true
	case "attachment.instance-id":
		return []string{a.Instance}, true
	case "attachment.attachment-id":
		return []string{a.ID}, true
	case "attachment.device-index":
		return []string{itoa(a.Index)}, true
	case "attachment.status":
		return []string{a.Status}, true
	case "addresses.private-ip-address":
		return n.Addresses, true
	case "ipv6-addresses.ipv6-address":
		return n.IPv6, true
	case "status":
		return []string{n.status()}, true
	}
	return w.tagFilter(n.ID, name)
}

func (n *Interface) status() string {
	switch a := n.Attachment; {
	case a == nil:
		return "available"
	case a.Status == "attached":
		return "in-use"
	default:
		return a.Status // attaching, detaching (API API_NetworkInterface.html)
	}
}

func (w *World) describeInterface(n *Interface) element {
	var addrs, ip6 []element
	for i, a := range n.Addresses {
		one := []element{tx("privateIpAddress", a), tx("primary", boolean(i == 0))}
		if e := w.associated(n.ID, a); e != nil {
			one = append(one, el("association", tx("publicIp", e.Public), tx("allocationId", e.Allocation), tx("associationId", e.Association)))
		}
		addrs = append(addrs, el("item", one...))
	}
	for _, a := range n.IPv6 {
		ip6 = append(ip6, el("item", tx("ipv6Address", a), tx("isPrimaryIpv6", "false")))
	}
	e := el("item", tx("networkInterfaceId", n.ID), tx("subnetId", n.Subnet), tx("vpcId", n.VPC), tx("availabilityZone", n.Zone),
		tx("description", n.Managed), tx("ownerId", "111122223333"), tx("requesterManaged", boolean(n.Managed != "")), tx("status", n.status()),
		tx("macAddress", n.MAC), tx("privateIpAddress", first(n.Addresses)), tx("sourceDestCheck", boolean(!n.NoSourceDestCheck)), el("groupSet"))
	if a := n.Attachment; a != nil {
		e.kids = append(e.kids, el("attachment", tx("attachmentId", a.ID), tx("instanceId", a.Instance), tx("instanceOwnerId", "111122223333"),
			tx("deviceIndex", itoa(a.Index)), tx("status", a.Status), tx("attachTime", a.Since.UTC().Format("2006-01-02T15:04:05.000Z")), tx("deleteOnTermination", "false")))
	}
	e.kids = append(e.kids, el("tagSet", w.tagItems(n.ID)...), el("privateIpAddressesSet", addrs...), el("ipv6AddressesSet", ip6...), tx("interfaceType", "interface"))
	return e
}

func boolean(b bool) string { return strconv.FormatBool(b) }

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// assignPrivateIPAddresses (API API_AssignPrivateIpAddresses.html).
// AllowReassignment is false unless given; with it an address is taken from
// whoever has it. InvalidIPAddress.InUse is from errors-overview.html.
func assignPrivateIPAddresses(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	n, bad := addressee(w, p, "PrivateIpAddress")
	if bad != nil {
		return nil, bad
	}
	addrs := numbered(p, "PrivateIpAddress")
	for _, a := range addrs {
		if ip, err := netip.ParseAddr(a); err != nil || !ip.Is4() {
			return nil, fail("InvalidParameterValue", "Value (%s) for parameter privateIpAddress is invalid", a)
		}
		if bad := w.inSubnet(n.Subnet, a); bad != nil {
			return nil, bad
		}
		if o := w.holds(n.Subnet, a); o != nil && o.ID != n.ID {
			if p["AllowReassignment"] != "true" {
				return nil, fail("InvalidIPAddress.InUse", "Address %s is in use", a)
			}
			if o.Addresses[0] == a {
				return nil, fail("InvalidParameterValue", "%s is the primary address of %s", a, o.ID)
			}
		}
	}
	if limit := w.addressLimit(n); len(n.Addresses)+len(addrs) > limit {
		return nil, fail("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
	}
	var set []element
	for _, a := range addrs {
		if o := w.holds(n.Subnet, a); o != nil && o.ID != n.ID {
			o.Addresses = slices.DeleteFunc(o.Addresses, func(x string) bool { return x == a })
		}
		if !slices.Contains(n.Addresses, a) {
			n.Addresses = append(n.Addresses, a)
		}
		set = append(set, el("item", tx("privateIpAddress", a)))
	}
	return append([]element{tx("networkInterfaceId", n.ID), el("assignedPrivateIpAddressesSet", set...)}, yes...), nil
}

// inSubnet says whether an address may be assigned in a subnet (VPC User Guide
// subnet-sizing.html: the first four addresses and the last one are reserved).
func (w *World) inSubnet(subnet, addr string) *failure {
	p, err := netip.ParsePrefix(w.Subnets[subnet])
	if err != nil {
		return nil
	}
	a := netip.MustParseAddr(addr)
	if !p.Contains(a) {
		return fail("InvalidParameterValue", "Address %s does not fall within the subnet's address range", addr)
	}
	reserved := !p.Contains(a.Next())
	for i, r := 0, p.Masked().Addr(); i < 4; i, r = i+1, r.Next() {
		reserved = reserved || r == a
	}
	if reserved {
		return fail("InvalidParameterValue", "Address %s is in the subnet's reserved address range", addr)
	}
	return nil
}

// addressee gives the interface, when the parameters name one and at least one
// address.
func addressee(w *World, p map[string]string, param string) (*Interface, *failure) {
	if bad := missing(p, "NetworkInterfaceId", param+".1"); bad != nil {
		return nil, bad
	}
	n := w.iface(p["NetworkInterfaceId"])
	if n == nil {
		return nil, fail("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", p["NetworkInterfaceId"])
	}
	return n, nil
}

// holds gives the interface of a subnet that has an address.
func (w *World) holds(subnet, addr string) *Interface {
	for i := range w.Interfaces {
		if n := &w.Interfaces[i]; n.Subnet == subnet && (slices.Contains(n.Addresses, addr) || slices.Contains(n.IPv6, addr)) {
			return n
		}
	}
	return nil
}

func (w *World) addressLimit(n *Interface) int {
	if n.Attachment != nil {
		if in := w.instance(n.Attachment.Instance); in != nil {
			return in.MaxAddresses
		}
	}
	return 10
}

// unassignPrivateIPAddresses (API API_UnassignPrivateIpAddresses.html): the
// addresses have to be the interface's, and secondary. An Elastic IP that was
// associated with one is disassociated.
func unassignPrivateIPAddresses(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	n, bad := addressee(w, p, "PrivateIpAddress")
	if bad != nil {
		return nil, bad
	}
	addrs := numbered(p, "PrivateIpAddress")
	for _, a := range addrs {
		switch i := slices.Index(n.Addresses, a); {
		case i < 0:
			return nil, fail("InvalidParameterValue", "Some of %v are not assigned to interface %s", addrs, n.ID)
		case i == 0:
			return nil, fail("InvalidParameterValue", "The primary address %s of %s cannot be unassigned", a, n.ID)
		}
	}
	for _, a := range addrs {
		if e := w.associated(n.ID, a); e != nil {
			e.Association, e.Interface, e.Private = "", "", ""
		}
		n.Addresses = slices.DeleteFunc(n.Addresses, func(x string) bool { return x == a })
	}
	return yes, nil
}

// assignIPv6Addresses (API API_AssignIpv6Addresses.html). There is no
// reassignment: an address in use is refused.
func assignIPv6Addresses(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	n, bad := addressee(w, p, "Ipv6Addresses")
	if bad != nil {
		return nil, bad
	}
	var set []element
	for _, a := range numbered(p, "Ipv6Addresses") {
		if ip, err := netip.ParseAddr(a); err != nil || !ip.Is6() {
			return nil, fail("InvalidParameterValue", "invalid value for parameter ipv6-addresses: %s", a)
		}
		if o := w.holds(n.Subnet, a); o != nil && o.ID != n.ID {
			return nil, fail("InvalidIPAddress.InUse", "The address %s is in use", a)
		}
		if !slices.Contains(n.IPv6, a) {
			n.IPv6 = append(n.IPv6, a)
		}
		set = append(set, tx("item", a))
	}
	return []element{tx("networkInterfaceId", n.ID), el("assignedIpv6Addresses", set...)}, nil
}

// unassignIPv6Addresses (API API_UnassignIpv6Addresses.html).
func unassignIPv6Addresses(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	n, bad := addressee(w, p, "Ipv6Addresses")
	if bad != nil {
		return nil, bad
	}
	addrs := numbered(p, "Ipv6Addresses")
	for _, a := range addrs {
		if !slices.Contains(n.IPv6, a) {
			return nil, fail("InvalidParameterValue", "Some of %v are not assigned to interface %s", addrs, n.ID)
		}
	}
	n.IPv6 = slices.DeleteFunc(n.IPv6, func(x string) bool { return slices.Contains(addrs, x) })
	return []element{tx("networkInterfaceId", n.ID)}, nil
}
