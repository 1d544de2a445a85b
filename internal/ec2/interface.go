package ec2

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// netInterface is an elastic network interface, attached to instances.
type netInterface struct {
	c        *Client
	id       string
	instance string
	index    int
	zone     string // read last
	holder   string // read last
}

// NewInterface is the interface with this id, wanted at this instance with this
// device index (0 is an instance's own first one, and cannot be moved).
func NewInterface(c *Client, id, instance string, index int) Thing {
	return &netInterface{c: c, id: id, instance: instance, index: index}
}

func (n *netInterface) Name() string   { return n.id }
func (n *netInterface) Target() string { return n.instance }
func (n *netInterface) Verbs() (took, let, to string) {
	return "attached", "detached", "to"
}
func (n *netInterface) Nature() Nature   { return Nature{Forcible: true} }
func (n *netInterface) Tagged() []string { return []string{n.id} }

// one asks for one interface.
func (c *Client) oneInterface(ctx context.Context, id string) (*Node, error) {
	root, err := c.read(ctx, "DescribeNetworkInterfaces", Params{"NetworkInterfaceId.1": id})
	if err != nil {
		return nil, err
	}
	items := root.Items("networkInterfaceSet")
	if len(items) != 1 {
		return nil, fmt.Errorf("DescribeNetworkInterfaces: EC2 tells of %d interfaces %s", len(items), id)
	}
	return items[0], nil
}

func (n *netInterface) Read(ctx context.Context) (Seen, error) {
	item, err := n.c.oneInterface(ctx, n.id)
	if err != nil {
		return Seen{}, err
	}
	n.zone = item.Str("availabilityZone")
	a := item.Get("attachment")
	s := Seen{Holder: a.Str("attachmentId"), Who: firstOf(a.Str("instanceId"), a.Str("instanceOwnerId"))}
	s.Since, _ = time.Parse(time.RFC3339, a.Str("attachTime"))
	switch state := a.Str("status"); {
	case s.Holder == "" || state == "detached":
		n.holder = ""
		return Seen{}, nil
	case state == "attaching":
		s.Phase = Coming
	case state == "detaching":
		s.Phase = Going
	default:
		s.Phase = Held
	}
	n.holder = s.Holder
	s.Ours = a.Str("instanceId") == n.instance
	switch {
	case item.Str("requesterManaged") == "true" || a.Str("instanceId") == "":
		s.Fixed = fmt.Sprintf("%s belongs to an AWS service (%s), which alone moves it", n.id, firstOf(item.Str("description"), s.Who))
	case a.Str("deviceIndex") == "0":
		s.Fixed = fmt.Sprintf("%s is the primary interface of %s (device index 0), which cannot be detached", n.id, s.Who)
	}
	return s, nil
}

// Check looks at what would make the attachment fail when it is too late: the
// zone, the index, the permission.
func (n *netInterface) Check(ctx context.Context) error {
	own, err := n.c.list(ctx, "DescribeNetworkInterfaces", "networkInterfaceSet", Params{
		"Filter.1.Name": "attachment.instance-id", "Filter.1.Value.1": n.instance,
	})
	if err != nil {
		return err
	}
	if len(own) == 0 {
		return fmt.Errorf("EC2 tells of no interface of %s: is that the id of an instance in %s, and does it run?", n.instance, n.c.Region)
	}
	for _, item := range own {
		id := item.Str("networkInterfaceId")
		if zone := item.Str("availabilityZone"); zone != "" && n.zone != "" && zone != n.zone {
			return fmt.Errorf("%s is in the zone %s, and %s in %s: an interface stays in its zone", n.id, n.zone, n.instance, zone)
		}
		if id != n.id && item.Str("attachment", "deviceIndex") == strconv.Itoa(n.index) {
			return fmt.Errorf("the device index %d of %s is taken by %s: choose another with -d", n.index, n.instance, id)
		}
	}
	return unlessDenied(n.c.try(ctx, "AttachNetworkInterface", n.attach()))
}

// unlessDenied gives the error of a dry run if it means never. Whether a dry
// run looks at the state of things, which is about to change, EC2 does not say.
func unlessDenied(err error) error {
	if r := reply(err); r == Refused || r == Odd {
		return nil
	}
	return err
}

func (n *netInterface) attach() Params {
	return Params{"NetworkInterfaceId": n.id, "InstanceId": n.instance, "DeviceIndex": strconv.Itoa(n.index)}
}

func (n *netInterface) Take(ctx context.Context, _ string) (string, error) {
	root, err := n.c.change(ctx, "AttachNetworkInterface", n.attach())
	return root.Str("attachmentId"), err
}

func (n *netInterface) Let(ctx context.Context, holder string, force bool) error {
	p := Params{"AttachmentId": holder}
	if force {
		p["Force"] = "true"
	}
	_, err := n.c.change(ctx, "DetachNetworkInterface", p)
	return err
}

func (n *netInterface) Permissions(ctx context.Context, token string) []Permission {
	_, err := n.Read(ctx)
	all := []Permission{{Name: "ec2:DescribeNetworkInterfaces", Err: err}}
	all = append(all, n.c.may(ctx, "AttachNetworkInterface", n.attach()))
	if n.holder == "" {
		all = append(all, Permission{Name: "ec2:DetachNetworkInterface", Untested: "nothing is attached"})
	} else {
		all = append(all, n.c.may(ctx, "DetachNetworkInterface", Params{"AttachmentId": n.holder}))
	}
	return n.c.mayTag(ctx, all, n, token)
}

// may finds out whether an action is permitted.
func (c *Client) may(ctx context.Context, action string, p Params) Permission {
	return Permission{Name: "ec2:" + action, Err: c.try(ctx, action, p)}
}

// mayTag adds whether the token may be written, if there is one.
func (c *Client) mayTag(ctx context.Context, all []Permission, thing Thing, token string) []Permission {
	if token == "" {
		return all
	}
	return append(all, c.may(ctx, "CreateTags", tokenTag(thing, token)))
}

// tokenKey is the tag for people: which transition moved the thing last.
const tokenKey = "murakumo:token"

func tokenTag(thing Thing, token string) Params {
	p := Params{"Tag.1.Key": tokenKey, "Tag.1.Value": token}
	for i, id := range thing.Tagged() {
		p["ResourceId."+strconv.Itoa(i+1)] = id
	}
	return p
}

// WriteToken writes the token as a tag of the thing, for people to read. The
// holding decides who has a thing, not the tag.
func WriteToken(ctx context.Context, c *Client, thing Thing, token string) error {
	_, err := c.Do(ctx, Call{Action: "CreateTags", Params: tokenTag(thing, token), Retry: Always})
	if err != nil {
		return fmt.Errorf("the tag %s was not written, the move is done nevertheless: %w", tokenKey, err)
	}
	return nil
}

// CheckID says whether an id has the form of its kind: eni-, i-, rtb- and
// letters or digits.
func CheckID(id, prefix string) error {
	rest, ok := strings.CutPrefix(id, prefix)
	if !ok || rest == "" || strings.ContainsFunc(rest, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}) {
		return fmt.Errorf("%q: expected an id like %s0123456789abcdef0", id, prefix)
	}
	return nil
}
