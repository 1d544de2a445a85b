package catalog

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// What travels between nodes, in the protocol buffers wire format:
//
//	message Set {
//	  bytes  owner    = 1;           // 4 or 16 octets
//	  uint64 version  = 2;           // at most 2⁶³−1
//	  uint32 protocol = 3;           // of the owner, from 1
//	  repeated Record record = 4;    // ascending by name, then address
//	}
//
//	message Delta {
//	  bytes  owner    = 1;
//	  uint64 version  = 2;           // that it leads to
//	  uint32 protocol = 3;
//	  repeated Record record = 4;    // new or changed, ascending
//	  uint64 from     = 5;           // the version it starts from, less than version
//	  uint64 length   = 6;           // records in the resulting set
//	  fixed64 hash    = 7;           // of the resulting set
//	  repeated Key deleted = 8;      // ascending, none of them in record
//	}
//
//	message Record {
//	  string name       = 1;         // lower case, see ValidName
//	  bytes  addr       = 2;         // 4 or 16 octets
//	  uint32 ttl        = 3;         // at most 2³¹−1
//	  uint32 priority   = 4;         // 1 … 255; known here are those of Priority
//	  uint32 weight     = 5;         // at most 65535
//	  bool   active     = 6;
//	  uint32 duty       = 7;         // at most 255
//	  uint64 transition = 8;
//	  uint64 acted      = 9;
//	  uint64 activated  = 10;
//	  bool   static     = 11;
//	  bool   checked    = 12;
//	  uint32 port       = 13;        // at most 65535
//	  bytes  text       = 14;        // see Text
//	  string target     = 15;        // see Record.Target
//	}
//
//	message Key {
//	  string name = 1;
//	  bytes  addr = 2;
//	}
//
// There is one encoding for each content: fields ascend, zero values are left
// out, varints are as short as they can be. A decoder refuses anything else,
// because hashes are taken over these octets and two encodings of one record
// would be two records to nodes of different age. A node that does not know a
// field of Set or Record keeps its octets and writes them after the fields it
// knows, so it computes the hash that its newer neighbours compute. Therefore
// a later protocol may add fields with numbers above these, never between
// them, and what it adds to the header of a Set has the same number and meaning
// in a Delta. Key gets no new fields.

// Limits on what an unknown later protocol may add, so that a broken peer
// cannot fill the memory of others: octets for each record and each header.
const (
	maxRecordUnknown = 4 << 10
	maxHeaderUnknown = 64 << 10
)

// ErrTooManyRecords is what a LimitError wraps.
var ErrTooManyRecords = errors.New("too many records")

// LimitError says that an owner publishes more records than this node accepts.
// It wraps ErrTooManyRecords.
type LimitError struct {
	Owner Owner
	Max   int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("set of %v: %v: more than %d; raise max-records here if its owner needs them",
		e.Owner, ErrTooManyRecords, e.Max)
}

func (e *LimitError) Unwrap() error { return ErrTooManyRecords }

// newItem hashes a record over its encoding.
func newItem(o Owner, r Record) *item {
	var buf [256]byte
	return &item{entry: Entry{r, o}, sum: sum(appendRecord(buf[:0], &r))}
}

// sum is 64 bits of SHA-256: sums of sums are compared between nodes, and a
// weaker hash would make it likely that two changes cancel out.
func sum(b []byte) uint64 {
	h := sha256.Sum256(b)
	return binary.BigEndian.Uint64(h[:8])
}

func headerSum(protocol uint32, unknown string) uint64 {
	var buf [64]byte
	return sum(append(appendUint(buf[:0], 3, uint64(protocol)), unknown...))
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendAddr(b []byte, num protowire.Number, a netip.Addr) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	if a.Is4() {
		octets := a.As4()
		return protowire.AppendBytes(b, octets[:])
	}
	octets := a.As16()
	return protowire.AppendBytes(b, octets[:])
}

func appendKey(b []byte, k Key) []byte { return appendAddr(appendString(b, 1, k.Name), 2, k.Addr) }

func appendRecord(b []byte, r *Record) []byte {
	b = appendKey(b, r.Key())
	b = appendUint(b, 3, uint64(r.TTL))
	b = appendUint(b, 4, uint64(r.Priority))
	b = appendUint(b, 5, uint64(r.Weight))
	b = appendUint(b, 6, protowire.EncodeBool(r.Active))
	b = appendUint(b, 7, uint64(r.Duty))
	b = appendUint(b, 8, r.Transition)
	b = appendUint(b, 9, r.Acted)
	b = appendUint(b, 10, r.Activated)
	b = appendUint(b, 11, protowire.EncodeBool(r.Static))
	b = appendUint(b, 12, protowire.EncodeBool(r.Checked))
	b = appendUint(b, 13, uint64(r.Port))
	s := r.rarities()
	if s.text != "" {
		b = appendString(b, 14, string(s.text))
	}
	if s.target != "" {
		b = appendString(b, 15, s.target)
	}
	return append(b, s.unknown...)
}

func appendRecords(b []byte, items []*item) []byte {
	var buf []byte
	for _, it := range items {
		buf = appendRecord(buf[:0], &it.entry.Record)
		b = protowire.AppendBytes(protowire.AppendTag(b, 4, protowire.BytesType), buf)
	}
	return b
}

// Encode gives the set as it travels.
func (s *Set) Encode() []byte {
	b := make([]byte, 0, 64+len(s.unknown)+64*s.Len())
	b = appendAddr(b, 1, s.owner)
	b = appendUint(b, 2, s.version)
	b = appendUint(b, 3, uint64(s.protocol))
	b = appendRecords(b, s.sorted())
	return append(b, s.unknown...)
}

// Encode gives the delta as it travels.
func (d *Delta) Encode() []byte {
	b := make([]byte, 0, 64+len(d.unknown)+64*len(d.puts)+32*len(d.deletes))
	b = appendAddr(b, 1, d.owner)
	b = appendUint(b, 2, d.to)
	b = appendUint(b, 3, uint64(d.protocol))
	b = appendRecords(b, d.puts)
	b = appendUint(b, 5, d.from)
	b = appendUint(b, 6, uint64(d.length))
	if d.hash != 0 {
		b = protowire.AppendFixed64(protowire.AppendTag(b, 7, protowire.Fixed64Type), d.hash)
	}
	var buf []byte
	for _, k := range d.deletes {
		buf = appendKey(buf[:0], k)
		b = protowire.AppendBytes(protowire.AppendTag(b, 8, protowire.BytesType), buf)
	}
	return append(b, d.unknown...)
}

// decodeKey reads field 1 or 2 of a Key or Record.
func decodeKey(f field, k *Key) error {
	if f.num == 1 {
		b, err := f.message()
		if err != nil {
			return err
		}
		if len(b) > maxName { // before the copy
			return fmt.Errorf("name of %d octets: at most %d are allowed", len(b), maxName)
		}
		k.Name = string(b)
		return nil
	}
	var err error
	k.Addr, err = f.addr()
	return err
}

func decodeRecord(b []byte) (Record, error) {
	var r Record
	var seldom rare
	var unknown []byte
	err := fields(b, 15, once, func(f field) error {
		var v uint64
		var err error
		switch f.num {
		case 1, 2:
			k := r.Key()
			err = decodeKey(f, &k)
			r.Name, r.Addr = k.Name, k.Addr
		case 3:
			v, err = f.uint(MaxTTL)
			r.TTL = uint32(v)
		case 4:
			v, err = f.uint(math.MaxUint8)
			r.Priority = Priority(v)
		case 5:
			v, err = f.uint(math.MaxUint16)
			r.Weight = uint16(v)
		case 6:
			_, err = f.uint(1)
			r.Active = true
		case 7:
			v, err = f.uint(math.MaxUint8)
			r.Duty = Duty(v)
		case 8:
			r.Transition, err = f.uint(math.MaxUint64)
		case 9:
			r.Acted, err = f.uint(math.MaxUint64)
		case 10:
			r.Activated, err = f.uint(math.MaxUint64)
		case 11:
			_, err = f.uint(1)
			r.Static = true
		case 12:
			_, err = f.uint(1)
			r.Checked = true
		case 13:
			v, err = f.uint(math.MaxUint16)
			r.Port = uint16(v)
		case 14:
			var b []byte
			b, err = f.short("text", maxText)
			seldom.text = Text(b)
		case 15:
			var b []byte
			b, err = f.short("target", maxName+1)
			seldom.target = string(b)
		default:
			unknown = append(unknown, f.raw...)
		}
		return err
	})
	if err != nil {
		return Record{}, err
	}
	if len(unknown) > maxRecordUnknown {
		return Record{}, fmt.Errorf("record %q: %d octets of unknown fields: at most %d are allowed", r.Name, len(unknown), maxRecordUnknown)
	}
	seldom.unknown = string(unknown)
	r = r.with(seldom)
	return r, r.Check()
}

// message holds what a Set and a Delta have in common.
type message struct {
	owner    Owner
	version  uint64
	protocol uint32
	items    []*item
	unknown  []byte
}

// decode reads the fields common to Set and Delta.
func (m *message) decode(f field, maxRecords int) error {
	var err error
	var v uint64
	switch f.num {
	case 1:
		m.owner, err = f.addr()
	case 2:
		m.version, err = f.uint(MaxVersion)
	case 3:
		v, err = f.uint(math.MaxUint32)
		m.protocol = uint32(v)
	case 4:
		if maxRecords > 0 && len(m.items) == maxRecords {
			return &LimitError{Owner: m.owner, Max: maxRecords}
		}
		var b []byte
		if b, err = f.message(); err != nil {
			return err
		}
		var r Record
		if r, err = decodeRecord(b); err != nil {
			return err
		}
		if n := len(m.items); n > 0 && compareKeys(m.items[n-1].key(), r.Key()) >= 0 {
			return fmt.Errorf("record %s %v is there twice or out of order", r.Name, r.Addr)
		}
		m.items = append(m.items, &item{entry: Entry{r, m.owner}, sum: sum(b)})
	default:
		if len(m.unknown)+len(f.raw) > maxHeaderUnknown {
			return fmt.Errorf("more than %d octets of unknown fields", maxHeaderUnknown)
		}
		m.unknown = append(m.unknown, f.raw...)
	}
	return err
}

// check names the owner in what is wrong, as far as it is known.
func (m *message) check(what string, err error) error {
	var limit *LimitError
	switch {
	case errors.As(err, &limit):
		return err
	case err != nil && m.owner.IsValid():
		return fmt.Errorf("decoding the %s of %v: %w", what, m.owner, err)
	case err != nil:
		return fmt.Errorf("decoding a %s: %w", what, err)
	case !m.owner.IsValid():
		return fmt.Errorf("decoding a %s: it has no owner", what)
	case m.protocol == 0:
		return fmt.Errorf("decoding the %s of %v: it has no protocol number", what, m.owner)
	}
	return nil
}

// DecodeSet reads a set. It accepts nothing but what Encode writes, here or at
// a node of a later protocol. A set of more than maxRecords records (0: no
// limit) fails with a LimitError.
func DecodeSet(b []byte, maxRecords int) (*Set, error) {
	var m message
	err := fields(b, 8, func(n protowire.Number) bool { return n == 4 }, func(f field) error {
		if f.num > 4 && f.num <= 8 {
			return fmt.Errorf("field %d belongs to a delta", f.num)
		}
		return m.decode(f, maxRecords)
	})
	if err := m.check("set", err); err != nil {
		return nil, err
	}
	s := NewSet(m.owner)
	s.version = m.version
	s.head(m.protocol, string(m.unknown))
	s.putNew(nil, m.items) // ascending, so of different keys
	return s, nil
}

// DecodeDelta reads a delta, as strictly as DecodeSet. A delta that leads to a
// set of more than maxRecords records (0: no limit) fails with a LimitError.
func DecodeDelta(b []byte, maxRecords int) (*Delta, error) {
	var m message
	var d Delta
	err := fields(b, 8, func(n protowire.Number) bool { return n == 4 || n == 8 }, func(f field) error {
		var err error
		switch f.num {
		case 5:
			d.from, err = f.uint(MaxVersion)
		case 6:
			var v uint64
			v, err = f.uint(math.MaxInt32)
			d.length = int(v)
			if maxRecords > 0 && d.length > maxRecords {
				return &LimitError{Owner: m.owner, Max: maxRecords}
			}
		case 7:
			if f.typ != protowire.Fixed64Type {
				return fmt.Errorf("field 7: wire type %d, expected eight octets", f.typ)
			}
			d.hash = f.value
		case 8:
			err = d.decodeDeleted(f)
		default:
			err = m.decode(f, maxRecords)
		}
		return err
	})
	if err := m.check("delta", err); err != nil {
		return nil, err
	}
	d.owner, d.to, d.protocol, d.unknown, d.puts = m.owner, m.version, m.protocol, string(m.unknown), m.items
	switch {
	case d.to <= d.from:
		return nil, fmt.Errorf("decoding the delta of %v: it leads from version %d to %d", d.owner, d.from, d.to)
	case len(d.puts) > d.length:
		return nil, fmt.Errorf("decoding the delta of %v: %d records for a set of %d", d.owner, len(d.puts), d.length)
	}
	for _, k := range d.deletes {
		_, both := slices.BinarySearchFunc(d.puts, k, func(it *item, k Key) int { return compareKeys(it.entry.Key(), k) })
		if both {
			return nil, fmt.Errorf("decoding the delta of %v: record %s %v is both there and deleted", d.owner, k.Name, k.Addr)
		}
	}
	return &d, nil
}

func (d *Delta) decodeDeleted(f field) error {
	b, err := f.message()
	if err != nil {
		return err
	}
	var k Key
	if err := fields(b, 2, once, func(f field) error {
		if f.num > 2 {
			return fmt.Errorf("field %d of a key", f.num)
		}
		return decodeKey(f, &k)
	}); err != nil {
		return err
	}
	if err := ValidName(k.Name); err != nil {
		return err
	}
	if !k.Addr.IsValid() {
		return fmt.Errorf("deleted record %s has no address", k.Name)
	}
	if n := len(d.deletes); n > 0 && compareKeys(d.deletes[n-1], k) >= 0 {
		return fmt.Errorf("deleted record %s %v is there twice or out of order", k.Name, k.Addr)
	}
	d.deletes = append(d.deletes, k)
	return nil
}
