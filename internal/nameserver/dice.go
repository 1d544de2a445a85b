package nameserver

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
)

// dice draws from the system's cryptographic source, some at a time: a call for
// each identifier would cost as much as the rest of a question.
type dice struct {
	mu   sync.Mutex // guards what follows
	buf  [1024]byte
	left int
}

// uint64 draws a number. What was drawn is not kept.
func (d *dice) uint64() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		rand.Read(d.buf[:]) // never fails
		d.left = len(d.buf)
	}
	d.left -= 8
	b := d.buf[d.left : d.left+8]
	v := binary.NativeEndian.Uint64(b)
	clear(b)
	return v
}
