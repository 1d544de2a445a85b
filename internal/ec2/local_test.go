package ec2

import (
	"net/netip"
	"strings"
	"testing"
)

// Routes as the kernel of an instance with two interfaces prints them.
const (
	heading  = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	eth0     = "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
	eth1     = "eth1\t00000000\t0101000A\t0003\t0\t0\t10001\t00000000\t0\t0\t0\n"
	eth1Best = "eth1\t00000000\t0101000A\t0003\t0\t0\t50\t00000000\t0\t0\t0\n"
	subnet   = "eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
	imds0    = "eth0\tFEA9FEA9\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"
	imds1    = "eth1\tFEA9FEA9\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"
	zeroconf = "eth1\t0000FEA9\t00000000\t0001\t0\t0\t1003\t0000FFFF\t0\t0\t0\n"
	blocked  = "*\tFEA9FEA9\t00000000\t0201\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"
	broken   = "eth0\tzz\t00\nshort\n"
)

func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		name, table string
		main        string // interface of the default route
		say         string // of the warning
	}{
		{"one interface", heading + eth0 + subnet, "eth0", ""},
		{"a route of its own", heading + eth0 + imds0 + subnet, "eth0", ""},
		{"two interfaces", heading + eth1 + eth0 + subnet, "eth0", ""},
		{"the second has the better default route", heading + eth0 + eth1Best, "eth1", ""},
		{"the second has the service's route", heading + eth0 + imds1, "eth0", "the route to the metadata service (169.254.169.254) leads over eth1 and not over eth0, which has the default route: ip route replace 169.254.169.254 dev eth0"},
		{"the second has link-local addresses", heading + eth0 + zeroconf, "eth0", "leads over eth1"},
		{"only the subnet", heading + subnet, "", "there is no route to the metadata service (169.254.169.254)"},
		{"an unreachable route is none", heading + blocked + subnet, "", "there is no route"},
		{"nothing", "", "", "there is no route"},
		{"broken lines are left out", heading + broken + eth0, "eth0", ""},
	} {
		routes := parseRoutes4(strings.NewReader(c.table))
		if r, _ := defaultRoute(routes); r.via != c.main {
			t.Errorf("%s: default route over %q", c.name, r.via)
		}
		if w := metadataRoute(routes); !strings.Contains(w, c.say) || (w == "") != (c.say == "") {
			t.Errorf("%s: warning %q", c.name, w)
		}
	}
}

func TestBestRoute(t *testing.T) {
	routes := parseRoutes4(strings.NewReader(heading + eth0 + eth1 + subnet))
	for addr, via := range map[string]string{"10.0.0.7": "eth0", "192.0.2.1": "eth0"} {
		if r, ok := best(routes, netip.MustParseAddr(addr)); !ok || r.via != via {
			t.Errorf("%s over %q", addr, r.via)
		}
	}
	if r, _ := best(routes, netip.MustParseAddr("10.0.0.7")); r.to.String() != "10.0.0.0/24" {
		t.Error(r)
	}
}

func TestRoutes6(t *testing.T) {
	const zero = "00000000000000000000000000000000"
	table := zero + " 00 " + zero + " 00 fe80000000000000000000000000aaaa 00000400 00000001 00000000 00000003     eth0\n" +
		"20010db8000000000000000000000000 40 " + zero + " 00 " + zero + " 00000100 00000001 00000000 00000001     eth0\n" +
		zero + " 00 " + zero + " 00 " + zero + " ffffffff 00000001 00000000 00200200       lo\n"
	routes := parseRoutes6(strings.NewReader(table))
	if len(routes) != 2 || routes[1].to.String() != "2001:db8::/64" {
		t.Errorf("%v", routes)
	}
	if r, ok := defaultRoute(routes); !ok || r.via != "eth0" || r.metric != 0x400 {
		t.Error(r, ok)
	}
}

// What this machine's kernel tells can be read.
func TestLocalAddress(t *testing.T) {
	own, err := LocalAddress()
	if err != nil {
		if !strings.Contains(err.Error(), "default route") {
			t.Error(err)
		}
		t.Log(err) // no network here
		return
	}
	if !own.Address.IsValid() || own.Interface == "" {
		t.Errorf("%+v", own)
	}
}
