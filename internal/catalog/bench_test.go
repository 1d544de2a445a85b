package catalog

import (
	"fmt"
	"testing"
)

func BenchmarkTableSet(b *testing.B) {
	var t table[string, *parent]
	values := make([]*parent, 100_000)
	for i := range values {
		name := fmt.Sprintf("name-%d", i)
		t = t.set(&parent{name: name})
		values[i] = &parent{name: name}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		t.set(values[i%len(values)])
	}
}

func BenchmarkName(b *testing.B) {
	v := filled(b, 100_000, 0).View()
	b.ReportAllocs()
	for b.Loop() {
		if v.Name("own-4711") == nil {
			b.Fatal("lost")
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("of=%d", n), func(b *testing.B) {
			c := filled(b, n, 0)
			k := Key{"own-47", addr1}
			b.ReportAllocs()
			for b.Loop() {
				c.Update(func(e *Edit) {
					r, _ := e.Get(k)
					r.Active = !r.Active
					e.Put(r)
				})
			}
		})
	}
}

// BenchmarkArrival is the way of a whole set of 10,000 records into the table.
func BenchmarkArrival(b *testing.B) {
	encoded := filled(b, 10_000, 0).View().Own().Encode()
	b.SetBytes(int64(len(encoded)))
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeSet(encoded, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("merge", func(b *testing.B) {
		s, err := DecodeSet(encoded, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			c := New(Options{Self: addr2})
			c.Merge(s)
		}
	})
	b.Run("encode", func(b *testing.B) {
		s, err := DecodeSet(encoded, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			s.Encode()
		}
	})
}
