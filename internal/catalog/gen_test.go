package catalog

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

// What the tests share: addresses, records, and random ones.

var (
	addr1 = netip.MustParseAddr("10.0.0.1")
	addr2 = netip.MustParseAddr("10.0.0.2")
	addr3 = netip.MustParseAddr("2001:db8::3")
	addrs = []netip.Addr{addr1, addr2, addr3}
	names = []string{"db", "mysql-server", "web", "web.example", "db.web.example"}
	time0 = time.Unix(1_000_000_000, 0)
)

// rec gives a record that nothing is wrong with.
func rec(name string, a netip.Addr) Record {
	return Record{Name: name, Addr: a, TTL: 60, Priority: Master, Weight: 100, Active: true}
}

// grown gives the successor of a set, as its owner makes it. Unlike Update it
// takes records of a later protocol.
func grown(s *Set, puts []Record, deletes []Key) *Set {
	next := *s
	touched := map[Key]struct{}{}
	for _, k := range deletes {
		next.drop(nil, k)
		touched[k] = struct{}{}
	}
	for _, r := range puts {
		next.put(nil, newItem(next.owner, r))
		touched[r.Key()] = struct{}{}
	}
	next.version++
	next.history = s.history.added(s.version, next.version, slices.Collect(maps.Keys(touched)))
	return &next
}

// content gives the records of a set by key.
func content(s *Set) map[Key]Record {
	m := map[Key]Record{}
	if s != nil {
		for r := range s.Records() {
			m[r.Key()] = r
		}
	}
	return m
}

// recoded sends a set over the wire.
func recoded(t testing.TB, s *Set) *Set {
	t.Helper()
	got, err := DecodeSet(s.Encode(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash() != s.Hash() || got.Version() != s.Version() || !maps.Equal(content(got), content(s)) {
		t.Fatal("a set is another after its way over the wire")
	}
	return got
}

// recodedDelta sends a delta over the wire.
func recodedDelta(t testing.TB, d *Delta) *Delta {
	t.Helper()
	got, err := DecodeDelta(d.Encode(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// kinds give a record what an alias may have beside its address.
var kinds = []func(Record) Record{
	func(r Record) Record { return r },
	func(r Record) Record { r.Port = 80; return r },
	func(r Record) Record { r.Port = 81; return r.WithText("\x03a=b\x00") },
	func(r Record) Record { r.Static, r.Checked = false, false; return r.WithTarget("www.example.") },
	func(r Record) Record { r.Static, r.Checked = false, false; return r.WithTarget("mysql-server.x") },
}

var (
	genAddr = rapid.SampledFrom(addrs)
	genKey  = rapid.Custom(func(t *rapid.T) Key {
		return Key{rapid.SampledFrom(names).Draw(t, "name"), genAddr.Draw(t, "addr")}
	})
	genUnknown = rapid.Custom(func(t *rapid.T) string {
		var b []byte
		num := protowire.Number(16)
		for range rapid.IntRange(0, 2).Draw(t, "fields") {
			num += protowire.Number(rapid.IntRange(0, 20).Draw(t, "gap"))
			if rapid.Bool().Draw(t, "varint") {
				b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), rapid.Uint64().Draw(t, "value"))
			} else {
				b = appendString(b, num, rapid.StringN(0, 5, 20).Draw(t, "value"))
			}
		}
		return string(b)
	})
	// genOwn draws what a node may publish, genRecord also what a later
	// protocol may.
	genOwn = rapid.Custom(func(t *rapid.T) Record {
		k := genKey.Draw(t, "key")
		r := Record{
			Name: k.Name, Addr: k.Addr,
			TTL:        uint32(rapid.IntRange(0, 2).Draw(t, "ttl")),
			Priority:   rapid.SampledFrom([]Priority{Master, Secondary, Backup, Origin}).Draw(t, "priority"),
			Active:     rapid.Bool().Draw(t, "active"),
			Duty:       rapid.SampledFrom([]Duty{DutyUndefined, DutyInactive, DutyActive}).Draw(t, "duty"),
			Transition: uint64(rapid.IntRange(0, 3).Draw(t, "transition")),
			Acted:      uint64(rapid.IntRange(0, 3).Draw(t, "acted")),
			Activated:  uint64(rapid.IntRange(0, 3).Draw(t, "activated")),
			Static:     rapid.Bool().Draw(t, "static"),
			Checked:    rapid.Bool().Draw(t, "checked"),
		}
		if r.Priority != Origin {
			r.Weight = uint16(rapid.IntRange(1, 2).Draw(t, "weight"))
			r = rapid.SampledFrom(kinds).Draw(t, "kind")(r)
		}
		return r
	})
	genRecord = rapid.Custom(func(t *rapid.T) Record {
		r := genOwn.Draw(t, "record")
		if rapid.IntRange(0, 3).Draw(t, "later") == 0 {
			r.Priority = 5
		}
		r = r.withUnknown(genUnknown.Draw(t, "unknown"))
		return r
	})
	genSet = rapid.Custom(func(t *rapid.T) *Set {
		s := NewSet(addr1)
		s = grown(s, rapid.SliceOfN(genRecord, 0, 6).Draw(t, "records"), nil)
		s.head(uint32(rapid.IntRange(1, 2).Draw(t, "protocol")), genUnknown.Draw(t, "header"))
		s.version = uint64(rapid.IntRange(0, 2).Draw(t, "version"))
		s.history = history{}
		return s
	})
)
