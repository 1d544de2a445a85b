package ec2test

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const apiVersion = "2016-11-15"

// An action of the API: its parameters (N for a number), and what it does. The
// functions get the world that they may read or change, and run with the lock
// held.
type action struct {
	params  []string
	changes bool
	do      func(f *Fake, w *World, p map[string]string) ([]element, *failure)
}

var common = []string{"Action", "Version", "DryRun"}

var paged = []string{"MaxResults", "NextToken", "Filter.N.Name", "Filter.N.Value.N"}

var actions map[string]action

func init() {
	// Filled here because the functions mention each other.
	actions = map[string]action{
		"DescribeInstances":          {append(paged, "InstanceId.N"), false, describeInstances},
		"DescribeInstanceStatus":     {append(paged, "InstanceId.N", "IncludeAllInstances"), false, describeInstanceStatus},
		"DescribeNetworkInterfaces":  {append(paged, "NetworkInterfaceId.N"), false, describeNetworkInterfaces},
		"DescribeTags":               {paged, false, describeTags},
		"DescribeAddresses":          {[]string{"AllocationId.N", "PublicIp.N", "Filter.N.Name", "Filter.N.Value.N"}, false, describeAddresses},
		"DescribeRouteTables":        {append(paged, "RouteTableId.N"), false, describeRouteTables},
		"AttachNetworkInterface":     {[]string{"NetworkInterfaceId", "InstanceId", "DeviceIndex"}, true, attachNetworkInterface},
		"DetachNetworkInterface":     {[]string{"AttachmentId", "Force"}, true, detachNetworkInterface},
		"AssociateAddress":           {[]string{"AllocationId", "NetworkInterfaceId", "PrivateIpAddress", "AllowReassociation"}, true, associateAddress},
		"DisassociateAddress":        {[]string{"AssociationId"}, true, disassociateAddress},
		"AssignPrivateIpAddresses":   {[]string{"NetworkInterfaceId", "PrivateIpAddress.N", "AllowReassignment"}, true, assignPrivateIPAddresses},
		"UnassignPrivateIpAddresses": {[]string{"NetworkInterfaceId", "PrivateIpAddress.N"}, true, unassignPrivateIPAddresses},
		"AssignIpv6Addresses":        {[]string{"NetworkInterfaceId", "Ipv6Addresses.N"}, true, assignIPv6Addresses},
		"UnassignIpv6Addresses":      {[]string{"NetworkInterfaceId", "Ipv6Addresses.N"}, true, unassignIPv6Addresses},
		"CreateRoute":                {[]string{"RouteTableId", "DestinationCidrBlock", "DestinationIpv6CidrBlock", "NetworkInterfaceId"}, true, createRoute},
		"ReplaceRoute":               {[]string{"RouteTableId", "DestinationCidrBlock", "DestinationIpv6CidrBlock", "NetworkInterfaceId"}, true, replaceRoute},
		"CreateTags":                 {[]string{"ResourceId.N", "Tag.N.Key", "Tag.N.Value"}, true, createTags},
	}
}

var number = regexp.MustCompile(`\.\d+`)

// carryOut does what is asked, by the rules that hold for every action (API
// CommonParameters.html and errors-overview.html, "Common client error codes").
func (f *Fake) carryOut(key string, p map[string]string) ([]element, *failure) {
	f.mu.Lock()
	full := f.throttled()
	denied := slices.Contains(f.now.Denied, p["Action"]) || slices.Contains(f.now.DeniedTo[key], p["Action"])
	f.mu.Unlock()
	if full {
		return nil, &failure{http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded."}
	}
	a, ok := actions[p["Action"]]
	switch {
	case p["Action"] == "":
		return nil, fail("MissingAction", "The request is missing an action")
	case !ok:
		return nil, fail("InvalidAction", "The action %s is not valid for this web service.", p["Action"])
	case p["Version"] != apiVersion:
		return nil, fail("NoSuchVersion", "The requested version (%s) of service AmazonEC2 does not exist", p["Version"])
	}
	for _, k := range slices.Sorted(maps.Keys(p)) {
		if form := number.ReplaceAllString(k, ".N"); !slices.Contains(common, form) && !slices.Contains(a.params, form) {
			return nil, fail("UnknownParameter", "The parameter %s is not recognized", k)
		}
	}
	// API CommonParameters.html, DryRun: UnauthorizedOperation without the
	// permission, DryRunOperation with it. That the permission is looked at
	// before the state of things is our guess.
	if denied {
		return nil, &failure{http.StatusForbidden, "UnauthorizedOperation", "You are not authorized to perform this operation. Encoded authorization failure message: " + strings.Repeat("Zm9v", 60)}
	}
	if p["DryRun"] == "true" {
		return nil, &failure{http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."}
	}
	if !a.changes {
		return a.do(f, f.seen(), p)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pass()
	answer, bad := a.do(f, f.now, p)
	if bad == nil {
		f.remember()
	}
	return answer, bad
}

// numbered gives the values of Name.1, Name.2, …
func numbered(p map[string]string, name string) []string {
	var all []string
	for i := 1; ; i++ {
		v, ok := p[name+"."+itoa(i)]
		if !ok {
			return all
		}
		all = append(all, v)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

// missing says which of these parameters is not there.
func missing(p map[string]string, names ...string) *failure {
	for _, n := range names {
		if p[n] == "" {
			return fail("MissingParameter", "The request must contain the parameter %s", n)
		}
	}
	return nil
}

func malformed(id, prefix, code string) *failure {
	if !strings.HasPrefix(id, prefix) {
		return fail(code, "Invalid id: %q", id)
	}
	return nil
}

var yes = []element{tx("return", "true")}

// createTags (API API_CreateTags.html).
func createTags(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	ids := numbered(p, "ResourceId")
	if len(ids) == 0 || p["Tag.1.Key"] == "" {
		return nil, fail("MissingParameter", "The request must contain the parameter resourceIdSet and a tag")
	}
	for _, id := range ids {
		if !w.exists(id) {
			return nil, fail("InvalidID", "The ID '%s' is not valid", id)
		}
	}
	for _, id := range ids {
		for i := 1; p["Tag."+itoa(i)+".Key"] != ""; i++ {
			if w.Tags == nil {
				w.Tags = map[string]map[string]string{}
			}
			if w.Tags[id] == nil {
				w.Tags[id] = map[string]string{}
			}
			w.Tags[id][p["Tag."+itoa(i)+".Key"]] = p["Tag."+itoa(i)+".Value"]
		}
	}
	return yes, nil
}

func (w *World) exists(id string) bool {
	return w.instance(id) != nil || w.iface(id) != nil || w.table(id) != nil ||
		slices.ContainsFunc(w.Addresses, func(a Address) bool { return a.Allocation == id })
}
