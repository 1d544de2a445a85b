package check

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// site serves f by net/http on loopback.
func site(t *testing.T, f http.HandlerFunc) (port int) {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

func TestHTTPStatus(t *testing.T) {
	port := site(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusMovedPermanently)
		case "/elsewhere":
			t.Error("the redirect was followed")
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
		case "/down":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/odd":
			w.WriteHeader(599)
		default:
			fmt.Fprintln(w, "hello")
		}
	})
	leavesNothing(t)
	for _, c := range []struct{ args, want string }{
		{"'/', [200]", ""},
		{"'/moved', [200, 301]", ""},
		{"'/nothing', [204]", ""},
		{"'/early', [200]", ""},
		{"'/down', [200, 301]", fmt.Sprintf("http_get '/down', [200, 301], %d: GET http://127.0.0.1:%[1]d/down: status 503 Service Unavailable, expected 200, 301", port)},
		{"'/moved', [200]", "status 301 Moved Permanently, expected 200"},
		{"'/odd', [200]", "status 599, expected 200"},
	} {
		if p := compile(t, "http_get "+c.args+", "+itoa(port)); c.want == "" {
			good(t, p)
		} else {
			bad(t, p, c.want)
		}
	}
}

func TestHTTPRequest(t *testing.T) {
	got := make(chan *http.Request, 1)
	port := site(t, func(w http.ResponseWriter, r *http.Request) { got <- r })
	leavesNothing(t)
	good(t, compile(t, "http_get '//a/%2F?b=c%20%23d', [200], "+itoa(port)+", 'localhost'"))
	r := <-got
	if r.Method != "GET" || r.RequestURI != "//a/%2F?b=c%20%23d" ||
		r.Host != "localhost:"+itoa(port) || r.UserAgent() == "" || !r.Close || r.ContentLength != 0 || r.Header.Get("Accept-Encoding") != "" {
		t.Errorf("%s %s, Host %s, %v", r.Method, r.RequestURI, r.Host, r.Header)
	}
}

// raw servers: what they send after the request, and how the probe takes it.
func TestHTTPAnswers(t *testing.T) {
	for _, c := range []struct{ name, send, want string }{
		{"old", "HTTP/1.0 200 OK\r\n\r\nhello", ""},
		{"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", 60<<10) + "0\r\n\r\n", ""},
		{"nothing", "", "reading the answer: unexpected EOF"},
		{"garbage", "SSH-2.0-OpenSSH_9.2p1\r\n", "malformed HTTP"},
		{"short head", "HTTP/1.1 200 OK\r\nA: b", "reading the answer: unexpected EOF"},
		{"short body", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", "reading the body: unexpected EOF"},
		{"endless head", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 20<<10), "more than 65536 octets before the body"},
		{"endless interim", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 5<<10), "more than 65536 octets before the body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := serve(t, func(conn net.Conn) {
				if readHead(conn) == nil {
					_, _ = io.WriteString(conn, c.send)
				}
			})
			leavesNothing(t)
			if p := compile(t, "http_get '/', [200], "+itoa(port)); c.want == "" {
				good(t, p)
			} else {
				bad(t, p, c.want)
			}
		})
	}
	bad(t, compile(t, "http_get '/', [200], "+itoa(refused(t))), "connection refused")
}

// A body without an end is good once enough of it has come.
func TestHTTPEndlessBody(t *testing.T) {
	var sent int
	done := make(chan struct{})
	port := serve(t, func(conn net.Conn) {
		defer close(done)
		if readHead(conn) != nil {
			return
		}
		_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		for err == nil {
			var n int
			n, err = io.WriteString(conn, strings.Repeat("x", 1000))
			sent += n
		}
	})
	leavesNothing(t)
	good(t, compile(t, "http_get '/', [200], "+itoa(port)))
	<-done
	if sent < maxBody {
		t.Errorf("the probe hung up after %d octets", sent)
	}
}

// A server may take its time as long as there is time.
func TestHTTPSlow(t *testing.T) {
	half, rest := make(chan struct{}), make(chan struct{})
	port := site(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		close(half)
		<-rest
		fmt.Fprint(w, "the rest")
	})
	leavesNothing(t)
	go func() {
		<-half
		close(rest)
	}()
	good(t, compile(t, "http_get '/', [200], "+itoa(port)))
}

// The server stalls at each place where the probe can wait.
func TestHTTPHangs(t *testing.T) {
	for name, send := range map[string]string{
		"answer":   "",
		"status":   "HTTP/1.1 200",
		"head":     "HTTP/1.1 200 OK\r\nContent-",
		"interim":  "HTTP/1.1 100 Continue\r\n\r\n",
		"body":     "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"chunk":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
		"open end": "HTTP/1.1 200 OK\r\n\r\nhello",
	} {
		t.Run(name, func(t *testing.T) {
			port, reached := stalls(t, send)
			leavesNothing(t)
			p := compile(t, "http_get '/', [200], "+itoa(port))
			cancelled(t, p, reached)
			hangs(t, p)
		})
	}
	full := unanswered(t)
	leavesNothing(t)
	hangs(t, compile(t, "http_get '/', [200], "+itoa(full)))
}
