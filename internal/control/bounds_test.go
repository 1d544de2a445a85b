package control

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// a header of megabytes is refused before it is read, and a body of
// megabytes before it is believed.
func TestBounds(t *testing.T) {
	n := newFakeNode(t)
	c, _ := serve(t, n)
	before := n.View()
	for _, r := range []struct {
		name, request string
		status        int
	}{
		{"a header", "GET /v1/records HTTP/1.1\r\nHost: m\r\nX: " + strings.Repeat("x", 10<<20) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		{"many headers", "GET /v1/records HTTP/1.1\r\nHost: m\r\n" + strings.Repeat("X: x\r\n", 1<<20) + "\r\n", http.StatusRequestHeaderFieldsTooLarge},
		{"a path", "GET /v1/records?phrase=" + strings.Repeat("x", 10<<20) + " HTTP/1.1\r\nHost: m\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		{"a body", "POST /v1/records HTTP/1.1\r\nHost: m\r\nContent-Length: 10485760\r\n\r\n" + strings.Repeat(" ", 10<<20), http.StatusRequestEntityTooLarge},
		{"a body in pieces", "POST /v1/records HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" + strings.Repeat(" ", 1<<20) + "\r\n0\r\n\r\n", http.StatusRequestEntityTooLarge},
		{"a body where none is taken", "DELETE /v1/dead HTTP/1.1\r\nHost: m\r\nContent-Length: 10485760\r\n\r\n" + strings.Repeat("x", 10<<20), http.StatusBadRequest},
	} {
		t.Run(r.name, func(t *testing.T) {
			conn, err := net.Dial("unix", c.path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go io.WriteString(conn, r.request) // the server stops reading it
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != r.status {
				t.Errorf("status %s, want %d", resp.Status, r.status)
			}
		})
	}
	if n.View() != before {
		t.Error("something was changed")
	}
}
