package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// receive is the command of scripts that takes webhooks at $IP $PORT2 and adds
// each body to a file, a line each. Under /broken it fails, and repeats all that
// it was sent, as a page for developers does.
func receive(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := net.Listen("tcp", net.JoinHostPort(ts.Getenv("IP"), ts.Getenv("PORT2")))
	ts.Check(err)
	file, err := os.OpenFile(ts.MkAbs(args[0]), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	ts.Check(err)
	var mu sync.Mutex // guards the file
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintln(w, r.RequestURI, r.Header)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(file, "%s %s %s\n", r.Header.Get("Authorization"), r.Header.Get("Webhook-Signature"), body)
	})}
	done := make(chan struct{})
	go func() {
		_ = server.Serve(ln)
		close(done)
	}()
	ts.Defer(func() {
		server.Close()
		<-done
		file.Close()
	})
}
