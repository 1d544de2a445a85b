package murakumo

// dnsMutants are about what answers have beside the records that were asked for.
var dnsMutants = []mutant{
	{"the serial of the zone never falls, not after a kill either",
		"internal/node/state.go", "\t\ts.serial = s.data.Serial\n", "",
		"./internal/node", "TestSerial$"},
	{"the serial rises with each change, also twice a second",
		"internal/node/state.go", "s.serial = max(s.serial+1, ", "s.serial = max(s.serial, ",
		"./internal/node", "TestSerial$"},
	{"a name that has others below it exists",
		"internal/nameserver/answer.go", "if v.Below(bare) {", "if v.Below(bare) && false {",
		"./internal/nameserver", "TestAnswer$"},
	{"a name with nothing below it any more does not",
		"internal/catalog/index.go", "if (old == nil) != (n == nil) {", "if old == nil {",
		"./internal/catalog", "TestCatalogModel"},
	{"who is not in allow-query gets no answer",
		"internal/nameserver/message.go", "if !now.rules.mayAsk(from.Addr()) {", "if !now.rules.mayAsk(from.Addr()) && false {",
		"./internal/nameserver", "TestEDNS"},
	{"a cookie is good for one address only",
		"internal/nameserver/edns.go", "	mac.Write(addr[:])\n", "	mac.Write(addr[:0])\n",
		"./internal/nameserver", "TestCookie"},
	{"a cookie is good for an hour",
		"internal/nameserver/edns.go", "&& age <= cookieLife", "&& age <= 2*cookieLife",
		"./internal/nameserver", "TestCookie"},
	{"a cut reply leaves room for its options",
		"internal/nameserver/message.go", "m.Extra = q.room()", "m.Extra = nil",
		"./internal/nameserver", "TestOptionsFit"},
}
