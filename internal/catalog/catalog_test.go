package catalog

import (
	"net/netip"
	"testing"
	"time"
)

var (
	addr1 = netip.MustParseAddr("10.0.0.1")
	addr2 = netip.MustParseAddr("10.0.0.2")
	addr3 = netip.MustParseAddr("10.0.0.3")
)

func rec(name string, a netip.Addr) Record {
	return Record{Name: name, Addr: a, TTL: 60, Priority: Master, Weight: 100, Active: true}
}

func TestSmoke(t *testing.T) {
	a := New(Options{Self: addr1})
	b := New(Options{Self: addr2})
	a.Update(func(e *Edit) {
		if err := e.Put(rec("web", addr1)); err != nil {
			t.Fatal(err)
		}
	})
	s, err := DecodeSet(a.View().Own().Encode(), 10)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Merge(s); got != Replaced {
		t.Fatal(got)
	}
	if n := b.View().Name("web"); n == nil || len(n.Entries) != 0 || len(n.Hidden) != 1 {
		t.Fatal(n)
	}
	b.SetStatus(addr1, Alive, time.Unix(1, 0))
	if n := b.View().Name("web"); n == nil || len(n.Entries) != 1 || len(n.Hidden) != 0 {
		t.Fatal(n)
	}
	if l := b.View().Addr(addr1); len(l) != 1 {
		t.Fatal(l)
	}
	v := a.Update(func(e *Edit) { e.Put(rec("db", addr1)); e.Delete(Key{"web", addr1}) })
	d, ok := v.Own().Delta(1)
	if !ok {
		t.Fatal("no delta")
	}
	d, err = DecodeDelta(d.Encode(), 10)
	if err != nil {
		t.Fatal(err)
	}
	old := b.View()
	if got := b.MergeDelta(d); got != Replaced {
		t.Fatal(got)
	}
	if b.View().Name("web") != nil || b.View().Name("db") == nil || len(b.View().Addr(addr1)) != 1 {
		t.Fatal("delta")
	}
	n := 0
	for range b.View().Diff(old) {
		n++
	}
	if n != 2 {
		t.Fatal(n)
	}
}
