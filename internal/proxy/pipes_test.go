//go:build linux

package proxy

import (
	"io"
	"net"
	"testing"
)

// TestPipesGoBack: a connection that moved much goes by splice, and holds no
// pipe when it pauses.
func TestPipesGoBack(t *testing.T) {
	var loops []*loop
	h := newHarness(t, func() (engine, error) {
		e, err := newLoops(1)
		if err == nil {
			loops = e.loops
		}
		return e, err
	})
	ln := listen(t)
	serve(t, ln, func(c *net.TCPConn) { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) })
	c := h.listener(ln.Addr())
	h.apply(c)
	conn := h.dial(c)
	go io.Copy(conn, io.LimitReader(zeros{}, 64<<20))
	if _, err := io.CopyN(io.Discard, conn, 64<<20); err != nil {
		t.Fatal(err)
	}
	inUse, made := 0, 0
	h.eventually("no pipe in use", func() bool {
		loops[0].call(nil, func() { inUse, made = loops[0].piped, len(loops[0].pipes) })
		return inUse == 0
	})
	if made == 0 {
		t.Error("no pipe was ever used for 64 MiB")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
