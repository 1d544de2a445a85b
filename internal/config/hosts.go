package config

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// MaxHosts is the greatest size of a file that static reads: some 400,000 lines.
const MaxHosts = 16 << 20

var errTooLarge = errors.New("larger than 16 MiB")

// HostsFile is what was taken of a hosts(5) file. It is immutable.
type HostsFile struct {
	// Info is the file as it was before it was read.
	Info fs.FileInfo
	Hosts
}

// Hosts are names with their addresses, in an order. There can be millions of them, of
// which nearly nothing is asked as long as the daemon runs, so they take hardly more
// room than in the file. The zero value has none.
type Hosts struct {
	count, lines int
	// coded has for each line with names how many lines it is behind the last such line
	// (uvarint), its address behind a length of 1 octet, the number of its names (uvarint),
	// and them, each behind a length of 1 octet.
	coded string
}

// HostsName is a name of a hosts(5) file: in lower case, without domain.
type HostsName struct {
	Line int // counted from 1
	Addr netip.Addr
	// Name is a part of a text as long as the file: who keeps it keeps a copy.
	Name string
}

// Len is the number of names.
func (h Hosts) Len() int { return h.count }

// Lines is the number of lines that have names.
func (h Hosts) Lines() int { return h.lines }

// All gives the names in the order of the file. It does not allocate.
func (h Hosts) All() iter.Seq[HostsName] {
	return func(yield func(HostsName) bool) {
		var n HostsName
		counted := func(rest string) (string, string) { return rest[1 : 1+rest[0]], rest[1+rest[0]:] }
		for rest := h.coded; rest != ""; {
			var lines, names int
			var addr string
			lines, rest = uvarint(rest)
			addr, rest = counted(rest)
			names, rest = uvarint(rest)
			n.Line += lines
			if len(addr) == 4 {
				n.Addr = netip.AddrFrom4([4]byte([]byte(addr)))
			} else {
				n.Addr = netip.AddrFrom16([16]byte([]byte(addr)))
			}
			for range names {
				n.Name, rest = counted(rest)
				if !yield(n) {
					return
				}
			}
		}
	}
}

// uvarint is binary.Uvarint at the beginning of a text.
func uvarint(s string) (value int, rest string) {
	for shift := 0; ; shift += 7 {
		c := s[0]
		s = s[1:]
		value |= int(c&0x7F) << shift
		if c < 0x80 {
			return value, s
		}
	}
}

// maxBadLines is how many mistakes of a hosts(5) file are told one by one. One
// that has more is something else, perhaps a list of what is to be blocked.
const maxBadLines = 20

// ReadHosts reads a hosts(5) file of at most MaxHosts octets for the node of c, see
// ParseHosts. It does not wait for the writer of a FIFO, but refuses what is no
// regular file.
func ReadHosts(path string, c *Config) (file *HostsFile, bad []Problem, more int, err error) {
	return readHosts(readFile, path, c)
}

func readHosts(read func(string) ([]byte, fs.FileInfo, error), path string, c *Config) (*HostsFile, []Problem, int, error) {
	data, info, err := read(path)
	switch {
	case err != nil:
		return nil, nil, 0, err
	case len(data) > MaxHosts:
		return nil, nil, 0, errTooLarge
	}
	hosts, bad, more := ParseHosts(path, data, c)
	return &HostsFile{info, hosts}, bad, more, nil
}

// ParseHosts reads a hosts(5) file for the node of c: an address and its names on
// a line, with blanks between them and perhaps a comment behind #. What is wrong
// is left out, the rest of it taken; bad tells the first mistakes, more how many
// there are beyond them.
func ParseHosts(path string, data []byte, c *Config) (hosts Hosts, bad []Problem, more int) {
	text, coded := string(data), make([]byte, 0, len(data)) // a length for each blank, an address for its digits
	before, h := 0, StaticHost{}
	for number := 1; text != ""; number++ {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = strings.TrimSuffix(line, "\r")
		wrong := func(offset int, err error) {
			if len(bad) == maxBadLines {
				more++
				return
			}
			at := len([]rune(line[:offset])) + 1
			bad = append(bad, Problem{File: path, Line: number, Column: at, Message: printable(err.Error())})
		}
		at, ok := h.parse(line, c.Domain, wrong)
		if !ok {
			continue
		}
		if err := c.elsewhere(h.Addr); err != nil {
			wrong(at, err)
			continue
		}
		hosts.lines++
		hosts.count += len(h.Names)
		coded = binary.AppendUvarint(coded, uint64(number-before))
		before = number
		coded = append(coded, byte(h.Addr.BitLen()/8))
		coded = append(coded, h.Addr.AsSlice()...)
		coded = binary.AppendUvarint(coded, uint64(len(h.Names)))
		for _, name := range h.Names {
			coded = append(append(coded, byte(len(name))), name...)
		}
	}
	hosts.coded = string(coded)
	return hosts, bad, more
}

const staticForm = "an address and its names"

// parse reads a line, in place of what h was, and reports what is wrong with it, by its
// place in the text. It is false for a line of which nothing is left; at is the place of
// the address.
func (h *StaticHost) parse(text, domain string, wrong func(offset int, err error)) (at int, ok bool) {
	*h = StaticHost{Names: h.Names[:0]}
	text, _, _ = strings.Cut(text, "#")
	words, offset := 0, 0
	for word := range strings.FieldsSeq(text) {
		here := offset + strings.Index(text[offset:], word)
		offset = here + len(word)
		if words++; words == 1 {
			var err error
			if h.Addr, err = parseHostAddr(word); err != nil {
				wrong(here, fmt.Errorf("expected %s, found %w", staticForm, err))
				return here, false
			}
			at = here
			continue
		}
		name, err := readName(word, domain)
		if err != nil {
			wrong(here, err)
			continue
		}
		h.Names = append(h.Names, name)
	}
	if words == 1 {
		wrong(at, fmt.Errorf("expected %s, found no name behind %s", staticForm, quote(text[at:offset])))
	}
	if len(h.Names) > 1 {
		given := map[string]bool{}
		h.Names = slices.DeleteFunc(h.Names, func(name string) bool {
			again := given[name]
			given[name] = true
			return again
		})
	}
	return at, len(h.Names) > 0
}
