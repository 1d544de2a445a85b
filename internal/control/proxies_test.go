package control

import (
	"net/netip"
	"testing"
)

func TestProxies(t *testing.T) {
	n := newFakeNode(t)
	c, stop := serve(t, n)
	defer stop()
	got, err := c.Proxies(t.Context())
	if err != nil || len(got) != 1 || got[0].Name != "mysql" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestProxiesText(t *testing.T) {
	if s := ProxiesText(nil); s != "No listeners\n" {
		t.Errorf("none: %q", s)
	}
	got := ProxiesText([]Proxy{
		{Name: "mysql", Listen: netip.MustParseAddrPort("127.0.0.1:3306"), To: "mysql-server:3306", Open: 2, Total: 1234567, Rejected: 1, Backends: []ProxyBackend{
			{Address: netip.MustParseAddrPort("10.0.0.133:3306"), Weight: 100, Status: "up", Open: 2, Total: 1234566, Failures: 3, Sent: 9999, Received: 12_345_678_901, Connect: 0.00042},
			{Address: netip.MustParseAddrPort("10.0.0.55:3306"), Weight: 1, Status: "failing", Error: "connect: connection refused"},
		}},
		{Name: "web", Listen: netip.MustParseAddrPort("[::]:80"), To: "web:80", Error: "address already in use", Unresolved: []string{"backend db.example:80: no such host"}},
	})
	const want = `Listener  Address          State    Weight  Open    Total  Failed  Sent  Received  Connect
mysql     127.0.0.1:3306   listens       -     2  1234567       1     -         -        -
          10.0.0.133:3306  up          100     2  1234566       3  9999       12G    420µs
          10.0.0.55:3306   failing       1     0        0       0     0         0        -
web       [::]:80          down          -     0        0       0     -         -        -
mysql: 10.0.0.55:3306: connect: connection refused
web: address already in use
web: backend db.example:80: no such host
web: no backend: the table has no Active record for web:80
`
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}
