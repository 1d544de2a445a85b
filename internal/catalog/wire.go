package catalog

import (
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is one field of a message as it stood there.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	value uint64 // of a varint or a fixed64
	bytes []byte // of a length-delimited field
	raw   []byte // with its tag
}

// fields calls fn for each field of a message. It sees to the form that all
// messages share: known numbers up to last come once and ascending unless
// repeated says otherwise, unknown ones do not descend, nothing is longer than
// it must be, no known field holds its zero value.
func fields(b []byte, last protowire.Number, repeated func(protowire.Number) bool, fn func(field) error) error {
	var before protowire.Number
	for len(b) > 0 {
		f, err := nextField(b)
		if err != nil {
			return err
		}
		b = b[len(f.raw):]
		again := f.num == before && (f.num > last || repeated(f.num))
		if f.num <= before && !again {
			return fmt.Errorf("field %d after field %d", f.num, before)
		}
		before = f.num
		if f.num <= last && f.value == 0 && len(f.bytes) == 0 {
			return fmt.Errorf("field %d holds its zero value", f.num)
		}
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}

func nextField(b []byte) (field, error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return field{}, fmt.Errorf("tag: %w", protowire.ParseError(n))
	}
	f := field{num: num, typ: typ}
	shortest := protowire.SizeTag(num)
	rest := b[n:]
	var m int
	switch typ {
	case protowire.VarintType:
		f.value, m = protowire.ConsumeVarint(rest)
		shortest += protowire.SizeVarint(f.value)
	case protowire.Fixed64Type:
		f.value, m = protowire.ConsumeFixed64(rest)
		shortest += 8
	case protowire.Fixed32Type:
		var v uint32
		v, m = protowire.ConsumeFixed32(rest)
		f.value = uint64(v)
		shortest += 4
	case protowire.BytesType:
		f.bytes, m = protowire.ConsumeBytes(rest)
		shortest += protowire.SizeBytes(len(f.bytes))
	default:
		return field{}, fmt.Errorf("field %d: wire type %d is not used here", num, typ)
	}
	if m < 0 {
		return field{}, fmt.Errorf("field %d: %w", num, protowire.ParseError(m))
	}
	if n+m != shortest {
		return field{}, fmt.Errorf("field %d: longer than it must be", num)
	}
	f.raw = b[:n+m]
	return f, nil
}

func (f field) uint(max uint64) (uint64, error) {
	if f.typ != protowire.VarintType {
		return 0, fmt.Errorf("field %d: wire type %d, expected a varint", f.num, f.typ)
	}
	if f.value > max {
		return 0, fmt.Errorf("field %d: %d is greater than %d", f.num, f.value, max)
	}
	return f.value, nil
}

func (f field) message() ([]byte, error) {
	if f.typ != protowire.BytesType {
		return nil, fmt.Errorf("field %d: wire type %d, expected octets", f.num, f.typ)
	}
	return f.bytes, nil
}

// short gives octets that are at most that many, before anybody copies them.
func (f field) short(what string, most int) ([]byte, error) {
	b, err := f.message()
	if err == nil && len(b) > most {
		err = fmt.Errorf("%s of %d octets: at most %d are allowed", what, len(b), most)
	}
	return b, err
}

func (f field) addr() (netip.Addr, error) {
	b, err := f.message()
	if err != nil {
		return netip.Addr{}, err
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.Addr{}, fmt.Errorf("field %d: address of %d octets, expected 4 or 16", f.num, len(b))
	}
	return a, checkAddr(a)
}

func once(protowire.Number) bool { return false }
