package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// devService is the toy web service of dev: it says who it is.
func devService(ctx context.Context, listen, name string) error {
	srv := &http.Server{
		Addr:              listen,
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "web on %s\n", name)
		}),
	}
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
