package catalog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

// TestWire pins the octets: nodes of different versions talk to each other, so
// they must never change.
func TestWire(t *testing.T) {
	s := grown(NewSet(addr1), []Record{
		{Name: "web", Addr: addr1, TTL: 60, Priority: Master, Weight: 100, Active: true, Duty: DutyActive, Transition: 300, Acted: 299},
		{Name: "server-01", Addr: addr3, Priority: Origin},
	}, nil)
	rds := grown(NewSet(addr1), []Record{
		{Name: "rds", Addr: addr2, TTL: 60, Priority: Master, Weight: 100, Acted: 1, Activated: 2, Static: true, Checked: true},
	}, nil)
	const (
		owner   = "0a04 0a000001"
		origin  = "221f 0a09 7365727665722d3031 1210 20010db8000000000000000000000003 2004"
		web     = "221b 0a03 776562 1204 0a000001 183c 2001 2864 3001 3802 40ac02 48ab02"
		deleted = "421d 0a09 7365727665722d3031 1210 20010db8000000000000000000000003"
	)
	equal := func(what string, got []byte, want string) {
		t.Helper()
		if want = strings.ReplaceAll(want, " ", ""); hex.EncodeToString(got) != want {
			t.Errorf("%s:\n%x, expected\n%s", what, got, want)
		}
	}
	equal("set", s.Encode(), owner+"1001 1801"+origin+web)
	if want := uint64(0xac88963bcfb402f0); s.Hash() != want {
		t.Errorf("hash %#x, expected %#x", s.Hash(), want)
	}
	equal("static", rds.Encode(), owner+"1001 1801"+"2219 0a03 726473 1204 0a000002 183c 2001 2864 4801 5002 5801 6001")
	recoded(t, rds)
	kinds := grown(NewSet(addr1), []Record{
		Record{Name: "app", Addr: addr2, TTL: 60, Priority: Master, Weight: 100, Port: 8080}.WithText("\x03a=b\x00"),
		Record{Name: "www", Addr: addr2, TTL: 60, Priority: Master, Weight: 100}.WithTarget("a.b."),
	}, nil)
	equal("kinds", kinds.Encode(), owner+"1001 1801"+
		"221b 0a03 617070 1204 0a000002 183c 2001 2864 68903f 7205 03613d6200"+
		"2217 0a03 777777 1204 0a000002 183c 2001 2864 7a04 612e622e")
	recoded(t, kinds)
	next := grown(s, nil, []Key{{"server-01", addr3}})
	d, ok := next.Delta(1)
	if !ok {
		t.Fatal("no delta")
	}
	equal("delta", d.Encode(), owner+"1002 1801"+"2801 3001"+"39"+"123255153faaa857"+deleted)
	recoded(t, s)
	recodedDelta(t, d)
}

// The parts of messages that are built by hand.
func tagged(num protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
}

func number(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func joined(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestDecodeIsStrict(t *testing.T) {
	var (
		v4    = []byte{10, 0, 0, 1}
		owner = tagged(1, v4)
		head  = joined(owner, number(2, 7), number(3, 1))
		key   = joined(tagged(1, []byte("web")), tagged(2, v4))
		good  = joined(key, number(3, 60), number(4, 1), number(5, 100), number(6, 1))
	)
	record := func(parts ...[]byte) []byte { return joined(head, tagged(4, joined(parts...))) }
	long := func(num protowire.Number, v byte) []byte { // a varint with an octet too many
		return append(protowire.AppendTag(nil, num, protowire.VarintType), v|0x80, 0)
	}

	for what, tt := range map[string]struct {
		b    []byte
		want string // "" if it is good
	}{
		"good":                         {record(good), ""},
		"empty set":                    {joined(owner, number(3, 1)), ""},
		"later priority":               {record(key, number(4, 200)), ""},
		"later duty":                   {record(key, number(4, 1), number(5, 1), number(7, 200)), ""},
		"later field of a record":      {record(good, number(16, 0), number(16, 5), tagged(17, nil)), ""},
		"later field of the header":    {joined(record(good), tagged(9, []byte("x")), number(100, 1)), ""},
		"greatest version":             {joined(owner, number(2, MaxVersion), number(3, 1)), ""},
		"greatest transition":          {record(good, number(8, math.MaxUint64), number(9, math.MaxUint64)), ""},
		"nothing":                      {nil, "no owner"},
		"no owner":                     {joined(number(2, 7), number(3, 1)), "no owner"},
		"no protocol":                  {joined(owner, number(2, 7)), "protocol"},
		"owner of three octets":        {joined(tagged(1, v4[:3]), number(3, 1)), "3 octets"},
		"owner mapped":                 {joined(tagged(1, netip.MustParseAddr("::ffff:10.0.0.1").AsSlice()), number(3, 1)), "IPv6 form"},
		"owner unspecified":            {joined(tagged(1, make([]byte, 4)), number(3, 1)), "unspecified"},
		"owner as varint":              {joined(number(1, 7), number(3, 1)), "expected octets"},
		"owner twice":                  {joined(owner, head), "field 1 after field 1"},
		"version twice":                {joined(head[:8], number(2, 7), number(3, 1)), "field 2 after field 2"},
		"version too great":            {joined(owner, number(2, MaxVersion+1), number(3, 1)), "greater than"},
		"version of all ones":          {joined(owner, number(2, math.MaxUint64), number(3, 1)), "greater than"},
		"version 0 written":            {joined(owner, number(2, 0), number(3, 1)), "zero value"},
		"version too long":             {joined(owner, long(2, 7), number(3, 1)), "longer than it must be"},
		"version as octets":            {joined(owner, tagged(2, v4), number(3, 1)), "expected a varint"},
		"descending":                   {joined(owner, number(3, 1), number(2, 7)), "field 2 after field 3"},
		"cut off":                      {record(good)[:20], "EOF"},
		"group":                        {joined(head, protowire.AppendTag(nil, 9, protowire.StartGroupType)), "wire type 3"},
		"tag too long":                 {joined([]byte{0x8a, 0x00}, owner[1:], number(3, 1)), "longer than it must be"},
		"field 0":                      {joined(head, []byte{0x00, 0x00}), "tag"},
		"field of a delta":             {joined(record(good), number(5, 1)), "belongs to a delta"},
		"later fields descend":         {joined(head, number(100, 1), number(99, 1)), "field 99 after"},
		"later field too long":         {joined(head, long(100, 1)), "longer than it must be"},
		"too much of a later protocol": {joined(head, tagged(9, make([]byte, maxHeaderUnknown))), "unknown fields"},

		"record as varint":                {joined(head, number(4, 1)), "expected octets"},
		"name as varint":                  {record(number(1, 1)), "expected octets"},
		"address as varint":               {record(tagged(1, []byte("web")), number(2, 1)), "expected octets"},
		"empty record":                    {record(), "zero value"},
		"no name":                         {record(tagged(2, v4), number(4, 1), number(5, 1)), "name is empty"},
		"no address":                      {record(tagged(1, []byte("web")), number(4, 1), number(5, 1)), "address is missing"},
		"upper case":                      {record(tagged(1, []byte("Web")), tagged(2, v4), number(4, 1), number(5, 1)), "lower case"},
		"not UTF-8":                       {record(tagged(1, []byte("\xff")), tagged(2, v4), number(4, 1), number(5, 1)), "not allowed"},
		"long name":                       {record(tagged(1, bytes.Repeat([]byte("a"), 1<<20))), "1048576 octets"},
		"address mapped":                  {record(tagged(1, []byte("web")), tagged(2, netip.MustParseAddr("::ffff:10.0.0.1").AsSlice())), "IPv6 form"},
		"TTL too great":                   {record(key, number(3, MaxTTL+1), number(4, 1)), "greater than"},
		"no priority":                     {record(key, number(5, 1)), "priority is missing"},
		"priority too great":              {record(key, number(4, 256), number(5, 1)), "greater than"},
		"no weight":                       {record(key, number(4, 1)), "weight"},
		"weight too great":                {record(key, number(4, 1), number(5, 65536)), "greater than"},
		"weight of an origin":             {record(key, number(4, 4), number(5, 1)), "weight"},
		"activity 2":                      {record(key, number(4, 1), number(5, 1), number(6, 2)), "greater than"},
		"activity 0 written":              {record(key, number(4, 1), number(5, 1), number(6, 0)), "zero value"},
		"duty too great":                  {record(key, number(4, 1), number(5, 1), number(7, 256)), "greater than"},
		"weight twice":                    {record(key, number(4, 1), number(5, 1), number(5, 2)), "field 5 after field 5"},
		"fixed width":                     {record(key, number(4, 1), protowire.AppendFixed32(protowire.AppendTag(nil, 5, protowire.Fixed32Type), 1)), "expected a varint"},
		"record twice":                    {joined(record(good), tagged(4, good)), "twice or out of order"},
		"activated twice":                 {record(good, number(10, 1), number(10, 2)), "field 10 after field 10"},
		"activated 0 written":             {record(good, number(10, 0)), "zero value"},
		"static 2":                        {record(good, number(11, 2)), "greater than"},
		"static 0 written":                {record(good, number(11, 0)), "zero value"},
		"checked 2":                       {record(good, number(12, 2)), "greater than"},
		"port too great":                  {record(good, number(13, 65536)), "greater than"},
		"port twice":                      {record(good, number(13, 1), number(13, 1)), "field 13 after field 13"},
		"text":                            {record(good, number(13, 80), tagged(14, []byte("\x01a\x00"))), ""},
		"text that breaks off":            {record(good, tagged(14, []byte("\x02a"))), "breaks off"},
		"text too long":                   {record(good, tagged(14, make([]byte, maxText+1))), "1025 octets"},
		"text as varint":                  {record(good, number(14, 1)), "expected octets"},
		"text of an origin":               {record(key, number(4, 4), tagged(14, []byte("\x00"))), "an origin has neither"},
		"target":                          {record(good, tagged(15, []byte("a.example."))), ""},
		"target that is no name":          {record(good, tagged(15, []byte("a..b"))), "empty label"},
		"target with two dots":            {record(good, tagged(15, []byte("a.."))), "empty label"},
		"target too long":                 {record(good, tagged(15, []byte(strings.Repeat("a.", 128)))), "256 octets"},
		"target of itself":                {record(good, tagged(15, []byte("web"))), "stands for itself"},
		"target beside a port":            {record(good, number(13, 1), tagged(15, []byte("a"))), "nothing else"},
		"target of a static name":         {record(good, number(11, 1), tagged(15, []byte("a"))), "nothing else"},
		"target of an origin":             {record(key, number(4, 4), tagged(15, []byte("a"))), "nothing else"},
		"checked twice":                   {record(good, number(12, 1), number(12, 1)), "field 12 after field 12"},
		"record twice, the second later":  {joined(record(good), tagged(4, joined(good, number(16, 1)))), "twice or out of order"},
		"records descend":                 {joined(record(good), tagged(4, joined(tagged(1, []byte("a")), good[5:]))), "twice or out of order"},
		"record of too much of the later": {record(good, tagged(16, make([]byte, maxRecordUnknown))), "unknown fields"},
	} {
		t.Run(what, func(t *testing.T) {
			s, err := DecodeSet(tt.b, 0)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("%v, expected …%s…", err, tt.want)
				}
				if len(err.Error()) > 1000 {
					t.Errorf("the error has %d octets", len(err.Error()))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(s.Encode(), tt.b) {
				t.Errorf("%x encoded again is\n%x", tt.b, s.Encode())
			}
		})
	}
}

func TestDecodeDeltaIsStrict(t *testing.T) {
	var (
		v4      = []byte{10, 0, 0, 1}
		head    = joined(tagged(1, v4), number(2, 7), number(3, 1))
		key     = joined(tagged(1, []byte("web")), tagged(2, v4))
		key2    = joined(tagged(1, []byte("xeb")), tagged(2, v4))
		record  = tagged(4, joined(key, number(4, 1), number(5, 100)))
		hash    = protowire.AppendFixed64(protowire.AppendTag(nil, 7, protowire.Fixed64Type), 1)
		deleted = tagged(8, key)
	)
	for what, tt := range map[string]struct {
		b    []byte
		want string
	}{
		"good":             {joined(head, record, number(5, 6), number(6, 1), hash), ""},
		"deleted":          {joined(head, number(5, 6), hash, deleted), ""},
		"both":             {joined(head, record, number(5, 6), number(6, 5), hash, tagged(8, key2), number(9, 1)), ""},
		"from 0":           {joined(head, hash), ""},
		"from itself":      {joined(head, number(5, 7), hash), "from version 7 to 7"},
		"from later":       {joined(head, number(5, 8), hash), "from version 8 to 7"},
		"from too great":   {joined(head, number(5, MaxVersion+1), hash), "greater than"},
		"length too great": {joined(head, number(5, 6), number(6, 1<<40)), "greater than"},
		"length too small": {joined(head, record, number(5, 6), hash), "1 records for a set of 0"},
		"hash as varint":   {joined(head, number(5, 6), number(7, 1)), "eight octets"},
		"key twice":        {joined(head, number(5, 6), hash, deleted, deleted), "twice or out of order"},
		"keys descend":     {joined(head, number(5, 6), hash, tagged(8, key2), deleted), "twice or out of order"},
		"there and gone":   {joined(head, record, number(5, 6), number(6, 1), hash, deleted), "both there and deleted"},
		"key with more":    {joined(head, number(5, 6), hash, tagged(8, joined(key, number(3, 1)))), "field 3 of a key"},
		"key of no name":   {joined(head, number(5, 6), hash, tagged(8, tagged(2, v4))), "name is empty"},
		"key of no addr":   {joined(head, number(5, 6), hash, tagged(8, tagged(1, []byte("web")))), "no address"},
		"key of bad name":  {joined(head, number(5, 6), hash, tagged(8, joined(tagged(1, []byte("W")), tagged(2, v4)))), "lower case"},
		"key of bad addr":  {joined(head, number(5, 6), hash, tagged(8, joined(tagged(1, []byte("w")), tagged(2, v4[:1])))), "1 octets"},
		"key as varint":    {joined(head, number(5, 6), hash, number(8, 1)), "expected octets"},
		"no owner":         {joined(number(2, 7), number(3, 1)), "no owner"},
	} {
		t.Run(what, func(t *testing.T) {
			d, err := DecodeDelta(tt.b, 0)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("%v, expected …%s…", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(d.Encode(), tt.b) {
				t.Errorf("%x encoded again is\n%x", tt.b, d.Encode())
			}
		})
	}
}

// TestTooManyRecords: the limit holds for sets, and deltas cannot pass it one
// record at a time.
func TestTooManyRecords(t *testing.T) {
	s := NewSet(addr2)
	for i := range 10 {
		s = grown(s, []Record{rec(fmt.Sprintf("n%d", i), addr2)}, nil)
	}
	d, ok := s.Delta(9)
	if !ok {
		t.Fatal("no delta")
	}
	for limit, fits := range map[int]bool{9: false, 10: true, 0: true} {
		_, errSet := DecodeSet(s.Encode(), limit)
		_, errDelta := DecodeDelta(d.Encode(), limit)
		for what, err := range map[string]error{"set": errSet, "delta": errDelta} {
			var e *LimitError
			switch {
			case fits && err != nil:
				t.Errorf("%s, limit %d: %v", what, limit, err)
			case !fits && (!errors.Is(err, ErrTooManyRecords) || !errors.As(err, &e) || e.Owner != addr2 || e.Max != limit):
				t.Errorf("%s, limit %d: %v, expected a LimitError", what, limit, err)
			}
		}
	}
}

// TestUnknownFields: what a node does not know passes through it, and it
// computes the hashes of those who know.
func TestUnknownFields(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := genSet.Draw(rt, "set")
		relayed := recoded(t, recoded(t, s))
		if !bytes.Equal(relayed.Encode(), s.Encode()) {
			rt.Fatal("the set is another after two hops")
		}
		next := grown(s, rapid.SliceOfN(genRecord, 1, 3).Draw(rt, "puts"), nil)
		next.head(rapid.Uint32Range(1, 3).Draw(rt, "protocol"), genUnknown.Draw(rt, "header"))
		d, ok := next.Delta(s.Version())
		if !ok {
			rt.Fatal("no delta")
		}
		got, err := relayed.Apply(recodedDelta(t, d))
		if err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(got.Encode(), next.Encode()) || got.Hash() != next.Hash() {
			rt.Fatal("the delta led elsewhere")
		}
	})
}

// fuzzSeeds are sets and deltas with something of everything.
func fuzzSeeds() (sets, deltas [][]byte) {
	for i := range 20 {
		s := genSet.Example(i)
		next := grown(s, []Record{genRecord.Example(i)}, []Key{genKey.Example(i)})
		sets = append(sets, s.Encode(), next.Encode())
		if d, ok := next.Delta(s.Version()); ok {
			deltas = append(deltas, d.Encode())
		}
	}
	return sets, deltas
}

// FuzzDecodeSet: what decodes is the only encoding of what it decodes to, and
// its hash is the one that is computed from the records.
func FuzzDecodeSet(f *testing.F) {
	sets, deltas := fuzzSeeds()
	for _, b := range append(sets, deltas...) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSet(b, 100)
		if err != nil {
			return
		}
		if got := s.Encode(); !bytes.Equal(got, b) {
			t.Fatalf("%x encodes again as %x", b, got)
		}
		if s.Len() > 100 {
			t.Fatalf("%d records", s.Len())
		}
		fresh := NewSet(s.Owner())
		fresh.head(s.protocol, s.unknown)
		for r := range s.Records() {
			if err := r.Check(); err != nil {
				t.Fatal(err)
			}
			fresh.put(nil, newItem(fresh.owner, r))
		}
		if fresh.Hash() != s.Hash() {
			t.Fatal("the hash is not that of the records")
		}
		c := New(Options{Self: addr1})
		c.Merge(s)
		c.SetStatus(s.Owner(), Alive, time0)
		checkView(t, c.View())
	})
}

// FuzzDecodeDelta: as FuzzDecodeSet, and applying it anywhere does no harm.
func FuzzDecodeDelta(f *testing.F) {
	sets, deltas := fuzzSeeds()
	for _, b := range append(sets, deltas...) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDelta(b, 100)
		if err != nil {
			return
		}
		if got := d.Encode(); !bytes.Equal(got, b) {
			t.Fatalf("%x encodes again as %x", b, got)
		}
		base := NewSet(d.Owner())
		base.version = d.From()
		if s, err := base.Apply(d); err == nil && (s.Hash() != d.Hash() || s.Len() > 100 || s.Version() != d.To()) {
			t.Fatal("applied, but to another set than announced")
		}
	})
}
