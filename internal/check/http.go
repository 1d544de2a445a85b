package check

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"murakumo/internal/check/expr"
)

const (
	// maxHead bounds the lines before the body, maxBody what is read of the
	// body: enough to see that the server can deliver, and nothing that a
	// server which never ends can fill memory or time with.
	maxHead = 64 << 10
	maxBody = 64 << 10
)

// httpGet asks for a path and compares the status; redirects are answers like
// any other and not followed.
func httpGet(c expr.Call) Probe {
	return func(ctx context.Context) error {
		g, err := newGet("http", c)
		if err != nil {
			return err
		}
		return g.wants(ctx, c.Ints("statuses"))
	}
}

// excerpt quotes the beginning of what a server said, fit for a log.
func excerpt(b []byte) string {
	const most = 80
	if len(b) > most {
		return strconv.Quote(string(b[:most])) + "…"
	}
	return strconv.Quote(string(b))
}

// get is one request for a path.
type get struct {
	url     *url.URL
	address string
	// handshake, if not nil, makes a connection of TLS of one of TCP.
	handshake func(context.Context, net.Conn) (net.Conn, error)
}

// newGet reads path, host and port of a call.
func newGet(scheme string, c expr.Call) (*get, error) {
	u, err := url.ParseRequestURI(c.Text("path"))
	if err != nil {
		return nil, err
	}
	g := &get{url: u, address: hostPort(c.Text("host"), c.Int("port"))}
	u.Scheme, u.Host = scheme, g.address
	// As browsers ask.
	if c.Int("port") == map[string]int{"http": 80, "https": 443}[scheme] {
		u.Host = strings.TrimSuffix(u.Host, ":"+strconv.Itoa(c.Int("port")))
	}
	return g, nil
}

// String gives the request for errors.
func (g *get) String() string { return "GET " + g.url.String() }

// wants asks and compares the status.
func (g *get) wants(ctx context.Context, statuses []int) error {
	status, _, err := g.do(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(statuses, status) {
		return g.unexpected(status, statuses)
	}
	return nil
}

func (g *get) unexpected(status int, want []int) error {
	got := strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
	return fmt.Errorf("%s: status %s, expected %s", g, got, list(want))
}

func list(ints []int) string {
	words := make([]string, len(ints))
	for i, n := range ints {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ", ")
}

// do gives the status and the body of an answer that came whole, up to maxBody.
// It writes one request on one connection itself: http.Client would bring a
// pool, proxies from the environment and goroutines that end some time after
// the answer.
func (g *get) do(ctx context.Context) (status int, body []byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", g, err)
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url.String(), nil)
	if err != nil {
		return 0, nil, err
	}
	req.Close = true // Connection: close
	req.Header.Set("User-Agent", "murakumo (health check)")
	req.Header.Set("Accept", "*/*")

	conn, err := dial(ctx, "tcp", g.address)
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	defer interrupt(ctx, conn)()
	if g.handshake != nil {
		// It is the connection below that is closed: Close of a tls.Conn would
		// wait for up to 5 s to say goodbye to a server that reads nothing.
		if conn, err = g.handshake(ctx, conn); err != nil {
			return 0, nil, because(ctx, "TLS handshake", err)
		}
	}

	if err := req.Write(conn); err != nil {
		return 0, nil, because(ctx, "sending the request", err)
	}
	limit := &io.LimitedReader{R: conn, N: maxHead}
	r := bufio.NewReader(limit)
	for {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			if limit.N <= 0 {
				err = fmt.Errorf("more than %d octets before the body", maxHead)
			}
			return 0, nil, because(ctx, "reading the answer", err)
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue // interim: the answer is still to come
		}
		limit.N = math.MaxInt64 // net/http bounds what it reads between chunks
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		if err != nil {
			return 0, nil, because(ctx, "reading the body", err)
		}
		return resp.StatusCode, body, nil
	}
}

// interrupt makes everything that waits on conn return when ctx ends. The
// caller calls what it gets before conn is given away or closed.
func interrupt(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		// A time long past. An error means that conn is closed already.
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
}

// because names the step that failed. If ctx ended, that is the reason, and
// what the socket said of it ("i/o timeout") adds nothing.
func because(ctx context.Context, step string, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("%s: %w", step, err)
}
