package ec2_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"murakumo/internal/ec2"
	"murakumo/internal/ec2/ec2test"
)

// world is two instances of one zone, i-old and i-new, with their primary
// interfaces, and eni-move attached to i-old as eni-attach-old, and one instance
// of another zone.
func world() ec2test.World {
	return ec2test.World{
		Region: "ap-northeast-1",
		Keys:   map[string]string{"AKIAOLD": "old secret", "AKIANEW": "new secret", "AKIATHIRD": "third secret"},
		Instances: []ec2test.Instance{
			{ID: "i-old", VPC: "vpc-1", Zone: "a", Role: "failover"}, {ID: "i-new", VPC: "vpc-1", Zone: "a", Role: "failover"},
			{ID: "i-third", VPC: "vpc-1", Zone: "a", Role: "failover"}, {ID: "i-far", VPC: "vpc-1", Zone: "c"},
		},
		Interfaces: []ec2test.Interface{
			primary("eni-old", "i-old", "a", "10.0.0.1"), primary("eni-new", "i-new", "a", "10.0.0.2"),
			primary("eni-third", "i-third", "a", "10.0.0.3"), primary("eni-far", "i-far", "c", "10.0.1.4"),
			{ID: "eni-move", Subnet: "subnet-a", VPC: "vpc-1", Zone: "a", MAC: "02:00:00:00:00:99", Addresses: []string{"10.0.0.100"},
				Attachment: &ec2test.Attachment{ID: "eni-attach-old", Instance: "i-old", Index: 1, Since: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)}},
		},
		Addresses: []ec2test.Address{{Allocation: "eipalloc-1", Public: "203.0.113.1", Association: "eipassoc-old", Interface: "eni-old", Private: "10.0.0.1"}},
		RouteTables: []ec2test.RouteTable{
			{ID: "rtb-1", VPC: "vpc-1", Routes: []ec2test.Route{{Prefix: "10.0.0.0/16", Target: "local"}, {Prefix: "10.9.0.0/24", Interface: "eni-old"}, {Prefix: "0.0.0.0/0", Target: "igw-1"}}},
			{ID: "rtb-2", VPC: "vpc-1", Routes: []ec2test.Route{{Prefix: "10.0.0.0/16", Target: "local"}}},
		},
		Tags: map[string]map[string]string{"i-old": {"Name": "server old"}, "i-new": {"Name": "server-new", "role": "db"}, "i-third": {"role": "db"}},
	}
}

func primary(id, instance, zone, addr string) ec2test.Interface {
	mac := "02:00:00:00:00:0" + addr[len(addr)-1:]
	return ec2test.Interface{ID: id, Subnet: "subnet-" + zone, VPC: "vpc-1", Zone: zone, MAC: mac, Addresses: []string{addr},
		Attachment: &ec2test.Attachment{ID: "eni-attach-" + strings.TrimPrefix(id, "eni-") + "0", Instance: instance}}
}

// client asks the fake directly, as the host with this key.
func client(f *ec2test.Fake, key string) *ec2.Client {
	return &ec2.Client{
		Endpoint: &url.URL{Scheme: "https", Host: "ec2.ap-northeast-1.amazonaws.com", Path: "/"}, Region: "ap-northeast-1",
		Credentials: keys(key, f.World().Keys[key]), HTTP: f.Client(), UserAgent: "murakumo-ec2/test",
	}
}

func keys(id, secret string) aws.CredentialsProvider {
	c := credentials.NewStaticCredentialsProvider(id, secret, "")
	c.Value.Source = "of a test"
	return c
}

// within gives a context as a command with --timeout has it.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, errTimeout)
	t.Cleanup(cancel)
	return ctx
}

var errTimeout = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string { return "not finished in time (--timeout)" }

// roundTripper answers by a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) Do(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}
