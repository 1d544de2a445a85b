package node

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"murakumo/internal/catalog"
	"murakumo/internal/config"
)

// TestRetell: whatever the lines and files say, with names twice, in several places, of
// several addresses, among aliases that come and go and with little room, what is published
// is each once, in the order of the files, as far as there is room.
func TestRetell(t *testing.T) {
	self := netip.MustParseAddr("10.0.0.1")
	genName := rapid.SampledFrom([]string{"self", "a", "b", "c", "c.x", "d", "e"})
	genAddr := rapid.SampledFrom([]netip.Addr{self, netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::1")})
	genHost := rapid.Custom(func(t *rapid.T) config.StaticHost {
		return config.StaticHost{Addr: genAddr.Draw(t, "addr"), Names: rapid.SliceOfN(genName, 1, 4).Draw(t, "names")}
	})
	genFile := rapid.Custom(func(t *rapid.T) config.Hosts {
		var text strings.Builder
		for _, h := range rapid.SliceOfN(genHost, 0, 6).Draw(t, "lines") {
			fmt.Fprintln(&text, h.Addr, strings.Join(h.Names, " "))
		}
		hosts, bad, _ := config.ParseHosts("hosts", []byte(text.String()), &config.Config{})
		if len(bad) > 0 {
			t.Fatal(bad)
		}
		return hosts
	})
	rapid.Check(t, func(t *rapid.T) {
		r := newRecords(catalog.New(catalog.Options{Self: self}), slog.New(slog.DiscardHandler))
		first := turn{host: config.Host{Addrs: []netip.Addr{self}, Name: "self", TTL: 60}, origin: true, limit: rapid.IntRange(1, 12).Draw(t, "max-records"), told: new(told)}
		if err := r.turn(first); err != nil {
			t.Fatal(err)
		}
		aliases := map[string]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"tell": func(t *rapid.T) {
				said := &told{ttl: uint32(rapid.IntRange(1, 2).Draw(t, "ttl")), lines: rapid.SliceOfN(genHost, 0, 3).Draw(t, "lines")}
				for i := range rapid.IntRange(0, 2).Draw(t, "files") {
					said.files = append(said.files, toldFile{fmt.Sprint("/", i), genFile.Draw(t, "file")})
				}
				r.tell(said)
			},
			"add": func(t *rapid.T) {
				name := genName.Draw(t, "name")
				if _, err := r.add([]config.Alias{{Name: name, TTL: 60, Priority: catalog.Master, Weight: 1}}); err == nil && name != "self" {
					aliases[name] = true
				}
			},
			"remove": func(t *rapid.T) {
				name := genName.Draw(t, "name")
				if r.check(name) == nil {
					r.withdraw(name)
					r.remove(name)
					delete(aliases, name)
				}
			},
			"": func(t *rapid.T) {
				want := map[catalog.Key]uint32{{Name: "self", Addr: self}: 60}
				for name := range aliases {
					want[catalog.Key{Name: name, Addr: self}] = 60
				}
				for n := range r.told.names() {
					if n.Name != "self" && !aliases[n.Name] && len(want) < r.limit {
						want[n.Key] = r.told.ttl
					}
				}
				own, got := r.cat.View().Own(), map[catalog.Key]uint32{}
				for rec := range own.Records() {
					got[rec.Key()] = rec.TTL
				}
				if !maps.Equal(got, want) || own.Len() != len(want) || r.telling != len(want)-1-len(aliases) {
					t.Fatalf("%v, %d of them static, expected %v", got, r.telling, want)
				}
				// A record that had been put twice would be in the hash twice.
				anew, err := catalog.DecodeSet(own.Encode(), 0)
				if err != nil || anew.Hash() != own.Hash() {
					t.Fatalf("a set that no peer would have as this one: %v", err)
				}
				for n := range r.cat.View().Names() {
					if !slices.ContainsFunc(n.Entries(), func(e catalog.Entry) bool { return e.Name == n.Name() }) {
						t.Fatalf("%q has no record", n.Name())
					}
				}
			},
		})
	})
}
