package ec2test_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"murakumo/internal/ec2"
	"murakumo/internal/ec2/ec2test"
)

func world() ec2test.World {
	return ec2test.World{
		Keys:    map[string]string{"AKIA": "secret"},
		Denied:  []string{"CreateTags"},
		Subnets: map[string]string{"s": "10.0.0.0/24"},
		Instances: []ec2test.Instance{
			{ID: "i-1", VPC: "vpc-1", Zone: "a", MaxInterfaces: 2, MaxAddresses: 2, Role: "r"}, {ID: "i-2", VPC: "vpc-1", Zone: "a"},
			{ID: "i-gone", VPC: "vpc-1", Zone: "a", State: "terminated"}, {ID: "i-far", VPC: "vpc-1", Zone: "c"}, {ID: "i-hung", VPC: "vpc-1", Zone: "a", Hung: true},
		},
		Interfaces: []ec2test.Interface{
			{ID: "eni-1", Subnet: "s", VPC: "vpc-1", Zone: "a", MAC: "02:01", Addresses: []string{"10.0.0.1"}, Attachment: &ec2test.Attachment{ID: "eni-attach-1", Instance: "i-1"}},
			{ID: "eni-2", Subnet: "s", VPC: "vpc-1", Zone: "a", MAC: "02:02", Addresses: []string{"10.0.0.2", "10.0.0.9"}, IPv6: []string{"2001:db8::9"}, Attachment: &ec2test.Attachment{ID: "eni-attach-2", Instance: "i-2"}},
			{ID: "eni-used", Subnet: "s", VPC: "vpc-1", Zone: "a", Addresses: []string{"10.0.0.3"}, Attachment: &ec2test.Attachment{ID: "eni-attach-3", Instance: "i-2", Index: 1}},
			{ID: "eni-hung", Subnet: "s", VPC: "vpc-1", Zone: "a", Addresses: []string{"10.0.0.4"}, Attachment: &ec2test.Attachment{ID: "eni-attach-4", Instance: "i-hung", Index: 1}},
			{ID: "eni-free", Subnet: "s", VPC: "vpc-1", Zone: "a", Addresses: []string{"10.0.0.5"}},
			{ID: "eni-free2", Subnet: "s", VPC: "vpc-1", Zone: "a", Addresses: []string{"10.0.0.6"}},
		},
		Addresses: []ec2test.Address{
			{Allocation: "eipalloc-1", Public: "203.0.113.1", Association: "eipassoc-1", Interface: "eni-2", Private: "10.0.0.2"},
			{Allocation: "eipalloc-2", Public: "203.0.113.2"},
		},
		RouteTables: []ec2test.RouteTable{{ID: "rtb-1", VPC: "vpc-1", Routes: []ec2test.Route{{Prefix: "10.9.0.0/24", Interface: "eni-2"}}}, {ID: "rtb-2", VPC: "vpc-2"}},
		Tags:        map[string]map[string]string{"i-1": {"Name": "one"}},
	}
}

func client(f *ec2test.Fake) *ec2.Client {
	return &ec2.Client{
		Endpoint: &url.URL{Scheme: "https", Host: "ec2", Path: "/"}, Region: "ap-northeast-1",
		Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", ""), HTTP: f.Client(),
	}
}

// ask sends one request, "Action Key=Value …", and gives the code of the error,
// "" if it was done.
func ask(t *testing.T, c *ec2.Client, request string) string {
	t.Helper()
	words := strings.Fields(request)
	p := ec2.Params{}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		p[k] = v
	}
	_, err := c.Do(t.Context(), ec2.Call{Action: words[0], Params: p, Retry: ec2.Never})
	if e, ok := errors.AsType[*ec2.APIError](err); ok {
		return e.Code
	}
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return ""
}

// The rules, each with the request that breaks it. Every row has a world of its
// own.
func TestRules(t *testing.T) {
	const attach = "AttachNetworkInterface InstanceId=i-1 DeviceIndex=1 NetworkInterfaceId="
	for _, c := range []struct{ request, code string }{
		{attach + "eni-free", ""},
		{attach + "eni-used", "InvalidNetworkInterface.InUse"},
		{attach + "eni-none", "InvalidNetworkInterfaceID.NotFound"},
		{attach + "x", "InvalidNetworkInterfaceId.Malformed"},
		{"AttachNetworkInterface InstanceId=i-none DeviceIndex=1 NetworkInterfaceId=eni-free", "InvalidInstanceID.NotFound"},
		{"AttachNetworkInterface InstanceId=i-gone DeviceIndex=1 NetworkInterfaceId=eni-free", "IncorrectInstanceState"},
		{"AttachNetworkInterface InstanceId=i-far DeviceIndex=1 NetworkInterfaceId=eni-free", "InvalidParameterCombination"},
		{"AttachNetworkInterface InstanceId=i-2 DeviceIndex=1 NetworkInterfaceId=eni-free", "InvalidParameterValue"},
		{"AttachNetworkInterface InstanceId=i-1 NetworkInterfaceId=eni-free", "MissingParameter"},
		{attach + "eni-free NetworkCard=1", "UnknownParameter"},
		{attach + "eni-used DryRun=true", "DryRunOperation"},
		{"DetachNetworkInterface AttachmentId=eni-attach-3", ""},
		{"DetachNetworkInterface AttachmentId=eni-attach-2", "OperationNotPermitted"},
		{"DetachNetworkInterface AttachmentId=eni-attach-99", "InvalidAttachmentID.NotFound"},
		{"DetachNetworkInterface AttachmentId=99", "InvalidAttachmentID.Malformed"},
		{"AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1", ""},
		{"AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-1 AllowReassociation=false", "Resource.AlreadyAssociated"},
		{"AssociateAddress AllocationId=eipalloc-1 NetworkInterfaceId=eni-2 AllowReassociation=false", ""},
		{"AssociateAddress AllocationId=eipalloc-2 NetworkInterfaceId=eni-2 AllowReassociation=false", "Resource.AlreadyAssociated"},
		{"AssociateAddress AllocationId=eipalloc-9 NetworkInterfaceId=eni-1", "InvalidAllocationID.NotFound"},
		{"AssociateAddress AllocationId=eipalloc-2 NetworkInterfaceId=eni-1 PrivateIpAddress=10.0.0.9", "InvalidParameterValue"},
		{"DisassociateAddress AssociationId=eipassoc-1", ""},
		{"DisassociateAddress AssociationId=eipassoc-9", ""},
		{"AssignPrivateIpAddresses NetworkInterfaceId=eni-1 PrivateIpAddress.1=10.0.0.77", ""},
		{"AssignPrivateIpAddresses NetworkInterfaceId=eni-1 PrivateIpAddress.1=10.0.0.9", "InvalidIPAddress.InUse"},
		{"AssignPrivateIpAddresses NetworkInterfaceId=eni-1 PrivateIpAddress.1=10.0.0.9 AllowReassignment=true", ""},
		{"AssignPrivateIpAddresses NetworkInterfaceId=eni-1 PrivateIpAddress.1=10.0.0.2 AllowReassignment=true", "InvalidParameterValue"},
		{"AssignPrivateIpAddresses NetworkInterfaceId=eni-1 PrivateIpAddress.1=10.0.0.77 PrivateIpAddress.2=10.0.0.78", "PrivateIpAddressLimitExceeded"},
		{"AssignPrivateIpAddresses NetworkInterfaceId=eni-1 PrivateIpAddress.1=10.0.1.7", "InvalidParameterValue"},
		{"AssignPrivateIpAddresses NetworkInterfaceId=eni-1 PrivateIpAddress.1=10.0.0.3", "InvalidParameterValue"},
		{"AssignPrivateIpAddresses NetworkInterfaceId=eni-1 PrivateIpAddress.1=10.0.0.255", "InvalidParameterValue"},
		{"UnassignPrivateIpAddresses NetworkInterfaceId=eni-2 PrivateIpAddress.1=10.0.0.9", ""},
		{"UnassignPrivateIpAddresses NetworkInterfaceId=eni-2 PrivateIpAddress.1=10.0.0.2", "InvalidParameterValue"},
		{"UnassignPrivateIpAddresses NetworkInterfaceId=eni-1 PrivateIpAddress.1=10.0.0.9", "InvalidParameterValue"},
		{"AssignIpv6Addresses NetworkInterfaceId=eni-1 Ipv6Addresses.1=2001:db8::9", "InvalidIPAddress.InUse"},
		{"AssignIpv6Addresses NetworkInterfaceId=eni-1 Ipv6Addresses.1=2001:db8::8", ""},
		{"UnassignIpv6Addresses NetworkInterfaceId=eni-1 Ipv6Addresses.1=2001:db8::9", "InvalidParameterValue"},
		{"CreateRoute RouteTableId=rtb-1 NetworkInterfaceId=eni-1 DestinationCidrBlock=10.9.0.0/24", "RouteAlreadyExists"},
		{"CreateRoute RouteTableId=rtb-1 NetworkInterfaceId=eni-1 DestinationCidrBlock=10.8.0.0/24", ""},
		{"CreateRoute RouteTableId=rtb-1 NetworkInterfaceId=eni-1 DestinationCidrBlock=10.8.0.1/24", "InvalidParameterValue"},
		{"CreateRoute RouteTableId=rtb-2 NetworkInterfaceId=eni-1 DestinationCidrBlock=10.8.0.0/24", "InvalidParameterValue"},
		{"ReplaceRoute RouteTableId=rtb-1 NetworkInterfaceId=eni-1 DestinationCidrBlock=10.8.0.0/24", "InvalidParameterValue"},
		{"ReplaceRoute RouteTableId=rtb-9 NetworkInterfaceId=eni-1 DestinationCidrBlock=10.9.0.0/24", "InvalidRouteTableID.NotFound"},
		{"CreateTags ResourceId.1=eni-1 Tag.1.Key=a Tag.1.Value=b", "UnauthorizedOperation"},
		{"CreateTags ResourceId.1=eni-1 Tag.1.Key=a Tag.1.Value=b DryRun=true", "UnauthorizedOperation"},
		{"DescribeInstances MaxResults=4", "InvalidParameterValue"},
		{"DescribeInstances MaxResults=5 InstanceId.1=i-1", "InvalidParameterCombination"},
		{"DescribeInstances InstanceId.1=i-none", "InvalidInstanceID.NotFound"},
		{"DescribeInstances Filter.1.Name=color Filter.1.Value.1=red", "InvalidParameterValue"},
		{"DescribeInstances Filter.1.Name=vpc-id", "InvalidParameterValue"},
		{"DescribeInstances NextToken=x", "InvalidPaginationToken"},
		{"DescribeNetworkInterfaces NetworkInterfaceId.1=eni-none", "InvalidNetworkInterfaceID.NotFound"},
		{"DescribeAddresses PublicIp.1=192.0.2.1", "InvalidAddress.NotFound"},
		{"DescribeRouteTables RouteTableId.1=rtb-9", "InvalidRouteTableID.NotFound"},
		{"RunInstances", "InvalidAction"},
		{"DescribeTags Version=2010-01-01", "NoSuchVersion"},
	} {
		synctest.Test(t, func(t *testing.T) {
			if code := ask(t, client(ec2test.New(world(), ec2test.Options{})), c.request); code != c.code {
				t.Errorf("%s: got %q, want %q", c.request, code, c.code)
			}
		})
	}
}

// status gives what DescribeNetworkInterfaces tells of one.
func status(t *testing.T, c *ec2.Client, id string) string {
	t.Helper()
	r, err := c.Do(t.Context(), ec2.Call{Action: "DescribeNetworkInterfaces", Params: ec2.Params{"NetworkInterfaceId.1": id}, Retry: ec2.Never})
	if err != nil {
		t.Fatal(err)
	}
	return r.Root.Items("networkInterfaceSet")[0].Str("status")
}

// Attaching and detaching take time, and a hung instance needs force.
func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []ec2test.Change
		f := ec2test.New(world(), ec2test.Options{AttachDelay: 2 * time.Second, DetachDelay: 4 * time.Second, OnChange: func(c ec2test.Change) { told = append(told, c) }})
		c := client(f)
		is := func(id, want string) {
			t.Helper()
			if got := status(t, c, id); got != want {
				t.Errorf("%s is %s, want %s", id, got, want)
			}
		}
		does := func(request, want string) {
			t.Helper()
			if code := ask(t, c, request); code != want {
				t.Errorf("%s: %q, want %q", request, code, want)
			}
		}
		does("DetachNetworkInterface AttachmentId=eni-attach-3", "")
		is("eni-used", "detaching")
		does("DetachNetworkInterface AttachmentId=eni-attach-3", "IncorrectState")
		does("AttachNetworkInterface InstanceId=i-1 DeviceIndex=1 NetworkInterfaceId=eni-used", "InvalidNetworkInterface.InUse")
		time.Sleep(4*time.Second - time.Millisecond)
		is("eni-used", "detaching")
		time.Sleep(time.Millisecond)
		is("eni-used", "available")
		does("AttachNetworkInterface InstanceId=i-1 DeviceIndex=1 NetworkInterfaceId=eni-used", "")
		is("eni-used", "attaching")
		does("AttachNetworkInterface InstanceId=i-1 DeviceIndex=2 NetworkInterfaceId=eni-free", "AttachmentLimitExceeded")
		time.Sleep(2 * time.Second)
		is("eni-used", "in-use")
		does("DetachNetworkInterface AttachmentId=eni-attach-3", "InvalidAttachmentID.NotFound")

		does("DetachNetworkInterface AttachmentId=eni-attach-4", "")
		time.Sleep(time.Hour)
		is("eni-hung", "detaching")
		does("DetachNetworkInterface AttachmentId=eni-attach-4 Force=true", "")
		time.Sleep(time.Second)
		is("eni-hung", "available")
		f.Settle()
		want := []ec2test.Change{{Interface: "eni-used", Instance: "i-2", Index: 1}, {Attached: true, Interface: "eni-used", Instance: "i-1", Index: 1}, {Interface: "eni-hung", Instance: "i-hung", Index: 1}}
		if !slices.Equal(told, want) {
			t.Errorf("told of %+v", told)
		}
	})
}

// Readings lag behind, some more and some less, and changes do not.
func TestLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(ec2test.New(world(), ec2test.Options{Lag: 3 * time.Second}))
		time.Sleep(10 * time.Second)
		ask(t, c, "DetachNetworkInterface AttachmentId=eni-attach-3")
		time.Sleep(time.Second)
		seen := map[string]int{}
		for range 200 {
			seen[status(t, c, "eni-used")]++
		}
		if seen["in-use"] == 0 || seen["available"] == 0 {
			t.Errorf("a second later: %v", seen)
		}
		if code := ask(t, c, "AttachNetworkInterface InstanceId=i-1 DeviceIndex=1 NetworkInterfaceId=eni-used"); code != "" {
			t.Error(code)
		}
		time.Sleep(3 * time.Second)
		for range 50 {
			if s := status(t, c, "eni-used"); s != "in-use" {
				t.Errorf("three seconds later: %s", s)
			}
		}
	})
}

// Completed events and instances that do not run.
func TestInstanceStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(ec2test.New(world(), ec2test.Options{}))
		for request, n := range map[string]int{"": 4, "true": 5} {
			p := ec2.Params{}
			if request != "" {
				p["IncludeAllInstances"] = request
			}
			r, err := c.Do(t.Context(), ec2.Call{Action: "DescribeInstanceStatus", Params: p, Retry: ec2.Never})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(r.Root.Items("instanceStatusSet")); got != n {
				t.Errorf("IncludeAllInstances=%q: %d, want %d", request, got, n)
			}
		}
	})
}

// A request without a signature, or with an old one, is nobody's.
func TestUnsigned(t *testing.T) {
	f := ec2test.New(world(), ec2test.Options{})
	for name, header := range map[string]string{
		"": "MissingAuthenticationToken", "AWS AKIA:sig": "IncompleteSignature", "AWS4-HMAC-SHA256 Credential=AKIA": "IncompleteSignature",
		"AWS4-HMAC-SHA256 Credential=AKIA/20260101/ap-northeast-1/ec2/aws4_request, SignedHeaders=host, Signature=00": "IncompleteSignature",
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("Action=DescribeTags&Version=2016-11-15"))
		if name != "" {
			r.Header.Set("Authorization", name)
		}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "<Code>"+header+"</Code>") {
			t.Errorf("%q: %d %s", name, w.Code, w.Body)
		}
	}
}

// The metadata service: version 2 only.
func TestMetadataRules(t *testing.T) {
	f := ec2test.New(world(), ec2test.Options{})
	h := f.Metadata(func(*http.Request) string { return "i-1" })
	get := func(method, path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	const ttl, token = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
	for _, c := range []struct {
		w      *httptest.ResponseRecorder
		status int
		what   string
	}{
		{get("GET", "/latest/meta-data/instance-id"), 401, "no token"},
		{get("GET", "/latest/meta-data/instance-id", token, "x"), 401, "a token of nobody"},
		{get("PUT", "/latest/api/token"), 400, "no lifetime"},
		{get("PUT", "/latest/api/token", ttl, "21601"), 400, "too long a lifetime"},
		{get("GET", "/latest/api/token", ttl, "60"), 405, "a token by GET"},
		{get("PUT", "/latest/api/token", ttl, "60", "X-Forwarded-For", "10.0.0.1"), 403, "a token through a proxy"},
	} {
		if c.w.Code != c.status {
			t.Errorf("%s: %d, want %d", c.what, c.w.Code, c.status)
		}
	}
	good := get("PUT", "/latest/api/token", ttl, "60").Body.String()
	if w := get("GET", "/latest/meta-data/instance-id", token, good); w.Body.String() != "i-1" {
		t.Error(w.Code, w.Body)
	}
	if w := get("GET", "/latest/meta-data/none", token, good); w.Code != http.StatusNotFound {
		t.Error(w.Code)
	}
	// The role's keys work with their session token only.
	w := get("GET", "/latest/meta-data/iam/security-credentials/r", token, good)
	if !strings.Contains(w.Body.String(), `"AccessKeyId":"ASIA1"`) {
		t.Fatal(w.Body)
	}
	c := client(f)
	c.Credentials = credentials.NewStaticCredentialsProvider("ASIA1", f.World().Keys["ASIA1"], "")
	_, err := c.Do(context.Background(), ec2.Call{Action: "DescribeTags", Retry: ec2.Never})
	if e, ok := errors.AsType[*ec2.APIError](err); !ok || e.Code != "AuthFailure" {
		t.Error(err)
	}
}
