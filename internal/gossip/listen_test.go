package gossip

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"murakumo/internal/catalog"
)

// Listen tells that a port is in use before anything runs, also when gossip is to
// start much later; what it took Close gives back, or Run uses.
func TestListen(t *testing.T) {
	self := addr("127.0.0.2")
	fresh := func(port uint16) *Gossip {
		t.Helper()
		g, err := New(Config{
			Self: self, Port: port, Keys: []string{"onion"}, StartDelay: time.Hour,
			Lifetime: 10 * time.Second, SendInterval: time.Second, ReceiveTimeout: time.Second,
		}, catalog.New(catalog.Options{Self: self}))
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	first := fresh(0)
	if err := first.Listen(); err != nil {
		t.Fatal(err)
	}
	port := first.early.port()
	second := fresh(port)
	if err := second.Listen(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port in use: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Errorf("close without sockets: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if err := second.Listen(); err != nil {
		t.Fatalf("the port is not free again: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := second.Run(ctx); err != nil || second.port.Load() != uint32(port) {
		t.Errorf("Run: %v, port %d instead of %d", err, second.port.Load(), port)
	}
	if err := fresh(port).Run(ctx); err != nil {
		t.Errorf("Run has not given the port back: %v", err)
	}
}

// Touch returns as long as no lock is held for ever, and not when one is.
func TestTouch(t *testing.T) {
	self := addr("127.0.0.2")
	g, err := New(Config{
		Self: self, Keys: []string{"onion"},
		Lifetime: 10 * time.Second, SendInterval: time.Second, ReceiveTimeout: time.Second,
	}, catalog.New(catalog.Options{Self: self}))
	if err != nil {
		t.Fatal(err)
	}
	g.Touch() // before Run
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- g.Run(ctx) }()
	<-g.Ready()
	g.Touch()
	g.peers.mu.Lock()
	touched := make(chan struct{})
	go func() {
		g.Touch()
		close(touched)
	}()
	select {
	case <-touched:
		t.Error("Touch returned while the list of peers was locked")
	case <-time.After(20 * time.Millisecond):
	}
	g.peers.mu.Unlock()
	<-touched
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
