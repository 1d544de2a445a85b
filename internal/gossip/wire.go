package gossip

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"murakumo/internal/catalog"
)

// What nodes tell each other, inside memberlist's encrypted user messages and
// its periodic exchange: one octet, the protocol number, then a message in the
// protocol buffers wire format.
//
//	message Message {
//	  bytes via = 1;                // the node that sends it or passed it on, and has what it speaks of
//	  // one of:
//	  Content  = { repeated bytes set = 2; repeated bytes delta = 3; } // catalog's documents
//	  Held     announce = 4;        // a set or change that does not fit a packet
//	  repeated Held want = 5;       // asks via's hearer for sets; version: what the asker holds
//	  Removal  removal = 6;
//	  Held     goodbye = 7;         // owner leaves; version of its set
//	  State    state = 8;           // the exchange
//	  repeated Forget forget = 9;
//	}
//	message Held {
//	  bytes   owner = 1;            // 4 or 16 octets
//	  uint64  version = 2;
//	  fixed64 hash = 3;
//	  uint32  status = 4;           // catalog.Status, in a State
//	  uint64  age = 5;              // milliseconds since the status, in a State
//	}
//	message Removal {
//	  bytes  target = 1;
//	  uint64 counter = 2;
//	  bool   removed = 3;
//	  uint64 age = 4;               // milliseconds since it was said
//	  bytes  by = 5;                // the node where the operator said it
//	}
//	message Forget {
//	  bytes  owner = 1;
//	  uint64 version = 2;           // what it published up to this is to be forgotten
//	  uint64 age = 3;               // milliseconds since it was said
//	  bytes  by = 4;                // the node where the operator said it
//	}
//	message State {
//	  repeated Held held = 1;
//	  repeated Removal removal = 2;
//	  repeated Forget forget = 3;
//	}
//
// Fields of a later protocol in Held and State are skipped, in Removal and
// Forget kept and passed on; catalog's documents see to theirs. A message of a later kind, or
// after another protocol number, is ignored as a whole: errLater.
const protocol = 1

// Times that a message may carry: more is damage, and would overflow a Duration.
const maxAge = 1000 * 24 * time.Hour

// maxEntries bounds the lists of a message, far above any fleet.
const maxEntries = 1 << 16

// errLater marks messages of a newer murakumo.
var errLater = errors.New("a message of a later protocol: this node is older than its peer, which is harmless while you upgrade")

// held is what a node says of a set.
type held struct {
	owner   catalog.Owner
	version uint64
	hash    uint64
	status  catalog.Status
	age     time.Duration
}

// newer tells whether h is newer than a set at (version, hash), in the order of
// catalog.Merge.
func (h held) newer(version, hash uint64) bool {
	return h.version > version || h.version == version && h.hash > hash
}

// removal is an operator's statement that a node shall be, or no longer be, out
// of the cluster.
type removal struct {
	target  catalog.Owner
	counter uint64
	removed bool
	age     time.Duration
	by      catalog.Owner // invalid: unknown
	unknown string        // encoded fields of a later protocol
}

// kind is which of a Message's alternatives it is: the field's number.
type kind protowire.Number

const (
	kindContent  kind = 2
	kindDelta    kind = 3 // only on the wire: a part of kindContent
	kindAnnounce kind = 4
	kindWant     kind = 5
	kindRemoval  kind = 6
	kindGoodbye  kind = 7
	kindState    kind = 8
	kindForget   kind = 9
)

// message is a decoded Message.
type message struct {
	via      catalog.Owner
	kind     kind
	sets     [][]byte // content
	deltas   [][]byte // content; in the order of their versions
	held     []held   // announce and goodbye: one; want, state
	removals []removal
	forgets  []forget
}

// encode gives the message as it travels.
func (m message) encode() []byte {
	b := append(make([]byte, 0, 256), protocol)
	b = appendAddr(b, 1, m.via)
	switch m.kind {
	case kindContent:
		for _, s := range m.sets {
			b = appendBytes(b, 2, s)
		}
		for _, d := range m.deltas {
			b = appendBytes(b, 3, d)
		}
	case kindAnnounce, kindWant, kindGoodbye:
		for _, h := range m.held {
			b = appendBytes(b, protowire.Number(m.kind), appendHeld(nil, h))
		}
	case kindRemoval:
		for _, r := range m.removals {
			b = appendBytes(b, 6, appendRemoval(nil, r))
		}
	case kindForget:
		for _, f := range m.forgets {
			b = appendBytes(b, 9, appendForget(nil, f))
		}
	case kindState:
		state := make([]byte, 0, 32*len(m.held))
		for _, h := range m.held {
			state = appendBytes(state, 1, appendHeld(nil, h))
		}
		for _, r := range m.removals {
			state = appendBytes(state, 2, appendRemoval(nil, r))
		}
		for _, f := range m.forgets {
			state = appendBytes(state, 3, appendForget(nil, f))
		}
		b = appendBytes(b, 8, state)
	}
	return b
}

func appendHeld(b []byte, h held) []byte {
	b = appendAddr(b, 1, h.owner)
	b = appendUint(b, 2, h.version)
	if h.hash != 0 {
		b = protowire.AppendFixed64(protowire.AppendTag(b, 3, protowire.Fixed64Type), h.hash)
	}
	b = appendUint(b, 4, uint64(h.status))
	return appendUint(b, 5, uint64(h.age.Milliseconds()))
}

func appendRemoval(b []byte, r removal) []byte {
	b = appendAddr(b, 1, r.target)
	b = appendUint(b, 2, r.counter)
	b = appendUint(b, 3, protowire.EncodeBool(r.removed))
	b = appendUint(b, 4, uint64(r.age.Milliseconds()))
	if r.by.IsValid() {
		b = appendAddr(b, 5, r.by)
	}
	return append(b, r.unknown...)
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func appendAddr(b []byte, num protowire.Number, a netip.Addr) []byte {
	return appendBytes(b, num, a.AsSlice())
}

// decode reads what encode writes, here or at a later node. The result holds
// parts of b.
func decode(b []byte) (message, error) {
	var m message
	switch {
	case len(b) == 0:
		return m, errors.New("decoding a gossip message: it is empty")
	case b[0] > protocol:
		return m, fmt.Errorf("protocol %d: %w", b[0], errLater)
	case b[0] != protocol:
		return m, fmt.Errorf("decoding a gossip message: protocol %d, expected %d", b[0], protocol)
	}
	var later protowire.Number
	err := fields(b[1:], 9, func(n protowire.Number) bool { return n == 2 || n == 3 || n == 5 || n == 9 }, func(f field) error {
		if f.num == 1 {
			var err error
			m.via, err = f.addr()
			return err
		}
		if f.num > 9 {
			later = f.num
			return nil
		}
		k := kind(f.num)
		if k == kindDelta {
			k = kindContent
		}
		if m.kind != 0 && m.kind != k {
			return fmt.Errorf("fields %d and %d exclude each other", m.kind, f.num)
		}
		m.kind = k
		v, err := f.octets()
		if err != nil {
			return err
		}
		if len(m.sets)+len(m.deltas)+len(m.held)+len(m.forgets) >= maxEntries {
			return errTooMany
		}
		return m.add(f.num, v)
	})
	switch {
	case err != nil:
		return message{}, fmt.Errorf("decoding a gossip message: %w", err)
	case m.kind == 0 && later != 0:
		return message{}, fmt.Errorf("kind %d: %w", later, errLater)
	case m.kind == 0:
		return message{}, errors.New("decoding a gossip message: it says nothing")
	case !m.via.IsValid():
		return message{}, errors.New("decoding a gossip message: it names no sender")
	}
	return m, nil
}

var errTooMany = fmt.Errorf("more than %d entries", maxEntries)

func (m *message) add(num protowire.Number, v []byte) error {
	switch num {
	case 2:
		m.sets = append(m.sets, v)
	case 3:
		m.deltas = append(m.deltas, v)
	case 4, 5, 7:
		h, err := decodeHeld(v)
		if err != nil {
			return err
		}
		m.held = append(m.held, h)
	case 6:
		r, err := decodeRemoval(v)
		if err != nil {
			return err
		}
		m.removals = append(m.removals, r)
	case 8:
		return m.state(v)
	case 9:
		f, err := decodeForget(v)
		if err != nil {
			return err
		}
		m.forgets = append(m.forgets, f)
	}
	return nil
}

func (m *message) state(b []byte) error {
	return fields(b, 3, func(n protowire.Number) bool { return n <= 3 }, func(f field) error {
		if f.num > 3 {
			return nil
		}
		v, err := f.octets()
		if err != nil {
			return err
		}
		if len(m.held)+len(m.removals)+len(m.forgets) >= maxEntries {
			return errTooMany
		}
		switch f.num {
		case 1:
			var h held
			h, err = decodeHeld(v)
			m.held = append(m.held, h)
		case 2:
			var r removal
			r, err = decodeRemoval(v)
			m.removals = append(m.removals, r)
		case 3:
			var g forget
			g, err = decodeForget(v)
			m.forgets = append(m.forgets, g)
		}
		return err
	})
}

func decodeHeld(b []byte) (held, error) {
	var h held
	err := fields(b, 5, once, func(f field) error {
		var err error
		var v uint64
		switch f.num {
		case 1:
			h.owner, err = f.addr()
		case 2:
			h.version, err = f.uint(math.MaxInt64)
		case 3:
			h.hash, err = f.fixed()
		case 4:
			v, err = f.uint(math.MaxUint8)
			h.status = catalog.Status(v)
		case 5:
			h.age, err = f.age()
		}
		return err
	})
	if err == nil && !h.owner.IsValid() {
		err = errors.New("an entry has no owner")
	}
	return h, err
}

func decodeRemoval(b []byte) (removal, error) {
	var r removal
	var unknown []byte
	err := fields(b, 5, once, func(f field) error {
		var err error
		switch f.num {
		case 1:
			r.target, err = f.addr()
		case 2:
			r.counter, err = f.uint(math.MaxInt64)
		case 3:
			_, err = f.uint(1)
			r.removed = true
		case 4:
			r.age, err = f.age()
		case 5:
			r.by, err = f.addr()
		default:
			unknown = append(unknown, f.raw...)
		}
		return err
	})
	switch {
	case err != nil:
	case !r.target.IsValid():
		err = errors.New("a removal has no target")
	case len(unknown) > maxUnknown:
		err = fmt.Errorf("a removal has %d octets of unknown fields: at most %d are allowed", len(unknown), maxUnknown)
	}
	r.unknown = string(unknown)
	return r, err
}

// maxUnknown keeps a removal or a Forget within a packet.
const maxUnknown = 512

func once(protowire.Number) bool { return false }

// field is one field of a message as it stood there.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	value uint64 // of a varint or a fixed64
	bytes []byte // of a length-delimited field
	raw   []byte // with its tag
}

// fields calls fn for each field of a message and sees to the form all messages
// share: numbers ascend, the known ones (up to last) come once unless repeated
// says otherwise.
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
	m := 0
	switch typ {
	case protowire.VarintType:
		f.value, m = protowire.ConsumeVarint(b[n:])
	case protowire.Fixed64Type:
		f.value, m = protowire.ConsumeFixed64(b[n:])
	case protowire.BytesType:
		f.bytes, m = protowire.ConsumeBytes(b[n:])
	default:
		return field{}, fmt.Errorf("field %d: wire type %d is not used here", num, typ)
	}
	if m < 0 {
		return field{}, fmt.Errorf("field %d: %w", num, protowire.ParseError(m))
	}
	f.raw = b[:n+m]
	return f, nil
}

func (f field) uint(max uint64) (uint64, error) {
	if f.typ != protowire.VarintType || f.value > max {
		return 0, fmt.Errorf("field %d: expected a number up to %d", f.num, max)
	}
	return f.value, nil
}

func (f field) fixed() (uint64, error) {
	if f.typ != protowire.Fixed64Type {
		return 0, fmt.Errorf("field %d: expected eight octets", f.num)
	}
	return f.value, nil
}

func (f field) age() (time.Duration, error) {
	v, err := f.uint(uint64(maxAge.Milliseconds()))
	return time.Duration(v) * time.Millisecond, err
}

func (f field) octets() ([]byte, error) {
	if f.typ != protowire.BytesType {
		return nil, fmt.Errorf("field %d: expected octets", f.num)
	}
	return slices.Clip(f.bytes), nil
}

func (f field) addr() (netip.Addr, error) {
	b, err := f.octets()
	if err != nil {
		return netip.Addr{}, err
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok || !usable(a) {
		return netip.Addr{}, fmt.Errorf("field %d: expected an address in its shortest form", f.num)
	}
	return a, nil
}

// usable tells whether an address can be a node's.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast()
}
