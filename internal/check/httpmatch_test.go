package check

import (
	"net/http"
	"testing"
)

// The match is looked for in the first 64 KiB, and in the answer alone.
func TestHTTPMatch(t *testing.T) {
	port := site(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-State", "alive")
		body := make([]byte, maxBody)
		for i := range body {
			body[i] = 'x'
		}
		switch r.URL.Path {
		case "/within":
			copy(body[maxBody-5:], "alive")
		case "/beyond":
			copy(body[maxBody-4:], "aliv")
			body = append(body, "e and more"...)
		case "/none":
			body = nil
		case "/binary":
			body = []byte("\x00\xffal\nive")
		}
		_, _ = w.Write(body)
	})
	leavesNothing(t)
	at := ", " + itoa(port)
	good(t, compile(t, "http_match '/within', 'alive$'"+at))
	bad(t, compile(t, "http_match '/beyond', 'alive'"+at), "no match in the first 65536 octets of the body, which begins \"xxx")
	bad(t, compile(t, "http_match '/none', 'alive'"+at), `no match in the body of 0 octets: ""`)
	bad(t, compile(t, "http_match '/binary', 'alive'"+at), `no match in the body of 8 octets: "\x00\xffal\nive"`)
	good(t, compile(t, "not http_match '/none', 'alive'"+at))
	stalled, reached := stalls(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nalive")
	p := compile(t, "http_match '/', 'alive', "+itoa(stalled))
	cancelled(t, p, reached)
	hangs(t, p)
}
