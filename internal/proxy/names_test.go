package proxy

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestNames: the names of a list are looked up again and again, each by itself;
// what was found stays in use while looking up fails, and is seen to fail.
func TestNames(t *testing.T) {
	h := newHarness(t, native)
	h.proxy.opts.again = time.Millisecond
	var mu sync.Mutex
	found := map[string][]string{"a.example": {"127.0.0.1"}}
	h.proxy.opts.Resolve = func(ctx context.Context, host string) (addrs []netip.Addr, err error) {
		if host == "slow.example" {
			<-ctx.Done() // its server is dead: the others do not wait
			return nil, ctx.Err()
		}
		mu.Lock()
		defer mu.Unlock()
		for _, s := range found[host] {
			addrs = append(addrs, netip.MustParseAddr(s))
		}
		if addrs == nil {
			return nil, errors.New("no such host")
		}
		return addrs, nil
	}
	c := h.listener()
	for _, host := range []string{"slow.example", "a.example", "b.example"} {
		c.Backends = append(c.Backends, Backend{Host: host, Port: 80, Weight: 1})
	}
	h.proxy.Apply([]Config{c})
	expect := func(unresolved []string, want ...string) {
		t.Helper()
		h.eventually("the backends", func() bool {
			st := h.proxy.Stats()
			var got []string
			if len(st) == 1 {
				for _, b := range st[0].Backends {
					got = append(got, b.Addr.Addr().String())
				}
			}
			slices.Sort(got)
			return slices.Equal(got, want) && slices.Equal(st[0].Unresolved, unresolved)
		})
	}
	set := func(host string, addrs ...string) {
		mu.Lock()
		defer mu.Unlock()
		found[host] = addrs
	}
	none := []string{"backend b.example:80: no such host"}
	expect(none, "127.0.0.1")
	set("a.example", "127.0.0.3", "127.0.0.2")
	expect(none, "127.0.0.2", "127.0.0.3")
	set("b.example", "127.0.0.4")
	expect(nil, "127.0.0.2", "127.0.0.3", "127.0.0.4")
	set("a.example")
	expect([]string{"backend a.example:80: no such host"}, "127.0.0.2", "127.0.0.3", "127.0.0.4")
	set("a.example", "127.0.0.2")
	expect(nil, "127.0.0.2", "127.0.0.4")
}
