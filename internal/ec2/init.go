package ec2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Init is what an init-script tells the daemon.
type Init struct {
	Host         string   // address, name
	InitialNodes []string // addresses; none is an empty list
}

// InitOptions choose what Init tells.
type InitOptions struct {
	Self netip.Addr // our own address
	// Domain gives the suffix to take off the name of the host. It is called
	// only when the host has no Name tag.
	Domain func() (string, error)
	Tags   []string // KEY or KEY=VALUE: initial nodes have all of them
	VPC    string   // initial nodes are in it; "" is any
}

// Init finds out who we are (our address; our Name tag, else the name that the
// VPC gave us) and who else runs.
func (s *Session) Init(ctx context.Context, o InitOptions) (Init, error) {
	id, err := s.Metadata.InstanceID(ctx)
	if err != nil {
		return Init{}, err
	}
	name, err := s.ownName(ctx, id, o.Domain)
	if err != nil {
		return Init{}, err
	}
	running, err := s.EC2.Instances(ctx, o.filters())
	if err != nil {
		return Init{}, err
	}
	out := Init{Host: o.Self.String() + ", " + name, InitialNodes: []string{}}
	for _, i := range running {
		// Known by its id: our address may be that of a second interface, of a
		// container, or IPv6, and is not the first one that EC2 tells then.
		if i.Str("instanceId") == id {
			continue
		}
		// An instance's first address: a secondary one may be on its way to
		// another instance.
		a := firstOf(i.Str("privateIpAddress"), i.Str("ipv6Address"))
		if a != "" && a != o.Self.String() && !slices.Contains(out.InitialNodes, a) {
			out.InitialNodes = append(out.InitialNodes, a)
		}
	}
	return out, nil
}

func (o InitOptions) filters() Params {
	p, n := Params{}, 0
	add := func(name string, values ...string) {
		n++
		p[fmt.Sprintf("Filter.%d.Name", n)] = name
		for i, v := range values {
			p[fmt.Sprintf("Filter.%d.Value.%d", n, i+1)] = v
		}
	}
	add("instance-state-name", "running")
	if o.VPC != "" {
		add("vpc-id", o.VPC)
	}
	// Values of one filter are alternatives, filters are conditions: one key
	// given with two values means either.
	values := map[string][]string{}
	var keys []string
	for _, tag := range o.Tags {
		key, value, both := strings.Cut(tag, "=")
		if !both {
			add("tag-key", key)
			continue
		}
		if values[key] == nil {
			keys = append(keys, key)
		}
		values[key] = append(values[key], value)
	}
	for _, key := range keys {
		add("tag:"+key, values[key]...)
	}
	return p
}

// ownName gives the name of this host, which is the instance id.
func (s *Session) ownName(ctx context.Context, id string, domain func() (string, error)) (string, error) {
	tags, err := s.EC2.Tags(ctx, id)
	if err != nil {
		return "", err
	}
	for _, t := range tags {
		if t.Key == "Name" {
			if name := LegalName(t.Value); name != "" {
				return name, nil
			}
		}
	}
	name, err := s.Metadata.LocalHostname(ctx)
	if err != nil {
		return "", fmt.Errorf("%s has no tag Name, and the name from its VPC cannot be read: %w", id, err)
	}
	suffix, err := domain()
	if err != nil {
		return "", err
	}
	name = strings.ToLower(name)
	name = strings.TrimSuffix(name, "."+strings.ToLower(strings.Trim(suffix, ".")))
	if name = LegalName(name); name == "" {
		return "", errors.New("the name from the VPC has no letter that a host name may have")
	}
	return name, nil
}

// The longest name and label, in octets (RFC 1035 §2.3.4).
const (
	maxName  = 253
	maxLabel = 63
)

// LegalName makes a host name of a text that people wrote: letters, digits, dot,
// hyphen and underscore stay, anything else becomes a hyphen; no label is empty,
// longer than 63 octets, or begins or ends with a hyphen; no more than 253
// octets. "" if nothing is left.
func LegalName(text string) string {
	var labels []string
	length := -1
	for label := range strings.SplitSeq(text, ".") {
		var b strings.Builder
		for _, r := range strings.TrimSpace(label) {
			switch {
			case r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z':
				b.WriteRune(r)
			case !strings.HasSuffix(b.String(), "-"):
				b.WriteByte('-')
			}
		}
		l := strings.TrimLeft(b.String(), "-")
		l = strings.TrimRight(l[:min(len(l), maxLabel)], "-")
		if l == "" {
			continue
		}
		if length += len(l) + 1; length > maxName {
			break
		}
		labels = append(labels, l)
	}
	return strings.Join(labels, ".")
}

// YAML gives the keys to set, as the daemon reads them.
func (i Init) YAML() string {
	text := "host: " + strconv.Quote(i.Host) + "\n"
	if len(i.InitialNodes) > 0 {
		text += "initial-nodes: " + strconv.Quote(strings.Join(i.InitialNodes, ", ")) + "\n"
	}
	return text
}
