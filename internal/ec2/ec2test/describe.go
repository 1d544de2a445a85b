package ec2test

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// matches applies the filters of a request (Guide Using_Filtering.html: filters
// are conditions, values of one are alternatives, * and ? are wildcards, case
// counts). value gives what an object has for a filter, and false for filters
// that there are not.
func matches(p map[string]string, value func(name string) ([]string, bool)) (bool, *failure) {
	for i := 1; ; i++ {
		name, ok := p["Filter."+itoa(i)+".Name"]
		if !ok {
			return true, nil
		}
		have, known := value(name)
		if !known {
			return false, fail("InvalidParameterValue", "The filter '%s' is invalid", name)
		}
		want := numbered(p, "Filter."+itoa(i)+".Value")
		if len(want) == 0 {
			return false, fail("InvalidParameterValue", "The filter '%s' has no value", name)
		}
		if !slices.ContainsFunc(have, func(h string) bool {
			return slices.ContainsFunc(want, func(pattern string) bool { return wild(pattern).MatchString(h) })
		}) {
			return false, nil
		}
	}
}

func wild(pattern string) *regexp.Regexp {
	q := regexp.QuoteMeta(pattern)
	q = strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(q)
	return regexp.MustCompile(`^(?s:` + q + `)$`)
}

// tagFilter knows tag:KEY and tag-key.
func (w *World) tagFilter(id, name string) ([]string, bool) {
	if name == "tag-key" {
		return slices.Collect(maps.Keys(w.Tags[id])), true
	}
	key, ok := strings.CutPrefix(name, "tag:")
	if !ok {
		return nil, false
	}
	if v, ok := w.Tags[id][key]; ok {
		return []string{v}, true
	}
	return nil, true
}

func (w *World) tagItems(id string) []element {
	var all []element
	for _, k := range slices.Sorted(maps.Keys(w.Tags[id])) {
		all = append(all, el("item", tx("key", k), tx("value", w.Tags[id][k])))
	}
	return all
}

// resourceType is from API API_TagDescription.html.
func resourceType(id string) string {
	kind, _, _ := strings.Cut(id, "-")
	switch kind {
	case "eni":
		return "network-interface"
	case "eipalloc":
		return "elastic-ip"
	case "rtb":
		return "route-table"
	}
	return "instance"
}

// A page is the rest of a list that somebody reads.
type page struct {
	set   string
	rest  []element
	until time.Time
}

// page cuts a list (API Query-Requests.html, pagination: MaxResults, then
// NextToken until there is none; a page may have less than asked for. Ids and
// MaxResults exclude each other, as the page of each action says).
func (f *Fake) page(p map[string]string, set string, all []element, byID bool, least, most int) ([]element, *failure) {
	max := most
	if v, ok := p["MaxResults"]; ok {
		n, err := strconv.Atoi(v)
		switch {
		case err != nil || n < least || n > most:
			return nil, fail("InvalidParameterValue", "Value (%s) for parameter maxResults is invalid. Expecting a value between %d and %d.", v, least, most)
		case byID:
			return nil, fail("InvalidParameterCombination", "The parameter maxResults cannot be used with ids")
		}
		max = n
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.opts.PageSize > 0 {
		max = min(max, f.opts.PageSize)
	}
	if token := p["NextToken"]; token != "" {
		pg, ok := f.pages[token]
		if !ok || pg.set != set || time.Now().After(pg.until) {
			return nil, fail("InvalidPaginationToken", "The pagination token is invalid or expired")
		}
		all = pg.rest
	}
	if len(all) <= max {
		return []element{el(set, all...)}, nil
	}
	token := "token-" + requestID()
	f.pages[token] = page{set, all[max:], time.Now().Add(time.Hour)}
	return []element{el(set, all[:max]...), tx("nextToken", token)}, nil
}

// describeTags (API API_DescribeTags.html).
func describeTags(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	var all []element
	for _, id := range slices.Sorted(maps.Keys(w.Tags)) {
		for _, k := range slices.Sorted(maps.Keys(w.Tags[id])) {
			fits, bad := matches(p, func(name string) ([]string, bool) {
				switch name {
				case "resource-id":
					return []string{id}, true
				case "key":
					return []string{k}, true
				case "value":
					return []string{w.Tags[id][k]}, true
				}
				return nil, false
			})
			if bad != nil {
				return nil, bad
			}
			if fits {
				all = append(all, el("item", tx("resourceId", id), tx("resourceType", resourceType(id)), tx("key", k), tx("value", w.Tags[id][k])))
			}
		}
	}
	return f.page(p, "tagSet", all, false, 5, 1000)
}

func (w *World) instanceFilter(in *Instance, name string) ([]string, bool) {
	switch name {
	case "instance-id":
		return []string{in.ID}, true
	case "instance-state-name":
		return []string{in.State}, true
	case "vpc-id":
		return []string{in.VPC}, true
	case "availability-zone":
		return []string{in.Zone}, true
	}
	return w.tagFilter(in.ID, name)
}

// chosen gives the instances that a request is about.
func (w *World) chosen(p map[string]string) (all []*Instance, ids []string, bad *failure) {
	ids = numbered(p, "InstanceId")
	for _, id := range ids {
		if bad := malformed(id, "i-", "InvalidInstanceID.Malformed"); bad != nil {
			return nil, nil, bad
		}
		if w.instance(id) == nil {
			return nil, nil, fail("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
		}
	}
	for i := range w.Instances {
		in := &w.Instances[i]
		fits, bad := matches(p, func(name string) ([]string, bool) { return w.instanceFilter(in, name) })
		if bad != nil {
			return nil, nil, bad
		}
		if fits && (len(ids) == 0 || slices.Contains(ids, in.ID)) {
			all = append(all, in)
		}
	}
	return all, ids, nil
}

// stateCodes are from API API_InstanceState.html.
var stateCodes = map[string]string{"pending": "0", "running": "16", "shutting-down": "32", "terminated": "48", "stopping": "64", "stopped": "80"}

func state(name, of string) element {
	return el(name, tx("code", stateCodes[of]), tx("name", of))
}

// describeInstances (API API_DescribeInstances.html and API_Instance.html).
func describeInstances(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	chosen, ids, bad := w.chosen(p)
	if bad != nil {
		return nil, bad
	}
	var all []element
	for _, in := range chosen {
		var nets []element
		primary := &Interface{}
		for i, n := range w.attached(in.ID) {
			if i == 0 {
				primary = n
			}
			var addrs []element
			for j, a := range n.Addresses {
				addrs = append(addrs, el("item", tx("privateIpAddress", a), tx("primary", boolean(j == 0))))
			}
			nets = append(nets, el("item", tx("networkInterfaceId", n.ID), tx("subnetId", n.Subnet), tx("privateIpAddress", first(n.Addresses)),
				el("attachment", tx("attachmentId", n.Attachment.ID), tx("deviceIndex", itoa(n.Attachment.Index)), tx("status", n.Attachment.Status)),
				el("privateIpAddressesSet", addrs...)))
		}
		gone := in.State == "terminated"
		all = append(all, el("item", tx("reservationId", "r-"+strings.TrimPrefix(in.ID, "i-")), tx("ownerId", "111122223333"), el("groupSet"),
			el("instancesSet", el("item", tx("instanceId", in.ID), state("instanceState", in.State),
				when(!gone, tx("privateIpAddress", first(primary.Addresses))), when(!gone, tx("vpcId", in.VPC)), when(!gone, tx("subnetId", primary.Subnet)),
				el("placement", tx("availabilityZone", in.Zone)), tx("architecture", "x86_64"), el("tagSet", w.tagItems(in.ID)...),
				when(!gone, el("networkInterfaceSet", nets...))))))
	}
	return f.page(p, "reservationSet", all, len(ids) > 0, 5, 1000)
}

// describeInstanceStatus (API API_DescribeInstanceStatus.html: running ones only,
// unless IncludeAllInstances; API_InstanceStatusEvent.html: a completed event is
// still described for up to a week, its description then begins with
// [Completed]).
func describeInstanceStatus(f *Fake, w *World, p map[string]string) ([]element, *failure) {
	chosen, ids, bad := w.chosen(p)
	if bad != nil {
		return nil, bad
	}
	var all []element
	for _, in := range chosen {
		if in.State != "running" && p["IncludeAllInstances"] != "true" {
			continue
		}
		var events []element
		for _, e := range in.Events {
			events = append(events, el("item", tx("instanceEventId", e.ID), tx("code", e.Code), tx("description", e.Description),
				when(!e.NotBefore.IsZero(), tx("notBefore", e.NotBefore.UTC().Format("2006-01-02T15:04:05.000Z"))),
				when(!e.NotAfter.IsZero(), tx("notAfter", e.NotAfter.UTC().Format("2006-01-02T15:04:05.000Z")))))
		}
		all = append(all, el("item", tx("instanceId", in.ID), tx("availabilityZone", in.Zone), when(len(events) > 0, el("eventsSet", events...)), state("instanceState", in.State)))
	}
	return f.page(p, "instanceStatusSet", all, len(ids) > 0, 5, 1000)
}
