package murakumo

// proxyMutants are about what the load balancer promises when peers vanish and
// when a reload changes it.
var proxyMutants = []mutant{
	{"a peer that is gone without a word is noticed in minutes, not hours",
		"internal/proxy/sys_linux.go", "	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveEvery)\n", "",
		"./internal/proxy", "TestKeepAlive"},
	{"0.0.0.0 is no address of IPv6",
		"internal/proxy/service.go", "	if at.Addr().Is4() {\n", "	if at.Addr().Is4() && false {\n",
		"./internal/proxy", "TestFamily"},
}
