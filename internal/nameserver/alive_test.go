package nameserver

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAlive(t *testing.T) {
	bind := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.IPv4Unspecified()}
	s := newServer(t, Config{Bind: bind})
	fatal(t, s.Listen())

	// It listens, but nobody answers.
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := s.Alive(soon)
	if err == nil || !strings.Contains(err.Error(), "no answer from "+s.Addrs()[0].String()) {
		t.Errorf("nobody reads the sockets: %v", err)
	}

	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	patient, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Alive(patient); err != nil {
		t.Error(err)
	}
	stop()
	fatal(t, <-done)

	// Its sockets are closed.
	soon, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Alive(soon); err == nil {
		t.Error("alive with closed sockets")
	}
}

func TestNobodyThere(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{os.ErrDeadlineExceeded, true},
		{fmt.Errorf("dial: %w", context.DeadlineExceeded), true},
		{os.NewSyscallError("read", syscall.ECONNREFUSED), true},
		{os.NewSyscallError("connect", syscall.ENETUNREACH), false},   // the interface is gone
		{os.NewSyscallError("connect", syscall.EADDRNOTAVAIL), false}, // likewise
		{os.NewSyscallError("write", syscall.EPERM), false},           // a firewall
		{os.NewSyscallError("socket", syscall.EMFILE), false},
	} {
		if got := nobodyThere(c.err); got != c.want {
			t.Errorf("%v: got %v", c.err, got)
		}
	}
}
