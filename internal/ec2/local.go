package ec2

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// A kernelRoute is a line of the kernel's table.
type kernelRoute struct {
	to     netip.Prefix
	via    string // interface
	metric uint64
}

const (
	routeUp     = 0x1   // RTF_UP
	routeReject = 0x200 // RTF_REJECT: unreachable, blackhole, prohibit
)

// parseRoutes4 reads /proc/net/route (proc(5)): a heading, then lines of
// interface, destination, gateway, flags, two counters, metric, mask, … with
// addresses in hexadecimal, in the order of this machine's memory, which is
// little-endian on every kind of EC2 instance.
func parseRoutes4(r io.Reader) []kernelRoute {
	var all []kernelRoute
	for sc := bufio.NewScanner(r); sc.Scan(); {
		f := strings.Fields(sc.Text())
		if len(f) < 8 || f[0] == "Iface" {
			continue
		}
		to, err1 := hex.DecodeString(f[1])
		mask, err2 := hex.DecodeString(f[7])
		flags, err3 := strconv.ParseUint(f[3], 16, 32)
		metric, err4 := strconv.ParseUint(f[6], 10, 64)
		if errors.Join(err1, err2, err3, err4) != nil || len(to) != 4 || len(mask) != 4 || flags&routeUp == 0 || flags&routeReject != 0 {
			continue
		}
		ones, bits := net.IPMask{mask[3], mask[2], mask[1], mask[0]}.Size()
		if bits == 0 {
			continue
		}
		addr := netip.AddrFrom4([4]byte{to[3], to[2], to[1], to[0]})
		all = append(all, kernelRoute{netip.PrefixFrom(addr, ones), f[0], metric})
	}
	return all
}

// parseRoutes6 reads /proc/net/ipv6_route: destination and its length, source
// and its length, next hop, metric, two counters, flags, interface; all numbers
// in hexadecimal.
func parseRoutes6(r io.Reader) []kernelRoute {
	var all []kernelRoute
	for sc := bufio.NewScanner(r); sc.Scan(); {
		f := strings.Fields(sc.Text())
		if len(f) < 10 {
			continue
		}
		to, err1 := hex.DecodeString(f[0])
		ones, err2 := strconv.ParseUint(f[1], 16, 8)
		metric, err3 := strconv.ParseUint(f[5], 16, 64)
		flags, err4 := strconv.ParseUint(f[8], 16, 32)
		addr, ok := netip.AddrFromSlice(to)
		if errors.Join(err1, err2, err3, err4) != nil || !ok || flags&routeUp == 0 || flags&routeReject != 0 {
			continue
		}
		all = append(all, kernelRoute{netip.PrefixFrom(addr, int(ones)), f[9], metric})
	}
	return all
}

// best gives the route that the kernel takes to an address: the longest prefix,
// then the least metric.
func best(routes []kernelRoute, to netip.Addr) (kernelRoute, bool) {
	var found kernelRoute
	ok := false
	for _, r := range routes {
		if r.to.Contains(to) && (!ok || r.to.Bits() > found.to.Bits() || r.to.Bits() == found.to.Bits() && r.metric < found.metric) {
			found, ok = r, true
		}
	}
	return found, ok
}

// defaultRoute gives the default route with the least metric.
func defaultRoute(routes []kernelRoute) (kernelRoute, bool) {
	var found kernelRoute
	ok := false
	for _, r := range routes {
		if r.to.Bits() == 0 && (!ok || r.metric < found.metric) {
			found, ok = r, true
		}
	}
	return found, ok
}

// The kernel's tables. Network namespaces have their own; /proc/net is that of
// the process.
const (
	routes4File = "/proc/net/route"
	routes6File = "/proc/net/ipv6_route"
)

func readRoutes(path string, parse func(io.Reader) []kernelRoute) ([]kernelRoute, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parse(f), nil
}

// An OwnAddress is an address of this host and the interface that has it.
type OwnAddress struct {
	Address   netip.Addr `json:"address"`
	Interface string     `json:"interface"`
}

// LocalAddress gives the first address of the interface with the default route:
// the IPv4 one, or on a host without an IPv4 default route the IPv6 one. It
// asks the kernel and nobody else.
func LocalAddress() (OwnAddress, error) {
	for _, table := range []struct {
		file  string
		parse func(io.Reader) []kernelRoute
		fits  func(netip.Addr) bool
	}{
		{routes4File, parseRoutes4, netip.Addr.Is4},
		{routes6File, parseRoutes6, netip.Addr.Is6},
	} {
		routes, err := readRoutes(table.file, table.parse)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return OwnAddress{}, err
		}
		r, ok := defaultRoute(routes)
		if !ok || r.via == "lo" {
			continue
		}
		i, err := net.InterfaceByName(r.via)
		if err != nil {
			return OwnAddress{}, fmt.Errorf("interface %s, which has the default route: %w", r.via, err)
		}
		addrs, err := i.Addrs()
		if err != nil {
			return OwnAddress{}, fmt.Errorf("addresses of %s: %w", r.via, err)
		}
		for _, a := range addrs {
			// The kernel lists the primary address before the secondary ones.
			if n, ok := a.(*net.IPNet); ok {
				if addr, ok := netip.AddrFromSlice(n.IP); ok && table.fits(addr.Unmap()) && addr.IsGlobalUnicast() {
					return OwnAddress{addr.Unmap(), r.via}, nil
				}
			}
		}
		return OwnAddress{}, fmt.Errorf("interface %s has the default route and no address", r.via)
	}
	return OwnAddress{}, errors.New("no default route (ip route show default), so no interface to tell the address of")
}

// MetadataRoute warns when this host would not find its metadata service any
// more, "" when it would. A second interface is the usual reason: its DHCP
// client replaced the route, or took it to the new interface, where the service
// answers for another address.
func MetadataRoute() string {
	routes, err := readRoutes(routes4File, parseRoutes4)
	if err != nil {
		return "" // no such table here, nothing to say
	}
	return metadataRoute(routes)
}

func metadataRoute(routes []kernelRoute) string {
	main, hasDefault := defaultRoute(routes)
	r, ok := best(routes, netip.MustParseAddr(MetadataAddress))
	switch {
	case !ok:
		return fmt.Sprintf("there is no route to the metadata service (%s): the instance's role and region cannot be read any more; ip route add %s dev INTERFACE, with the first interface", MetadataAddress, MetadataAddress)
	case hasDefault && r.via != main.via:
		return fmt.Sprintf("the route to the metadata service (%s) leads over %s and not over %s, which has the default route: ip route replace %s dev %s", MetadataAddress, r.via, main.via, MetadataAddress, main.via)
	}
	return ""
}
