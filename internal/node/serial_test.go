package node

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"murakumo/internal/config"
)

// TestSerialOverReload: a reload that makes another zone of the same table raises
// the serial, any other leaves it.
func TestSerialOverReload(t *testing.T) {
	dir := t.TempDir()
	parse := func(lines ...string) *config.Config {
		text := "auth-key: a key for this test\nhost: 127.0.0.1, server-01\nworking-dir: " + dir + "\nsocket: " + dir + "/s\ninitial-nodes: 127.0.0.1\n" + strings.Join(lines, "\n") + "\n"
		cfg, err := config.Parse("f", []byte(text), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Port, cfg.Gossip.Port, cfg.Bind = 0, 0, []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		return cfg
	}
	n, err := New(parse("domain: a.example"), Env{Log: slog.New(slog.DiscardHandler)}, "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "the node runs", func() string {
		n.changing.Lock()
		defer n.changing.Unlock()
		if !n.running {
			return "not yet"
		}
		return ""
	})
	serial := func(domain string) uint32 {
		t.Helper()
		m, err := dns.Exchange(new(dns.Msg).SetQuestion(domain, dns.TypeSOA), n.dns.Addrs()[0].String())
		if err != nil || len(m.Answer) != 1 {
			t.Fatalf("SOA of %s: %v, %v", domain, m, err)
		}
		return m.Answer[0].(*dns.SOA).Serial
	}
	was := serial("a.example.")
	for _, tt := range []struct {
		domain string
		rises  bool
		lines  []string
	}{
		{"a.example.", false, nil},
		{"a.example.", true, []string{"negative-ttl: 7"}},
		{"a.example.", false, []string{"negative-ttl: 7", "max-ip-num: 3", "log-level: debug", "balancing: {a: {algorithm: random}}"}},
		{"a.example.", true, []string{"negative-ttl: 7", "name-excludes: secret"}},
		{"a.example.", true, []string{"negative-ttl: 7", "when-empty: {web: all}"}},
		{"b.example.", true, nil},
	} {
		next := parse(append(tt.lines, "domain: "+tt.domain)...)
		if err := n.Reload(func() (*config.Config, error) { return next, nil }); err != nil {
			t.Fatal(err)
		}
		is := serial(tt.domain)
		if rises := int32(is-was) > 0; rises != tt.rises {
			t.Errorf("%s %q: serial %d after %d", tt.domain, tt.lines, is, was)
		}
		was = is
	}
}
