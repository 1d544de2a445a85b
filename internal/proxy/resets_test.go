package proxy

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
)

// TestStreamsThatBreak: a side that resets in the middle of its stream. The other
// gets a part of it from its beginning, nothing else, and then an error; never
// an end that looks like the stream's own.
func TestStreamsThatBreak(t *testing.T) {
	everyEngine(t, func(t *testing.T, h *harness) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		_, data := stream([]byte("breaks"), "whole")
		for len(data) < 2_000_000 {
			data = append(data, data...)
			data = append(data, 1)
		}
		ln := listen(t)
		// The client's first octet says who sends and who resets.
		serve(t, ln, func(c *net.TCPConn) {
			first := make([]byte, 1)
			if _, err := io.ReadFull(c, first); err != nil {
				if !isReset(err) { // a reset may overtake what was sent before it
					t.Error(err)
				}
				return
			}
			if first[0]&1 == 0 {
				sendAndReset(c, data, int(first[0]))
				return
			}
			takeBroken(t, "backend", c, data)
		})
		c := h.listener(ln.Addr())
		h.apply(c)
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				conn := h.dial(c)
				first := byte(rng.IntN(256))
				if _, err := conn.Write([]byte{first}); err != nil {
					t.Error(err)
					return
				}
				if first&1 == 1 {
					sendAndReset(conn, data, rng.IntN(256))
					return
				}
				takeBroken(t, "client", conn, data)
			})
		}
		all.Wait()
		h.eventually("all ended", func() bool { return h.proxy.Stats()[0].Open == 0 })
		for _, b := range h.proxy.Stats()[0].Backends {
			if b.Active != 0 {
				t.Errorf("%d connections are still counted", b.Active)
			}
		}
	})
}

// sendAndReset sends up to share/256 of the data and resets.
func sendAndReset(c *net.TCPConn, data []byte, share int) {
	c.Write(data[:len(data)*share/256])
	c.SetLinger(0)
	c.Close()
}

func takeBroken(t *testing.T, who string, c *net.TCPConn, data []byte) {
	got, err := io.ReadAll(c)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: after %d octets of a stream that was reset: %v", who, len(got), err)
	}
	if !bytes.HasPrefix(data, got) {
		t.Errorf("%s got %d octets that are no beginning of the stream", who, len(got))
	}
}
