package nameserver

import (
	"bytes"
	"encoding/binary"
)

// ticket says whose a question to a resolver is: which flight's, and which of its
// tries. The flight may be over when an answer comes.
type ticket struct {
	fl  *flight
	gen uint32
	try uint8
}

// pending is a question that a resolver was asked, over one socket.
type pending struct {
	ticket
	id       uint16
	length   uint16
	sent     int64
	question [maxWireName + 4]byte // name, type and class, as they were sent
}

// newPending notes a packet that is about to be sent.
func newPending(t ticket, packet []byte, sent int64) (p pending) {
	p.ticket, p.id, p.sent = t, binary.BigEndian.Uint16(packet), sent
	end, _ := endOfName(packet, headerSize)
	p.length = uint16(copy(p.question[:], packet[headerSize:end+4]))
	return p
}

// judgement is what a packet from a resolver's address is to what it was asked.
type judgement uint8

const (
	foreign    judgement = iota // to no question that is open
	misspelled                  // to one, but its letters have another case
	genuine
)

// judge says what a packet with the identifier of a pending question is to it. A
// forger must guess these 16 bits from a cryptographic source, the port that the
// system drew for the socket, send from the resolver's address, for the socket is
// connected, and repeat the question with its mixture of capitals (RFC 5452 §9):
// all octets are compared.
func (p *pending) judge(raw []byte) judgement {
	end := headerSize + int(p.length)
	// A reply (QR) with opcode QUERY, and one question.
	if len(raw) < end || raw[2]&0xF8 != flagQR>>8 || raw[4] != 0 || raw[5] != 1 {
		return foreign
	}
	asked, got := p.question[:p.length], raw[headerSize:end]
	if bytes.Equal(asked, got) {
		return genuine
	}
	name := len(asked) - 4
	if bytes.EqualFold(asked[:name], got[:name]) && bytes.Equal(asked[name:], got[name:]) {
		return misspelled
	}
	return foreign
}

// find gives the place of an identifier in a list, -1 for none.
func find(list []pending, id uint16) int {
	for i := range list { // its entries are too large to be copied about
		if list[i].id == id {
			return i
		}
	}
	return -1
}

// remove takes an entry out of a list without keeping its order.
func remove(list []pending, i int) []pending {
	last := len(list) - 1
	list[i] = list[last]
	list[last].ticket = ticket{}
	return list[:last]
}
