package sim

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func at(last byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, last}), 10870)
}

// got counts what an endpoint has received.
func got(e *Endpoint) (n int) {
	for {
		select {
		case <-e.PacketCh():
			n++
		default:
			return n
		}
	}
}

func inBubble(t *testing.T, fn func(t *testing.T, n *Network, a, b *Endpoint)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		a, b := n.Listen(at(1)), n.Listen(at(2))
		fn(t, n, a, b)
		_ = a.Shutdown()
		_ = b.Shutdown()
	})
}

func TestPackets(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		n.SetDelay(time.Millisecond, time.Millisecond)
		send := func() {
			t.Helper()
			if _, err := a.WriteTo([]byte("x"), at(2).String()); err != nil {
				t.Fatal(err)
			}
		}
		send()
		time.Sleep(time.Millisecond - 1)
		synctest.Wait()
		if got(b) != 0 {
			t.Error("it arrived before its delay was over")
		}
		time.Sleep(1)
		synctest.Wait()
		if got(b) != 1 {
			t.Error("it did not arrive")
		}
		for range 5000 { // nobody reads: the inbox drops, and nobody waits
			send()
		}
		time.Sleep(time.Second)
		if k := got(b); k != 1024 {
			t.Errorf("%d packets in the inbox, want 1024", k)
		}
		n.SetLoss(0.5)
		for range 1000 {
			send()
		}
		time.Sleep(time.Second)
		if k := got(b); k < 400 || k > 600 {
			t.Errorf("%d packets of 1000 arrived with a loss of one half", k)
		}
		n.SetLoss(0)
		if s := n.Sent(a.Addr()); s.Packets != 6001 || s.PacketBytes != 6001 || s.LargestPacket != 1 {
			t.Errorf("sent %+v", s)
		}
		if _, err := a.WriteTo(nil, "nonsense"); err == nil {
			t.Error("a packet to nowhere")
		}
	})
}

func TestRules(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		c := n.Listen(at(3))
		defer func() { _ = c.Shutdown() }()
		addr := func(e *Endpoint) []netip.Addr { return []netip.Addr{e.Addr()} }
		for _, tt := range []struct {
			name         string
			rule         Rule
			ab, ba, bToC bool // what arrives
		}{
			{"none", func(netip.Addr, netip.Addr) bool { return false }, true, true, true},
			{"partition", Partition(addr(a), addr(b)), false, false, true},
			{"deaf", Deaf(a.Addr()), true, false, true},
			{"mute", Mute(a.Addr()), false, true, true},
		} {
			heal := n.Cut(tt.rule)
			for _, cut := range []bool{true, false} {
				_, _ = a.WriteTo([]byte("x"), at(2).String())
				_, _ = b.WriteTo([]byte("x"), at(1).String())
				_, _ = b.WriteTo([]byte("x"), at(3).String())
				time.Sleep(time.Second)
				ab, ba, bc := got(b) == 1, got(a) == 1, got(c) == 1
				if cut && (ab != tt.ab || ba != tt.ba || bc != tt.bToC) || !cut && !(ab && ba && bc) {
					t.Errorf("%s, cut %v: a to b %v, b to a %v, b to c %v", tt.name, cut, ab, ba, bc)
				}
				heal()
			}
		}
	})
}

func accept(t *testing.T, e *Endpoint) net.Conn {
	t.Helper()
	select {
	case c := <-e.StreamCh():
		return c
	default:
		t.Fatal("no connection")
		return nil
	}
}

func TestStreams(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		near, err := a.DialTimeout(at(2).String(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		far := accept(t, b)
		if near.RemoteAddr().String() != at(2).String() || far.RemoteAddr().String() != at(1).String() {
			t.Errorf("between %v and %v", far.RemoteAddr(), near.RemoteAddr())
		}
		big := make([]byte, 1<<20) // no bound: the writer does not wait
		if k, err := near.Write(big); k != len(big) || err != nil {
			t.Fatal(k, err)
		}
		if _, err := io.ReadFull(far, big); err != nil {
			t.Fatal(err)
		}

		// A cut stalls it, either way; deadlines end the wait; healing ends the stall.
		heal := n.Cut(Mute(b.Addr()))
		_, _ = near.Write([]byte("late"))
		start := time.Now()
		_ = far.SetReadDeadline(start.Add(time.Minute))
		if _, err := far.Read(big); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("reading across a cut: %v after %v", err, time.Since(start))
		}
		_ = far.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Minute, heal)
		if k, err := far.Read(big); string(big[:k]) != "late" || err != nil || time.Since(start) != 2*time.Minute {
			t.Errorf("after the healing: %q, %v after %v", big[:k], err, time.Since(start))
		}

		// The end of one side.
		_, _ = near.Write([]byte("bye"))
		_ = near.Close()
		if rest, err := io.ReadAll(far); string(rest) != "bye" || err != nil {
			t.Errorf("read %q, %v", rest, err)
		}
		if _, err := far.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("writing to a closed side: %v", err)
		}
		if _, err := near.Read(big); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading after the end: %v", err)
		}
		if _, err := near.Write([]byte("x")); err == nil {
			t.Error("writing after the end")
		}
	})
}

func TestDials(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		dial := func() (time.Duration, error) {
			start := time.Now()
			c, err := a.DialTimeout(at(2).String(), 3*time.Second)
			if err == nil {
				_ = c.Close()
			}
			return time.Since(start), err
		}
		heal := n.Cut(Deaf(a.Addr())) // the answer does not arrive
		time.AfterFunc(time.Second, heal)
		if took, err := dial(); !errors.Is(err, os.ErrDeadlineExceeded) || took != 3*time.Second {
			t.Errorf("across a cut: %v after %v", err, took)
		}
		if _, err := dial(); err != nil {
			t.Errorf("after the healing: %v", err)
		}
		_ = b.Shutdown()
		if took, err := dial(); !errors.Is(err, syscall.ECONNREFUSED) || took > time.Second {
			t.Errorf("to an ended process: %v after %v", err, took)
		}
		b = n.Listen(at(2))
		if _, err := dial(); err != nil {
			t.Errorf("to a new process: %v", err)
		}
		b.Crash()
		if took, err := dial(); !errors.Is(err, os.ErrDeadlineExceeded) || took != 3*time.Second {
			t.Errorf("to a crashed host: %v after %v", err, took)
		}
		time.AfterFunc(time.Second, func() { _ = a.Shutdown() })
		if took, err := dial(); !errors.Is(err, net.ErrClosed) || took != time.Second {
			t.Errorf("while this process ends: %v after %v", err, took)
		}
		if _, err := dial(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// A crash is silent to the peer, and ends what the crashed process has open.
func TestCrashIsSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, a, b *Endpoint) {
		near, err := a.DialTimeout(at(2).String(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		far := accept(t, b)
		_, _ = far.Write([]byte("on the way"))
		b.Crash()
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the crashed side reads: %v", err)
		}
		_ = near.SetDeadline(time.Now().Add(time.Minute))
		if _, err := near.Write([]byte("x")); err != nil {
			t.Errorf("the other side writes: %v", err)
		}
		start := time.Now()
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("the other side reads: %v after %v", err, time.Since(start))
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the other side writes after its deadline: %v", err)
		}
	})
}
