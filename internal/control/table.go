package control

import (
	"cmp"
	"slices"
	"strings"

	"murakumo/internal/catalog"
)

// Table gives the visible records of a view in the order in which operators read
// them: those of the asked node first, then by address (as numbers, IPv4 before
// IPv6), name and owner.
func Table(v *catalog.View) []Record {
	self := v.Self()
	table := []Record{}
	for e := range v.Entries() {
		table = append(table, recordOf(self, e.Owner, e.Record))
	}
	slices.SortFunc(table, compareRecords)
	return table
}

func compareRecords(a, b Record) int {
	return cmp.Or(
		compareBool(b.Own, a.Own),
		a.Address.Compare(b.Address),
		cmp.Compare(a.Name, b.Name),
		a.Owner.Compare(b.Owner),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Members gives the members of a view by address.
func Members(v *catalog.View) []Member {
	members := []Member{}
	for m := range v.Members() {
		members = append(members, memberOf(v, m))
	}
	slices.SortFunc(members, func(a, b Member) int { return a.Address.Compare(b.Address) })
	return members
}

func recordOf(self, owner catalog.Owner, r catalog.Record) Record {
	activity := "inactive"
	if r.Active {
		activity = "active"
	}
	return Record{
		Owner: owner, Own: owner == self,
		Address: r.Addr, Name: r.Name, TTL: r.TTL,
		Priority: strings.ToLower(r.Priority.String()), Weight: r.Weight,
		Activity: activity, Duty: r.Duty.String(), Transition: r.Transition, Static: r.Static,
		Port: r.Port, Text: r.Text().Strings(), CNAME: r.Target(),
	}
}

func memberOf(v *catalog.View, m catalog.Member) Member {
	out := Member{
		Address: m.Owner, Own: m.Owner == v.Self(),
		Status: strings.ToLower(m.Status.String()), Since: m.Since,
	}
	if m.Set != nil {
		out.Records = m.Set.Len()
		for r := range m.Set.Records() {
			if r.Priority == catalog.Origin {
				out.Name = r.Name
				break
			}
		}
	}
	return out
}
