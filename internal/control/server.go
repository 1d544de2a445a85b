package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Server answers on a Listener.
type Server struct {
	l    net.Listener
	path string // for messages
	h    *handler
	log  *slog.Logger
	busy sync.WaitGroup // requests being answered
}

// endPatience is how long Run waits for requests to be answered after it was
// told to end. Event streams do not count: they end at once.
const endPatience = 3 * time.Second

// NewServer makes a server for node. It starts nothing; once Run is called, the
// listener is Run's to close.
func NewServer(l *Listener, node Node, log *slog.Logger) *Server {
	h := newHandler(node, log)
	h.handleSecrets()
	return &Server{l: l, path: l.path, h: h, log: log}
}

// Run serves until ctx ends and then returns nil: the socket is gone, event
// streams have ended, requests under way were answered (or cancelled after three
// seconds) and no goroutine is left. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	// Requests outlive ctx by endPatience.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      requestPatience + 10*time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if c, ok := c.(*conn); ok {
				return context.WithValue(ctx, peerKey{}, c.cred)
			}
			return ctx
		},
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(s.l) }()

	var err error
	select {
	case err = <-served:
		err = fmt.Errorf("control socket %s: %w", s.path, err)
	case <-ctx.Done():
	}
	close(s.h.ending)
	patience, stop := context.WithTimeout(base, endPatience)
	defer stop()
	shut := srv.Shutdown(patience) // closes the listener, too
	cancel()
	if errors.Is(shut, context.DeadlineExceeded) {
		s.log.Warn("control requests cancelled: they were still under way at the end")
		shut = srv.Close()
	}
	if err == nil {
		<-served
	}
	s.busy.Wait()
	return errors.Join(err, shut)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.busy.Add(1)
	defer s.busy.Done()
	s.h.ServeHTTP(w, r)
}

type peerKey struct{}

// peerFrom gives who is at the other end of the request's connection.
func peerFrom(ctx context.Context) (unix.Ucred, bool) {
	cred, ok := ctx.Value(peerKey{}).(unix.Ucred)
	return cred, ok
}
