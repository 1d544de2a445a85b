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
	{"a larger max-conns counts for the clients that wait already",
		"internal/proxy/loop_linux.go", "if l.acceptors[a.fd] == a && a.paused && l.watchAcceptor(a) == 0 {", "if l.acceptors[a.fd] == a && a.paused && a.retry != 0 && l.watchAcceptor(a) == 0 {",
		"./internal/proxy", "TestReloadChangesTimesAndBounds"},
	{"an idle-timeout counts for the connections that there are",
		"internal/proxy/deadline_linux.go", "				l.await(c, &a.idling) // no time was set until now\n", "",
		"./internal/proxy", "TestReloadChangesTimesAndBounds"},
	{"a datagram that did not leave is no datagram lost",
		"internal/proxy/udp.go", "		s.failed(ses.member, time.Now(), err)\n		s.forget(ses)\n		return false\n", "		return true\n",
		"./internal/proxy", "TestUDPRefusedLate"},
	{"a backend that does not answer keeps no other from being tried again",
		"internal/proxy/service.go", "case m := <-answered:\n", "case m := <-answered:\n			probing.Wait()\n",
		"./internal/proxy", "TestProbesDoNotWait"},
	{"whoever can connect finds the backends that are known",
		"internal/proxy/service.go", "waits := []<-chan struct{}{s.known}", "waits := []<-chan struct{}{}",
		"./internal/proxy", "TestFirstClient"},
	{"an address is handed over to the listener that has it now",
		"internal/proxy/service.go", "		waits = append(waits, before.given)\n", "		_ = before\n",
		"./internal/proxy", "TestRename"},
	{"of all tries the one that began last tells how a backend is",
		"internal/proxy/pool.go", "	if began.Before(m.latest) {\n		return false\n	}\n	m.latest = began\n	if m.ejected", "	if m.ejected",
		"./internal/proxy", "TestLatestTryTells"},
}
