package ec2

import (
	"context"
	"slices"
)

// Instances gives all instances of the region as EC2 describes them, with any
// filters. All pages are asked for.
func (c *Client) Instances(ctx context.Context, filters Params) ([]*Node, error) {
	reservations, err := c.list(ctx, "DescribeInstances", "reservationSet", filters)
	if err != nil {
		return nil, err
	}
	all := []*Node{} // none is an empty list, and not null
	for _, r := range reservations {
		all = append(all, r.Items("instancesSet")...)
	}
	return all, nil
}

// Interfaces gives all network interfaces of the region as EC2 describes them.
func (c *Client) Interfaces(ctx context.Context) ([]*Node, error) {
	all, err := c.list(ctx, "DescribeNetworkInterfaces", "networkInterfaceSet", nil)
	if all == nil {
		all = []*Node{}
	}
	return all, err
}

// A Tag is a key and its value.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Tags gives the tags of a resource in EC2's order.
func (c *Client) Tags(ctx context.Context, resource string) ([]Tag, error) {
	items, err := c.list(ctx, "DescribeTags", "tagSet", Params{"Filter.1.Name": "resource-id", "Filter.1.Value.1": resource})
	all := []Tag{}
	for _, item := range items {
		all = append(all, Tag{item.Str("key"), item.Str("value")})
	}
	return all, err
}

// A PrivateAddress is an address of an instance.
type PrivateAddress struct {
	Instance string `json:"instance-id"`
	Address  string `json:"address"`
	State    string `json:"state"` // of the instance: running, stopped, …
}

// PrivateAddresses gives the private IPv4 addresses of instances, each once, an
// instance's primary one first.
func PrivateAddresses(instances []*Node) []PrivateAddress {
	all := []PrivateAddress{}
	for _, i := range instances {
		var addrs []string
		add := func(a string) {
			if a != "" && !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		}
		add(i.Str("privateIpAddress"))
		for _, n := range i.Items("networkInterfaceSet") {
			add(n.Str("privateIpAddress"))
			for _, a := range n.Items("privateIpAddressesSet") {
				add(a.Str("privateIpAddress"))
			}
		}
		for _, a := range addrs {
			all = append(all, PrivateAddress{i.Str("instanceId"), a, i.Str("instanceState", "name")})
		}
	}
	return all
}
