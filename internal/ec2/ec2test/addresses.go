package ec2test

import (
	"net/netip"
	"slices"
)

func (w *World) associated(iface, private string) *Address {
	for i := range w.Addresses {
		if a := &w.Addresses[i]; a.Association != "" && a.Interface == iface && a.Private == private {
			return a
		}
	}
	return nil
}

// describeAddresses (API API_DescribeAddresses.html). It has no pages.
func describeAddresses(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	ids, ips := numbered(p, "AllocationId"), numbered(p, "PublicIp")
	for _, id := range ids {
		if !slices.ContainsFunc(w.Addresses, func(a Address) bool { return a.Allocation == id }) {
			return nil, fail("InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist", id)
		}
	}
	for _, ip := range ips {
		if !slices.ContainsFunc(w.Addresses, func(a Address) bool { return a.Public == ip }) {
			return nil, fail("InvalidAddress.NotFound", "Address '%s' not found.", ip)
		}
	}
	var all []element
	for _, a := range w.Addresses {
		fits, bad := matches(p, func(name string) ([]string, bool) {
			switch name {
			case "allocation-id":
				return []string{a.Allocation}, true
			case "public-ip":
				return []string{a.Public}, true
			case "network-interface-id":
				return []string{a.Interface}, true
			case "association-id":
				return []string{a.Association}, true
			}
			return w.tagFilter(a.Allocation, name)
		})
		if bad != nil {
			return nil, bad
		}
		if !fits || len(ids) > 0 && !slices.Contains(ids, a.Allocation) || len(ips) > 0 && !slices.Contains(ips, a.Public) {
			continue
		}
		there := a.Association != ""
		instance := ""
		if n := w.iface(a.Interface); n != nil && n.Attachment != nil {
			instance = n.Attachment.Instance
		}
		all = append(all, el("item", tx("publicIp", a.Public), tx("allocationId", a.Allocation), tx("domain", "vpc"),
			when(there && instance != "", tx("instanceId", instance)), when(there, tx("associationId", a.Association)),
			when(there, tx("networkInterfaceId", a.Interface)), when(there, tx("networkInterfaceOwnerId", "111122223333")),
			when(there, tx("privateIpAddress", a.Private)), el("tagSet", w.tagItems(a.Allocation)...)))
	}
	return []element{el("addressesSet", all...)}, nil
}

// associateAddress (API API_AssociateAddress.html): "Reassociation is automatic,
// but you can specify false to ensure the operation fails if the Elastic IP
// address is already associated with another resource"; it is idempotent.
// Resource.AlreadyAssociated is from errors-overview.html. What happens to the
// address that the target has already, the page says for instances only:
// here it is refused without reassociation, and disassociated with it.
func associateAddress(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	if bad := missing(p, "AllocationId", "NetworkInterfaceId"); bad != nil {
		return nil, bad
	}
	i := slices.IndexFunc(w.Addresses, func(a Address) bool { return a.Allocation == p["AllocationId"] })
	n := w.iface(p["NetworkInterfaceId"])
	switch {
	case i < 0:
		return nil, fail("InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist", p["AllocationId"])
	case n == nil:
		return nil, fail("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", p["NetworkInterfaceId"])
	}
	a := &w.Addresses[i]
	private := or(p["PrivateIpAddress"], first(n.Addresses))
	again := p["AllowReassociation"] != "false"
	if _, err := netip.ParseAddr(private); err != nil || !slices.Contains(n.Addresses, private) {
		return nil, fail("InvalidParameterValue", "The private IP address %s is not assigned to %s", private, n.ID)
	}
	if a.Association != "" && a.Interface == n.ID && a.Private == private {
		return append([]element{tx("associationId", a.Association)}, yes...), nil
	}
	other := w.associated(n.ID, private)
	if !again && (a.Association != "" || other != nil) {
		return nil, fail("Resource.AlreadyAssociated", "resource %s is already associated with associate-id %s", a.Allocation, or(a.Association, "of another address"))
	}
	if other != nil {
		other.Association, other.Interface, other.Private = "", "", ""
	}
	a.Association, a.Interface, a.Private = f.id("eipassoc-"), n.ID, private
	return append([]element{tx("associationId", a.Association)}, yes...), nil
}

// disassociateAddress (API API_DisassociateAddress.html): "This is an idempotent
// operation. If you perform the operation more than once, Amazon EC2 doesn't
// return an error"; errors-overview.html has InvalidAssociationID.NotFound for
// ids that are not known. Here an id that there was once is no error.
func disassociateAddress(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	if bad := missing(p, "AssociationId"); bad != nil {
		return nil, bad
	}
	if bad := malformed(p["AssociationId"], "eipassoc-", "InvalidAssociationID.NotFound"); bad != nil {
		return nil, bad
	}
	for i := range w.Addresses {
		if a := &w.Addresses[i]; a.Association == p["AssociationId"] {
			a.Association, a.Interface, a.Private = "", "", ""
		}
	}
	return yes, nil
}
