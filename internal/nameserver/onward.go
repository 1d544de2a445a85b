package nameserver

import (
	"encoding/binary"
	"net/netip"

	"murakumo/internal/catalog"
)

// onward makes an inquiry of a common question that is one for the resolvers: about a
// name that the table does not have, by who may have it forwarded. All others are for
// handle.
func (k *quick) onward(a *common, raw []byte, from netip.Addr, now *policy, v *catalog.View) {
	const rd = flagRD >> 8
	if !now.routes.any() || raw[2]&rd == 0 || k.key[1] == '_' || a.under && now.rules.DomainOwned || !now.rules.mayRecurse(from) {
		return
	}
	if v.Name(k.bareText(a)) != nil {
		return
	}
	var addr [16]byte
	if n := readReverse(addr[:], k.key[:a.name]); n > 0 {
		if ip, _ := netip.AddrFromSlice(addr[:n]); len(v.Addr(ip.Unmap())) > 0 {
			return
		}
	}
	in := &k.in
	in.client = client{
		id: binary.BigEndian.Uint16(raw), rd: true, cd: raw[3]&flagCD != 0,
		edns: a.edns, do: a.do, limit: uint16(a.limit),
	}
	bits := byte(0)
	if a.edns {
		bits |= bitEDNS
	}
	if a.do {
		bits |= bitDO
	}
	if raw[3]&flagAD != 0 {
		bits |= bitAD
	}
	if in.cd {
		bits |= bitCD
	}
	in.about(raw[headerSize:headerSize+a.name+1], a.qtype, bits, now.routes)
}
